//! What a run writes down so that another can go on with it, and how that is read.
//!
//! Beside its events a run keeps `recipe.json`, which says where it came from and what it was made with, from its beginning; and
//! `source`, the exact list of its files, as soon as a step of it is started: of a run in which all was known there is nothing
//! to go on with.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use staith_builder::{
    cache::StepRecord,
    execute::{Passing, Watcher},
    source::Resolved,
};
use staith_model::{Digest, Event, EventKind, ImpossibleEvent, Name, Plan, RunId, RunState};

use crate::workshop::EngineName;

const RECIPE: &str = "recipe.json";
const SOURCE: &str = "source";
/// Of recipes with a higher one, nothing is known.
const VERSION: u16 = 1;

/// Where a run came from, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    v: u16,
    /// The directory or repository, as [`Origin::place`](staith_builder::source::Origin::place) has it.
    pub(crate) place: PathBuf,
    /// Whether it was the working directory as it was, and not a commit that somebody named.
    pub(crate) as_it_is: bool,
    pub(crate) engine: EngineName,
    /// The root file systems of its steps, by the names that the pipeline gives them.
    pub(crate) images: Vec<(Option<String>, Digest)>,
}

impl Recipe {
    pub(crate) fn new(
        place: &Path,
        as_it_is: bool,
        engine: EngineName,
        images: impl Iterator<Item = (Option<String>, Digest)>,
    ) -> Self {
        Self { v: VERSION, place: place.to_owned(), as_it_is, engine, images: images.collect() }
    }

    fn image(&self, reference: &Option<String>) -> Option<Digest> {
        self.images.iter().find(|(known, _)| known == reference).map(|(_, digest)| *digest)
    }
}

/// A watcher that writes down what another run needs to go on with this one, and hands every event on. That it could not be
/// written is no reason to end a run.
pub(crate) fn noting(runs: PathBuf, recipe: Recipe, source: Arc<Resolved>, mut next: Watcher) -> Watcher {
    let mut directory = None;
    let mut source = Some(source);
    Box::new(move |event: &Event, state: &RunState| {
        next(event, state);
        let noted = match &event.what {
            EventKind::RunStarted { run, .. } => {
                let directory = directory.insert(runs.join(run.as_str()));
                serde_json::to_vec(&recipe)
                    .map_err(io::Error::from)
                    .and_then(|json| write_whole(directory, RECIPE, &json))
            }
            EventKind::StepStarted { .. } => match (&directory, source.take()) {
                (Some(directory), Some(source)) => {
                    source.to_bytes().map_or(Ok(()), |bytes| write_whole(directory, SOURCE, &bytes))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(refused) = noted {
            tracing::warn!(%refused, "nobody will be able to go on with this run");
        }
    })
}

fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.persist(directory.join(name))?;
    Ok(())
}

/// What a run was made with, if anybody may go on with it.
pub(crate) fn recipe(runs: &Path, run: &RunId) -> Option<Recipe> {
    let recipe: Recipe =
        serde_json::from_slice(&fs::read(runs.join(run.as_str()).join(RECIPE)).ok()?).ok()?;
    (recipe.v <= VERSION).then_some(recipe)
}

/// The list of a run's files; `None` where no step of it was started, or it is gone.
pub(crate) fn source(runs: &Path, run: &RunId) -> Option<Vec<u8>> {
    fs::read(runs.join(run.as_str()).join(SOURCE)).ok()
}

/// Why a run's events can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Impossible(#[from] ImpossibleEvent),
}

/// Where a run is, by its events. Of a run that was killed, the last line may be half.
///
/// # Errors
/// The file can't be read, or its events make no run.
pub(crate) fn state(runs: &Path, run: &RunId) -> Result<RunState, Unread> {
    let mut lines = BufReader::new(File::open(runs.join(run.as_str()).join("events.jsonl"))?);
    let mut state: Option<RunState> = None;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let Ok(event) = serde_json::from_slice::<Event>(&line) else { break };
        match &mut state {
            None => state = Some(RunState::begin(&event)?),
            Some(state) => state.apply(&event)?,
        }
        line.clear();
    }
    Ok(state.ok_or(ImpossibleEvent::NotAStart(0))?)
}

/// Why a step that had passed is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// The root file system that it ran in is another one now.
    Image,
    /// What it left is no longer kept.
    Collected,
}

/// What is taken over of a run, and what is not though it had passed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenOver {
    pub(crate) passed: BTreeMap<Name, Passing>,
    pub(crate) again: Vec<(Name, Again)>,
}

