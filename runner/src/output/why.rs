//! Why a step would be run or not, for `staith why`.

use std::io::{self, IsTerminal as _};

use console::Term;
use serde::Serialize;
use staith_builder::{
    cache::{Attempted, Change, How, Made},
    outlook::Standing,
};
use staith_model::{Name, StepOutcome, StepPlan};

use super::{
    clean::clean_word,
    human,
    look::{Look, Tone},
    plan::standing_word,
    sink::Sink,
    words,
    wrap::{self, wrap},
};
use crate::workshop::{Prospect, Why};

/// Files of one kind that are named; more are counted.
const MOST_NAMED: usize = 5;
/// Characters of a command or a value that are shown.
const LONGEST_VALUE: usize = 200;

/// Why a run would do with a step what it would do.
pub(crate) enum Because {
    /// The step is part of the plan.
    Planned {
        /// Its name.
        step: Name,
        /// What a run would do.
        standing: Standing,
        /// What is behind it.
        why: Why,
    },
    /// It is not.
    LeftOut {
        /// Its name.
        step: Name,
        /// Why not.
        why: String,
    },
}

impl Because {
    /// Of a step that is part of the plan.
    pub(crate) fn planned(step: &StepPlan, prospect: &Prospect, why: Why) -> Self {
        let standing = prospect.of(&step.name).map_or(Standing::NoImage, |one| one.standing.clone());
        Self::Planned { step: step.name.clone(), standing, why }
    }
}

/// Says it of each step on standard output: in sentences, or as a JSON value on a line. `now` is in milliseconds since 1970.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn why(because: &[Because], json: bool, now: u64) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        for one in because {
            out.line(&serde_json::to_string(&told(one)).unwrap_or_default());
        }
        return out.written();
    }
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let width = wrap::columns(&Term::stdout()).unwrap_or(usize::MAX);
    for (which, one) in because.iter().enumerate() {
        if which > 0 {
            out.line("");
        }
        for (place, sentence) in sentences(one, now).iter().enumerate() {
            for line in wrap(sentence, width) {
                out.line(&if place == 0 { look.tint(Tone::Strong, &line) } else { line });
            }
        }
    }
    out.written()
}

#[derive(Serialize)]
struct Told<'a> {
    step: &'a Name,
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<&'a Made>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<ToldLast<'a>>,
    changes: &'a [Change],
}

#[derive(Serialize)]
struct ToldLast<'a> {
    run: &'a str,
    at: u64,
    outcome: StepOutcome,
}

fn told(because: &Because) -> Told<'_> {
    match because {
        Because::LeftOut { step, why } => {
            Told { step, standing: "left-out", left_out: Some(why), made: None, last: None, changes: &[] }
        }
        Because::Planned { step, standing, why } => Told {
            step,
            standing: standing_word(standing),
            left_out: None,
            made: if let Standing::Known(record) = standing { record.made.as_ref() } else { None },
            last: why.last.as_ref().map(|last| ToldLast {
                run: last.run.as_str(),
                at: last.at,
                outcome: last.outcome,
            }),
            changes: if matches!(standing, Standing::Known(_)) { &[] } else { &why.changes },
        },
    }
}

/// The verdict, then what is behind it, each line below the verdict indented.
fn sentences(because: &Because, now: u64) -> Vec<String> {
    let (step, standing, why) = match because {
        Because::LeftOut { step, why } => return vec![format!("{step} is left out: {}", clean_word(why))],
        Because::Planned { step, standing, why } => (step, standing, why),
    };
    match standing {
        Standing::Known(record) => {
            let since = record.made.as_ref().map_or_else(
                || "it ran before".to_owned(),
                |made| format!("it ran {} ago in run {}", ago(made.at, now), made.run),
            );
            vec![format!("{step} is cached: {since}, and saw what it would see now")]
        }
        // What was never run can't be known, whatever the steps before it leave.
        Standing::After(_) | Standing::NoImage if why.last.is_none() => {
            [vec![format!("{step} will run")], reasons(why, now)].concat()
        }
        Standing::Runs => [vec![format!("{step} will run")], reasons(why, now)].concat(),
        Standing::After(steps) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
            let first = format!("{step} may run: that depends on the outputs of {}", steps.join(", "));
            let own = why.last.as_ref().filter(|_| !why.changes.is_empty());
            [vec![first], own.map(|last| since(last, &why.changes, now)).unwrap_or_default()].concat()
        }
        Standing::NoImage => {
            let first =
                format!("{step} may run: an image that it needs is not known here before a run fetches it");
            let own = why.last.as_ref().filter(|_| !why.changes.is_empty());
            [vec![first], own.map(|last| since(last, &why.changes, now)).unwrap_or_default()].concat()
        }
    }
}

