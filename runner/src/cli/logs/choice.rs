//! Which run and which of its steps are meant.

use std::path::Path;

use staith_model::{Exit, Name, RunId};

use crate::{
    output::Problem,
    records::{self, RunRecord},
};

/// How alike two names are, from 0 to 1, for one to be taken for a slip of the other.
const ALIKE: f64 = 0.8;

/// The run and the step that a command line names. What is no run may be a step of the newest one.
///
/// # Errors
/// There is no such run or step, or there are several.
pub(super) fn choose(
    runs: &Path,
    run: Option<&str>,
    step: Option<&str>,
) -> Result<(RunRecord, Option<Name>), Problem> {
    let all = records::ids(runs);
    if all.is_empty() {
        return Err(Problem::new(Exit::Usage, "there are no runs on this machine")
            .with_remedy("`staith run` in a project's directory makes one"));
    }
    let named = |run: &str| all.iter().filter(|id| id.as_str().starts_with(run)).collect::<Vec<_>>();
    match (run, step) {
        (None, step) => in_newest(runs, &all, step),
        (Some(run), step) => match (named(run).as_slice(), step) {
            ([one], step) => in_run(read(runs, one)?, step),
            ([], None) => in_newest(runs, &all, Some(run)).map_err(|problem| nor_a_run(run, problem)),
            ([], Some(_)) => Err(Problem::new(Exit::Usage, format!("there is no run `{run}`"))
                .with_remedy("`staith logs --list` lists the runs")),
            (several, _) => {
                let first: Vec<&str> = several.iter().take(5).map(|id| id.as_str()).collect();
                Err(Problem::new(
                    Exit::Usage,
                    format!("the ids of {} runs begin with `{run}`", several.len()),
                )
                .with_why(format!("among them {}", first.join(", ")))
                .with_remedy("write more of the id"))
            }
        },
    }
}

fn nor_a_run(run: &str, problem: Problem) -> Problem {
    Problem { what: format!("`{run}` is no run; {}", problem.what), ..problem }
}

/// In the newest run that says what it is.
fn in_newest(runs: &Path, all: &[RunId], step: Option<&str>) -> Result<(RunRecord, Option<Name>), Problem> {
    let newest = all.iter().find_map(|id| records::read(runs, id).ok().flatten());
    let newest = newest.ok_or_else(|| {
        Problem::new(Exit::Environment, "none of the runs on this machine can be read")
            .with_why(format!("they are in {}", runs.display()))
    })?;
    in_run(newest, step)
}

fn read(runs: &Path, id: &RunId) -> Result<RunRecord, Problem> {
    let unreadable = |why: String| {
        Problem::new(Exit::Environment, format!("the events of run {id} can't be read")).with_why(why)
    };
    let read = records::read(runs, id).map_err(|refused| unreadable(refused.to_string()))?;
    read.ok_or_else(|| unreadable("they don't begin as the events of a run".to_owned()))
}

fn in_run(record: RunRecord, step: Option<&str>) -> Result<(RunRecord, Option<Name>), Problem> {
    let Some(step) = step else { return Ok((record, None)) };
    let names: Vec<&Name> = record.steps.iter().map(|(name, _)| name).collect();
    match find(&names, step) {
        Ok(name) => {
            let name = name.clone();
            Ok((record, Some(name)))
        }
        Err(problem) => Err(Problem { what: format!("{} in run {}", problem.what, record.id), ..problem }),
    }
}

fn find<'a>(names: &[&'a Name], step: &str) -> Result<&'a Name, Problem> {
    if let Some(exactly) = names.iter().find(|name| name.as_str() == step) {
        return Ok(exactly);
    }
    let begun: Vec<&&Name> = names.iter().filter(|name| name.as_str().starts_with(step)).collect();
    let listed = |names: &[&&Name]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match begun.as_slice() {
        [one] => Ok(one),
        [] => {
            let problem = Problem::new(Exit::Usage, format!("there is no step `{step}`"))
                .with_why(format!("its steps are {}", listed(&names.iter().collect::<Vec<_>>())));
            let alike = |name: &&Name| strsim::jaro_winkler(step, name.as_str());
            let closest = names.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
            Err(match closest.filter(|name| alike(name) >= ALIKE) {
                Some(name) => problem.with_remedy(format!("did you mean `{name}`?")),
                None => problem,
            })
        }
        several => Err(Problem::new(Exit::Usage, format!("several steps begin with `{step}`"))
            .with_why(format!("they are {}", listed(several)))
            .with_remedy("write more of the name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_by_its_beginning_and_a_slip_is_recognised() {
        let names: Vec<Name> =
            ["unit", "unit-test", "build", "integration"].map(|name| name.parse().unwrap()).into();
        let names: Vec<&Name> = names.iter().collect();
        let found = |step: &str| find(&names, step).map(Name::as_str);
        assert_eq!(found("unit"), Ok("unit"));
        assert_eq!(found("b"), Ok("build"));
        assert!(found("u").unwrap_err().why.unwrap().contains("unit, unit-test"));
        let slip = found("biuld").unwrap_err();
        assert_eq!(slip.remedy.as_deref(), Some("did you mean `build`?"));
        assert_eq!(found("zzz").unwrap_err().remedy, None);
    }
}
