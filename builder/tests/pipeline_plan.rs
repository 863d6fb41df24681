//! What holds of every plan.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{cell::RefCell, collections::BTreeSet};

use proptest::prelude::*;
use staith_builder::{
    pipeline::{Pipeline, render},
    plan::{self, Occasion},
};
use staith_model::{Digest, Plan, Source};

fn source() -> Source {
    Source { tree: "a".repeat(40), commit: Some("b".repeat(40)), dirty: false }
}

fn plan(pipeline: &Pipeline, source: Source, tree: &dyn Fn(&[String]) -> Digest) -> Plan {
    plan::plan(pipeline, source, &Occasion::default(), tree).unwrap()
}

fn planned(text: &str) -> Plan {
    let pipeline = Pipeline::parse("runner.toml", text)
        .unwrap_or_else(|errors| panic!("{}", render(&errors, false, 100)));
    plan(&pipeline, source(), &|globs| Digest::of(globs.join("\n").as_bytes()))
}

fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn step_names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.name.to_string()).collect()
}

/// One `[steps.*]` table for each list of needs; a step needs only steps of smaller numbers, so there is no circle.
fn tables(needs: &[Vec<usize>]) -> Vec<String> {
    let table = |(number, needs): (usize, &Vec<usize>)| {
        let needs: BTreeSet<usize> =
            needs.iter().filter(|_| number > 0).map(|need| need % number.max(1)).collect();
        let needs: Vec<String> = needs.iter().map(|need| format!("\"s{need}\"")).collect();
        format!("[steps.s{number}]\nrun = \"x\"\noutputs = [\"o{number}\"]\nneeds = [{}]\n", needs.join(", "))
    };
    needs.iter().enumerate().map(table).collect()
}

fn file(tables: &[String]) -> String {
    format!("name = \"x\"\nversion = \"1\"\n{}", tables.concat())
}

fn any_needs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::vec(0..100usize, 0..4), 1..12)
}

fn shuffled_tables() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    any_needs().prop_flat_map(|needs| (Just(tables(&needs)), Just(tables(&needs)).prop_shuffle()))
}

proptest! {
    #[test]
    fn every_step_comes_after_its_layers_and_layers_are_all_that_it_needs((_, tables) in shuffled_tables()) {
        let plan = planned(&file(&tables));
        prop_assert_eq!(plan.steps.len(), tables.len());
        for (position, step) in plan.steps.iter().enumerate() {
            let before = &plan.steps[..position];
            prop_assert!(step.needs.iter().all(|need| before.iter().any(|other| other.name == *need)));
            // The layers, in the order of the plan, are the closure of the needs.
            let mut closure: BTreeSet<_> = step.needs.iter().cloned().collect();
            for need in &step.needs {
                closure.extend(plan.step(need).unwrap().layers.iter().cloned());
            }
            let expected: Vec<_> = before.iter().map(|other| other.name.clone()).filter(|name| closure.contains(name)).collect();
            prop_assert_eq!(&step.layers, &expected);
        }
    }

    #[test]
    fn among_steps_that_could_come_next_the_file_decides((_, tables) in shuffled_tables()) {
        let text = file(&tables);
        let pipeline = Pipeline::parse("runner.toml", &text).unwrap();
        let position = |name: &str| pipeline.steps().iter().position(|step| step.name.as_str() == name).unwrap();
        let plan = planned(&text);
        for (at, step) in plan.steps.iter().enumerate() {
            let done = &plan.steps[..at];
            let is_ready = |other: &&staith_model::StepPlan| other.needs.iter().all(|need| done.iter().any(|step| step.name == *need));
            for other in plan.steps[at..].iter().filter(is_ready) {
                prop_assert!(position(step.name.as_str()) <= position(other.name.as_str()));
            }
        }
    }

    #[test]
    fn the_order_of_tables_only_breaks_ties((tables, shuffled) in shuffled_tables()) {
        let as_sets = |plan: Plan| {
            let step = |mut step: staith_model::StepPlan| { step.layers.sort(); (step.name.clone(), step) };
            plan.steps.into_iter().map(step).collect::<std::collections::BTreeMap<_, _>>()
        };
        prop_assert_eq!(as_sets(planned(&file(&tables))), as_sets(planned(&file(&shuffled))));
    }

    #[test]
    fn without_ties_the_order_of_tables_means_nothing(order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle()) {
        let chain = tables(&(0..8usize).map(|step| vec![step.saturating_sub(1)]).collect::<Vec<_>>());
        let shuffled: Vec<String> = order.iter().map(|step| chain[*step].clone()).collect();
        prop_assert_eq!(planned(&file(&chain)).digest(), planned(&file(&shuffled)).digest());
    }
}

const FULL: &str = r#"name = "guestbook"
version = "1.0.0"
tools = ["rust"]
[steps.restore]
run = "cargo fetch"
outputs = ["vendor"]
[steps.build]
kind = "build"
needs = ["restore"]
run = "cargo build"
inputs = ["src/**"]
outputs = ["target/release/x"]
reports = ["junit.xml"]
env = { A = "b" }
network = "loopback"
timeout = "30m"
workdir = "app"
memory = "1GiB"
cpu = 1
processes = 100
[package]
name = "guestbook"
from = ["build"]
root = "target"
include = ["release/**"]
exclude = ["*.d"]
source = ["static/**"]
"#;