/// Why a step runs that is not known.
fn reasons(why: &Why, now: u64) -> Vec<String> {
    match &why.last {
        None => vec!["  no run on this machine has run it before".to_owned()],
        Some(last) if !why.changes.is_empty() => since(last, &why.changes, now),
        Some(last) if !last.outcome.is_success() => vec![format!(
            "  nothing has changed since run {}, {} ago, but it {} there, and only what passed is used again",
            last.run,
            ago(last.at, now),
            words::outcome(last.outcome)
        )],
        Some(last) => vec![format!(
            "  nothing has changed since it passed in run {}, {} ago, but what it left is not kept any more",
            last.run,
            ago(last.at, now)
        )],
    }
}

fn since(last: &Attempted, changes: &[Change], now: u64) -> Vec<String> {
    let ended = words::outcome(last.outcome);
    let mut lines = vec![format!("  since run {}, {} ago, where it {ended}:", last.run, ago(last.at, now))];
    lines.extend(in_words(changes).into_iter().map(|line| format!("    {line}")));
    lines
}

fn ago(at: u64, now: u64) -> String {
    human::millis(now.saturating_sub(at))
}

/// A line for each change, but one line for all files.
fn in_words(changes: &[Change]) -> Vec<String> {
    let files: Vec<String> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Input { path, how } => Some(became(path.as_str(), *how)),
            _ => None,
        })
        .collect();
    let mut lines = Vec::new();
    if !files.is_empty() {
        lines.push(some_of(&files, 0));
    }
    lines.extend(changes.iter().filter_map(one));
    lines
}

fn one(change: &Change) -> Option<String> {
    Some(match change {
        Change::Input { .. } => return None,
        Change::Inputs => "files of the source changed; which is not remembered".to_owned(),
        Change::Command { was, is } => format!("the command was {}, and is {}", shown(was), shown(is)),
        Change::Env { name, was: Some(was), is: Some(is) } => {
            format!("env {} was {}, and is {}", clean_word(name), shown(was), shown(is))
        }
        Change::Env { name, was: None, is } => {
            format!("env {} is new: {}", clean_word(name), shown(is.as_deref().unwrap_or_default()))
        }
        Change::Env { name, was: Some(was), is: None } => {
            format!("env {} is not set any more; it was {}", clean_word(name), shown(was))
        }
        Change::Layer { step, paths, .. } if paths.is_empty() => format!("step `{step}` left other files"),
        Change::Layer { step, paths, more } => {
            let paths: Vec<String> = paths.iter().map(|(path, how)| became(path.as_str(), *how)).collect();
            format!("step `{step}` left other files: {}", some_of(&paths, *more))
        }
        Change::Needs { step, now: true } => format!("it now sees what step `{step}` leaves"),
        Change::Needs { step, now: false } => format!("it does not see what step `{step}` leaves any more"),
        Change::Image => "its image changed: programs of this host were updated, or the image was".to_owned(),
        Change::Service { service, now: true } => {
            format!("service `{}` runs beside it now", clean_word(service))
        }
        Change::Service { service, now: false } => {
            format!("service `{}` does not run beside it any more", clean_word(service))
        }
        Change::ServiceImage { service } => format!(
            "the image of service `{}` changed: programs of this host were updated, or the image was",
            clean_word(service)
        ),
        Change::ServiceSetting { service, key, was, is } => format!(
            "{} of service `{}` was {}, and is {}",
            clean_word(key),
            clean_word(service),
            shown(was),
            shown(is)
        ),
        Change::Setting { key, was, is } => {
            format!("{} was {}, and is {}", clean_word(key), shown(was), shown(is))
        }
    })
}

