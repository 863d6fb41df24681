//! What holds for all trees.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use proptest::prelude::*;
use staith_model::{Digest, Manifest, RelPath};
use staith_packager::{
    apply::{self, ApplyOptions, FileFacts, InMemory, Node, PackageSource, PlanOptions, apply, what_if},
    web_deploy::PackageReader,
};

use crate::{
    common::{What, any_tree, on_disk, packed},
    series::Listing,
    site::Site,
};

type Trees = BTreeMap<String, What>;

fn source(tree: &Trees) -> InMemory {
    let mut source = InMemory { tree: apply::Tree::new("app"), ..InMemory::default() };
    for (path, what) in tree {
        let path = RelPath::try_from(path.as_str()).unwrap();
        let node = match what {
            What::Directory => Node::Directory,
            What::Link(target) => Node::Link { target: target.clone() },
            What::File(mode, bytes) => {
                source.bytes.insert(path.clone(), bytes.clone());
                let (size, time) = (bytes.len() as u64, i64::from(crc32fast::hash(bytes) & !1));
                Node::File(FileFacts { size, time, mode: Some(*mode | 0o600), ..FileFacts::default() })
            }
        };
        source.tree.insert(path, node);
    }
    source
}

/// What a destination holds once a tree was applied, with modes.
fn listing(tree: &Trees) -> Listing {
    let mut listing = Listing::new();
    for (path, what) in tree {
        for (at, _) in path.match_indices('/') {
            listing.insert(path[..=at].to_owned(), "- -".into());
        }
        let (path, line) = match what {
            What::Directory => (format!("{path}/"), "- -".into()),
            What::Link(target) => (path.clone(), format!("-> {target}")),
            What::File(_, bytes) => (path.clone(), format!("{} {}", bytes.len(), Digest::of(bytes).hex())),
        };
        listing.insert(path, line);
    }
    listing
}

fn options() -> impl Strategy<Value = ApplyOptions> {
    let rules = prop::sample::subsequence(
        vec![
            r"absolutePath=\\a$",
            r"objectName=filePath,absolutePath=config$",
            "skipAction=Delete,absolutePath=/_x",
            "skipAction=Update,objectName=filePath",
            "skipAction=AddChild,absolutePath=été",
        ],
        0..3,
    );
    (any::<[bool; 5]>(), rules).prop_map(
        |([checksum, do_not_delete, skip_newer, offline, one_by_one], rules)| {
            let skips = rules.into_iter().map(|rule| rule.parse().unwrap()).collect();
            ApplyOptions {
                plan: PlanOptions { checksum, do_not_delete, skip_newer, skips },
                app_offline: offline.then(|| b"soon".to_vec()),
                one_by_one,
                // The temporary directory's own name must not meet a rule.
                spelled: Some("S".into()),
                ..ApplyOptions::default()
            }
        },
    )
}

fn quick() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(quick())]

    #[test]
    fn the_destination_becomes_the_source_and_a_second_apply_changes_nothing(old in any_tree(), new in any_tree(), checksum: bool, one_by_one: bool) {
        let site = Site::new();
        let plan = PlanOptions { checksum, ..PlanOptions::default() };
        let options = ApplyOptions { plan, one_by_one, ..ApplyOptions::default() };
        apply(&source(&old), &site.path, &options, &()).unwrap();
        prop_assert_eq!(site.listing(), listing(&old));
        let planned = what_if(&source(&new), &site.path, &options).unwrap();
        let applied = apply(&source(&new), &site.path, &options, &()).unwrap();
        prop_assert_eq!(&applied.plan, &planned);
        prop_assert_eq!(site.listing(), listing(&new));
        let again = apply(&source(&new), &site.path, &options, &()).unwrap();
        prop_assert!(again.plan.is_empty(), "{:?}", again.plan);
    }

    #[test]
    fn what_if_tells_what_is_then_done_whatever_the_rules(old in any_tree(), new in any_tree(), options in options()) {
        let site = Site::new();
        apply(&source(&old), &site.path, &ApplyOptions::default(), &()).unwrap();
        let before = site.listing();
        let planned = what_if(&source(&new), &site.path, &options);
        prop_assert_eq!(site.listing(), before.clone());
        match apply(&source(&new), &site.path, &options, &()) {
            Ok(applied) => {
                let planned = planned.unwrap();
                prop_assert_eq!(&applied.plan, &planned);
                let after = site.listing();
                let went = before.keys().filter(|path| !after.contains_key(*path)).count() as u64;
                prop_assert_eq!(went, planned.counters.deleted - turned(&planned));
                prop_assert!(!after.contains_key("app_offline.htm"));
            }
            Err(why) => {
                prop_assert_eq!(why.to_string(), planned.unwrap_err().to_string());
                prop_assert_eq!(site.listing(), before);
            }
        }
    }

    #[test]
    fn a_package_of_staith_comes_out_with_modes_and_links(tree in any_tree()) {
        let (bytes, manifest) = packed(&tree);
        let (_scratch, path) = on_disk(&bytes);
        let package = PackageReader::open(&path).unwrap();
        let roots = package.content_roots();
        let source = PackageSource::new(&package, &roots[0], None, None).unwrap();
        let site = Site::new();
        apply(&source, &site.path, &ApplyOptions::default(), &()).unwrap();
        prop_assert_eq!(site.listing(), listing(&tree));
        prop_assert_eq!(modes(&site, &manifest), manifest_modes(&manifest));
        for checksum in [false, true] {
            let plan = PlanOptions { checksum, ..PlanOptions::default() };
            let again = apply(&source, &site.path, &ApplyOptions { plan, ..ApplyOptions::default() }, &()).unwrap();
            prop_assert!(again.plan.is_empty(), "{:?}", again.plan);
        }
    }
}

/// Objects that went under a name that something of the same listing came under: a link or a file in place of the other.
fn turned(plan: &apply::ApplyPlan) -> u64 {
    let is_listed_alike = |object| object != apply::Object::Directory;
    let deleted =
        plan.changes.iter().filter(|one| one.action == apply::Action::Delete && is_listed_alike(one.object));
    let again = |path: &RelPath| {
        plan.changes
            .iter()
            .any(|one| one.action == apply::Action::Add && is_listed_alike(one.object) && one.path == *path)
    };
    deleted.filter(|one| again(&one.path)).count() as u64
}

fn modes(site: &Site, manifest: &Manifest) -> BTreeMap<String, u32> {
    let mode =
        |path: &RelPath| fs::metadata(site.path.join(path.as_str())).unwrap().permissions().mode() & 0o777;
    manifest_modes(manifest)
        .into_keys()
        .map(|path| (path.clone(), mode(&path.as_str().try_into().unwrap())))
        .collect()
}

fn manifest_modes(manifest: &Manifest) -> BTreeMap<String, u32> {
    let files = manifest.entries.iter().filter_map(|(path, entry)| match entry {
        staith_model::Entry::File { mode, .. } => Some((path.to_string(), *mode)),
        _ => None,
    });
    files.collect()
}
