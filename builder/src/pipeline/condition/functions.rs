//! The functions of a condition.

use staith_model::Ending;

use super::{
    Truth,
    check::Checker,
    parse::{Form, Node},
};
use crate::pipeline::{
    problems::quoted,
    suggest::{closest, listed},
    values,
};

pub(super) const NAMES: [&str; 5] = ["changed", "succeeded", "failed", "skipped", "always"];
const ELSEWHERE: [(&str, &str); 5] = [
    ("success", "succeeded"),
    ("failure", "failed"),
    ("completed", "always"),
    ("changes", "changed"),
    ("cancelled", "skipped"),
];

pub(super) fn call(checker: &mut Checker<'_>, node: &Node, name: &str, arguments: &[Node]) -> Option<Truth> {
    match name {
        "changed" => changed(checker, node, arguments),
        "succeeded" => outcome(checker, node, name, Ending::Succeeded, arguments),
        "failed" => outcome(checker, node, name, Ending::Failed, arguments),
        "skipped" => outcome(checker, node, name, Ending::Skipped, arguments),
        "always" => always(checker, node, arguments),
        _ => unknown(checker, node, name),
    }
}

fn unknown(checker: &mut Checker<'_>, node: &Node, name: &str) -> Option<Truth> {
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, meant)| *meant);
    let help = match elsewhere.or_else(|| closest(name, NAMES)) {
        Some(meant) => format!("did you mean `{meant}()`?"),
        None => format!("the functions are {}", listed(NAMES.map(|name| format!("{name}()")))),
    };
    checker.refuse(node, format!("calls {}", quoted(name)), "no function has this name", help)
}

fn changed(checker: &mut Checker<'_>, node: &Node, arguments: &[Node]) -> Option<Truth> {
    if arguments.is_empty() {
        let help = "name the paths: `changed(\"src/**\")`";
        return checker.refuse(node, "asks what changed, but names no paths", "a glob belongs in here", help);
    }
    let globs: Vec<_> = arguments.iter().map(|argument| glob(checker, argument)).collect();
    globs.into_iter().collect::<Option<_>>().map(Truth::Changed)
}

fn glob(checker: &mut Checker<'_>, node: &Node) -> Option<String> {
    let Form::Text(text) = &node.form else {
        let help = "write it in quotes: `changed(\"src/**\", \"Cargo.*\")`";
        return checker.refuse(
            node,
            "asks what changed, but not by text",
            "a glob in quotes belongs here",
            help,
        );
    };
    match values::glob(text) {
        Ok(glob) => Some(glob),
        Err(complaint) => {
            let what = format!("has a path that {}", complaint.what);
            checker.refuse(node, what, complaint.label, complaint.help)
        }
    }
}

fn outcome(
    checker: &mut Checker<'_>,
    node: &Node,
    name: &str,
    is: Ending,
    arguments: &[Node],
) -> Option<Truth> {
    may_ask_outcomes(checker, node, name)?;
    match arguments {
        [] => Some(Truth::Needs(is)),
        [Node { form: Form::Text(step), place }] => {
            checker.steps.push((step.clone(), place.clone()));
            Some(Truth::Step { step: step.clone(), is })
        }
        [one] => {
            let help = format!("write `{name}(\"build\")`, or `{name}()` for all that the step needs");
            checker.refuse(one, "names a step, but not by text", "a step's name in quotes belongs here", help)
        }
        _ => {
            let help =
                format!("write one for each, with `and` or `or` between: `{name}(\"a\") and {name}(\"b\")`");
            checker.refuse(node, format!("asks `{name}` about several steps"), "one name is enough", help)
        }
    }
}

fn always(checker: &mut Checker<'_>, node: &Node, arguments: &[Node]) -> Option<Truth> {
    may_ask_outcomes(checker, node, "always")?;
    if arguments.is_empty() {
        return Some(Truth::Literal(true));
    }
    checker.refuse(node, "gives `always` something", "it takes nothing", "write `always()`")
}

fn may_ask_outcomes(checker: &mut Checker<'_>, node: &Node, name: &str) -> Option<()> {
    if checker.known.outcomes {
        checker.asks_outcomes = true;
        return Some(());
    }
    checker.refuse(
        node,
        format!("asks `{name}`"),
        "a package is made once every step has passed, and never else",
        "ask for what is known before: `event`, `branch`, `tag`, `changed(...)`, parameters",
    )
}
