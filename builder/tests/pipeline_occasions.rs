//! One file, several occasions: what conditions, parameters and matrices make of it.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use staith_builder::{
    pipeline::{Pipeline, render},
    plan::{self, Occasion, PlanError},
};
use staith_model::{
    Condition, Digest, Ending, Plan, Readiness, Retry, RetryCause, Source, StepPlan, Trigger, TriggerKind,
};

/// A pull request is checked; what is pushed is also tested as a whole with its secrets, and packed.
const ONE_FILE: &str = r#"
name = "shop"
version = "1.4.0-{branch}+{commit}"
image = "node:{parameters.node}-slim"

[parameters.node]
type = "choice"
choices = ["22", "24"]
default = "24"

[defaults]
memory = "1GiB"
env = { CI = "true", LEVEL = "info" }

[services.db]
image = "postgres:16"
secrets = { POSTGRES_PASSWORD = "db-password" }
ready = { port = 5432 }

[steps.lint]
run = "npm run lint"
matcher = "gcc"

[steps.restore]
run = "npm ci"
network = "outbound"
allow = ["registry.repos.org"]
outputs = ["node_modules"]
retry = 2

[steps.build]
needs = ["lint", "restore"]
run = "npm run build"
outputs = ["dist"]

[steps.unit-test]
needs = ["build"]
run = "npm test"
env = { LEVEL = "debug" }

[steps.secrets]
needs = ["unit-test"]
when = 'event == "push"'
run = "./ci/check-token.sh"
secrets = ["DEPLOY_TOKEN"]

[steps.integration-test]
needs = ["secrets"]
run = "npm run integration"
services = ["db"]

[steps.package]
needs = ["integration-test"]
run = "./ci/stamp.sh"
outputs = ["dist/stamp"]

[package]
from = ["build", "package"]
root = "dist"
"#;

fn parse(text: &str) -> Pipeline {
    Pipeline::parse("runner.toml", text).unwrap_or_else(|errors| panic!("{}", render(&errors, false, 100)))
}

fn source() -> Source {
    Source { tree: "a".repeat(40), commit: Some("0123456789abcdef".repeat(2)), dirty: false }
}

fn on(kind: TriggerKind) -> Occasion {
    let trigger = match kind {
        TriggerKind::Tag => Trigger { kind, tag: Some("v2.0".into()), ..Trigger::default() },
        _ => Trigger { kind, branch: Some("main".into()), ..Trigger::default() },
    };
    Occasion { trigger, ..Occasion::default() }
}

fn with(settings: &[(&str, &str)], occasion: Occasion) -> Occasion {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Occasion { settings, ..occasion }
}

fn try_plan(text: &str, occasion: &Occasion) -> Result<Plan, PlanError> {
    plan::plan(&parse(text), source(), occasion, &|globs| Digest::of(globs.join("\n").as_bytes()))
}

fn planned(text: &str, occasion: &Occasion) -> Plan {
    try_plan(text, occasion).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.name.as_str()).collect()
}

fn step<'p>(plan: &'p Plan, name: &str) -> &'p StepPlan {
    plan.steps.iter().find(|step| step.name.as_str() == name).unwrap()
}

fn left_out(plan: &Plan) -> Vec<(&str, &str)> {
    plan.left_out.iter().map(|left| (left.step.as_str(), left.why.as_str())).collect()
}

#[test]
fn a_pull_request_runs_four_steps_and_a_push_seven_of_the_same_file() {
    let request = planned(ONE_FILE, &on(TriggerKind::PullRequest));
    assert_eq!(names(&request), ["lint", "restore", "build", "unit-test"]);
    assert!(request.packages.is_empty() && request.services.is_empty());
    assert_eq!(
        left_out(&request),
        [
            ("secrets", "`event == \"push\"` does not hold: event is `pull-request`"),
            ("integration-test", "it needs `secrets`, which is left out"),
            ("package", "it needs `integration-test`, which is left out"),
        ]
    );
    let push = planned(ONE_FILE, &on(TriggerKind::Push));
    assert_eq!(
        names(&push),
        ["lint", "restore", "build", "unit-test", "secrets", "integration-test", "package"]
    );
    assert!(push.left_out.is_empty());
    assert_eq!(
        push.packages[0].layers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["build", "package"]
    );
    assert!(request.steps.iter().all(|step| step.secrets.is_empty()));
}

