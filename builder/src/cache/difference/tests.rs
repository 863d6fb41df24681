use proptest::prelude::*;
use staith_model::{Command, Limits, Network, Readiness, ServicePlan, StepPlan};

use super::*;
use crate::{
    cache::{Beside, what_is_seen},
    layers::LayerEntry,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn path(text: &str) -> RelPath {
    text.try_into().unwrap()
}

fn step() -> StepPlan {
    StepPlan {
        env: [("RUSTFLAGS".to_owned(), "-C debuginfo=0".to_owned())].into(),
        ..StepPlan::new(name("test"), Command::Shell("make test".into()), Digest::of(b"tree"))
    }
}

fn inputs(files: &[(&str, &str)]) -> Inputs {
    files.iter().map(|(file, content)| (path(file), (*content).to_owned())).collect()
}

fn layer(files: &[(&str, &str)]) -> LayerManifest {
    let file =
        |content: &str| LayerEntry::File { mode: 0o644, size: 1, digest: Digest::of(content.as_bytes()) };
    LayerManifest { entries: files.iter().map(|(at, content)| (path(at), file(content))).collect() }
}

/// What is found when the step is changed so, over the same files and layers.
fn found(change: impl FnOnce(&mut StepPlan)) -> Vec<Change> {
    let mut now = step();
    change(&mut now);
    let (was, is) = (
        what_is_seen(&step(), Digest::of(b"image"), &[], &[]),
        what_is_seen(&now, Digest::of(b"image"), &[], &[]),
    );
    let sight = |seen| Sight { seen, layers: &[], inputs: None };
    changes(sight(&was), sight(&is), &[], &|_| None)
}

#[test]
fn each_part_of_the_key_has_its_words() {
    assert_eq!(found(|_| {}), []);
    let command = Change::Command { was: "make test".into(), is: "make -k".into() };
    assert_eq!(found(|step| step.command = Command::Argv(vec!["make".into(), "-k".into()])), [command]);
    let env = |name: &str, was: Option<&str>, is: Option<&str>| Change::Env {
        name: name.to_owned(),
        was: was.map(str::to_owned),
        is: is.map(str::to_owned),
    };
    let before = Some("-C debuginfo=0");
    assert_eq!(
        found(|step| drop(step.env.insert("RUSTFLAGS".into(), "-O".into()))),
        [env("RUSTFLAGS", before, Some("-O"))]
    );
    assert_eq!(found(|step| step.env.clear()), [env("RUSTFLAGS", before, None)]);
    assert_eq!(found(|step| drop(step.env.insert("CI".into(), "1".into()))), [env("CI", None, Some("1"))]);
    let network =
        Change::Setting { key: "network".into(), was: "\"loopback\"".into(), is: "\"none\"".into() };
    assert_eq!(found(|step| step.network = Network::None), [network]);
    assert_eq!(found(|step| step.input_tree = Digest::of(b"other")), [Change::Inputs]);
    assert_eq!(found(|step| step.timeout_seconds = 1), []);
}

#[test]
fn another_image_is_said_and_not_shown() {
    let (was, is) = (
        what_is_seen(&step(), Digest::of(b"a"), &[], &[]),
        what_is_seen(&step(), Digest::of(b"b"), &[], &[]),
    );
    let sight = |seen| Sight { seen, layers: &[], inputs: None };
    assert_eq!(changes(sight(&was), sight(&is), &[], &|_| None), [Change::Image]);
}

#[test]
fn what_changed_of_a_service_is_said_with_its_name() {
    let service = |name: &str, run: Option<&str>| ServicePlan {
        name: name.parse().unwrap(),
        image: None,
        command: run.map(|run| Command::Shell(run.to_owned())),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        ready: Readiness::Port(80),
        ready_seconds: 1,
        ports: vec![80],
        limits: Limits::default(),
    };
    let (db, cache) = (service("db", Some("serve")), service("cache", None));
    let image = Digest::of(b"i");
    let seen = |services: &[Beside<'_>]| what_is_seen(&step(), image, &[], services);
    let found = |was: &[Beside<'_>], is: &[Beside<'_>]| {
        let (was, is) = (seen(was), seen(is));
        let sight = |seen| Sight { seen, layers: &[], inputs: None };
        changes(sight(&was), sight(&is), &[], &|_| None)
    };
    let other = Digest::of(b"other");
    assert_eq!(found(&[(&db, image)], &[(&db, image)]), []);
    assert_eq!(found(&[(&db, image)], &[(&db, other)]), [Change::ServiceImage { service: "db".into() }]);
    assert_eq!(
        found(&[(&db, image)], &[(&cache, image)]),
        [
            Change::Service { service: "cache".into(), now: true },
            Change::Service { service: "db".into(), now: false },
        ]
    );
    assert_eq!(found(&[], &[(&db, image)]), [Change::Service { service: "db".into(), now: true }]);
    let setting = |key: &str, was: &str, is: &str| Change::ServiceSetting {
        service: "db".into(),
        key: key.into(),
        was: was.into(),
        is: is.into(),
    };
    let bare = service("db", None);
    assert_eq!(
        found(&[(&db, image)], &[(&bare, image)]),
        [setting("command", "serve", "what its image says")]
    );
    let two = ServicePlan { ports: vec![80, 81], ..db.clone() };
    assert_eq!(found(&[(&db, image)], &[(&two, image)]), [setting("ports", "[80]", "[80,81]")]);
}

#[test]
fn files_are_named_with_what_became_of_them() {
    let mut other = step();
    other.input_tree = Digest::of(b"other");
    let (was, is) =
        (what_is_seen(&step(), Digest::of(b"i"), &[], &[]), what_is_seen(&other, Digest::of(b"i"), &[], &[]));
    let (before, now) =
        (inputs(&[("a", "1"), ("b", "1"), ("d", "1")]), inputs(&[("a", "1"), ("b", "2"), ("c", "1")]));
    let was = Sight { seen: &was, layers: &[], inputs: Some(&before) };
    let is = Sight { seen: &is, layers: &[], inputs: Some(&now) };
    let input = |file: &str, how| Change::Input { path: path(file), how };
    let expected = [input("b", How::Changed), input("c", How::Added), input("d", How::Removed)];
    assert_eq!(changes(was, is, &[], &|_| None), expected);
    assert_eq!(changes(Sight { inputs: None, ..was }, is, &[], &|_| None), [Change::Inputs]);
}

#[test]
fn a_step_that_left_other_files_is_named_with_them() {
    let manifests: BTreeMap<Digest, Arc<LayerManifest>> = [
        (Digest::of(b"old"), layer(&[("Cargo.lock", "1"), ("kept", "1")])),
        (Digest::of(b"new"), layer(&[("Cargo.lock", "2"), ("kept", "1")])),
    ]
    .map(|(digest, manifest)| (digest, Arc::new(manifest)))
    .into();
    let seen = what_is_seen(&step(), Digest::of(b"i"), &[], &[]);
    let sight = |layers| Sight { seen: &seen, layers, inputs: None };
    let (old, new) = ([(name("restore"), Digest::of(b"old"))], [(name("restore"), Digest::of(b"new"))]);
    let known = |digest: &Digest| manifests.get(digest).cloned();
    let paths = vec![(path("Cargo.lock"), How::Changed)];
    let expected = [Change::Layer { step: name("restore"), paths, more: 0 }];
    assert_eq!(changes(sight(&old), sight(&new), &[], &known), expected);
    assert_eq!(changes(sight(&old), sight(&new), &[name("restore")], &known), []);
    let gone = [Change::Layer { step: name("restore"), paths: vec![], more: 0 }];
    assert_eq!(changes(sight(&old), sight(&new), &[], &|_| None), gone);
    let no_more = [Change::Needs { step: name("restore"), now: false }];
    assert_eq!(changes(sight(&old), sight(&[]), &[], &known), no_more);
}

proptest! {
    /// Whatever is compared, nothing is said of equal sights, and something of different ones.
    #[test]
    fn there_are_changes_exactly_where_keys_differ(
        env in prop::collection::btree_map("[A-C]", "[x-z]", 0..3),
        other in prop::collection::btree_map("[A-C]", "[x-z]", 0..3),
        script in "[ab]", another in "[ab]",
        image in 0..2u8, other_image in 0..2u8,
    ) {
        let step = |env: &BTreeMap<String, String>, script: &str| StepPlan {
            env: env.clone(),
            ..StepPlan::new(name("s"), Command::Shell(script.to_owned()), Digest::of(b"tree"))
        };
        let (one, two) = (step(&env, &script), step(&other, &another));
        let (image, other_image) = (Digest::of(&[image]), Digest::of(&[other_image]));
        let (was, is) = (what_is_seen(&one, image, &[], &[]), what_is_seen(&two, other_image, &[], &[]));
        let sight = |seen| Sight { seen, layers: &[], inputs: None };
        let found = changes(sight(&was), sight(&is), &[], &|_| None);
        let same = crate::cache::step_key(&one, image, &[], &[]) == crate::cache::step_key(&two, other_image, &[], &[]);
        prop_assert_eq!(found.is_empty(), same);
    }
}
