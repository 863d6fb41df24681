//! A layer arrives as it was sent, or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use staith_builder::layers::{LayerStore, NotTaken};
use staith_model::Digest;

fn store(place: &Path) -> LayerStore {
    LayerStore::open(place, None).unwrap()
}

/// A layer with one thing of each kind.
fn layer(store: &LayerStore) -> Digest {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let scratch = store.scratch().unwrap();
    let upper = scratch.upper();
    fs::create_dir_all(upper.join("dist/deep")).unwrap();
    fs::write(upper.join("dist/deep/file"), "content").unwrap();
    fs::write(upper.join("dist/empty"), "").unwrap();
    fs::write(upper.join("dist/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(upper.join("dist/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("deep/file", upper.join("dist/link")).unwrap();
    mknodat(CWD, upper.join("dist/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    xattr::set(upper.join("dist/deep"), "user.overlay.opaque", b"y").unwrap();
    store.seal(&upper, &["dist".to_owned()]).unwrap().digest
}

fn sent() -> (tempfile::TempDir, Digest, Vec<u8>) {
    let place = tempfile::tempdir().unwrap();
    let from = store(place.path());
    let digest = layer(&from);
    let mut bytes = Vec::new();
    from.send(&digest, &mut bytes).unwrap();
    (place, digest, bytes)
}

#[test]
fn a_layer_arrives_as_it_was() {
    let (from, digest, bytes) = sent();
    let place = tempfile::tempdir().unwrap();
    let to = store(place.path());
    to.take(&digest, &mut bytes.as_slice()).unwrap();
    assert_eq!(to.manifest(&digest).unwrap(), store(from.path()).manifest(&digest).unwrap());
    let dir = to.path(&digest).unwrap();
    assert_eq!(fs::read(dir.join("dist/deep/file")).unwrap(), b"content");
    assert_eq!(fs::read_link(dir.join("dist/link")).unwrap(), Path::new("deep/file"));
    assert_eq!(fs::metadata(dir.join("dist/tool")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(xattr::get(dir.join("dist/deep"), "user.overlay.opaque").unwrap().unwrap(), b"y");
    // Sent on from there, it is the same again.
    let mut again = Vec::new();
    to.send(&digest, &mut again).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn whatever_is_changed_on_the_way_is_found() {
    let (_from, digest, bytes) = sent();
    let place = tempfile::tempdir().unwrap();
    let to = store(place.path());
    let refused = |bytes: &[u8]| {
        let taken = to.take(&digest, &mut &*bytes);
        assert!(matches!(taken, Err(NotTaken::Wrong { .. })), "{taken:?}");
        assert!(to.path(&digest).is_none());
    };
    // Every byte but those that say how long the record is, where a larger number only means that it ends early.
    for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed);
    }
    for length in [0, 10, 30, bytes.len() - 1] {
        refused(&bytes[..length]);
    }
    refused(&[&bytes[..], b"more"].concat());
    to.take(&digest, &mut bytes.as_slice()).unwrap();
}

/// What a hostile server could send: a record that has the digest that is asked for, and would lead out of the layer.
fn hostile(entries: &str, content: &[u8]) -> NotTaken {
    let manifest: staith_builder::layers::LayerManifest =
        serde_json::from_str(&format!("{{\"entries\":{entries}}}")).unwrap();
    let record = serde_json::to_vec(&manifest).unwrap();
    let length = (record.len() as u64).to_le_bytes();
    let bytes = [b"staith.layer.1\n".as_slice(), &length, &record, content].concat();
    let place = tempfile::tempdir().unwrap();
    store(place.path()).take(&manifest.digest(), &mut bytes.as_slice()).unwrap_err()
}

#[test]
fn nothing_leads_out_of_a_layer() {
    let file = format!("{{\"kind\":\"file\",\"mode\":420,\"size\":1,\"digest\":\"{}\"}}", Digest::of(b"x"));
    let link = "{\"kind\":\"symlink\",\"target\":\"/tmp\"}";
    let through = hostile(&format!("{{\"a\":{link},\"a/b\":{file}}}"), b"x");
    assert!(through.to_string().contains("`a/b` lies in no folder"), "{through}");
    let nowhere = hostile(&format!("{{\"a/b\":{file}}}"), b"x");
    assert!(nowhere.to_string().contains("lies in no folder"), "{nowhere}");
    let privileged = hostile(&format!("{{\"a\":{}}}", file.replace("420", "2541")), b"x");
    assert!(privileged.to_string().contains("mode"), "{privileged}");
}
