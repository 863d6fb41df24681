//! Packages that lie, and destinations in which somebody plays tricks.

use std::{
    ffi::OsStr,
    fs,
    ops::ControlFlow,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use staith_packager::{
    apply::{ApplyError, ApplyOptions, PackageSource, PlanOptions, Step, Watch, apply, untaken, what_if},
    web_deploy::PackageReader,
};

use crate::site::{Site, Tree, source_of};

fn one() -> Tree {
    Tree::from([("a/b.txt", "b"), ("c.txt", "c")])
}

#[test]
fn links_in_the_destination_are_replaced_and_never_followed() {
    let site = Site::new();
    let outside = site.beside("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["b.txt", "c.txt", "kept.txt"] {
        fs::write(outside.join(name), "outside").unwrap();
    }
    symlink(&outside, site.path.join("a")).unwrap();
    symlink(outside.join("c.txt"), site.path.join("c.txt")).unwrap();
    symlink(&outside, site.path.join("more")).unwrap();
    apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap();
    assert_eq!(site.files(), one().into_files());
    for name in ["b.txt", "c.txt", "kept.txt"] {
        assert_eq!(fs::read(outside.join(name)).unwrap(), b"outside");
    }
}

/// Puts a link to `outside` where a directory was, once the first change is to be made.
struct Plants<'p> {
    at: &'p Path,
    outside: &'p Path,
}

