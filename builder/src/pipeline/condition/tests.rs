use proptest::prelude::*;
use staith_model::{Condition, Ending, Name, Trigger, TriggerKind};

use super::*;
use crate::pipeline::{
    matrix::Dimension,
    parameters::{Parameter, ParameterKind},
};

fn parameters() -> Vec<Parameter> {
    let parameter = |name: &str, kind, default: &str| Parameter {
        name: name.parse().unwrap(),
        kind,
        default: default.to_owned(),
        description: None,
    };
    vec![
        parameter("full", ParameterKind::Bool, "false"),
        parameter("region", ParameterKind::Text, "eu"),
        parameter("profile", ParameterKind::Choice(vec!["debug".into(), "release".into()]), "debug"),
    ]
}

fn dimensions() -> Vec<Dimension> {
    vec![Dimension { name: "python".into(), values: vec!["3.11".into(), "3.12".into()] }]
}

fn understand(text: &str) -> Result<When, Vec<Flaw>> {
    let (parameters, matrix) = (parameters(), dimensions());
    When::understand(text, &Known { parameters: &parameters, matrix: &matrix, outcomes: true })
}

fn decide(text: &str, trigger: &Trigger, changed: Option<&[&str]>, full: &str) -> Decision {
    let changed =
        changed.map(|paths| paths.iter().map(|path| (*path).try_into().unwrap()).collect::<Vec<_>>());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let facts = Facts {
        trigger,
        changed: changed.as_deref(),
        parameters: &[pair("full", full), pair("region", "eu"), pair("profile", "debug")].into(),
        matrix: &[pair("python", "3.12")].into(),
    };
    let variants = |step: &str| -> Vec<Name> {
        let variants: &[&str] = if step == "test" { &["test-3.11", "test-3.12"] } else { &[step] };
        variants.iter().map(|name| name.parse().unwrap()).collect()
    };
    understand(text).unwrap().decide(&facts, &[], &variants)
}

fn push(branch: &str) -> Trigger {
    Trigger { kind: TriggerKind::Push, branch: Some(branch.into()), ..Trigger::default() }
}

#[test]
fn what_is_known_is_decided() {
    let tag = Trigger { kind: TriggerKind::Tag, tag: Some("v1.2".into()), ..Trigger::default() };
    let request = Trigger {
        kind: TriggerKind::PullRequest,
        branch: Some("topic".into()),
        target: Some("main".into()),
        tag: None,
        ..Trigger::default()
    };
    let table: [(&str, Trigger, bool); 33] = [
        ("event == \"push\"", push("main"), true),
        ("event == 'push'", tag.clone(), false),
        ("event != \"push\"", tag.clone(), true),
        ("event in [\"push\", \"tag\"]", tag.clone(), true),
        ("event not in [\"push\", \"tag\"]", tag.clone(), false),
        ("branch == \"main\"", push("main"), true),
        ("branch == \"main\"", push("mains"), false),
        ("branch == \"main\"", tag.clone(), false),
        ("branch != \"main\"", tag.clone(), true),
        ("branch in [\"main\", \"release/*\"]", push("release/1"), true),
        ("branch in [\"main\", \"release/*\"]", push("release/1/x"), false),
        ("branch in [\"release/**\"]", push("release/1/x"), true),
        ("branch not in [\"release/**\"]", push("main"), true),
        ("target == \"main\"", request.clone(), true),
        ("target == \"main\"", push("main"), false),
        ("tag", tag.clone(), true),
        ("tag", push("main"), false),
        ("not tag", push("main"), true),
        ("tag in [\"v*\"]", tag.clone(), true),
        ("true", push("main"), true),
        ("false or true and false", push("main"), false),
        ("true or true and false", push("main"), true),
        ("(true or true) and false", push("main"), false),
        ("not true or true", push("main"), true),
        ("not (true or true)", push("main"), false),
        ("parameters.full", push("main"), false),
        ("not parameters.full", push("main"), true),
        ("parameters.region == \"eu\"", push("main"), true),
        ("parameters.profile in [\"release\"]", push("main"), false),
        ("matrix.python == \"3.12\"", push("main"), true),
        ("matrix.python != \"3.12\"", push("main"), false),
        ("changed(\"docs/**\")", push("main"), true),
        ("not changed(\"docs/**\")", push("main"), false),
    ];
    for (text, trigger, expected) in table {
        let decision = decide(text, &trigger, None, "false");
        assert_eq!(matches!(decision, Decision::Planned(None)), expected, "{text} {trigger:?}: {decision:?}");
        assert_eq!(matches!(decision, Decision::LeftOut(_)), !expected, "{text} {trigger:?}");
    }
}

