//! What a step may not do, tried in every kind of sandbox: the built-in one with the host's own root and with an image, and
//! containers of Docker and Podman; made by root and by an ordinary user. The table is in support/attacks, and docs/security.md
//! walks through it. Prints the results; `--nocapture` shows them. Root, and the packages that tests/run installs, are needed
//! for all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::print_stderr, reason = "the results of all sandboxes are what this is for")]

mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_builder::engine::Engine;
use staith_model::Network;
use support::{
    attacks::{
        apart, batch,
        canaries::Canaries,
        numbers, rooms,
        row::{Column, Docker, Host, Image, Kind, NOT_RUN, Podman, Row, Stage, Tried},
        table,
        verdict::{Results, Verdict},
    },
    bench::{Bench, built_in},
    container_engine::{ContainerEngine, Kind as EngineKind, LENT},
    containers::containers,
    ordinary_user,
    rootfs::InImage,
};

/// Where the same test, run again as an ordinary user, leaves what came out.
const RESULTS: &str = "STAITH_TEST_ATTACKS_RESULTS";

/// Numbers of rows, with commas between them, if not all are to be tried.
const ONLY: &str = "STAITH_TEST_ATTACKS_ROWS";

fn wanted() -> Vec<Row> {
    let only = env::var(ONLY).unwrap_or_default();
    let only: Vec<u8> = only.split_terminator(',').map(|number| number.trim().parse().unwrap()).collect();
    table().into_iter().filter(|row| only.is_empty() || only.contains(&row.number)).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_anywhere() {
    if apart::run_again("no_attack_gets_anywhere") {
        return;
    }
    let rows = wanted();
    let mut canaries = Canaries::new();
    let told = env::var_os(RESULTS).map(PathBuf::from);
    let outside = told.is_none().then(|| rooms::outside(&rows, &canaries));
    canaries.hang_up();
    // Kept until the ordinary user has been there.
    let docker =
        (is_root() || env::var_os(LENT).is_some()).then(|| ContainerEngine::shared(EngineKind::Docker));
    let as_a_user = docker.as_ref().filter(|_| is_root()).map(|docker| {
        tokio::task::spawn_blocking({
            let docker = Arc::clone(docker);
            move || as_an_ordinary_user(docker.place())
        })
    });
    let mut results = Vec::new();
    for kind in kinds() {
        let column = Column { kind, by_root: is_root() };
        results.push((column, attack(&rows, column, &canaries).await));
    }
    canaries.are_well();
    if let Some(at) = told {
        let named: BTreeMap<String, &Results> =
            results.iter().map(|(column, results)| (format!("{:?}", column.kind), results)).collect();
        fs::write(at, serde_json::to_vec(&named).unwrap()).unwrap();
        return;
    }
    if let Some(running) = as_a_user {
        results.extend(running.await.unwrap());
    }
    let verdict = Verdict { rows: &rows, results, outside };
    let table = verdict.table();
    eprintln!("{table}");
    let flaws = verdict.flaws();
    assert!(flaws.is_empty(), "{table}\n{} flaws:\n{}", flaws.len(), flaws.join("\n"));
}

/// Which sandboxes can be had here.
fn kinds() -> Vec<Kind> {
    match (is_root(), env::var_os(LENT)) {
        (true, _) => vec![Host, Image, Docker, Podman],
        (false, Some(_)) => vec![Host, Image, Docker],
        (false, None) => vec![Host, Image],
    }
}

fn as_an_ordinary_user(docker: &Path) -> Vec<(Column, Results)> {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let at = place.path().join("results");
    let apart = env::var_os(apart::APART).unwrap();
    let only = env::var_os(ONLY).unwrap_or_default();
    let variables = [
        (LENT, docker.as_os_str()),
        (RESULTS, at.as_os_str()),
        (apart::APART, apart.as_os_str()),
        (ONLY, only.as_os_str()),
    ];
    ordinary_user::run_again_with("the_table_is_whole", &variables);
    let named: BTreeMap<String, Results> = serde_json::from_slice(&fs::read(at).unwrap()).unwrap();
    let column =
        |name: &str| [Host, Image, Docker, Podman].into_iter().find(|kind| format!("{kind:?}") == name);
    named
        .into_iter()
        .map(|(name, results)| (Column { kind: column(&name).unwrap(), by_root: false }, results))
        .collect()
}

async fn attack(rows: &[Row], column: Column, canaries: &Canaries) -> Results {
    let place = tempfile::tempdir().unwrap();
    let images = place.path().join("images");
    match column.kind {
        Host => {
            let engine = built_in(place.path()).allowing_images_below(vec![images.clone()]);
            fs::create_dir(&images).unwrap();
            try_all(rows, column, canaries, &engine, images).await
        }
        Image => try_all(rows, column, canaries, &InImage::new(place.path()), images).await,
        Docker => in_containers(rows, column, canaries, EngineKind::Docker).await,
        Podman => in_containers(rows, column, canaries, EngineKind::Podman).await,
    }
}

async fn in_containers(rows: &[Row], column: Column, canaries: &Canaries, kind: EngineKind) -> Results {
    let engine = containers(kind);
    let images = engine.daemon.place().to_path_buf();
    try_all(rows, column, canaries, &engine, images).await
}

async fn try_all(
    rows: &[Row],
    column: Column,
    canaries: &Canaries,
    engine: &dyn Engine,
    images: PathBuf,
) -> Results {
    let bench = Bench::new(engine).await;
    // The most open network is the one that is compared; in the other one nothing may be weaker.
    let mut results = batch::run(engine, &bench, rows, canaries, Network::Outbound).await;
    for (place, met) in batch::run(engine, &bench, rows, canaries, Network::Loopback).await {
        let row = &rows[place];
        let refused = (row.needs)().is_some() || row.refusals_in(column).contains(&met.as_str());
        if !refused {
            results.insert(place, format!("{met} with loopback alone"));
        }
    }
    for (place, row) in rows.iter().enumerate() {
        if (row.needs)().is_some() {
            results.insert(place, NOT_RUN.to_owned());
            continue;
        }
        if let Tried::Scenario(scenario) = row.tried {
            let stage = Stage { engine, bench: &bench, column, images: images.clone() };
            results.insert(place, scenario(&stage).await);
        }
    }
    results
}

#[test]
fn the_table_is_whole() {
    let rows = table();
    for number in numbers() {
        assert!(rows.iter().any(|row| row.number == number), "no row {number}");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let page = fs::read_to_string(page).unwrap();
    for number in numbers() {
        assert!(page.contains(&format!("\n| {number} |")), "docs/security.md says nothing of row {number}");
    }
}
