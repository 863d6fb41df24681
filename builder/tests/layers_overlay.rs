//! Sealing and stacking layers gives what the step saw: compared with the kernel's own overlay, for random steps.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use staith_builder::layers::{self, LayerStore};
use staith_model::Digest;

/// Runs a script in an overlay of `lowers` (lowest first), in a mount namespace that ends with it; then copies what the
/// workspace shows to `copy`.
fn step(lowers: &[PathBuf], upper: &Path, work: &Path, script: &str, copy: &Path) {
    let home = tempfile::tempdir().unwrap();
    let stacked: Vec<_> = lowers.iter().rev().map(|dir| dir.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr,volatile",
        stacked.join(":"),
        upper.display(),
        work.display()
    );
    let whole = format!(
        "mount -t overlay overlay -o '{options}' '{at}'\n cd '{at}'\n set +e\n {script}\n set -e\n cp -a '{at}/.' '{copy}'",
        at = home.path().display(),
        copy = copy.display(),
    );
    let root = rustix::process::geteuid().is_root();
    let flags: &[&str] = if root { &["-m"] } else { &["-U", "-r", "-m"] };
    let output = Command::new("unshare").args(flags).args(["sh", "-ec", &whole]).output().unwrap();
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
}

fn command() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec!["a", "b", "a/x", "a/y", "a/x/p", "b/z", "b/z/q", "a/x/p/r"]);
    let text = "[a-c]{0,2}";
    prop_oneof![
        4 => (path.clone(), text).prop_map(|(path, text)| format!("mkdir -p $(dirname {path}); printf '{text}' >{path}")),
        2 => path.clone().prop_map(|path| format!("mkdir -p {path}")),
        2 => path.clone().prop_map(|path| format!("rm -rf {path}")),
        1 => path.clone().prop_map(|path| format!("rm -rf {path}; mkdir -p {path}; echo new >{path}/fresh")),
        // Nothing is there: what a later command writes through the link must not land on this machine.
        1 => path.clone().prop_map(|path| format!("ln -sfn /not/on/this/machine {path}")),
        1 => path.clone().prop_map(|path| format!("chmod 4755 {path}")),
        1 => (path.clone(), path).prop_map(|(from, to)| format!("mv {from} {to}")),
    ]
}

fn check(scripts: &[Vec<String>]) {
    let store_dir = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let store = LayerStore::open(store_dir.path(), None).unwrap();
    let base = store_dir.path().join("base");
    fs::create_dir(&base).unwrap();
    let mut layers: Vec<Digest> = Vec::new();
    for (number, script) in scripts.iter().enumerate() {
        let copy = copies.path().join(number.to_string());
        fs::create_dir(&copy).unwrap();
        let mut lowers = vec![base.clone()];
        lowers.extend(layers.iter().map(|layer| store.path(layer).unwrap()));
        let scratch = store.scratch().unwrap();
        // Something is always left, so that the glob for everything matches.
        let script = format!("{}\necho {number} >marker", script.join("\n"));
        step(&lowers, &scratch.upper(), &scratch.work(), &script, &copy);
        layers.push(store.seal(&scratch.upper(), &["**".to_owned()]).unwrap().digest);

        let (copied, _) = layers::merged(&[copy]).unwrap();
        let (stacked, places) = store.merged(&layers).unwrap();
        let plain = |mut manifest: staith_model::Manifest| {
            manifest.entries.values_mut().for_each(|entry| {
                if let staith_model::Entry::File { mode, .. } = entry {
                    *mode &= 0o777;
                }
            });
            manifest
        };
        assert_eq!(plain(copied), stacked, "after {script}");
        let dirs: Vec<_> = layers.iter().map(|layer| store.path(layer).unwrap()).collect();
        let (scanned, scanned_places) = layers::merged(&dirs).unwrap();
        assert_eq!((scanned, scanned_places), (stacked, places), "records and directories say the same");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn stacking_layers_equals_copying(scripts in prop::collection::vec(prop::collection::vec(command(), 0..7), 1..4)) {
        check(&scripts);
    }
}

#[test]
fn a_replaced_directory_is_merged_with_what_comes_later() {
    check(&[
        vec!["ln -s /etc a".into()],
        vec!["rm -rf a; mkdir a; echo new >a/fresh".into()],
        vec!["echo more >a/x".into()],
    ]);
}

#[test]
fn replacing_and_removing_survive_in_every_order() {
    check(&[
        vec!["mkdir -p a/x b; echo 1 >a/x/p; echo 2 >b/z".into()],
        vec!["rm -rf a; mkdir a; echo 3 >a/y; rm b/z".into()],
        vec!["rm -rf b; echo file >b".into()],
        vec!["rm b; mkdir b; echo 4 >b/q; rm -rf a".into()],
    ]);
}