fn became(path: &str, how: How) -> String {
    let how = match how {
        How::Changed => "changed",
        How::Added => "is new",
        How::Removed => "is gone",
    };
    format!("{} {how}", clean_word(path))
}

/// The first of many, and how many more there are.
fn some_of(all: &[String], more: usize) -> String {
    let rest = all.len().saturating_sub(MOST_NAMED) + more;
    let named = all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if rest == 0 { named } else { format!("{named}, and {} more", human::number(rest as u64)) }
}

fn shown(text: &str) -> String {
    let clean = clean_word(text);
    let short: String = clean.chars().take(LONGEST_VALUE).collect();
    let end = if short.len() < clean.len() { "..." } else { "" };
    format!("`{short}{end}`")
}

#[cfg(test)]
mod tests {
    use staith_builder::cache::StepRecord;
    use staith_model::{Digest, RunId, StepResults};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn attempted(outcome: StepOutcome) -> Attempted {
        Attempted {
            run: RunId::new(1_000, [1; 10]),
            at: 1_000,
            outcome,
            key: Digest::of(b"key"),
            seen: serde_json::Value::Null,
            layers: Vec::new(),
        }
    }

    fn said(standing: Standing, last: Option<Attempted>, changes: Vec<Change>) -> String {
        let because = Because::Planned { step: name("test"), standing, why: Why { last, changes } };
        sentences(&because, 61_000).join("\n").replace(RunId::new(1_000, [1; 10]).as_str(), "RUN")
    }

    #[test]
    fn each_verdict_has_its_reason() {
        let passed = || Some(attempted(StepOutcome::Passed));
        let made = Some(Made { run: RunId::new(1_000, [1; 10]), at: 1_000 });
        let record = StepRecord { layer: None, results: StepResults::default(), millis: 1, made };
        let changed = Change::Env { name: "A".into(), was: Some("1".into()), is: Some("2".into()) };
        for (told, expected) in [
            (
                said(Standing::Known(record), passed(), vec![changed.clone()]),
                "test is cached: it ran 1 m 00 s ago in run RUN, and saw what it would see now",
            ),
            (said(Standing::Runs, None, vec![]), "test will run\n  no run on this machine has run it before"),
            (
                said(Standing::Runs, passed(), vec![changed.clone()]),
                "test will run\n  since run RUN, 1 m 00 s ago, where it passed:\n    env A was `1`, and is `2`",
            ),
            (
                said(Standing::Runs, Some(attempted(StepOutcome::Failed)), vec![]),
                "test will run\n  nothing has changed since run RUN, 1 m 00 s ago, but it failed there, and only what \
                 passed is used again",
            ),
            (
                said(Standing::Runs, passed(), vec![]),
                "test will run\n  nothing has changed since it passed in run RUN, 1 m 00 s ago, but what it left is not \
                 kept any more",
            ),
            (
                said(Standing::After(vec![name("restore")]), None, vec![]),
                "test will run\n  no run on this machine has run it before",
            ),
            (
                said(Standing::After(vec![name("restore")]), passed(), vec![]),
                "test may run: that depends on the outputs of `restore`",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn files_are_counted_where_there_are_many() {
        let input =
            |at: usize| Change::Input { path: format!("f{at}").try_into().unwrap(), how: How::Changed };
        let lines = in_words(&(0..7).map(input).collect::<Vec<_>>());
        let expected = "f0 changed, f1 changed, f2 changed, f3 changed, f4 changed, and 2 more";
        assert_eq!(lines, [expected]);
        let paths = vec![("Cargo.lock".try_into().unwrap(), How::Removed)];
        let layer = Change::Layer { step: name("restore"), paths, more: 3 };
        assert_eq!(in_words(&[layer]), ["step `restore` left other files: Cargo.lock is gone, and 3 more"]);
    }

    #[test]
    fn hostile_and_long_values_are_tamed() {
        let long = "x".repeat(1_000);
        let change = Change::Command { was: "a\x1b[2Jb".into(), is: long };
        let line = in_words(&[change]).remove(0);
        assert!(!line.contains('\x1b') && line.len() < 300 && line.ends_with("...`"), "{line}");
    }
}
