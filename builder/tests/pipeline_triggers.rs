//! Which occasions start a run, as `[on]` says.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use staith_builder::{
    pipeline::{Pipeline, render},
    plan::Occasion,
};
use staith_model::{Trigger, TriggerKind};

const FILTERED: &str = r#"
[on.push]
branches = ["main", "release/*", "!release/old"]
paths = ["src/**", "Cargo.*", "!src/docs/**"]
[on.pull-request]
branches = ["main"]
paths = ["!docs/**", "!**/*.md"]
[on.tag]
tags = ["v*", "!v*-rc*"]
[on.schedule]
cron = "0 3 * * *"
branches = ["main"]
"#;

fn pipeline(on: &str) -> Pipeline {
    let text = format!("name = \"x\"\nversion = \"1\"\n[steps.a]\nrun = \"a\"\n{on}");
    Pipeline::parse("runner.toml", &text).unwrap_or_else(|errors| panic!("{}", render(&errors, false, 100)))
}

/// What happened, to which branch (of a pull request, the target) or tag, and the paths that changed.
type Case = (TriggerKind, Option<&'static str>, Option<&'static [&'static str]>, bool);

fn occasion(kind: TriggerKind, name: Option<&str>, changed: Option<&[&str]>) -> Occasion {
    let name = name.map(str::to_owned);
    let trigger = match kind {
        TriggerKind::Tag => Trigger { kind, tag: name, ..Trigger::default() },
        TriggerKind::PullRequest => {
            Trigger { kind, branch: Some("topic".into()), target: name, ..Trigger::default() }
        }
        _ => Trigger { kind, branch: name, ..Trigger::default() },
    };
    let changed = changed.map(|paths| paths.iter().map(|path| (*path).try_into().unwrap()).collect());
    Occasion { trigger, changed, ..Occasion::default() }
}

#[test]
fn branches_tags_and_paths_decide() {
    use TriggerKind::{Local, PullRequest, Push, Schedule, Tag};
    let table: [Case; 31] = [
        (Push, Some("main"), Some(&["src/a.rs"]), true),
        (Push, Some("main"), Some(&["docs/a.md"]), false),
        (Push, Some("main"), Some(&["docs/a.md", "Cargo.lock"]), true),
        (Push, Some("main"), Some(&["src/docs/a.md"]), false),
        (Push, Some("main"), Some(&["src/docs/a.md", "src/b"]), true),
        (Push, Some("main"), Some(&["a/Cargo.lock"]), false),
        (Push, Some("main"), Some(&[]), false),
        // What is not known counts as changed.
        (Push, Some("main"), None, true),
        (Push, Some("release/1"), Some(&["src/a"]), true),
        (Push, Some("release/old"), Some(&["src/a"]), false),
        (Push, Some("release/1/x"), Some(&["src/a"]), false),
        (Push, Some("mainline"), Some(&["src/a"]), false),
        (Push, Some("Main"), Some(&["src/a"]), false),
        (Push, None, Some(&["src/a"]), false),
        (PullRequest, Some("main"), Some(&["src/a"]), true),
        (PullRequest, Some("main"), Some(&["docs/a"]), false),
        (PullRequest, Some("main"), Some(&["docs/a", "src/x.md", "src/a"]), true),
        (PullRequest, Some("main"), Some(&["README.md", "docs/b"]), false),
        (PullRequest, Some("release/1"), Some(&["src/a"]), false),
        (PullRequest, Some("main"), None, true),
        (Tag, Some("v1.0"), None, true),
        (Tag, Some("v1.0"), Some(&[]), true),
        (Tag, Some("v1.0-rc1"), None, false),
        (Tag, Some("nightly"), None, false),
        (Tag, None, None, false),
        (Schedule, Some("main"), Some(&["docs/a"]), true),
        (Schedule, Some("main"), None, true),
        (Schedule, Some("main"), Some(&[]), false),
        (Schedule, Some("topic"), Some(&["src/a"]), false),
        (Local, Some("topic"), Some(&[]), true),
        (Local, None, None, true),
    ];
    let pipeline = pipeline(FILTERED);
    for (kind, name, changed, starts) in table {
        let verdict = pipeline.triggers_on(&occasion(kind, name, changed));
        assert_eq!(verdict.starts, starts, "{kind:?} {name:?} {changed:?}: {}", verdict.why);
        assert!(!verdict.why.is_empty());
    }
}

#[test]
fn without_on_everything_starts_a_run_and_with_it_only_what_it_names() {
    for kind in TriggerKind::ALL {
        assert!(pipeline("").triggers_on(&occasion(kind, None, None)).starts);
        let only_push = pipeline("[on.push]\n").triggers_on(&occasion(kind, Some("any"), Some(&[])));
        assert_eq!(only_push.starts, matches!(kind, TriggerKind::Local | TriggerKind::Push), "{kind:?}");
    }
}

#[test]
fn the_reason_names_what_decided() {
    let of = |kind, name, changed| pipeline(FILTERED).triggers_on(&occasion(kind, name, changed)).why;
    let topic = of(TriggerKind::Push, Some("topic"), None);
    assert_eq!(topic, "branch `topic` does not pass `main`, `release/*` and `!release/old` of `[on.push]`");
    let paths = of(TriggerKind::Push, Some("main"), Some(&["x"]));
    assert_eq!(paths, "no path changed that passes `src/**`, `Cargo.*` and `!src/docs/**` of `[on.push]`");
    let unnamed = pipeline("[on.push]\n").triggers_on(&occasion(TriggerKind::Tag, Some("v1"), None)).why;
    assert_eq!(unnamed, "`[on]` has no `tag`; it has `push`");
}

#[test]
fn a_schedule_says_when_and_whether_it_runs_though_nothing_changed() {
    let text = "[on.schedule]\ncron = [\"0 3 * * *\", \"0 12 * * sun\"]\nalways = true\n";
    let pipeline = pipeline(text);
    assert_eq!(pipeline.schedules(), ["0 3 * * *", "0 12 * * sun"]);
    assert_eq!(pipeline.schedule_zone(), "UTC");
    assert!(pipeline.triggers_on(&occasion(TriggerKind::Schedule, None, Some(&[]))).starts);
}

#[test]
fn a_schedule_may_be_meant_in_another_time_zone_that_there_is() {
    let text = "[on.schedule]\ncron = \"0 3 * * *\"\nzone = \"Europe/Berlin\"\n";
    assert_eq!(pipeline(text).schedule_zone(), "Europe/Berlin");
}
