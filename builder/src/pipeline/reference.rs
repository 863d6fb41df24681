//! Holds `docs/runner-toml.md` to the tables that the parser reads by: between `<!-- keys: steps -->` and `<!-- end -->` stands
//! exactly what the tables say. `STAITH_UPDATE_EXPECTED=1` writes it down.

use std::{fs, path::PathBuf};

use super::{
    KEYS, bars, concurrency, environments,
    keys::{Keys, NAME, Shape, TEXT},
    matrix, package, parameters, placement, resources, retries, services, step_keys, triggers,
};

const TABLES: [(&str, &Keys); 42] = [
    ("file", &KEYS),
    ("defaults", &resources::KEYS),
    ("parameters", &parameters::KEYS),
    ("steps", &step_keys::KEYS),
    ("coverage", &bars::COVERAGE_KEYS),
    ("findings", &bars::FINDINGS_KEYS),
    ("retry", &retries::KEYS),
    ("matrix", &matrix::KEYS),
    ("runner", &placement::KEYS),
    ("services", &services::KEYS),
    ("ready", &services::READY_KEYS),
    ("push", &triggers::PUSH_KEYS),
    ("pull-request", &triggers::PULL_REQUEST_KEYS),
    ("tag", &triggers::TAG_KEYS),
    ("schedule", &triggers::SCHEDULE_KEYS),
    ("concurrency", &concurrency::KEYS),
    ("package", &package::KEYS),
    ("environments", &environments::local::KEYS),
    ("health", &environments::health::KEYS),
    ("machines", &environments::fleet::KEYS),
    ("target", &environments::targets::KEYS),
    ("inventory", &environments::targets::INVENTORY_KEYS),
    ("provision", &environments::provision::KEYS),
    ("cloud-init", &environments::provision::CLOUD_INIT_KEYS),
    ("service", &environments::service::SYSTEMD_KEYS),
    ("service-unit", &environments::service::UNIT_KEYS),
    ("service-command", &environments::service::COMMAND_KEYS),
    ("machine-health", &environments::health::FLEET_KEYS),
    ("strategy", &environments::rollout::STRATEGY_KEYS),
    ("all-at-once", &environments::rollout::ALL_AT_ONCE_KEYS),
    ("rolling", &environments::rollout::ROLLING_KEYS),
    ("canary", &environments::rollout::CANARY_KEYS),
    ("canary-step", &environments::rollout::STEP_KEYS),
    ("metric", &environments::rollout::METRIC_KEYS),
    ("blue-green", &environments::rollout::BLUE_GREEN_KEYS),
    ("traffic", &environments::traffic::KEYS),
    ("haproxy", &environments::traffic::HAPROXY_KEYS),
    ("haproxy-node", &environments::traffic::haproxy::NODE_KEYS),
    ("built-in", &environments::traffic::BUILT_IN_KEYS),
    ("dns", &environments::traffic::DNS_KEYS),
    ("traffic-manager", &environments::traffic::TRAFFIC_MANAGER_KEYS),
    ("hook", &environments::hooks::KEYS),
];

fn table(keys: &Keys) -> String {
    let rows = keys.known.iter().map(|key| {
        let kind = kind(&key.shape);
        format!("| `{}` | {kind} | {} | {} |\n", key.name, key.default, key.meaning)
    });
    format!("| key | type | default | meaning |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Text(kind) => kind.what.to_owned(),
        Shape::Word(_) => TEXT.what.to_owned(),
        Shape::Truth => "`true` or `false`".to_owned(),
        Shape::Whole { .. } => "whole number".to_owned(),
        Shape::Number { .. } => "number".to_owned(),
        Shape::List { of, .. } => match of {
            Shape::Text(kind) => format!("list of {}s", kind.what),
            Shape::Word(_) => "list of texts".to_owned(),
            Shape::Whole { .. } => "list of whole numbers".to_owned(),
            _ => "list".to_owned(),
        },
        Shape::Named { names, of: Shape::Table(_), .. } if names.what == NAME.what => "tables".to_owned(),
        Shape::Named { of, .. } => format!("table of {}s", kind(of)),
        Shape::NamedBut { .. } | Shape::Table(_) => "table".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(kind).collect::<Vec<_>>().join(", or "),
    }
}

#[test]
fn the_reference_page_says_what_the_tables_say() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/runner-toml.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut expected = String::new();
    let mut rest = page.as_str();
    let mut told = Vec::new();
    while let Some((before, after)) = rest.split_once("<!-- keys: ") {
        let (name, behind) = after.split_once(" -->\n").unwrap();
        let (_, behind) = behind.split_once("<!-- end -->").unwrap();
        let (_, keys) =
            TABLES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no table {name}"));
        expected.push_str(&format!("{before}<!-- keys: {name} -->\n\n{}\n<!-- end -->", table(keys)));
        told.push(name.to_owned());
        rest = behind;
    }
    expected.push_str(rest);
    if std::env::var_os("STAITH_UPDATE_EXPECTED").is_some() {
        fs::write(&path, &expected).unwrap();
    } else {
        assert_eq!(page, expected, "run the tests with STAITH_UPDATE_EXPECTED=1 to write the tables down");
    }
    for (name, _) in TABLES {
        assert_eq!(
            told.iter().filter(|told| *told == name).count(),
            1,
            "the page has no table {name}, or two"
        );
    }
}
