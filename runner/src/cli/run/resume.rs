//! `staith run --resume`: goes on with a run that did not pass.

use std::{path::Path, sync::Arc};

use staith_builder::source::{Resolved, Selection};
use staith_model::{Exit, Plan, RunId, RunOutcome, RunState};

use super::{super::subject::Subject, Ready};
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    records,
    resumption::{self, Again, Recipe, TakenOver},
    workshop::Workshop,
};

/// A run that is gone on with.
pub(super) struct Before {
    pub(super) state: RunState,
    pub(super) recipe: Recipe,
}

/// Finds the run that is meant, by the beginning of its id or as the newest of what the subject names, and all that it was
/// made from.
///
/// # Errors
/// There is no such run, it passed, it has not ended, or what it was made from is gone.
pub(super) async fn find(
    subject: &Subject,
    run: &str,
    home: &Home,
    mode: OutputMode,
) -> Result<Ready, Problem> {
    let origin = subject.origin(home)?;
    let (run, recipe) = chosen(&home.runs(), run, origin.place())?;
    let state = may_be_resumed(&home.runs(), &run)?;
    let bytes = resumption::source(&home.runs(), &run).ok_or_else(|| {
        Problem::new(
            Exit::Usage,
            format!("no step of run {run} was started, so there is nothing to go on with"),
        )
        .with_remedy("`staith run` begins a new one")
    })?;
    let engine = subject.engine().unwrap_or(recipe.engine);
    let workshop = Workshop::open(home)?.isolated_by(engine, home);
    let source = workshop.recall(&bytes).ok_or_else(|| gone(&run, "the list of its files is damaged"))?;
    let is_here = recipe.as_it_is && recipe.place == origin.place();
    let found = tokio::task::spawn_blocking(move || {
        // What is on the screen now; it is no matter if nobody can say.
        let now = is_here.then(|| workshop.find(&origin, &Selection::AsItIs, &mut |_| {}).ok()).flatten();
        (workshop, now.map(|now| now.source.tree))
    });
    let (workshop, now) = found.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
    if now.is_some_and(|tree| tree != source.source.tree) {
        output::notice(
            &format!(
                "the directory has changed since; what is run is the source of run {run}, and `staith run` would run what is \
                 there now"
            ),
            mode,
        );
    }
    let pipeline = workshop.pipeline(&source, &recipe.place.display().to_string())?;
    Ok(Ready {
        plan: state.plan.clone(),
        place: recipe.place.clone(),
        as_it_is: recipe.as_it_is,
        before: Some(Before { state, recipe }),
        workshop,
        source,
        pipeline,
        engine,
    })
}

fn gone(run: &RunId, why: &str) -> Problem {
    Problem::new(Exit::Environment, format!("the source of run {run} is no longer here"))
        .with_why(why)
        .with_remedy("`staith run` runs what is there now; what is known of it is not run again")
}

/// The run that is meant, and what it was made with.
fn chosen(runs: &Path, run: &str, place: &Path) -> Result<(RunId, Recipe), Problem> {
    let all = records::ids(runs);
    if run.is_empty() {
        let of_place = |id: &RunId| resumption::recipe(runs, id).filter(|recipe| recipe.place == place);
        let newest = all.iter().find_map(|id| Some((id.clone(), of_place(id)?)));
        return newest.ok_or_else(|| {
            let what = format!("there is no run of {} to go on with", place.display());
            Problem::new(Exit::Usage, what).with_remedy("`staith run` makes one")
        });
    }
    let named: Vec<&RunId> = all.iter().filter(|id| id.as_str().starts_with(run)).collect();
    match named.as_slice() {
        [one] => match resumption::recipe(runs, one) {
            Some(recipe) => Ok(((*one).clone(), recipe)),
            None => Err(Problem::new(Exit::Usage, format!("nobody can go on with run {one}"))
                .with_why("it prepared a shell, or another version of Staith made it")
                .with_remedy("`staith run` begins a new one")),
        },
        [] => Err(Problem::new(Exit::Usage, format!("there is no run `{run}`")).with_remedy(
            "`staith logs --list` lists the runs; a project's directory goes before --resume: staith run DIRECTORY --resume",
        )),
        several => {
            Err(Problem::new(Exit::Usage, format!("the ids of {} runs begin with `{run}`", several.len()))
                .with_remedy("write more of the id"))
        }
    }
}

/// How far a run came, if it has ended and did not pass.
fn may_be_resumed(runs: &Path, run: &RunId) -> Result<RunState, Problem> {
    if records::goes_on(&runs.join(run.as_str())) {
        return Err(Problem::new(Exit::Usage, format!("run {run} has not ended"))
            .with_remedy(format!("wait for it (`staith logs {run} --follow`), or end it with Ctrl-C")));
    }
    let state = resumption::state(runs, run).map_err(|unread| {
        Problem::new(Exit::Environment, format!("the events of run {run} can't be read"))
            .with_why(unread.to_string())
            .with_remedy("`staith run` begins a new run")
    })?;
    if state.outcome == Some(RunOutcome::Passed) {
        return Err(Problem::new(Exit::Usage, format!("run {run} passed; there is nothing to go on with"))
            .with_remedy("`staith run` runs what has changed since"));
    }
    Ok(state)
}

/// Says what is taken over, and makes sure that the source of all the rest is here.
///
/// # Errors
/// A content is no longer kept anywhere.
pub(super) async fn check(
    workshop: Arc<Workshop>,
    plan: &Plan,
    source: &Resolved,
    run: &RunId,
    taken: &TakenOver,
    mode: OutputMode,
) -> Result<(), Problem> {
    for (step, why) in &taken.again {
        let why = match why {
            Again::Image => "its image or engine has changed",
            Again::Collected => "what it left is no longer kept",
        };
        output::notice(&format!("step {step} had passed and is run again: {why}"), mode);
    }
    let rest: Vec<Vec<String>> = plan
        .steps
        .iter()
        .filter(|step| !taken.passed.contains_key(&step.name))
        .map(|step| step.inputs.clone())
        .collect();
    let source = source.clone();
    let checked = tokio::task::spawn_blocking(move || {
        rest.iter().try_for_each(|inputs| workshop.check_out(&source, inputs).map(drop))
    });
    let checked = checked.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
    checked.map_err(|lost| gone(run, &lost.to_string()))?;
    let (known, all) = (taken.passed.len(), plan.steps.len());
    output::notice(&format!("goes on with run {run}, where {known} of {all} steps passed"), mode);
    Ok(())
}
