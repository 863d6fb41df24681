//! What is kept of a step, what is refused, and what a killed process leaves.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    process::Command,
};

use staith_builder::layers::{LayerEntry, LayerError, LayerStore, Scratch, Sealed, collect};
use staith_model::{Digest, Name};

struct Place {
    dir: tempfile::TempDir,
    store: LayerStore,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path(), None).unwrap();
    Place { dir, store }
}

fn globs(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

fn write(upper: &Path, path: &str, text: &str) {
    let path = upper.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn whiteout(upper: &Path, path: &str) {
    let path = upper.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = Command::new("mknod").arg(path).args(["c", "0", "0"]).status().unwrap();
    assert!(made.success());
}

fn opaque(upper: &Path, path: &str) {
    fs::create_dir_all(upper.join(path)).unwrap();
    xattr::set(upper.join(path), "user.overlay.opaque", b"y").unwrap();
}

impl Place {
    fn scratch(&self, fill: impl FnOnce(&Path)) -> Scratch {
        let scratch = self.store.scratch().unwrap();
        fill(&scratch.upper());
        scratch
    }

    fn seal(&self, patterns: &[&str], fill: impl FnOnce(&Path)) -> Result<Sealed, LayerError> {
        let scratch = self.scratch(fill);
        self.store.seal(&scratch.upper(), &globs(patterns))
    }

    fn paths(&self, sealed: &Sealed) -> Vec<String> {
        let manifest = self.store.manifest(&sealed.digest).unwrap();
        manifest.entries.keys().map(ToString::to_string).collect()
    }

    fn entry(&self, sealed: &Sealed, path: &str) -> LayerEntry {
        let manifest = self.store.manifest(&sealed.digest).unwrap();
        manifest.entries[&path.try_into().unwrap()].clone()
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn only_outputs_are_kept() {
    let place = place();
    let sealed = place
        .seal(&["dist", "lib/*.so"], |upper| {
            write(upper, "dist/app/main.js", "1");
            write(upper, "lib/a.so", "22");
            write(upper, "lib/a.o", "333");
            write(upper, "node_modules/x/y.js", "4444");
            fs::create_dir(upper.join("dist/empty")).unwrap();
        })
        .unwrap();
    let expected = ["dist", "dist/app", "dist/app/main.js", "dist/empty", "lib", "lib/a.so"];
    assert_eq!(place.paths(&sealed), expected);
    assert_eq!((sealed.files, sealed.bytes), (2, 3));
    let dir = place.store.path(&sealed.digest).unwrap();
    assert!(!dir.join("node_modules").exists() && !dir.join("lib/a.o").exists());
    assert_eq!(fs::read_to_string(dir.join("lib/a.so")).unwrap(), "22");
}

#[test]
fn removals_are_outputs_too() {
    let place = place();
    let sealed = place
        .seal(&["dist/**", "gen/*.rs"], |upper| {
            whiteout(upper, "dist");
            whiteout(upper, "gen/old.rs");
            whiteout(upper, "gen/old.txt");
            whiteout(upper, "src");
        })
        .unwrap();
    assert_eq!(place.paths(&sealed), ["dist", "gen", "gen/old.rs"]);
    assert_eq!(place.entry(&sealed, "dist"), LayerEntry::Removed);
}

#[test]
fn a_directory_is_replaced_only_if_all_of_it_is_an_output() {
    let place = place();
    let fill = |upper: &Path| {
        opaque(upper, "dist");
        write(upper, "dist/a.js", "1");
    };
    let whole = place.seal(&["dist/**"], fill).unwrap();
    assert_eq!(place.entry(&whole, "dist"), LayerEntry::Directory { replaced: true });
    let dir = place.store.path(&whole.digest).unwrap().join("dist");
    assert_eq!(xattr::get(&dir, "user.overlay.opaque").unwrap().as_deref(), Some(&b"y"[..]));

    let part = place.seal(&["dist/*.js"], fill).unwrap();
    assert_eq!(place.entry(&part, "dist"), LayerEntry::Directory { replaced: false });
    let dir = place.store.path(&part.digest).unwrap().join("dist");
    assert_eq!(xattr::get(&dir, "user.overlay.opaque").unwrap(), None);
    assert!(part.notices.iter().any(|notice| notice.contains("replaced the directory `dist`")), "{part:?}");
}

#[test]
fn an_output_that_is_not_there_is_an_error_with_a_suggestion() {
    let place = place();
    let refusal = place
        .seal(&["target/release/staith"], |upper| {
            write(upper, "target/release/staiht", "x");
            write(upper, "other/file", "x");
        })
        .unwrap_err();
    assert!(refusal.is_the_projects());
    let remedy = refusal.remedy().unwrap();
    assert!(refusal.to_string().contains("target/release/staith"), "{refusal}");
    assert!(remedy.contains("target/release/staiht"), "{remedy}");
    let refusal = place.seal(&["dist"], |_| {}).unwrap_err();
    assert!(refusal.remedy().unwrap().contains("changed no file at all"));
}

#[test]
fn links_are_kept_and_never_followed() {
    let place = place();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"s").unwrap();
    fs::set_permissions(outside.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let sealed = place
        .seal(&["out/**"], |upper| {
            fs::create_dir(upper.join("out")).unwrap();
            symlink(outside.path(), upper.join("out/dir")).unwrap();
            symlink(outside.path().join("secret"), upper.join("out/file")).unwrap();
            symlink("/", upper.join("root")).unwrap();
        })
        .unwrap();
    assert_eq!(place.paths(&sealed), ["out", "out/dir", "out/file"]);
    let target = outside.path().display().to_string();
    assert_eq!(place.entry(&sealed, "out/dir"), LayerEntry::Symlink { target });
    let secret = fs::metadata(outside.path().join("secret")).unwrap();
    assert_eq!(secret.mode() & 0o7777, 0o600);

    let scratch = place.scratch(|upper| {
        symlink(outside.path(), upper.join("reports")).unwrap();
        symlink(outside.path().join("secret"), upper.join("r.xml")).unwrap();
    });
    assert_eq!(collect(&scratch.upper(), &globs(&["**"])).unwrap(), []);
}

#[test]
fn odd_things_are_not_kept_and_said() {
    let place = place();
    let sealed = place
        .seal(&["out"], |upper| {
            write(upper, "out/x", "x");
            drop(std::os::unix::net::UnixListener::bind(upper.join("out/s")).unwrap());
            assert!(Command::new("mkfifo").arg(upper.join("out/f")).status().unwrap().success());
            fs::set_permissions(upper.join("out/x"), fs::Permissions::from_mode(0o6711)).unwrap();
            fs::set_permissions(upper.join("out"), fs::Permissions::from_mode(0o1777)).unwrap();
            xattr::set(upper.join("out/x"), "user.note", b"1").unwrap();
        })
        .unwrap();
    assert_eq!(place.paths(&sealed), ["out", "out/x"]);
    assert_eq!(sealed.notices.len(), 2, "{:?}", sealed.notices);
    let dir = place.store.path(&sealed.digest).unwrap();
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("out"), mode("out/x")), (0o755, 0o711));
    assert_eq!(xattr::list(dir.join("out/x")).unwrap().count(), 0);
}

#[test]
fn names_that_are_not_utf8_are_refused_only_as_outputs() {
    let place = place();
    let odd = OsStr::from_bytes(b"caf\xe9.txt");
    let fill = |upper: &Path| {
        write(upper, "out/x", "x");
        fs::create_dir(upper.join("tmp")).unwrap();
        fs::write(upper.join("tmp").join(odd), b"x").unwrap();
    };
    let refusal = place.seal(&["out", "tmp"], fill).unwrap_err();
    assert!(refusal.to_string().contains(r"tmp/caf\xe9.txt"), "{refusal}");
    assert_eq!(place.paths(&place.seal(&["out"], fill).unwrap()), ["out", "out/x"]);
}

#[test]
fn equal_content_is_one_layer() {
    let place = place();
    let first = place.seal(&["out"], |upper| write(upper, "out/x", "x")).unwrap();
    let dir = place.store.path(&first.digest).unwrap();
    let inode = fs::metadata(dir.join("out/x")).unwrap().ino();
    let other_store = LayerStore::open(place.dir.path(), None).unwrap();
    let scratch = other_store.scratch().unwrap();
    write(&scratch.upper(), "out/x", "x");
    write(&scratch.upper(), "not-an-output", "x");
    let second = other_store.seal(&scratch.upper(), &globs(&["out"])).unwrap();
    assert_eq!(first, second);
    assert_eq!(fs::metadata(dir.join("out/x")).unwrap().ino(), inode);
}

#[test]
fn many_writers_of_one_layer_agree() {
    let place = place();
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let make = |_| {
            scope.spawn(|| {
                let store = LayerStore::open(place.dir.path(), None).unwrap();
                let scratch = store.scratch().unwrap();
                (0..50).for_each(|n| write(&scratch.upper(), &format!("out/{n}"), "x"));
                store.seal(&scratch.upper(), &globs(&["out"])).unwrap().digest
            })
        };
        let threads: Vec<_> = (0..8).map(make).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert!(place.store.path(&digests[0]).is_some());
}

#[test]
fn half_made_layers_are_never_taken_for_whole() {
    let place = place();
    let sealed = place.seal(&["out"], |upper| write(upper, "out/x", "content")).unwrap();
    let layers = place.dir.path().join("layers");
    let hex = sealed.digest.hex();
    // Killed after the record was written and before the directory was moved into place.
    fs::rename(layers.join(&hex), layers.join("elsewhere")).unwrap();
    let fresh = LayerStore::open(place.dir.path(), None).unwrap();
    assert_eq!(fresh.path(&sealed.digest), None);
    fs::rename(layers.join("elsewhere"), layers.join(&hex)).unwrap();
    assert!(fresh.path(&sealed.digest).is_some());
    // The machine lost power: another start of it, and a file without its bytes.
    fs::write(layers.join(format!("{hex}.seen")), "another boot").unwrap();
    assert!(fresh.path(&sealed.digest).is_some(), "what is whole stays");
    fs::write(layers.join(format!("{hex}.seen")), "another boot").unwrap();
    fs::write(layers.join(&hex).join("out/x"), b"").unwrap();
    assert_eq!(fresh.path(&sealed.digest), None);
    let again = place.seal(&["out"], |upper| write(upper, "out/x", "content")).unwrap();
    assert_eq!(again.digest, sealed.digest);
    assert!(fresh.path(&sealed.digest).is_some());
}

#[test]
fn a_damaged_record_is_found_out() {
    let place = place();
    let sealed = place.seal(&["out"], |upper| write(upper, "out/x", "x")).unwrap();
    let record = place.dir.path().join(format!("layers/{}.json", sealed.digest.hex()));
    let fresh = || LayerStore::open(place.dir.path(), None).unwrap();
    fs::write(&record, r#"{"entries":{}}"#).unwrap();
    assert!(matches!(fresh().manifest(&sealed.digest), Err(LayerError::Damaged { .. })));
    fs::write(&record, "{").unwrap();
    assert!(matches!(fresh().manifest(&sealed.digest), Err(LayerError::Damaged { .. })));
    fs::remove_file(&record).unwrap();
    assert!(matches!(fresh().manifest(&sealed.digest), Err(LayerError::Missing(_))));
}

#[test]
fn scratch_goes_with_whatever_a_step_left() {
    let place = place();
    let scratch = place.scratch(|upper| write(upper, "a/b/c", "x"));
    let upper = scratch.upper();
    fs::create_dir(scratch.work().join("work")).unwrap();
    fs::set_permissions(scratch.work().join("work"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(upper.join("a"), fs::Permissions::from_mode(0o555)).unwrap();
    drop(scratch);
    assert!(!upper.exists());
}

#[test]
fn unordered_steps_may_not_write_one_path_differently() {
    let place = place();
    let layer = |fill: &dyn Fn(&Path)| place.seal(&["**"], |upper| fill(upper)).unwrap().digest;
    let one = layer(&|upper| write(upper, "out/x", "1"));
    let same = layer(&|upper| {
        write(upper, "out/x", "1");
        write(upper, "out/y", "2");
    });
    let other = layer(&|upper| write(upper, "out/x", "2"));
    let replaced = layer(&|upper| {
        opaque(upper, "out");
        write(upper, "out/z", "3");
    });
    let removed = layer(&|upper| whiteout(upper, "out"));
    let file = layer(&|upper| write(upper, "out", "file"));
    let collide = |a: Digest, b: Digest, ordered: bool| {
        place.store.collisions(&[(name("a"), a), (name("b"), b)], |_, _| ordered)
    };
    assert!(collide(one, same, false).is_ok());
    for (a, b, path) in [
        (one, other, "out/x"),
        (one, replaced, "out/x"),
        (replaced, one, "out/x"),
        (one, removed, "out"),
        (one, file, "out"),
    ] {
        let refusal = collide(a, b, false).unwrap_err();
        assert!(matches!(&refusal, LayerError::Collision { path: p, .. } if p.as_str() == path), "{refusal}");
        let text = refusal.to_string();
        assert!(text.contains("`a`") && text.contains("`b`") && text.contains(path), "{text}");
        assert!(collide(a, b, true).is_ok());
    }
}

#[test]
fn reports_are_read_up_to_a_limit() {
    let place = place();
    let scratch = place.scratch(|upper| {
        write(upper, "r/a.xml", "<a/>");
        write(upper, "r/b.txt", "no");
        let huge = fs::File::create(upper.join("huge.xml")).unwrap();
        huge.set_len(33 << 20).unwrap();
    });
    let found = collect(&scratch.upper(), &globs(&["r/*.xml"])).unwrap();
    assert_eq!(found, [("r/a.xml".try_into().unwrap(), b"<a/>".to_vec())]);
    assert!(matches!(collect(&scratch.upper(), &globs(&["*.xml"])), Err(LayerError::TooLarge { .. })));
    assert_eq!(collect(&scratch.upper(), &globs(&["none/*.xml"])).unwrap(), []);
}

#[test]
fn files_belong_to_the_owner_of_the_store() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give files away; for others an owner is never asked for.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path(), Some((65534, 65534))).unwrap();
    let scratch = store.scratch().unwrap();
    assert_eq!(fs::metadata(scratch.work()).unwrap().uid(), 65534);
    write(&scratch.upper(), "out/x", "x");
    symlink("x", scratch.upper().join("out/l")).unwrap();
    let sealed = store.seal(&scratch.upper(), &globs(&["out"])).unwrap();
    let layer = store.path(&sealed.digest).unwrap();
    for path in ["", "out", "out/x", "out/l"] {
        let stat = fs::symlink_metadata(layer.join(path)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (65534, 65534), "{path}");
    }
}

#[test]
fn nobody_else_may_write_what_was_sealed() {
    let place = place();
    let modes =
        [("open", 0o666, 0o644), ("tool", 0o6777, 0o755), ("shared", 0o775, 0o755), ("mine", 0o600, 0o600)];
    let sealed = place
        .seal(&["**"], |upper| {
            for (path, mode, _) in modes {
                write(upper, path, path);
                fs::set_permissions(upper.join(path), fs::Permissions::from_mode(mode)).unwrap();
            }
        })
        .unwrap();
    let dir = place.store.path(&sealed.digest).unwrap();
    for (path, _, plain) in modes {
        assert_eq!(fs::metadata(dir.join(path)).unwrap().mode() & 0o7777, plain, "{path}");
        assert!(
            matches!(place.entry(&sealed, path), LayerEntry::File { mode, .. } if mode == plain),
            "{path}"
        );
    }
}
