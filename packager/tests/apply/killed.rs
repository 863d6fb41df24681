//! What a kill leaves: this test's own program is started again, applies a package, and kills itself at one step after the
//! other.

use std::{
    ops::ControlFlow,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use staith_packager::apply::{
    APP_OFFLINE, ApplyError, ApplyOptions, BackupOptions, Snapshot, Step, Watch, apply, what_if,
};

use crate::site::{Site, Tree, source_of};

const AT: &str = "STAITH_TEST_KILL_AT";
const TO: &str = "STAITH_TEST_APPLY_TO";
const ONE_BY_ONE: &str = "STAITH_TEST_ONE_BY_ONE";

fn old() -> Tree {
    Tree::from([("a.txt", "old a"), ("gone/b.txt", "old b"), ("turned", "was a file"), ("z.txt", "old z")])
}

fn new() -> Tree {
    Tree::from([
        ("a.txt", "new a!"),
        ("added/c.txt", "new c"),
        ("turned/d.txt", "is a directory"),
        ("z.txt", "new z!"),
    ])
}

fn options() -> ApplyOptions {
    ApplyOptions { app_offline: Some(b"back soon".to_vec()), ..ApplyOptions::default() }
}

/// Ends this process by SIGKILL before step `at`.
struct KillsAt {
    at: usize,
    seen: AtomicUsize,
}

impl Watch for KillsAt {
    fn before(&self, _: &Step<'_>) -> ControlFlow<()> {
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        ControlFlow::Continue(())
    }
}

/// Not a test of its own: what the one below starts.
#[test]
fn child() {
    let (Ok(at), Ok(to)) = (std::env::var(AT), std::env::var(TO)) else { return };
    let watch = KillsAt { at: at.parse().unwrap(), seen: AtomicUsize::new(0) };
    let one_by_one = std::env::var(ONE_BY_ONE).is_ok_and(|it| it == "true");
    let options = ApplyOptions { one_by_one, ..options() };
    apply(&source_of(&new()), Path::new(&to), &options, &watch).unwrap();
}

/// Whether the child was killed.
fn is_killed(at: usize, to: &Path, one_by_one: bool) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "killed::child", "--nocapture"]).env(AT, at.to_string()).env(TO, to);
    child.env(ONE_BY_ONE, one_by_one.to_string());
    let output = child.output().unwrap();
    assert!(output.status.success() || output.status.signal() == Some(9), "{output:?}");
    !output.status.success()
}

#[test]
fn a_kill_at_any_step_leaves_whole_files_and_nothing_that_the_next_apply_does_not_remove() {
    kill_at_each_step(false);
}

#[test]
fn so_does_one_where_there_is_no_room_for_old_and_new() {
    kill_at_each_step(true);
}

fn kill_at_each_step(one_by_one: bool) {
    let (mut kills, mut seen_offline) = (0, 0);
    for at in 0.. {
        let site = Site::new();
        apply(&source_of(&old()), &site.path, &ApplyOptions::default(), &()).unwrap();
        if !is_killed(at, &site.path, one_by_one) {
            break;
        }
        kills += 1;
        seen_offline += usize::from(site.path.join(APP_OFFLINE).exists());
        for (path, bytes) in site.files() {
            let known = [old(), new()].iter().any(|tree| tree.get(path.as_str()) == Some(&bytes));
            let is_ours = path.starts_with(".staith-apply/") || path == APP_OFFLINE;
            assert!(known || is_ours, "killed before step {at}: {path}");
        }
        let planned = what_if(&source_of(&new()), &site.path, &options()).unwrap();
        let applied = apply(&source_of(&new()), &site.path, &ApplyOptions::default(), &()).unwrap();
        assert_eq!(applied.plan, planned, "killed before step {at}");
        assert_eq!(site.files(), new().into_files(), "killed before step {at}");
    }
    // Each file is staged and changed.
    assert!(kills > 10, "{kills} steps");
    assert!(seen_offline > 3, "offline after {seen_offline} kills");
}

/// Stops an apply at one step.
struct StopsAt(KillsAt);