#[test]
fn changed_paths_are_matched_as_inputs_are() {
    for (text, changed, expected) in [
        ("changed(\"src/**\", \"Cargo.*\")", &["docs/a", "Cargo.lock"][..], true),
        ("changed(\"src/**\", \"Cargo.*\")", &["docs/a", "a/Cargo.lock"], false),
        // A folder stands for all that is in it.
        ("changed(\"src\")", &["src/a/b"], true),
        ("changed(\"src\")", &[], false),
        ("not changed(\"docs\") or branch == \"x\"", &["docs/a"], false),
    ] {
        let decision = decide(text, &push("main"), Some(changed), "false");
        assert_eq!(decision == Decision::Planned(None), expected, "{text} {changed:?}");
    }
}

#[test]
fn what_is_not_known_is_left() {
    let step = |step: &str, is| Condition::Step { step: step.parse().unwrap(), is };
    for (text, rest) in [
        ("always()", Condition::Literal(true)),
        ("failed()", Condition::Needs(Ending::Failed)),
        ("skipped()", Condition::Needs(Ending::Skipped)),
        ("succeeded(\"build\")", step("build", Ending::Succeeded)),
        ("event == \"push\" and failed()", Condition::Needs(Ending::Failed)),
        // It says something about outcomes, so that they succeeded does not go without saying.
        ("event == \"push\" or failed()", Condition::Literal(true)),
        ("event == \"tag\" or not failed()", Condition::Not(Box::new(Condition::Needs(Ending::Failed)))),
        ("not not failed()", Condition::Needs(Ending::Failed)),
        (
            "succeeded(\"test\")",
            Condition::All(vec![step("test-3.11", Ending::Succeeded), step("test-3.12", Ending::Succeeded)]),
        ),
        (
            "failed(\"test\") or true and failed(\"build\")",
            Condition::Any(vec![
                Condition::Any(vec![step("test-3.11", Ending::Failed), step("test-3.12", Ending::Failed)]),
                step("build", Ending::Failed),
            ]),
        ),
    ] {
        assert_eq!(decide(text, &push("main"), None, "false"), Decision::Planned(Some(rest)), "{text}");
    }
    assert!(matches!(
        decide("event == \"tag\" and always()", &push("main"), None, "false"),
        Decision::LeftOut(_)
    ));
}

#[test]
fn why_it_does_not_hold_names_what_is_the_case() {
    for (text, why) in [
        ("event == \"tag\"", "`event == \"tag\"` does not hold: event is `push`"),
        (
            "tag or  parameters.full",
            "`tag or parameters.full` does not hold: there is no tag, parameters.full is `false`",
        ),
        (
            "changed(\"a\", \"b\")",
            "`changed(\"a\", \"b\")` does not hold: nothing changed that `a` and `b` matches",
        ),
    ] {
        assert_eq!(decide(text, &push("main"), Some(&[]), "false"), Decision::LeftOut(why.into()));
    }
}

