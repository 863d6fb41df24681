//! What goes wrong on a machine: programs that are killed, files that are damaged, disks that are full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use machine_support::{Here, Tree, contract::hook, order, release_of, stage};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use staith_model::{HealthCheck, Secret, Service};
use staith_releaser::{
    fleet::machine::{Inspection, Load, Machine as _, MachineError, Question, Serving},
    health::{Answer, Verdict},
    host::{Files, Patience},
};

fn versions() -> (Tree, Tree) {
    let mut old = Tree::of(&[("version", b"old"), ("d/same", b"same")]);
    let mut new = Tree::of(&[("version", b"new"), ("d/same", b"same"), ("d/more", b"more")]);
    for tree in [&mut old, &mut new] {
        tree.add("run", 0o755, b"#!/bin/sh\nexec sleep 1000\n");
    }
    (old, new)
}

fn as_unit(mut load: Load) -> Load {
    load.service = Service::Systemd {
        unit: "app".into(),
        command: vec!["./run".into()],
        env: BTreeMap::new(),
        user: None,
        stop_seconds: 5,
    };
    load
}

/// The release that `current` points to is one of the two, and every byte of it is right.
async fn is_old_or_new(here: &Here) {
    let machine = here.machine();
    let current = machine.observe().await.unwrap().current;
    for name in ["old", "new"] {
        let files = machine.inspect(&release_of(name), Inspection::EveryByte).await.unwrap();
        assert!(matches!(files, Files::Complete | Files::Absent), "{name}: {files:?}");
        if current == Some(release_of(name)) {
            assert_eq!(files, Files::Complete);
            let version = fs::read(here.folder().join("current/version")).unwrap();
            assert_eq!(version, name.as_bytes());
        }
    }
    assert!([release_of("old"), release_of("new")].contains(&current.unwrap()));
}

