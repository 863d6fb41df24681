//! Archives as honest tools make them, and as nobody honest does.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::upkeep::GrowingRoom;

/// An entry for an archive, however odd.
#[derive(Debug, Clone)]
struct Odd {
    path: Vec<u8>,
    kind: EntryType,
    link: Vec<u8>,
    mode: u32,
    content: Vec<u8>,
    extensions: Vec<(&'static str, &'static [u8])>,
}

fn odd(path: &str, kind: EntryType, link: &str) -> Odd {
    let (path, link) = (path.into(), link.into());
    Odd { path, kind, link, mode: 0o644, content: Vec::new(), extensions: Vec::new() }
}

fn file(path: &str, content: &str) -> Odd {
    Odd { content: content.into(), ..odd(path, EntryType::Regular, "") }
}

fn directory(path: &str, mode: u32) -> Odd {
    Odd { mode, ..odd(path, EntryType::Directory, "") }
}

fn archive(entries: &[Odd]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for entry in entries {
        let mut extensions: Vec<(&str, &[u8])> = entry.extensions.clone();
        // As archives carry what a header has no room for; and unchecked, as a stranger would.
        extensions.push(("path", &entry.path));
        if !entry.link.is_empty() {
            extensions.push(("linkpath", &entry.link));
        }
        builder.append_pax_extensions(extensions).unwrap();
        let mut header = Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_mtime(1_000_000_000);
        header.set_size(entry.content.len() as u64);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        builder.append(&header, entry.content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A world with something precious in it, and a place for a layer beside it.
struct World {
    top: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        for name in ["layer", "replaced", "precious"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        fs::write(top.path().join("precious/file"), "as it was").unwrap();
        Self { top }
    }

    fn layer(&self) -> PathBuf {
        self.top.path().join("layer")
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(), Flaw> {
        let mut place =
            Place::new(&self.layer(), &self.top.path().join("replaced"), None, GrowingRoom::new(None, false))
                .unwrap();
        unpack(&mut &bytes[..], &mut place)?;
        place.finish().map(drop)
    }

    /// What is outside of the layer.
    fn is_untouched(&self) -> bool {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let precious = self.top.path().join("precious");
        let found = fs::metadata(precious.join("file")).unwrap();
        names(self.top.path()) == ["layer", "precious", "replaced"]
            && names(&precious) == ["file"]
            && found.nlink() == 1
            && found.permissions().mode() & 0o7000 == 0
            && fs::read(precious.join("file")).unwrap() == b"as it was"
    }
}

#[test]
fn a_layer_becomes_what_it_says() {
    let world = World::new();
    let entries = [
        directory("./", 0o755),
        directory("shut", 0o555),
        file("shut/inside", "in"),
        Odd { mode: 0o4755, ..file("bin/su", "root!") },
        directory("tmp", 0o1777),
        odd("link", EntryType::Symlink, "/etc/passwd"),
        odd("second", EntryType::Link, "bin/su"),
        odd("pipe", EntryType::Fifo, ""),
        file(".wh.gone", ""),
        file("whole/.wh..wh..opq", ""),
        file("whole/new", "new"),
        file(".wh..wh.plnk", ""),
        // Replaced, and then there again.
        file("again", "one"),
        file("again", "two"),
        file("dir-then-file/x", ""),
        file("dir-then-file", "file"),
        // Gone below, and there in this layer, in either order.
        file(".wh.back", ""),
        directory("back", 0o755),
        directory("forth", 0o755),
        file(".wh.forth", ""),
        Odd { kind: EntryType::Char, ..odd("dev/x", EntryType::Char, "") },
    ];
    // The last one is refused for being overlay's; without it all is well.
    assert!(world.unpack(&archive(&entries)).is_err());
    let world = World::new();
    world.unpack(&archive(&entries[..entries.len() - 1])).unwrap();
    let at = |path: &str| world.layer().join(path);
    let mode = |path: &str| fs::symlink_metadata(at(path)).unwrap().permissions().mode() & 0o7777;
    let opaque = |path: &str| xattr::get(at(path), "user.overlay.opaque").unwrap().as_deref() == Some(b"y");
    assert_eq!((mode("shut"), mode("bin/su"), mode("tmp")), (0o555, 0o755, 0o1777));
    assert_eq!(fs::read(at("shut/inside")).unwrap(), b"in");
    assert_eq!(fs::metadata(at("shut/inside")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::metadata(at("shut")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata(at("second")).unwrap().ino(), fs::metadata(at("bin/su")).unwrap().ino());
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    let gone = fs::symlink_metadata(at("gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(opaque("whole") && at("whole/new").exists() && !at("whole/.wh..wh..opq").exists());
    assert!(!at(".wh..wh.plnk").exists() && !at("plnk").exists());
    assert_eq!(fs::read(at("again")).unwrap(), b"two");
    assert_eq!(fs::read(at("dir-then-file")).unwrap(), b"file");
    assert!(opaque("back") && opaque("forth") && !opaque("bin"));
    // So that the directory can be removed by whoever runs this.
    fs::set_permissions(at("shut"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_no_honest_image_has_is_refused() {
    let precious = "../precious/file";
    for (what, entries) in [
        ("up", vec![file(precious, "x")]),
        ("up, later", vec![file("a/../../precious/file", "x")]),
        (
            "a link as a part of a path",
            vec![odd("out", EntryType::Symlink, "../precious"), file("out/file", "x")],
        ),
        ("an absolute link as a part", vec![odd("out", EntryType::Symlink, "/"), file("out/tmp/x", "x")]),
        (
            "a directory through a link",
            vec![odd("out", EntryType::Symlink, "../precious"), directory("out/x", 0o777)],
        ),
        ("a file as a part of a path", vec![file("a", ""), file("a/b", "")]),
        ("a hard link out", vec![odd("x", EntryType::Link, precious)]),
        (
            "a hard link through a link",
            vec![odd("out", EntryType::Symlink, "../precious"), odd("x", EntryType::Link, "out/file")],
        ),
        ("a hard link to what is not there", vec![odd("x", EntryType::Link, "nowhere")]),
        ("a hard link to a directory", vec![directory("d", 0o755), odd("x", EntryType::Link, "d")]),
        ("a whiteout as a device", vec![odd("x", EntryType::Char, "")]),
        ("a whiteout of the parent", vec![file(".wh...", "")]),
        ("a whiteout of itself", vec![file("a/.wh..", "")]),
        ("a whiteout of nothing", vec![file(".wh.", "")]),
        (
            "a whiteout through a link",
            vec![odd("out", EntryType::Symlink, "../precious"), file("out/.wh.file", "")],
        ),
        ("below a whiteout", vec![file(".wh.x/y", "")]),
        (
            "an opaque link",
            vec![odd("out", EntryType::Symlink, "../precious"), file("out/.wh..wh..opq/x", "")],
        ),
        (
            "overlay's attribute",
            vec![Odd {
                extensions: vec![("SCHILY.xattr.user.overlay.redirect", b"/etc")],
                ..directory("d", 0o755)
            }],
        ),
        (
            "overlay's other attribute",
            vec![Odd {
                extensions: vec![("SCHILY.xattr.trusted.overlay.opaque", b"y")],
                ..directory("d", 0o755)
            }],
        ),
        ("the root as a link", vec![odd("./", EntryType::Symlink, "/")]),
        ("a long name", vec![file(&"x".repeat(256), "")]),
        ("a long path", vec![file(&"x/".repeat(2000), "")]),
        ("a sparse file", vec![Odd { extensions: vec![("GNU.sparse.major", b"1")], ..file("x", "") }]),
        ("another kind", vec![odd("x", EntryType::new(b'Z'), "")]),
    ] {
        let world = World::new();
        let refused = world.unpack(&archive(&entries));
        assert!(refused.is_err(), "{what}");
        assert!(world.is_untouched(), "{what}");
    }
}

#[test]
fn devices_of_old_images_are_left_out_and_others_refused() {
    let device = |path: &str| {
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Char);
        header.set_path(path).unwrap();
        header.set_mode(0o666);
        header.set_mtime(0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
        builder.into_inner().unwrap()
    };
    let world = World::new();
    world.unpack(&device("dev/null")).unwrap();
    assert!(!world.layer().join("dev/null").exists());
    assert!(world.unpack(&device("opt/mem")).is_err());
}

#[test]
fn an_archive_may_lack_its_padding_but_not_its_content() {
    let whole = archive(&[file("a", "content"), file("b", "more")]);
    let end = whole.len();
    // The two blocks at the end, and what fills the last file's block.
    for cut in [512, 1024, 1024 + 500] {
        let world = World::new();
        world.unpack(&whole[..end - cut]).unwrap();
        assert_eq!(fs::read(world.layer().join("b")).unwrap(), b"more", "{cut}");
    }
    for cut in [1024 + 510, 1024 + 512 + 100] {
        assert!(World::new().unpack(&whole[..end - cut]).is_err(), "{cut}");
    }
    let mut damaged = whole;
    damaged[700] ^= 1;
    damaged[0] ^= 1;
    assert!(World::new().unpack(&damaged).is_err());
}

#[test]
fn names_that_never_end_are_not_kept_in_memory() {
    for kind in [EntryType::GNULongName, EntryType::XHeader, EntryType::GNULongLink, EntryType::XGlobalHeader]
    {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_cksum();
        let mut endless = std::io::Read::chain(&header.as_bytes()[..], std::io::repeat(b'x'));
        let world = World::new();
        let mut place = Place::new(
            &world.layer(),
            &world.top.path().join("replaced"),
            None,
            GrowingRoom::new(None, false),
        )
        .unwrap();
        assert!(matches!(unpack(&mut endless, &mut place), Err(Flaw::TooLarge(_))));
    }
}

/// Paths that often meet: a few names, among them those of what is precious.
fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("a"),
        4 => Just("precious"),
        3 => Just("file"),
        2 => Just("b"),
        1 => Just(".."),
        2 => prop::sample::select(vec![".", "", "layer", ".wh.a", ".wh.file", ".wh..wh..opq", ".wh.."]),
    ];
    let up = prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("../"), 1 => Just("a/../../")];
    (up, prop::collection::vec(part, 1..4)).prop_map(|(up, parts)| format!("{up}{}", parts.join("/")))
}

/// Where links lead: mostly out, whatever directory they are in.
fn any_target() -> impl Strategy<Value = String> {
    let out = prop::sample::select(vec!["..", "../..", "../precious", "../../precious", "../precious/file"]);
    prop_oneof![3 => out.prop_map(str::to_owned), 1 => any_path()]
}

fn any_entry() -> impl Strategy<Value = Odd> {
    let kind = prop::sample::select(vec![
        EntryType::Regular,
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
    ]);
    let content = prop::collection::vec(any::<u8>(), 0..4);
    (any_path(), kind, (any_path(), any_target()), 0u32..0o10000, content).prop_map(
        |(path, kind, (file, target), mode, content)| Odd {
            // A mode that lets nobody in would only stop the test from looking.
            mode: mode | 0o700,
            content: if kind == EntryType::Regular { content } else { Vec::new() },
            ..odd(&path, kind, if kind == EntryType::Link { &file } else { &target })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_ever_written_outside(entries in prop::collection::vec(any_entry(), 1..12), planted: bool) {
        let world = World::new();
        if planted {
            // As if an earlier archive had got this far.
            symlink("..", world.layer().join("a")).unwrap();
        }
        let _ = world.unpack(&archive(&entries));
        prop_assert!(world.is_untouched());
    }

    #[test]
    fn garbage_is_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000), start: bool) {
        let world = World::new();
        let bytes = if start { [archive(&[file("a", "b")]), bytes].concat() } else { bytes };
        let _ = world.unpack(&bytes);
        prop_assert!(world.is_untouched());
    }

    #[test]
    fn damage_anywhere_is_survived(at in 0usize..4096, to: u8) {
        let mut bytes = archive(&[directory("d", 0o755), file("d/f", "x"), odd("l", EntryType::Symlink, "d")]);
        let at = at % bytes.len();
        bytes[at] = to;
        let world = World::new();
        let _ = world.unpack(&bytes);
        prop_assert!(world.is_untouched());
    }
}