#[test]
fn every_key_arrives_in_the_plan() {
    let plan = planned(ONE_FILE, &on(TriggerKind::Push));
    assert_eq!(plan.version, "1.4.0-main+0123456789ab");
    assert_eq!(step(&plan, "lint").image.as_deref(), Some("node:24-slim"));
    assert_eq!(step(&plan, "lint").matcher.as_deref(), Some("gcc"));
    assert_eq!(step(&plan, "lint").limits.memory, Some(1 << 30));
    assert_eq!(step(&plan, "restore").allow, ["registry.repos.org"]);
    assert_eq!(step(&plan, "restore").retry, Some(Retry { attempts: 3, on: vec![RetryCause::Environment] }));
    let env = &step(&plan, "unit-test").env;
    assert_eq!((env["CI"].as_str(), env["LEVEL"].as_str()), ("true", "debug"));
    assert_eq!(step(&plan, "secrets").secrets["DEPLOY_TOKEN"], "DEPLOY_TOKEN");
    assert_eq!(step(&plan, "integration-test").services[0].as_str(), "db");
    let db = &plan.services[0];
    assert_eq!((db.image.as_deref(), db.ready_seconds), (Some("postgres:16"), 60));
    assert_eq!(
        (&db.ready, db.secrets["POSTGRES_PASSWORD"].as_str()),
        (&Readiness::Port(5432), "db-password")
    );
}

#[test]
fn settings_are_checked_and_reach_the_plan() {
    let push = || on(TriggerKind::Push);
    let plan = planned(ONE_FILE, &with(&[("node", "22")], push()));
    assert_eq!(step(&plan, "lint").image.as_deref(), Some("node:22-slim"));
    assert_ne!(plan.digest(), planned(ONE_FILE, &push()).digest());
    // To set the default is to set nothing.
    assert_eq!(planned(ONE_FILE, &with(&[("node", "24")], push())), planned(ONE_FILE, &push()));
    for (name, value, advice) in [
        ("nod", "22", "did you mean `node`?"),
        ("node", "20", "known are `22` and `24`"),
        ("x", "", "its parameters are `node`"),
    ] {
        let refused = try_plan(ONE_FILE, &with(&[(name, value)], push())).unwrap_err();
        let PlanError::Setting { name: told, why, .. } = &refused else { panic!("{refused}") };
        assert_eq!(told, name);
        assert!(why.contains(advice), "{why}");
    }
    let without = "name = 'x'\nversion = '1'\n[steps.a]\nrun = 'a'\n";
    assert!(
        try_plan(without, &with(&[("a", "b")], push())).unwrap_err().to_string().contains("no parameters")
    );
}

const TYPES: &str = "name = 'x'\nversion = '1'\nimage = 'img:{parameters.tag}'\n[parameters.full]\ntype = 'bool'\ndefault = false\n\
    [parameters.tag]\ntype = 'text'\ndefault = 'latest'\n[steps.a]\nrun = 'a'\n[steps.b]\nrun = 'b'\nwhen = 'parameters.full'\n";

#[test]
fn a_setting_has_the_type_of_its_parameter() {
    let local = || on(TriggerKind::Local);
    assert_eq!(names(&planned(TYPES, &local())), ["a"]);
    assert_eq!(names(&planned(TYPES, &with(&[("full", "true")], local()))), ["a", "b"]);
    let yes = try_plan(TYPES, &with(&[("full", "yes")], local())).unwrap_err().to_string();
    assert!(yes.contains("`true` and `false`"), "{yes}");
    let image = try_plan(TYPES, &with(&[("tag", "a b")], local())).unwrap_err();
    assert_eq!(image, PlanError::Image { of: "step `a`".into(), image: "img:a b".into() });
    // A value is never read again for placeholders.
    let nested = try_plan(TYPES, &with(&[("tag", "{parameters.tag}")], local())).unwrap_err();
    assert_eq!(nested, PlanError::Image { of: "step `a`".into(), image: "img:{parameters.tag}".into() });
}