impl Watch for StopsAt {
    fn before(&self, _: &Step<'_>) -> ControlFlow<()> {
        let is_now = self.0.seen.fetch_add(1, Ordering::SeqCst) == self.0.at;
        if is_now { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_apply_that_is_stopped_takes_back_what_it_changed() {
    for at in 0.. {
        let site = Site::new();
        apply(&source_of(&old()), &site.path, &ApplyOptions::default(), &()).unwrap();
        let before = site.listing();
        let watch = StopsAt(KillsAt { at, seen: AtomicUsize::new(0) });
        match apply(&source_of(&new()), &site.path, &options(), &watch) {
            Ok(_) => {
                assert!(at > 10, "{at} steps");
                break;
            }
            Err(why) => assert!(matches!(why, ApplyError::Stopped), "{why}"),
        }
        assert_eq!(site.listing(), before, "stopped before step {at}");
    }
}

fn backup(directory: PathBuf, label: &str) -> ApplyOptions {
    let label = label.to_owned();
    let backup = BackupOptions { directory, keep: 2, label, go_on_without: false };
    ApplyOptions { backup: Some(backup), ..ApplyOptions::default() }
}

#[test]
fn a_backup_is_made_first_and_can_be_brought_back() {
    let site = Site::new();
    let backups = site.beside("backups");
    apply(&source_of(&old()), &site.path, &ApplyOptions::default(), &()).unwrap();
    site.set_time("a.txt", 1_600_000_001);
    std::os::unix::fs::symlink("/not/on/this/machine", site.path.join("link")).unwrap();
    let (before, times) = (site.listing(), site.times_of(&["a.txt", "z.txt"]));
    let applied = apply(&source_of(&new()), &site.path, &backup(backups.clone(), "1"), &()).unwrap();
    assert_eq!(applied.backup.as_deref(), Some(backups.join("1").as_path()));
    assert_ne!(site.listing(), before);
    let snapshot = Snapshot::open(&backups).unwrap();
    apply(&snapshot, &site.path, &ApplyOptions::default(), &()).unwrap();
    assert_eq!(site.listing(), before);
    // A snapshot's time is compared, and so restored, in steps of two seconds.
    let even = |times: Vec<u64>| times.into_iter().map(|time| time - time % 2).collect::<Vec<_>>();
    assert_eq!(even(site.times_of(&["a.txt", "z.txt"])), even(times));
    let again = apply(&snapshot, &site.path, &ApplyOptions::default(), &()).unwrap();
    assert!(again.plan.is_empty(), "{:?}", again.plan);
    // Two are kept: the third takes the place of the first.
    std::fs::create_dir(backups.join("0-not-a-snapshot")).unwrap();
    for (label, tree) in [("2", new()), ("3", old())] {
        apply(&source_of(&tree), &site.path, &backup(backups.clone(), label), &()).unwrap();
    }
    let mut left: Vec<_> = std::fs::read_dir(&backups).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["0-not-a-snapshot", "2", "3"]);
    // Nothing to do, nothing to back up.
    apply(&source_of(&old()), &site.path, &backup(backups.clone(), "4"), &()).unwrap();
    assert!(!backups.join("4").exists());
}

#[test]
fn a_backup_that_fails_stops_the_apply_unless_it_may_be_missing() {
    let site = Site::new();
    apply(&source_of(&old()), &site.path, &ApplyOptions::default(), &()).unwrap();
    let before = site.listing();
    for directory in [site.path.join("backups"), site.beside("file").join("backups")] {
        std::fs::write(site.beside("file"), "").unwrap();
        let mut options = backup(directory, "1");
        let refused = apply(&source_of(&new()), &site.path, &options, &()).unwrap_err();
        assert!(matches!(refused, ApplyError::Backup(_)), "{refused}");
        std::fs::remove_dir(site.path.join("backups")).ok();
        assert_eq!(site.listing(), before);
        options.backup.as_mut().unwrap().go_on_without = true;
        assert_eq!(what_if(&source_of(&new()), &site.path, &options).unwrap().counters.total(), 9);
    }
    let mut options = backup(site.beside("file").join("backups"), "1");
    options.backup.as_mut().unwrap().go_on_without = true;
    let applied = apply(&source_of(&new()), &site.path, &options, &()).unwrap();
    assert!(applied.notes[0].starts_with("no backup could be made"), "{:?}", applied.notes);
    assert_eq!(site.files(), new().into_files());
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let site = Site::new();
    let backups = site.beside("backups");
    apply(&source_of(&old()), &site.path, &ApplyOptions::default(), &()).unwrap();
    apply(&source_of(&new()), &site.path, &backup(backups.clone(), "1"), &()).unwrap();
    let before = site.listing();
    std::fs::write(backups.join("1/tree/z.txt"), "OLD z").unwrap();
    let refused = apply(&Snapshot::open(&backups).unwrap(), &site.path, &options(), &()).unwrap_err();
    assert!(refused.to_string().contains("`z.txt` was changed since"), "{refused}");
    assert_eq!(site.listing(), before);
}

#[test]
fn an_offline_page_of_somebody_else_stays() {
    let site = Site::new();
    std::fs::write(site.path.join(APP_OFFLINE), "down for the day").unwrap();
    for options in [options(), ApplyOptions::default()] {
        let applied = apply(&source_of(&old()), &site.path, &options, &()).unwrap();
        assert_eq!(applied.stays_offline, options.app_offline.is_some() && !applied.plan.is_empty());
        assert_eq!(site.read(APP_OFFLINE), b"down for the day");
    }
}

#[test]
fn the_offline_page_is_there_while_files_change_and_only_then() {
    struct Looks<'s>(&'s Site);
    impl Watch for Looks<'_> {
        fn before(&self, step: &Step<'_>) -> ControlFlow<()> {
            let is_offline = self.0.path.join(APP_OFFLINE).exists();
            assert_eq!(is_offline, matches!(step, Step::Change(_) | Step::Finish), "{step:?}");
            ControlFlow::Continue(())
        }
    }
    let site = Site::new();
    apply(&source_of(&old()), &site.path, &options(), &Looks(&site)).unwrap();
    assert_eq!(site.files(), old().into_files());
}