#[tokio::test]
async fn killed_between_any_two_operations_it_is_old_or_new_and_converges() {
    let (old, new) = versions();
    // Points of what is kept for the next release have a test of their own.
    let points = staith_machine::POINTS
        .iter()
        .filter(|point| !point.starts_with("spare-") && **point != "stage-taken");
    for point in points {
        let here = Here::tested().with_systemctl();
        let machine = here.machine();
        stage(&machine, &order(1), &as_unit(old.load("old")), &old).await.unwrap();
        machine.switch(&order(1), Some(&release_of("old"))).await.unwrap();
        if ["stage-unlisted", "stage-listed"].contains(point) {
            // Passed only where a release that is there means something else.
            let other = Tree::of(&[("version", b"neither")]);
            stage(&machine, &order(2), &other.load("new"), &other).await.unwrap();
        }
        let (staging, switching, hooking) = (order(3), order(3), order(3));
        let dying = here.machine_with(&[("STAITH_MACHINE_STOP_AT", point)]);
        let load = as_unit(new.load("new"));
        let died = async {
            stage(&dying, &staging, &load, &new).await?;
            dying.switch(&switching, Some(&load.release)).await?;
            dying.hook(&hooking, &load.release, &hook("h", "true")).await.map(|_| ())
        };
        let died = died.await;
        assert!(matches!(died, Err(MachineError::Lost { .. })), "{point}: {died:?}");
        is_old_or_new(&here).await;
        let machine = here.machine();
        let state = machine.observe().await.unwrap();
        if point.starts_with("switch-") && *point != "switch-ended" {
            assert_eq!(state.unfinished, Some(switching.operation), "{point}");
        }
        if *point == "switch-current" {
            assert_eq!(state.serving, Some(Serving::Up(Some(release_of("old")))), "{point}");
        }
        stage(&machine, &staging, &load, &new).await.unwrap();
        machine.switch(&switching, Some(&load.release)).await.unwrap();
        is_old_or_new(&here).await;
        let state = machine.observe().await.unwrap();
        assert_eq!(state.current, Some(load.release), "{point}");
        assert_eq!(state.serving, Some(Serving::Up(Some(load.release))), "{point}");
        if !point.starts_with("hook-") {
            assert_eq!((state.previous, state.unfinished), (Some(release_of("old")), None), "{point}");
        }
        let hooked = machine.hook(&hooking, &load.release, &hook("h", "true")).await;
        match *point {
            "hook-noted" => {
                assert!(matches!(hooked, Err(MachineError::Undecided { ref hook, .. }) if hook == "h"))
            }
            "hook-ended" => assert!(hooked.unwrap().already),
            _ => assert!(!hooked.unwrap().already),
        }
        let left: Vec<_> = fs::read_dir(here.folder().join("releases"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".tmp-"))
            .collect();
        assert!(left.is_empty(), "{point}: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resolves_current_once_reads_one_release_through_a_thousand_switches() {
    let here = Here::new();
    let machine = here.machine();
    for name in ["a", "b"] {
        let tree = Tree::of(&[("one", name.as_bytes()), ("two", name.as_bytes())]);
        stage(&machine, &order(1), &tree.load(name), &tree).await.unwrap();
    }
    machine.switch(&order(1), Some(&release_of("a"))).await.unwrap();
    let (over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (over, reads, current) = (over.clone(), reads.clone(), here.folder().join("current"));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let resolved = current.canonicalize().unwrap();
                    let (one, two) =
                        (fs::read(resolved.join("one")).unwrap(), fs::read(resolved.join("two")).unwrap());
                    assert_eq!(one, two);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for nth in 0..1000 {
        let to = release_of(if nth % 2 == 0 { "b" } else { "a" });
        machine.switch(&order(1), Some(&to)).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > 1000);
}

#[tokio::test]
async fn damaged_files_are_found_never_linked_and_built_anew() {
    let here = Here::new();
    let machine = here.machine();
    let (old, new) = versions();
    stage(&machine, &order(1), &old.load("old"), &old).await.unwrap();
    old.asked();
    let victim = here.release("old").join("d/same");
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let times = fs::metadata(&victim).unwrap().modified().unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&victim, "SAME").unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(times).unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o444)).unwrap();
    // Also by a look at what was touched only: nobody turns back when a file's node was changed last.
    for how in [Inspection::EveryByte, Inspection::Touched] {
        let Files::Damaged(what) = machine.inspect(&release_of("old"), how).await.unwrap() else { panic!() };
        assert!(what.contains("d/same"), "{what}");
    }
    stage(&machine, &order(1), &new.load("new"), &new).await.unwrap();
    assert!(new.asked().contains("d/same"));
    assert_eq!(fs::read(here.release("new").join("d/same")).unwrap(), b"same");
    // From the other release now, not from the package.
    assert!(!stage(&machine, &order(1), &old.load("old"), &old).await.unwrap().already);
    assert!(old.asked().is_empty());
    assert_eq!(fs::read(&victim).unwrap(), b"same");
    assert_eq!(inode(&victim), inode(&here.release("new").join("d/same")));
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_the_release_whole_and_has_its_room_back() {
    let here = Here::new();
    fs::create_dir(here.folder()).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only the superuser may mount a small disk");
        return;
    }
    mount("tmpfs", here.folder(), "tmpfs", MountFlags::empty(), c"size=2m").unwrap();
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = unmount(&self.0, UnmountFlags::DETACH);
        }
    }
    let _unmount = Unmount(here.folder());
    let machine = here.machine();
    let noise = |seed: usize, length: usize| -> Vec<u8> {
        (0..length / 32)
            .flat_map(|nth| *staith_model::Digest::of(format!("{seed} {nth}").as_bytes()).as_bytes())
            .collect()
    };
    let (small, mut large) = (Tree::of(&[("a", &noise(0, 200 << 10))]), Tree::default());
    for nth in 1..40 {
        large.add(&format!("f{nth}"), 0o644, &noise(nth, 100 << 10));
    }
    stage(&machine, &order(1), &small.load("small"), &small).await.unwrap();
    let free = machine.reach().await.unwrap().free_bytes;
    let refused = stage(&machine, &order(1), &large.load("large"), &large).await;
    let Err(MachineError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("full"), "{why}");
    let state = machine.observe().await.unwrap();
    assert_eq!(state.releases, [release_of("small")].into());
    assert!(machine.reach().await.unwrap().free_bytes + (64 << 10) >= free);
    assert!(stage(&machine, &order(1), &small.load("small"), &small).await.unwrap().already);
}

