//! A package after another of the same name: unchanged files are copied compressed, and nobody can tell.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Cursor,
};

use common::{What, any_tree, content, file, fixed_tree, noise, on_disk, pack, packed, tree};
use proptest::prelude::*;
use staith_packager::web_deploy::{Content, Earlier, WriteError, write_after};

/// The package of `content`, after the package whose bytes are `earlier`.
fn pack_after(earlier: &[u8], content: &Content) -> Result<Vec<u8>, WriteError> {
    let (_directory, path) = on_disk(earlier);
    let earlier = Earlier::of_file(File::open(path).unwrap()).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    write_after(content, Some(&earlier), &mut bytes, &staith_packager::stopping::unwatched)?;
    Ok(bytes.into_inner())
}

fn with_large_files(last: &str) -> BTreeMap<String, What> {
    let lines: Vec<u8> = (0..900_000u32).flat_map(|n| format!("{n:x} lamps\n").into_bytes()).collect();
    let mut tree =
        tree([("large.txt", file(lines)), ("noise.bin", file(noise(9 << 20))), ("small", file("small"))]);
    tree.insert("changed".into(), file(last));
    tree
}

#[test]
fn large_and_small_files_are_copied_without_being_read() {
    let (first, _) = packed(&with_large_files("one"));
    let scratch = tempfile::tempdir().unwrap();
    let after = content(scratch.path(), &with_large_files("two"));
    let anew = pack(&after).unwrap().0;
    for (path, host) in &after.files {
        if path.as_str() != "changed" {
            fs::remove_file(host).unwrap();
        }
    }
    assert!(pack_after(&first, &after).unwrap() == anew);
    assert!(matches!(pack(&after), Err(WriteError::Changed { .. })), "the files are not there");
}

#[test]
fn what_has_moved_is_found_by_its_content() {
    let (first, _) = packed(&fixed_tree());
    let moved: BTreeMap<_, _> =
        fixed_tree().into_iter().filter(|(_, what)| matches!(what, What::File(..))).collect();
    let moved = moved.into_iter().map(|(path, what)| (format!("below/{path}"), what)).collect();
    let scratch = tempfile::tempdir().unwrap();
    let after = content(scratch.path(), &moved);
    let anew = pack(&after).unwrap().0;
    scratch.close().unwrap();
    assert!(pack_after(&first, &after).unwrap() == anew);
}

#[test]
fn what_is_no_package_of_ours_is_no_help_and_no_harm() {
    let (whole, _) = packed(&fixed_tree());
    let sample = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/contentpath.zip")).unwrap();
    let mut swapped = whole.clone();
    let end = swapped.len() - 6;
    swapped[end..end + 4].fill(0xff);
    for (what, bytes) in [
        ("nothing", &[][..]),
        ("another's", &sample),
        ("cut", &whole[..whole.len() - 1]),
        ("longer", &[&whole[..], b"x"].concat()),
        ("a directory elsewhere", &swapped),
    ] {
        let (_directory, path) = on_disk(bytes);
        assert!(Earlier::of_file(File::open(path).unwrap()).is_none(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_bytes_do_not_tell_what_came_before(before in any_tree(), after in any_tree()) {
        let (earlier, _) = packed(&before);
        let scratch = tempfile::tempdir().unwrap();
        let after = content(scratch.path(), &after);
        prop_assert!(pack_after(&earlier, &after).unwrap() == pack(&after).unwrap().0);
    }

    #[test]
    fn no_bytes_make_it_panic(mut noise in prop::collection::vec(any::<u8>(), 0..300), whole: bool, at: prop::sample::Index) {
        if whole {
            let (mut bytes, _) = packed(&fixed_tree());
            let at = at.index(bytes.len());
            let upto = bytes.len().min(at + noise.len());
            bytes[at..upto].copy_from_slice(&noise[..upto - at]);
            noise = bytes;
        }
        let (_directory, path) = on_disk(&noise);
        let _ = Earlier::of_file(File::open(path).unwrap());
    }
}