#[test]
fn a_package_is_made_when_its_condition_holds() {
    let text =
        "name = 'x'\nversion = '{tag}'\n[steps.build]\nrun = 'a'\noutputs = ['o']\n[package]\nwhen = 'tag'\n";
    let tagged = planned(text, &on(TriggerKind::Tag));
    assert_eq!((tagged.version.as_str(), !tagged.packages.is_empty()), ("2.0", true));
    let pushed = planned(text, &on(TriggerKind::Push));
    assert!(pushed.packages.is_empty());
    assert_eq!(left_out(&pushed), [("package", "`tag` does not hold: there is no tag")]);
    let several = text.replace("[package]\n", "[package.web]\n[package.worker]\n");
    let pushed = planned(&several.replace("{tag}", "1"), &on(TriggerKind::Push));
    assert_eq!(pushed.packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(left_out(&pushed), [("package.worker", "`tag` does not hold: there is no tag")]);
    let unversioned = try_plan(&text.replace("when = 'tag'", ""), &on(TriggerKind::Push)).unwrap_err();
    assert!(
        matches!(&unversioned, PlanError::Version { why, .. } if why.contains("no tag")),
        "{unversioned}"
    );
    // Made from a step that is left out, there is none either.
    let text =
        "name = 'x'\nversion = '1'\n[steps.build]\nrun = 'a'\noutputs = ['o']\nwhen = 'tag'\n[package]\n";
    assert_eq!(
        left_out(&planned(text, &on(TriggerKind::Push)))[1],
        ("package", "it is made from `build`, which is left out")
    );
}

const MATRIX: &str = r#"
name = "x"
version = "1"
[steps.restore]
run = "pip install"
outputs = ["venv"]
[steps.test]
needs = ["restore"]
run = "pytest --version $MATRIX_PYTHON"
image = "python:{matrix.python}"
env = { WHAT = "{matrix.python} on {matrix.os}", JSON = '{"a": 1}' }
outputs = ["out/{matrix.python}/{matrix.os}"]
reports = ["reports/{matrix.python}-{matrix.os}.xml"]
[steps.test.matrix]
python = ["3.11", "3.12"]
os = ["Alpine", "debian"]
exclude = [{ python = "3.11", os = "Alpine" }]
include = [{ python = "3.13", os = "alpine" }]
[steps.report]
needs = ["test"]
run = "report"
when = 'failed("test")'
[package]
from = ["test"]
"#;

#[test]
fn a_matrix_is_one_step_for_each_combination() {
    let plan = planned(MATRIX, &on(TriggerKind::Push));
    assert_eq!(
        names(&plan),
        ["restore", "test-3.11-debian", "test-3.12-alpine", "test-3.12-debian", "test-3.13-alpine", "report"]
    );
    let test = step(&plan, "test-3.12-alpine");
    assert_eq!(test.image.as_deref(), Some("python:3.12"));
    let env: BTreeMap<_, _> = test.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("JSON", "{\"a\": 1}"),
        ("MATRIX_OS", "Alpine"),
        ("MATRIX_PYTHON", "3.12"),
        ("WHAT", "3.12 on Alpine"),
    ];
    assert_eq!(env, expected.into());
    assert_eq!(
        (test.outputs[0].as_str(), test.reports[0].as_str()),
        ("out/3.12/Alpine", "reports/3.12-Alpine.xml")
    );
    // What runs is the same text for all: values are never put into it.
    assert_eq!(test.command, step(&plan, "test-3.11-debian").command);
    let tests = ["test-3.11-debian", "test-3.12-alpine", "test-3.12-debian", "test-3.13-alpine"];
    let of = |names: &[staith_model::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of(&step(&plan, "report").needs), tests);
    assert_eq!(of(&plan.packages[0].layers), tests);
    let failed = |step: &&str| Condition::Step { step: step.parse().unwrap(), is: Ending::Failed };
    assert_eq!(step(&plan, "report").when, Some(Condition::Any(tests.iter().map(failed).collect())));
}

