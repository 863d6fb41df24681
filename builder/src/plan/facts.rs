//! What set a run off, as environment variables of those steps that ask for it.
//!
//! What a step can see is part of its key in the cache. A step that always saw the branch would run again on every branch
//! though it cares for none, so a step sees a fact only where it names it: in its command, or in its environment as a variable
//! or in a value. What it names becomes part of its plan, and so of its key.

use staith_model::{Command, Plan, StepPlan};

/// A variable and what it holds; empty where the run has no such thing, so that a script may read it under `set -u`.
type Fact = (&'static str, String);

/// Gives each step of a plan the facts that it names. What the pipeline sets itself stays as it is.
pub(super) fn give(plan: &mut Plan) {
    let facts = facts(plan);
    for step in &mut plan.steps {
        let asked: Vec<&Fact> = facts.iter().filter(|(name, _)| names(step, name)).collect();
        for (name, value) in asked {
            let given = step.env.entry((*name).to_owned()).or_default();
            if given.is_empty() {
                given.clone_from(value);
            }
        }
    }
}

fn facts(plan: &Plan) -> [Fact; 5] {
    let (trigger, source) = (&plan.trigger, &plan.source);
    let text = |fact: &Option<String>| fact.clone().unwrap_or_default();
    // The commit of a working directory with changes is not what is built.
    let commit = source.commit.clone().filter(|_| !source.dirty).unwrap_or_default();
    [
        ("STAITH_EVENT", trigger.kind.as_str().to_owned()),
        ("STAITH_BRANCH", text(&trigger.branch)),
        ("STAITH_TARGET", text(&trigger.target)),
        ("STAITH_TAG", text(&trigger.tag)),
        ("STAITH_COMMIT", commit),
    ]
}

fn names(step: &StepPlan, fact: &str) -> bool {
    let in_command = match &step.command {
        Command::Shell(script) => holds_word(script, fact),
        Command::Argv(argv) => argv.iter().any(|argument| holds_word(argument, fact)),
    };
    in_command || step.env.iter().any(|(name, value)| name == fact || holds_word(value, fact))
}

/// Whether a name stands in a text, and not only as a part of a longer one.
fn holds_word(text: &str, word: &str) -> bool {
    let continues =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (at.checked_sub(1), at + word.len());
        let bytes = text.as_bytes();
        !continues(before.and_then(|before| bytes.get(before))) && !continues(bytes.get(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use staith_model::{Digest, Source, Trigger, TriggerKind};

    fn given(command: Command, env: &[(&str, &str)], dirty: bool) -> Vec<String> {
        let mut step = StepPlan::new("s".parse().unwrap(), command, Digest::of(b""));
        step.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let branch = Some("main".to_owned());
        let mut plan = Plan {
            project: "p".parse().unwrap(),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: Some("c0ffee".into()), dirty },
            trigger: Trigger { kind: TriggerKind::Push, branch, ..Trigger::default() },
            tools: vec![],
            steps: vec![step],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        give(&mut plan);
        plan.steps[0].env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn shell(script: &str) -> Command {
        Command::Shell(script.into())
    }

    #[test]
    fn a_step_sees_what_it_names_and_nothing_else() {
        assert!(given(shell("make"), &[], false).is_empty());
        assert_eq!(given(shell("echo \"$STAITH_BRANCH\""), &[], false), ["STAITH_BRANCH=main"]);
        assert_eq!(given(shell("echo ${STAITH_TAG:-none}"), &[], false), ["STAITH_TAG="]);
        let argv = Command::Argv(vec!["./publish".into(), "--on=STAITH_EVENT".into()]);
        assert_eq!(given(argv, &[], false), ["STAITH_EVENT=push"]);
        assert_eq!(given(shell("./ci.sh"), &[("STAITH_COMMIT", "")], false), ["STAITH_COMMIT=c0ffee"]);
        assert!(given(shell("echo $MY_STAITH_BRANCH $STAITH_BRANCHES"), &[], false).is_empty());
    }

    #[test]
    fn what_the_pipeline_sets_stays() {
        let env = [("STAITH_BRANCH", "fixed")];
        assert_eq!(given(shell("echo $STAITH_BRANCH"), &env, false), ["STAITH_BRANCH=fixed"]);
    }

    #[test]
    fn a_changed_working_directory_is_no_commit() {
        assert_eq!(given(shell("echo $STAITH_COMMIT"), &[], true), ["STAITH_COMMIT="]);
    }
}