/// What can be taken over of a run, given the root file systems that its steps would see now and what layers are kept. Pure.
pub(crate) fn take_over(
    state: &RunState,
    recipe: &Recipe,
    image: &dyn Fn(&Option<String>) -> Option<Digest>,
    is_kept: &dyn Fn(&Digest) -> bool,
) -> TakenOver {
    let plan: &Plan = &state.plan;
    let mut taken = TakenOver::default();
    for step in &plan.steps {
        let Some(report) = state.reports.get(&step.name).filter(|report| report.outcome.is_success()) else {
            continue;
        };
        let left = |name: &Name| Some((name.clone(), state.reports.get(name)?.layer?));
        let beside = plan.services_of(step);
        let mut seen = [&step.image].into_iter().chain(beside.iter().map(|service| &service.image));
        if seen.any(|seen| recipe.image(seen).is_none() || recipe.image(seen) != image(seen)) {
            taken.again.push((step.name.clone(), Again::Image));
        } else if report.layer.is_some_and(|layer| !is_kept(&layer)) {
            taken.again.push((step.name.clone(), Again::Collected));
        } else {
            let results = report.results.clone();
            let record = StepRecord { layer: report.layer, results, millis: 0, made: None };
            let layers = step.layers.iter().filter_map(left).collect();
            taken.passed.insert(step.name.clone(), Passing { layers, record });
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use staith_model::{Command, EVENT_VERSION, Reason, Source, StepOutcome, StepPlan, StepResults, Trigger};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn events() -> Vec<Event> {
        let step = |this: &str, layers: &[&str], image: Option<&str>| StepPlan {
            layers: layers.iter().map(|layer| name(layer)).collect(),
            needs: layers.iter().map(|layer| name(layer)).collect(),
            image: image.map(str::to_owned),
            ..StepPlan::new(name(this), Command::Shell("true".into()), Digest::of(b"tree"))
        };
        let plan = Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: true },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![
                step("build", &[], None),
                step("lint", &[], Some("x")),
                step("test", &["build"], None),
            ],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        let ended = |step: &str, outcome, layer| EventKind::StepFinished {
            step: name(step),
            outcome,
            millis: 1,
            reason: None::<Reason>,
            results: StepResults::default(),
            layer,
        };
        let started = |step: &str| EventKind::StepStarted { step: name(step), attempt: 1 };
        let run = RunId::new(0, [0; 10]);
        let all = [
            EventKind::RunStarted { run, plan_digest: plan.digest(), plan: Box::new(plan) },
            started("build"),
            ended("build", StepOutcome::Passed, Some(Digest::of(b"out"))),
            ended("lint", StepOutcome::Cached, None),
            started("test"),
            ended("test", StepOutcome::Failed, None),
        ];
        let event =
            |(seq, what): (usize, EventKind)| Event { v: EVENT_VERSION, seq: seq as u64, at: 0, what };
        all.into_iter().enumerate().map(event).collect()
    }

    fn recipe_of(images: &[(Option<&str>, &[u8])]) -> Recipe {
        let images = images.iter().map(|(name, of)| (name.map(str::to_owned), Digest::of(of)));
        Recipe::new(Path::new("/p"), true, EngineName::BuiltIn, images)
    }

    #[test]
    fn what_passed_is_taken_over_where_it_would_be_the_same_now() {
        let state = RunState::replay(&events()).unwrap();
        let recipe = recipe_of(&[(None, b"host"), (Some("x"), b"x")]);
        let same = |reference: &Option<String>| recipe.image(reference);
        let taken = take_over(&state, &recipe, &same, &|_| true);
        assert_eq!(taken.passed.keys().map(Name::as_str).collect::<Vec<_>>(), ["build", "lint"]);
        assert_eq!(taken.again, []);
        let taken = take_over(&state, &recipe, &same, &|_| false);
        assert_eq!(taken.again, [(name("build"), Again::Collected)]);
        let other = |_: &Option<String>| Some(Digest::of(b"host"));
        assert_eq!(take_over(&state, &recipe, &other, &|_| true).again, [(name("lint"), Again::Image)]);
    }

    #[test]
    fn a_run_is_written_down_and_read_though_its_last_line_is_half() {
        let runs = tempfile::tempdir().unwrap();
        let events = events();
        let run = RunId::new(0, [0; 10]);
        let directory = runs.path().join(run.as_str());
        fs::create_dir(&directory).unwrap();
        let mut text: String =
            events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
        text.push_str("{\"v\":1,\"se");
        fs::write(directory.join("events.jsonl"), text).unwrap();
        assert_eq!(state(runs.path(), &run).unwrap(), RunState::replay(&events).unwrap());
        assert_eq!((recipe(runs.path(), &run), source(runs.path(), &run)), (None, None));
        write_whole(&directory, RECIPE, &serde_json::to_vec(&recipe_of(&[])).unwrap()).unwrap();
        assert_eq!(recipe(runs.path(), &run), Some(recipe_of(&[])));
        let newer =
            serde_json::json!({"v": 2, "place": "/p", "as_it_is": true, "engine": "built-in", "images": []});
        write_whole(&directory, RECIPE, newer.to_string().as_bytes()).unwrap();
        assert_eq!(recipe(runs.path(), &run), None);
    }
}
