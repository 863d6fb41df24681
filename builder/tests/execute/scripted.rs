//! A run of steps that a test scripts: everything is real but the engine, which does what it is told.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use staith_builder::{
    cache::{Elsewhere, StepCache},
    engine::{
        Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, OutputChunk, Root, StepExit,
        StepSpec, Support,
    },
    execute::{Budget, EventLog, Manner, Passing, Stop, Workbench, execute},
    layers::LayerStore,
    secrets::Supply,
    source::{Origin, Resolved, Selection, Sources},
};
use staith_model::{
    Command, Digest, Event, EventKind, Name, Plan, RunId, Source, StepOutcome, StepPlan, TestReport, Trigger,
};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// What an engine is to do with a step, by the step's command.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// End like this, attempt by attempt; the last one again and again.
    End(Vec<Result<StepExit, String>>),
    /// Leave a file.
    Leave(&'static str),
    /// Run until it is cancelled.
    Stay,
    /// Run until it is cancelled, and fail of it.
    FailOfCancelling,
}

#[derive(Default)]
pub(crate) struct Scripted {
    acts: BTreeMap<String, Act>,
    seen: Mutex<Vec<String>>,
    /// What each step was given, lowest layer first, as the files in it.
    saw: Mutex<BTreeMap<String, Vec<Vec<String>>>>,
    begun: Notify,
}

fn files(spec: &StepSpec) -> Vec<String> {
    let mut names = Vec::new();
    for lower in &spec.lowers {
        let entries = fs::read_dir(lower).unwrap().flatten();
        names.extend(entries.map(|entry| entry.file_name().into_string().unwrap()));
    }
    names.sort();
    names
}

#[async_trait]
impl Engine for Scripted {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        Ok(Capabilities {
            file_owner: None,
            memory_limit: Support::Enforced,
            process_limit: Support::Enforced,
            cpu_limit: Support::Enforced,
            landlock_abi: 0,
        })
    }

    async fn image(&self, _: &ImageSpec, _: &ImageProgress<'_>) -> Result<Image, EngineError> {
        Ok(image())
    }

    async fn run(
        &self,
        step: StepSpec,
        _output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError> {
        let name = step.argv.last().unwrap().to_str().unwrap().to_owned();
        assert!(fs::read_dir(&step.upper).unwrap().next().is_none(), "{name} was given a used directory");
        let attempt = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(name.clone());
            seen.iter().filter(|one| **one == name).count()
        };
        self.saw.lock().unwrap().entry(name.clone()).or_default().push(files(&step));
        self.begun.notify_waiters();
        match self.acts.get(&name) {
            None => Ok(StepExit::Code(0)),
            Some(Act::End(ends)) => {
                // What an attempt that did not pass left must not be there for the next.
                fs::write(step.upper.join("left-over"), "").unwrap();
                ends[(attempt - 1).min(ends.len() - 1)].clone().map_err(EngineError::Lost)
            }
            Some(Act::Leave(file)) => {
                fs::write(step.upper.join(file), "").unwrap();
                Ok(StepExit::Code(0))
            }
            Some(Act::FailOfCancelling) => {
                cancel.cancelled().await;
                Ok(StepExit::Code(1))
            }
            Some(Act::Stay) => {
                cancel.cancelled().await;
                Ok(StepExit::Cancelled)
            }
        }
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        Ok(0)
    }
}