impl Watch for Plants<'_> {
    fn before(&self, step: &Step<'_>) -> ControlFlow<()> {
        if matches!(step, Step::Change(_)) && self.at.is_dir() && !self.at.is_symlink() {
            fs::rename(self.at, self.at.with_extension("aside")).unwrap();
            symlink(self.outside, self.at).unwrap();
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn a_link_that_is_planted_between_plan_and_change_leads_nowhere() {
    let site = Site::new();
    let outside = site.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.txt"), "outside").unwrap();
    apply(
        &source_of(&Tree::from([("a/b.txt", "old"), ("a/x.txt", "x")])),
        &site.path,
        &ApplyOptions::default(),
        &(),
    )
    .unwrap();
    let plants = Plants { at: &site.path.join("a"), outside: &outside };
    let refused = apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &plants).unwrap_err();
    assert!(matches!(refused, ApplyError::TakenBack(_)), "{refused}");
    assert_eq!(fs::read(outside.join("b.txt")).unwrap(), b"outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(!site.path.join(".staith-apply").exists());
}

#[test]
fn broken_packages_change_nothing() {
    let errors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/errors");
    let mut seen = 0;
    for entry in fs::read_dir(errors).unwrap() {
        let path = entry.unwrap().path();
        let is_about_parameters = path.to_string_lossy().contains("12-bad-xpath");
        if path.extension() != Some(OsStr::new("zip")) || is_about_parameters {
            continue;
        }
        seen += 1;
        let site = Site::new();
        fs::write(site.path.join("there-before.txt"), "x").unwrap();
        let before = site.listing();
        let applied = PackageReader::open(&path).map_err(ApplyError::from).and_then(|package| {
            let roots = package.content_roots();
            let source = PackageSource::new(&package, &roots[0], None, None)?;
            let options = ApplyOptions { app_offline: Some(b"soon".to_vec()), ..ApplyOptions::default() };
            apply(&source, &site.path, &options, &())
        });
        let refused = applied.expect_err(&path.display().to_string());
        if path.to_string_lossy().contains("03-bad-crc") {
            assert!(refused.to_string().contains("Content/kiosk/"), "{refused}");
        }
        assert_eq!(site.listing(), before, "{}", path.display());
    }
    assert!(seen > 10, "{seen} packages");
}

#[test]
fn what_no_package_can_name_stays_with_its_directory() {
    let site = Site::new();
    fs::create_dir_all(site.path.join("old/deep")).unwrap();
    fs::write(site.path.join("old/gone.txt"), "x").unwrap();
    let odd = site.path.join("old/deep").join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&odd, "x").unwrap();
    let applied = apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap();
    assert_eq!(applied.plan.counters.deleted, 1);
    assert!(odd.exists() && !site.path.join("old/gone.txt").exists());
    fs::remove_dir_all(site.path.join("old")).unwrap();
    assert!(apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap().plan.is_empty());
}

#[test]
fn pipes_are_replaced_and_not_waited_for() {
    let site = Site::new();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = |path: &str| {
        rustix::fs::mknodat(rustix::fs::CWD, site.path.join(path), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
    };
    pipe("c.txt");
    pipe("gone");
    let options = ApplyOptions {
        plan: PlanOptions { checksum: true, ..PlanOptions::default() },
        ..ApplyOptions::default()
    };
    let applied = apply(&source_of(&one()), &site.path, &options, &()).unwrap();
    assert_eq!((applied.plan.counters.deleted, applied.plan.counters.added), (2, 3));
    assert_eq!(site.files(), one().into_files());
}

#[test]
fn two_at_once_are_refused_and_one_after_the_other_is_not() {
    let site = Site::new();
    let holder = fs::File::open(&site.path).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap_err();
    assert!(matches!(refused, ApplyError::Busy(_)), "{refused}");
    assert_eq!(what_if(&source_of(&one()), &site.path, &ApplyOptions::default()).unwrap().counters.added, 3);
    drop(holder);
    apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap();
}

#[test]
fn what_lies_where_unfinished_files_belong_is_not_touched() {
    let site = Site::new();
    let outside = site.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    symlink(&outside, site.path.join(".staith-apply")).unwrap();
    let refused = apply(&source_of(&one()), &site.path, &ApplyOptions::default(), &()).unwrap_err();
    assert!(matches!(refused, ApplyError::WorkTaken(_)), "{refused}");
    assert!(outside.join("precious").exists());
    fs::remove_file(site.path.join(".staith-apply")).unwrap();
    let named = Tree::from([(".staith-apply/x", "x")]);
    let refused = apply(&source_of(&named), &site.path, &ApplyOptions::default(), &()).unwrap_err();
    assert!(matches!(refused, ApplyError::Reserved), "{refused}");
}

#[test]
fn a_destination_is_made_and_what_is_none_is_refused() {
    let site = Site::new();
    let new = site.beside("new/deep");
    let planned = what_if(&source_of(&one()), &new, &ApplyOptions::default()).unwrap();
    assert!(!site.beside("new").exists() && planned.makes_root && planned.counters.added == 4);
    assert_eq!(apply(&source_of(&one()), &new, &ApplyOptions::default(), &()).unwrap().plan, planned);
    assert_eq!(fs::read(new.join("a/b.txt")).unwrap(), b"b");
    let refused = apply(&source_of(&one()), &new.join("c.txt"), &ApplyOptions::default(), &()).unwrap_err();
    assert!(matches!(refused, ApplyError::NotADirectory(_)), "{refused}");
}

#[test]
fn rules_keep_what_they_name_with_all_above_it() {
    let site = Site::new();
    let old = Tree::from([
        ("logs/2024/a.log", "a"),
        ("logs/b.txt", "b"),
        ("uploads/c", "c"),
        ("x/y/z", "z"),
        ("turn/a", ""),
    ]);
    apply(&source_of(&old), &site.path, &ApplyOptions::default(), &()).unwrap();
    let rules = [r"objectName=filePath,absolutePath=\.log$", "skipAction=Delete,Directory=/uploads$"];
    let rules = rules.map(|rule| rule.replace("Directory", "objectName=dirPath,absolutePath"));
    let plan = PlanOptions {
        skips: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..PlanOptions::default()
    };
    let options = ApplyOptions { plan, ..ApplyOptions::default() };
    let new = Tree::from([("turn", "a file now")]);
    let applied = apply(&source_of(&new), &site.path, &options, &()).unwrap();
    let left: Vec<_> = site.files().into_keys().collect();
    assert_eq!(left, ["logs/2024/a.log", "turn", "uploads/c"]);
    assert_eq!(applied.plan.counters.deleted, 6);
    assert!(apply(&source_of(&new), &site.path, &options, &()).unwrap().plan.is_empty());
    // A kept file where the package has a directory is nothing to guess about.
    let no_delete = PlanOptions { do_not_delete: true, ..PlanOptions::default() };
    let options = ApplyOptions { plan: no_delete, ..ApplyOptions::default() };
    let refused = apply(&source_of(&Tree::from([("turn/b", "")])), &site.path, &options, &()).unwrap_err();
    assert!(refused.to_string().starts_with("`turn` can't be put in place"), "{refused}");
}

#[test]
fn providers_that_no_directory_takes_are_listed() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for (name, expected) in [
        ("contentpath", vec![]),
        ("iisapp", vec!["createApp"]),
        ("setacl", vec!["createApp", "setAcl", "setAcl"]),
        ("dbfullsql", vec!["createApp", "dbFullSql"]),
        ("runcommand", vec!["runCommand", "runCommand"]),
        ("gallery", vec!["setAcl", "dbfullsql"]),
    ] {
        let package = PackageReader::open(&samples.join(format!("{name}.zip"))).unwrap();
        let found: Vec<_> = untaken(&package).into_iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(found, expected, "{name}");
    }
    let (bytes, _) = crate::common::packed(&crate::common::fixed_tree());
    let (_scratch, path) = crate::common::on_disk(&bytes);
    assert!(untaken(&PackageReader::open(&path).unwrap()).is_empty(), "one of ours");
}