#[test]
fn each_edit_of_the_file_changes_the_digest_and_no_two_alike() {
    let edits = [
        ("name = \"guestbook\"\nversion", "name = \"other\"\nversion"),
        ("1.0.0", "1.0.1"),
        ("tools = [\"rust\"]", "tools = [\"rust\", \"node\"]"),
        ("tools = [\"rust\"]", "tools = [{ name = \"jdk\", path = \"/opt/jdk\" }]"),
        ("tools = [\"rust\"]", "tools = [{ name = \"jdk\", path = \"/opt/jdk2\" }]"),
        ("cargo fetch", "cargo fetch --locked"),
        ("\"cargo build\"", "[\"cargo\", \"build\"]"),
        ("\"cargo build\"", "[\"cargo build\"]"),
        ("kind = \"build\"", "kind = \"lint\""),
        ("kind = \"build\"", "kind = \"mine\""),
        ("needs = [\"restore\"]\n", ""),
        ("[\"src/**\"]", "[\"src/*\"]"),
        ("inputs = [\"src/**\"]\n", ""),
        ("[\"target/release/x\"]", "[\"target/release/y\"]"),
        ("[\"junit.xml\"]", "[\"j.xml\"]"),
        ("A = \"b\"", "A = \"c\""),
        ("A = \"b\"", "B = \"b\""),
        ("\"loopback\"", "\"none\""),
        ("\"loopback\"", "\"outbound\""),
        ("30m", "29m"),
        ("workdir = \"app\"", "workdir = \"apps\""),
        ("workdir = \"app\"\n", ""),
        ("1GiB", "2GiB"),
        ("memory = \"1GiB\"\n", ""),
        ("cpu = 1", "cpu = 1.5"),
        ("processes = 100", "processes = 101"),
        ("[package]\nname = \"guestbook\"", "[package]\nname = \"other\""),
        ("from = [\"build\"]\nroot = \"target\"", "from = [\"build\", \"restore\"]\nroot = \"target\""),
        ("root = \"target\"", "root = \"target/release\""),
        ("release/**", "release/*"),
        ("*.d", "*.o"),
        ("static/**", "static/*"),
        ("source = [\"static/**\"]\n", ""),
    ];
    let mut digests = BTreeSet::from([planned(FULL).digest()]);
    for (from, to) in edits {
        let edited = FULL.replacen(from, to, 1);
        assert_ne!(edited, FULL, "{from} is not in the text");
        assert!(digests.insert(planned(&edited).digest()), "{from} → {to} changes nothing");
    }
}

#[test]
fn source_and_input_trees_change_the_digest() {
    let pipeline = Pipeline::parse("runner.toml", FULL).unwrap();
    let tree = |_: &[String]| Digest::of(b"");
    let base = plan(&pipeline, source(), &tree);
    assert_eq!(base.digest(), plan(&pipeline, source(), &tree).digest());
    let others = [
        plan(&pipeline, Source { tree: "c".repeat(40), ..source() }, &tree),
        plan(&pipeline, Source { commit: None, ..source() }, &tree),
        plan(&pipeline, Source { dirty: true, ..source() }, &tree),
        plan(&pipeline, source(), &|_| Digest::of(b"other")),
    ];
    let digests: BTreeSet<_> = others.iter().chain([&base]).map(Plan::digest).collect();
    assert_eq!(digests.len(), 5);
}

#[test]
fn comments_spaces_and_written_out_defaults_change_nothing() {
    let short =
        "name = \"x\"\nversion = \"1\"\n[steps.build]\nrun = \"make\"\noutputs = [\"o\"]\n[package]\n";
    let long = "# hello\nversion = '1'\nname = 'x'\ntools = []\n\n[package]\nname = \"x\"\nfrom = [ \"build\" ] # here\n\
                [steps.build]\noutputs = [\n  \"o\",\n]\nrun = \"make\"\nkind = \"build\"\nneeds = []\nnetwork = \"loopback\"\n\
                timeout = \"1800s\"\nenv = {}\n";
    assert_eq!(planned(short).digest(), planned(long).digest());
}

#[test]
fn environments_are_no_part_of_the_plan() {
    let environment = "[environments.local]\nlisten = \"127.0.0.1:1\"\nrun = \"./x\"\n";
    assert_eq!(planned(FULL).digest(), planned(&format!("{FULL}{environment}")).digest());
}

#[test]
fn layers_are_in_the_order_of_the_plan() {
    let text = "name = 'x'\nversion = '1'\n[steps.d]\nrun = 'x'\nneeds = ['c', 'b']\noutputs = ['d']\n[steps.c]\nrun = 'x'\n\
                needs = ['a']\n[steps.b]\nrun = 'x'\nneeds = ['a']\noutputs = ['b']\n[steps.a]\nrun = 'x'\n\
                [package]\nfrom = ['d', 'b']\n";
    let plan = planned(text);
    assert_eq!(step_names(&plan), ["a", "c", "b", "d"]);
    assert_eq!(
        names(&plan.step(&"d".parse::<staith_model::Name>().unwrap()).unwrap().layers),
        ["a", "c", "b"]
    );
    assert_eq!(names(&plan.packages[0].layers), ["b", "d"]);
}

#[test]
fn the_input_tree_is_asked_once_for_each_step_with_its_globs() {
    let asked = RefCell::new(Vec::new());
    let pipeline = Pipeline::parse("runner.toml", FULL).unwrap();
    let planned = plan(&pipeline, source(), &|globs| {
        asked.borrow_mut().push(globs.to_vec());
        Digest::of(globs.concat().as_bytes())
    });
    assert_eq!(*asked.borrow(), [vec![], vec!["src/**".to_owned()]]);
    assert_eq!(planned.steps[1].input_tree, Digest::of(b"src/**"));
}
