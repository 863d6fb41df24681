//! The house holds to its plan: who may use what, and a map at each door. The table is that of docs/architecture.md.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each crate with the crates of ours that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("builder", &["model"]),
    ("packager", &["model"]),
    ("releaser/machine", &["model"]),
    ("releaser", &["model", "packager", "machine"]),
    ("runner/server", &["model", "packager", "releaser"]),
    ("runner", &["model", "builder", "packager", "releaser", "server"]),
];

/// What the model must not know: the outside world.
const OUTSIDE_WORLD: &[&str] = &[
    "tokio",
    "std::fs",
    "std::process",
    "std::net",
    "std::env",
    "std::io",
    "std::thread",
    "SystemTime",
    "Instant",
];

fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources(room: &str) -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = vec![];
    walk(&house().join(room).join("src"), &mut found);
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn each_crate_uses_only_what_the_plan_allows() {
    for (room, allowed) in MAY_USE {
        let manifest = fs::read_to_string(house().join(room).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|section| section.as_table()) else {
                continue;
            };
            for ours in dependencies.keys().filter_map(|name| name.strip_prefix("staith-")) {
                assert!(allowed.contains(&ours), "{room} must not use {ours} ({section})");
            }
        }
    }
}

#[test]
fn the_model_knows_nothing_of_the_outside_world() {
    for (path, text) in sources("model") {
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in OUTSIDE_WORLD {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn each_library_opens_with_a_map_of_its_rooms() {
    for (room, _) in MAY_USE.iter().filter(|(room, _)| *room != "runner") {
        let door = fs::read_to_string(house().join(room).join("src/lib.rs")).unwrap();
        let map: String = door.lines().take_while(|line| line.starts_with("//!")).collect();
        for public in door.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
            assert!(map.contains(&format!("[`{public}`]")), "{room}'s map does not show {public}");
        }
    }
}

#[test]
fn system_calls_without_a_net_are_made_in_one_room() {
    for (room, _) in MAY_USE {
        for (path, text) in sources(room) {
            let place = path.strip_prefix(house()).unwrap().to_string_lossy().into_owned();
            let in_the_room = place.starts_with("builder/src/sandbox/sys");
            let has_unsafe =
                text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe {"));
            assert!(in_the_room || !has_unsafe, "{place} has an unsafe block");
            assert!(in_the_room || !text.contains("allow(unsafe_code)"), "{place} allows unsafe code");
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(house().join("Cargo.toml")).unwrap();
    let dependencies =
        manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let unexplained: BTreeSet<&str> = dependencies
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with("staith-") && !line.contains(" # "))
        .collect();
    assert!(unexplained.is_empty(), "without a reason: {unexplained:#?}");
}

#[test]
fn the_table_of_exit_codes_is_the_codes() {
    let table = fs::read_to_string(house().join("docs/exit-codes.md")).unwrap();
    let rows = staith_model::Exit::ALL.map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()));
    let written: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.contains("code")).collect();
    assert_eq!(written, rows);
}

#[test]
fn each_fault_is_done_in_a_test_that_is_there() {
    let page = fs::read_to_string(house().join("docs/faults.md")).unwrap();
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| F") || line.starts_with("| all")).collect();
    for row in &rows {
        let named: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').collect();
        let [_, file, _, test, _] = named.as_slice() else { panic!("{row}") };
        let text = fs::read_to_string(house().join(file)).unwrap_or_else(|none| panic!("{row}: {none}"));
        assert!(text.contains(&format!("fn {test}")), "{row}");
    }
    let known: BTreeSet<&str> = rows.iter().filter_map(|row| row.split(' ').nth(1)).collect();
    for fault in [1, 2, 4, 5, 9, 10, 11, 12, 13, 22, 23, 25, 26, 29, 36, 41, 42, 48, 49, 50, 57] {
        assert!(known.contains(format!("F{fault}").as_str()), "nobody does F{fault}");
    }
}

/// A value of every setting that a project has; one that is added is missed here by the compiler.
fn all_settings() -> serde_json::Value {
    use staith_model::service::{Concurrency, ForgeKind, ForgeSettings, Priority, ProjectSettings, Schedule};
    let forge = ForgeSettings {
        kind: ForgeKind::Github,
        url: Some(String::new()),
        repository: Some(String::new()),
        webhook_secret: Some(String::new()),
        status_secret: Some(String::new()),
    };
    let schedule = Schedule {
        name: "nightly".parse().unwrap(),
        cron: String::new(),
        time_zone: String::new(),
        branch: String::new(),
        only_if_changed: true,
        priority: Priority::HIGHEST,
    };
    let settings = ProjectSettings {
        protected_branches: vec![String::new()],
        protected_tags: vec![String::new()],
        forge: Some(forge),
        poll_seconds: Some(60),
        schedules: vec![schedule],
        batch_pushes: true,
        pool: "default".parse().unwrap(),
        pools: vec!["big".parse().unwrap()],
        concurrency: Concurrency::Wait,
    };
    serde_json::to_value(settings).unwrap()
}

/// The keys of a value; those of a table in it, or of the tables of a list, after a dot.
fn keys(value: &serde_json::Value, before: &str, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = format!("{before}{key}");
        let inner = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        if !value.is_object() {
            found.insert(name.clone());
        }
        keys(inner, &format!("{name}."), found);
    }
}

#[test]
fn the_table_of_settings_has_each_setting_of_a_project_and_no_other() {
    let page = fs::read_to_string(house().join("docs/server.md")).unwrap();
    let table =
        page.split("| key | takes | default | meaning |\n").nth(1).expect("docs/server.md has the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let written: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
            cells[0].trim_matches('`').to_owned()
        })
        .collect();
    let mut known = BTreeSet::new();
    keys(&all_settings(), "", &mut known);
    assert_eq!(written, known);
}