#[tokio::test]
async fn a_unit_is_written_once_and_the_release_runs_with_its_secrets_and_proves_itself() {
    let here = Here::new().with_systemctl();
    let machine = here.machine();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let app = br#"#!/usr/bin/env python3
import os, http.server
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = os.environ["TOKEN"] == "s3cret" and open("private").read() == "hidden"
        self.send_response(200 if good else 500)
        self.send_header("X-Release", os.environ["STAITH_RELEASE"])
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;
    let loaded = |name: &str| {
        let mut tree = Tree::of(&[("private", b"hidden"), ("name", name.as_bytes())]);
        tree.add("run", 0o755, app);
        let mut load = as_unit(tree.load(name));
        let Service::Systemd { env, .. } = &mut load.service else { panic!() };
        env.insert("PORT".into(), port.to_string());
        load.secrets = vec![("TOKEN".into(), Secret::new("s3cret"))];
        load.private = [staith_model::RelPath::try_from("private").unwrap()].into();
        (tree, load)
    };
    let question = |name: &str, header: Option<&str>| Question {
        release: release_of(name),
        port: Some(port),
        check: Some(HealthCheck {
            path: "/".into(),
            release_header: header.map(str::to_owned),
            release_file: None,
            deadline_seconds: 60,
            successes: 2,
        }),
        min_healthy_seconds: 0,
    };
    for name in ["a", "b"] {
        let (tree, load) = loaded(name);
        stage(&machine, &order(1), &load, &tree).await.unwrap();
        machine.switch(&order(1), Some(&load.release)).await.unwrap();
        for header in [None, Some("x-release")] {
            let health = machine.probe(&question(name, header), Patience::Deadline).await.unwrap();
            let log = fs::read_to_string(here.dir.path().join("log")).unwrap_or_default();
            assert_eq!(health.verdict, Verdict::Healthy, "{health:?} {log}");
        }
        assert_eq!(machine.observe().await.unwrap().serving, Some(Serving::Up(Some(load.release))));
        assert!(machine.switch(&order(1), Some(&load.release)).await.unwrap().already);
    }
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(here.release("a").join("private")), 0o600);
    assert_eq!(mode(here.release("a").with_extension("secrets")), 0o600);
    assert_eq!(mode(here.release("a").join("run")), 0o555);
    let restart = ["reset-failed app.service", "restart app.service"];
    let first = ["daemon-reload", "enable app.service"];
    assert_eq!(here.called(), [&first[..], &restart[..], &restart[..]].concat());
    // Going back is noticed by who asks for the other.
    let health = machine.probe(&question("a", None), Patience::Glance).await.unwrap();
    assert!(matches!(health.last(), Some(Answer::GivenUp(_))), "{health:?}");
    fs::write(here.dir.path().join("broken"), "").unwrap();
    let refused = machine.switch(&order(1), Some(&release_of("a"))).await;
    let Err(MachineError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("Job for app.service failed") && !why.contains("s3cret"), "{why}");
    let state = machine.observe().await.unwrap();
    assert!(state.unfinished.is_some() && state.current == Some(release_of("a")));
    fs::remove_file(here.dir.path().join("broken")).unwrap();
    assert!(!machine.switch(&order(1), Some(&release_of("a"))).await.unwrap().already);
    machine.switch(&order(1), None).await.unwrap();
    assert_eq!(machine.observe().await.unwrap().serving, Some(Serving::Down));
    // What was stopped is started with the machine again once it is to run.
    assert!(here.called().contains(&"disable --now app.service".to_owned()));
    assert!(!machine.switch(&order(1), Some(&release_of("a"))).await.unwrap().already);
    assert_eq!(here.called(), [&first[..], &restart[..]].concat());
}

#[tokio::test]
async fn a_hook_whose_time_is_up_is_ended_with_all_that_it_started() {
    let here = Here::new();
    let machine = here.machine();
    let (old, _) = versions();
    stage(&machine, &order(1), &old.load("old"), &old).await.unwrap();
    let mut slow = hook("slow", "echo $$; sleep 1000 & wait");
    slow.timeout_seconds = 1;
    let ran = machine.hook(&order(1), &release_of("old"), &slow).await.unwrap();
    assert_eq!((ran.code, ran.timed_out), (None, true));
    let pid: i32 = String::from_utf8(ran.said).unwrap().trim().parse().unwrap();
    let group = rustix::process::Pid::from_raw(pid).unwrap();
    // What is left of the group is dead, and may be waiting for somebody to take notice.
    let alive = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest: Vec<&str> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
        rest.get(2) == Some(&group.to_string().as_str()) && rest.first() != Some(&"Z")
    });
    assert!(!alive);
}

#[tokio::test]
async fn a_restart_command_is_told_the_release_and_its_words_are_in_the_error() {
    let here = Here::new();
    let machine = here.machine();
    let (old, _) = versions();
    let command = |script: &str| Service::Command {
        restart: ["sh", "-c", script].map(str::to_owned).into(),
        stop: None,
    };
    let mut load = old.load("old");
    load.service = command("echo $STAITH_RELEASE in $(cat version) >&2; exit 7");
    stage(&machine, &order(1), &load, &old).await.unwrap();
    let refused = machine.switch(&order(1), Some(&load.release)).await;
    let Err(MachineError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains(&format!("{} in old", load.release)) && why.contains("code 7"), "{why}");
    load.service = command("exit 0");
    assert!(!stage(&machine, &order(1), &load, &old).await.unwrap().already);
    assert!(!machine.switch(&order(1), Some(&load.release)).await.unwrap().already);
    assert!(machine.switch(&order(1), Some(&load.release)).await.unwrap().already);
}