fn image() -> Image {
    Image {
        digest: Digest::of(b"image"),
        root: Root::Host,
        binds: vec![],
        path: vec![],
        env: BTreeMap::new(),
        command: vec![],
        workdir: None,
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A step whose command is its name.
pub(crate) fn step(this: &str, needs: &[&str]) -> StepPlan {
    let needs: Vec<Name> = needs.iter().map(|need| name(need)).collect();
    StepPlan {
        layers: needs.clone(),
        needs,
        ..StepPlan::new(name(this), Command::Argv(vec![this.into()]), Digest::of(b"tree"))
    }
}

/// A script and a place to run it in.
pub(crate) struct Stage {
    pub(crate) place: TempDir,
    pub(crate) engine: Arc<Scripted>,
    pub(crate) manner: Manner,
    pub(crate) budget: Budget,
    pub(crate) stop: Stop,
    /// Steps that have passed in the run that this one goes on with.
    pub(crate) passed: BTreeMap<Name, Passing>,
    pub(crate) elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// What a run came to.
pub(crate) struct Came {
    pub(crate) report: TestReport,
    pub(crate) plan: Plan,
    pub(crate) events: Vec<Event>,
}

impl Stage {
    pub(crate) fn new(acts: &[(&str, Act)]) -> Self {
        let acts = acts.iter().map(|(step, act)| ((*step).to_owned(), act.clone())).collect();
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("project")).unwrap();
        fs::write(place.path().join("project/source.txt"), "x").unwrap();
        Self {
            place,
            engine: Arc::new(Scripted { acts, ..Scripted::default() }),
            manner: Manner::default(),
            budget: Budget { jobs: 4, cpu_milli: 4000, memory: 1 << 30 },
            stop: Stop::default(),
            passed: BTreeMap::new(),
            elsewhere: None,
        }
    }

    /// Whether a step is run, as soon as it is.
    pub(crate) async fn until_runs(&self, step: &str) {
        loop {
            let begun = self.engine.begun.notified();
            if self.seen().iter().any(|one| one == step) {
                return;
            }
            begun.await;
        }
    }

    /// The steps that were run, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.engine.seen.lock().unwrap().clone()
    }

    /// The files that a step saw at its last attempt.
    pub(crate) fn saw(&self, step: &str) -> Vec<String> {
        self.engine.saw.lock().unwrap()[step].last().unwrap().clone()
    }

    fn bench(&self) -> (Arc<Workbench>, Resolved) {
        let store = self.place.path().join("store");
        let sources = Sources::open(&store, None).unwrap();
        let origin = Origin::parse(".", &self.place.path().join("project")).unwrap();
        let source = sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
        let bench = Workbench {
            sources,
            layers: Arc::new(LayerStore::open(&store, None).unwrap()),
            cache: StepCache::new(store.join("cache")),
            elsewhere: self.elsewhere.clone(),
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            images: [(None, image())].into(),
            budget: self.budget,
            secrets: Supply::default(),
            logs: None,
            clock: || 0,
            passed: self.passed.clone(),
        };
        (Arc::new(bench), source)
    }

    pub(crate) async fn run(&self, steps: Vec<StepPlan>) -> Came {
        let (bench, source) = self.bench();
        let plan = Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: true },
            trigger: Trigger::default(),
            tools: vec![],
            steps,
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = Arc::clone(&told);
        let mut log =
            EventLog::new(|| 0, Box::new(move |event, _| teller.lock().unwrap().push(event.clone())));
        let (run, stop) = (RunId::new(0, [0; 10]), self.stop.clone());
        let (held, source) = (Arc::new(plan.clone()), Arc::new(source));
        let report = execute(bench, run, held, source, self.manner, &mut log, stop).await.unwrap();
        let events = told.lock().unwrap().clone();
        Came { report, plan, events }
    }
}

impl Came {
    pub(crate) fn outcome(&self, step: &str) -> StepOutcome {
        self.report.steps[&name(step)].outcome
    }

    pub(crate) fn why(&self, step: &str) -> String {
        let why = |event: &Event| match &event.what {
            EventKind::StepFinished { step: ended, reason: Some(reason), .. } if *ended == name(step) => {
                Some(reason.what.clone())
            }
            _ => None,
        };
        self.events.iter().find_map(why).unwrap_or_default()
    }

    pub(crate) fn is_pass(&self) -> bool {
        self.report.clone().into_passed(&self.plan).is_ok()
    }

    /// Milliseconds that a step was made to wait, retry by retry.
    pub(crate) fn pauses(&self) -> Vec<u64> {
        let pause = |event: &Event| match event.what {
            EventKind::StepRetried { pause_millis, .. } => Some(pause_millis),
            _ => None,
        };
        self.events.iter().filter_map(pause).collect()
    }
}