#[test]
fn mistakes_are_pointed_at_with_advice() {
    for (text, pointed_at, advice) in [
        ("", "", "event == "),
        ("   ", "   ", "event == "),
        ("evnt == \"push\"", "evnt", "did you mean `event`?"),
        ("github.ref == \"main\"", "github.ref", "`branch`"),
        ("event == \"pr\"", "\"pr\"", "\"pull-request\""),
        ("event == \"psh\"", "\"psh\"", "\"push\""),
        ("event in [\"push\", \"tags\"]", "\"tags\"", "\"tag\""),
        ("event == push", "push", "quotes: `\"push\"`"),
        ("event = \"push\"", "=", "`==`"),
        ("event", "event", "event == \"local\""),
        ("branch == \"release/*\"", "\"release/*\"", "branch in [\"release/*\"]"),
        ("branch in \"main\"", "\"main\"", "branch in [\"main\"]"),
        ("branch in []", "[]", "name something"),
        ("branch in [\"{a\"]", "\"{a\"", "`*` stands for"),
        ("branch && tag", "&&", "`and`"),
        ("!tag", "!", "`not`"),
        ("(tag", "", "for example"),
        ("tag)", ")", "for example"),
        ("tag and", "", "for example"),
        ("and tag", "and", "for example"),
        ("tag branch", "branch", "for example"),
        ("\"push\" == event", "\"push\"", "fact first"),
        ("\"push\"", "\"push\"", "compare it"),
        ("[\"a\"]", "[\"a\"]", "in [\"main\"]"),
        ("tag == \"v1", "\"v1", "end the text"),
        ("parameters.ful", "parameters.ful", "`parameters.full`"),
        ("parameters.full == \"true\"", "parameters.full", "`not parameters.full`"),
        ("parameters.region", "parameters.region", "compare it"),
        ("parameters.profile == \"releas\"", "\"releas\"", "\"release\""),
        ("matrix.python == \"3.13\"", "\"3.13\"", "\"3.11\""),
        ("success()", "success()", "`succeeded()`"),
        ("always", "always", "`always()`"),
        ("always(\"x\")", "always(\"x\")", "`always()`"),
        ("changed()", "changed()", "changed(\"src/**\")"),
        ("changed(src)", "src", "quotes"),
        ("changed(\"/etc\")", "\"/etc\"", "write `etc`"),
        ("failed(build)", "build", "failed(\"build\")"),
        ("failed(\"a\", \"b\")", "failed(\"a\", \"b\")", "one for each"),
        ("tag ? 1", "?", "a condition has"),
        ("tag and ä == \"x\"", "ä", "known are"),
    ] {
        let flaws = understand(text).unwrap_err();
        assert_eq!(&text[flaws[0].place.clone()], pointed_at, "{text}: {flaws:?}");
        assert!(flaws[0].help.contains(advice), "{text}: {}", flaws[0].help);
    }
    assert_eq!(understand("evnt == \"push\" and brnch in [\"x\"]").unwrap_err().len(), 2);
}

#[test]
fn depth_and_length_are_bounded() {
    let too_much = [
        format!("{}tag{}", "(".repeat(5000), ")".repeat(5000)),
        format!("{}tag{}", "(".repeat(100), ")".repeat(100)),
        format!("{}tag", "not ".repeat(100)),
        format!("branch in {}\"x\"{}", "[".repeat(100), "]".repeat(100)),
        format!("tag{}", " or tag".repeat(500)),
    ];
    for text in too_much {
        assert!(understand(&text).is_err(), "{} bytes", text.len());
    }
    assert!(understand(&format!("{}tag{}", "(".repeat(30), ")".repeat(30))).is_ok());
}

#[test]
fn what_only_other_events_could_make_true_is_known_never_to_hold() {
    for (text, never_at_push) in [
        ("event == \"tag\"", true),
        ("event != \"push\"", true),
        ("event == \"tag\" and tag", true),
        ("event == \"tag\" or tag", false),
        ("event in [\"push\"]", false),
        ("not (event == \"push\" or tag)", true),
        ("parameters.full", false),
    ] {
        assert_eq!(understand(text).unwrap().never_holds_at(TriggerKind::Push), never_at_push, "{text}");
    }
}

/// A condition with its value, made of parts whose values are known.
fn any_condition() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop::sample::select(vec![
        ("true", true),
        ("false", false),
        ("event == \"push\"", true),
        ("event in [\"tag\"]", false),
        ("branch", true),
        ("branch in [\"m*\"]", true),
        ("tag", false),
        ("matrix.python == '3.12'", true),
        ("changed(\"src\")", true),
        ("changed(\"docs\")", false),
    ])
    .prop_map(|(text, value)| (text.to_owned(), value));
    leaf.prop_recursive(5, 30, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(text, value)| (format!("not ({text})"), !value)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
            (inner.clone(), inner).prop_map(|((a, x), (b, y))| (format!("({a} ) or({b})"), x || y)),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_and_places_are_in_bounds(text in ".{0,60}|[a-z ()\\[\\]\",'=!.]{0,60}|(event|branch|==|in|not|and|or|\\(|\\)|\\[|\\]|\"|push|,| |always|changed){0,20}") {
        if let Err(flaws) = understand(&text) {
            prop_assert!(!flaws.is_empty());
            for flaw in flaws {
                prop_assert!(text.get(flaw.place.clone()).is_some(), "{:?} of {:?}", flaw, text);
            }
        }
    }

    #[test]
    fn parts_are_joined_as_logic_says((text, expected) in any_condition()) {
        let decision = decide(&text, &push("main"), Some(&["src/a"]), "false");
        prop_assert_eq!(decision == Decision::Planned(None), expected, "{}", text);
    }
}