#[test]
fn each_variant_of_a_matrix_runs_where_its_labels_say() {
    let text = MATRIX.replace(
        "reports = [\"reports",
        "runner = { pool = \"big\", labels = [\"linux\", \"python-{matrix.python}\"] }\nreports = [\"reports",
    );
    // A step that asks what became of others would have to be in their job.
    let text = text.split_once("[steps.report]").unwrap().0;
    let plan = planned(text, &on(TriggerKind::Push));
    let labels = |name: &str| {
        let labels = &step(&plan, name).runner.labels;
        labels.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(labels("test-3.12-alpine"), ["linux", "python-3.12"]);
    assert_eq!(labels("test-3.11-debian"), ["linux", "python-3.11"]);
    assert_eq!(step(&plan, "test-3.13-alpine").runner.pool.as_ref().unwrap().as_str(), "big");
    assert_eq!(labels("restore"), [""; 0]);
    // Each place is a job of its own, after the one that all of them need.
    let jobs = plan.jobs().unwrap();
    let of = |label: &str| {
        let job = jobs.iter().find(|job| job.placement.labels.contains(label)).unwrap();
        let steps = &job.part.as_ref().unwrap().steps;
        steps.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("python-3.12"), ["test-3.12-alpine", "test-3.12-debian"]);
    assert_eq!(of("python-3.11"), ["test-3.11-debian"]);
}

#[test]
fn variants_can_be_left_out_one_by_one() {
    let text = MATRIX
        .replace("run = \"pytest", "when = 'event == \"push\" or matrix.python == \"3.12\"'\nrun = \"pytest");
    let plan = planned(&text, &on(TriggerKind::PullRequest));
    assert_eq!(names(&plan), ["restore", "test-3.12-alpine", "test-3.12-debian", "report"]);
    assert_eq!(plan.left_out.len(), 2);
    let none = MATRIX.replace("run = \"pytest", "when = 'event == \"push\"'\nrun = \"pytest");
    let plan = planned(&none, &on(TriggerKind::PullRequest));
    assert_eq!(names(&plan), ["restore"]);
    assert!(left_out(&plan).contains(&("report", "it needs `test`, which is left out")));
    assert!(plan.packages.is_empty());
}

/// build ← deploy (only at pushes) ← middle ← last, whose condition is `when`.
fn after_what_is_left_out(when: &str) -> Plan {
    let text = format!(
        "name = 'x'\nversion = '1'\n[steps.build]\nrun = 'b'\n\
         [steps.deploy]\nneeds = ['build']\nrun = 'd'\nwhen = 'event == \"push\"'\n\
         [steps.middle]\nneeds = ['deploy']\nrun = 'm'\n\
         [steps.other]\nrun = 'o'\n\
         [steps.last]\nneeds = ['middle', 'other']\nrun = 'l'\nwhen = '{when}'\n"
    );
    planned(&text, &on(TriggerKind::PullRequest))
}

#[test]
fn a_condition_over_outcomes_takes_what_is_left_out_as_skipped() {
    let other = |is| Condition::Step { step: "other".parse().unwrap(), is };
    let runs = [
        ("always()", Some(Condition::Literal(true))),
        ("skipped(\"deploy\")", Some(Condition::Literal(true))),
        ("skipped(\"middle\")", Some(Condition::Literal(true))),
        ("not succeeded(\"middle\")", Some(Condition::Literal(true))),
        ("not succeeded()", Some(Condition::Literal(true))),
        ("skipped()", Some(other(Ending::Skipped))),
        ("succeeded(\"other\")", Some(other(Ending::Succeeded))),
        ("failed()", Some(Condition::Needs(Ending::Failed))),
    ];
    for (when, rest) in runs {
        let plan = after_what_is_left_out(when);
        assert_eq!(names(&plan), ["build", "other", "last"], "{when}");
        let last = step(&plan, "last");
        assert_eq!(last.when, rest, "{when}");
        // It still comes after what the steps that are left out would have come after.
        assert_eq!(
            last.needs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["build", "other"],
            "{when}"
        );
    }
    for when in [
        "succeeded()",
        "failed(\"deploy\")",
        "succeeded(\"middle\")",
        "event == \"pull-request\"",
        "skipped(\"middle\") and event == \"push\"",
    ] {
        let plan = after_what_is_left_out(when);
        assert!(left_out(&plan).contains(&("last", "it needs `middle`, which is left out")), "{when}");
    }
}

#[test]
fn where_nothing_comes_before_there_is_no_failure_to_run_at() {
    let text = "name = 'x'\nversion = '1'\n[steps.a]\nrun = 'a'\nwhen = 'event == \"push\"'\n\
                [steps.tell]\nneeds = ['a']\nrun = 't'\nwhen = 'failed()'\n[steps.b]\nrun = 'b'\n";
    assert_eq!(names(&planned(text, &on(TriggerKind::PullRequest))), ["b"]);
}

#[test]
fn steps_that_are_never_in_one_plan_may_write_to_the_same_place() {
    let steps = |first: &str, second: &str| {
        format!(
            "name = 'x'\nversion = '1'\n[steps.a]\nrun = 'a'\noutputs = ['o']\nwhen = '{first}'\n\
             [steps.b]\nrun = 'b'\noutputs = ['o']\nwhen = '{second}'\n"
        )
    };
    assert!(Pipeline::parse("f", &steps("event == \"push\"", "event != \"push\"")).is_ok());
    assert!(Pipeline::parse("f", &steps("event == \"push\"", "branch")).is_err());
}

#[test]
fn two_hundred_steps_of_matrices_are_fine_and_one_more_is_not() {
    let values = |count: usize| (0..count).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    let text = |one: usize, more: usize| {
        let more: String = (0..more).map(|n| format!("[steps.s{n}]\nrun = 'x'\n")).collect();
        format!(
            "name = 'x'\nversion = '1'\n[steps.t]\nrun = 't'\nmatrix = {{ a = [{}], b = [{}] }}\n{more}",
            values(one),
            values(10)
        )
    };
    assert_eq!(planned(&text(19, 10), &on(TriggerKind::Push)).steps.len(), 200);
    assert!(Pipeline::parse("f", &text(19, 11)).is_err());
    assert!(Pipeline::parse("f", &text(20, 1)).is_err());
    assert!(Pipeline::parse("f", &text(900, 0)).is_err());
}

/// A file of three steps with matrices and conditions.
fn any_file() -> impl Strategy<Value = String> {
    let when = prop::sample::select(vec![
        "",
        "when = 'event == \"push\"'\n",
        "when = 'changed(\"src\")'\n",
        "when = 'failed()'\n",
        "when = 'parameters.full'\n",
    ]);
    let matrix = prop::sample::select(vec![
        "",
        "matrix = { v = [\"1\", \"2\"] }\n",
        "matrix = { v = [\"1\"], w = [\"a\", \"b\"] }\n",
    ]);
    proptest::collection::vec((when, matrix), 3).prop_map(|steps| {
        let table = |(number, (when, matrix)): (usize, &(&str, &str))| {
            let needs = if number == 0 { String::new() } else { format!("needs = [\"s{}\"]\n", number - 1) };
            format!("[steps.s{number}]\nrun = 'x'\n{needs}{when}{matrix}")
        };
        let steps: String = steps.iter().enumerate().map(table).collect();
        format!("name = 'x'\nversion = '1'\n[parameters.full]\ntype = 'bool'\ndefault = true\n{steps}")
    })
}

fn any_occasion() -> impl Strategy<Value = Occasion> {
    let changed = prop::sample::select(vec![None, Some(vec![]), Some(vec!["src/a"])]);
    (prop::sample::select(TriggerKind::ALL.to_vec()), changed, any::<bool>()).prop_map(
        |(kind, changed, full)| {
            let changed = changed
                .map(|paths: Vec<&str>| paths.into_iter().map(|path| path.try_into().unwrap()).collect());
            let occasion = with(&[("full", if full { "true" } else { "false" })], on(kind));
            Occasion { changed, ..occasion }
        },
    )
}

proptest! {
    #[test]
    fn a_plan_is_decided_by_file_and_occasion_and_is_whole(text in any_file(), occasion in any_occasion(), other in any_occasion()) {
        let plan = planned(&text, &occasion);
        prop_assert_eq!(&plan, &planned(&text, &occasion));
        // Every step is in the plan or left out, under its own name, once.
        let mut all: Vec<_> = plan.steps.iter().map(|step| &step.name).chain(plan.left_out.iter().map(|left| &left.step)).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        prop_assert_eq!(all.len(), count);
        let file = parse(&text);
        prop_assert_eq!(count, file.steps().iter().map(|step| step.variants.len().max(1)).sum::<usize>());
        for (index, step) in plan.steps.iter().enumerate() {
            prop_assert!(step.needs.iter().all(|need| plan.steps[..index].iter().any(|other| other.name == *need)));
        }
        if occasion.trigger != other.trigger {
            prop_assert_ne!(plan.digest(), planned(&text, &other).digest());
        }
    }
}
