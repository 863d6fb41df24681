//! One attempt at one step: looks it up, or runs it and keeps what it left. Owns nothing that others see; it tells the
//! dispatcher what happens by messages.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use staith_model::{
    Command, Digest, Name, Plan, RunId, StepOutcome, StepPlan, StepResults, Stream, TestSummary,
};
use tokio::sync::mpsc;

use super::{
    Workbench,
    lines::LineSplitter,
    stop::Stop,
    verdict::{self, Verdict},
};
use crate::{
    cache::{Attempted, Made, StepRecord, step_key, what_is_seen},
    engine::{EngineError, OutputChunk, StepSpec},
    layers::LayerError,
    report,
    source::Resolved,
};

/// What an attempt tells the dispatcher.
pub(super) enum Message {
    /// It is not known, so it is being run.
    Started,
    /// It wrote a line.
    Line(Stream, String),
    /// It is over.
    Ended(Ended),
    /// It was not run, because the host can't isolate it.
    CannotIsolate(EngineError),
}

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
    pub(super) results: StepResults,
    pub(super) layer: Option<Digest>,
}

/// Everything an attempt needs.
pub(super) struct Attempt {
    pub(super) bench: Arc<Workbench>,
    pub(super) run: RunId,
    pub(super) plan: Arc<Plan>,
    pub(super) step: StepPlan,
    pub(super) source: Arc<Resolved>,
    /// What the steps below it left, lowest first.
    pub(super) layers: Vec<(Name, Digest)>,
    pub(super) stop: Stop,
    pub(super) tell: mpsc::Sender<(Name, Message)>,
}

impl Attempt {
    /// Makes the attempt. Cancel-safe: when dropped, the engine ends the step and the scratch space goes.
    pub(super) async fn make(self) {
        let ended = match self.known() {
            Some(record) => Ended {
                verdict: Verdict { outcome: StepOutcome::Cached, reason: None },
                took: Duration::ZERO,
                results: record.results,
                layer: record.layer,
            },
            // Asked before the first step is run, never after: isolation that can't be had must not be found out halfway.
            None => match self.bench.engine.probe().await {
                Err(error) => return self.say(Message::CannotIsolate(error)).await,
                Ok(_) => self.run_and_keep().await,
            },
        };
        self.say(Message::Ended(ended)).await;
    }

    async fn say(&self, message: Message) {
        // The dispatcher outlives its attempts; if it is gone the run is over and nobody needs to know.
        let _ = self.tell.send((self.step.name.clone(), message)).await;
    }

    fn key(&self) -> Digest {
        let layers: Vec<Digest> = self.layers.iter().map(|(_, layer)| *layer).collect();
        step_key(&self.step, self.bench.image(&self.step).digest, &layers)
    }

    /// The record of the same step with the same inputs, if what it left is still there.
    fn known(&self) -> Option<StepRecord> {
        let record = self.bench.cache.find(&self.key())?;
        match &record.layer {
            Some(layer) => self.bench.layers.path(layer).map(|_| record),
            None => Some(record),
        }
    }

    async fn run_and_keep(&self) -> Ended {
        let began = Instant::now();
        self.say(Message::Started).await;
        let mut ended = match self.run().await {
            Ok(ended) => ended,
            Err(verdict) => {
                Ended { verdict, took: Duration::ZERO, results: StepResults::default(), layer: None }
            }
        };
        ended.took = began.elapsed();
        if ended.verdict.outcome == StepOutcome::Passed {
            let millis = u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX);
            let made = Some(Made { run: self.run.clone(), at: unix_millis() });
            let record = StepRecord { layer: ended.layer, results: ended.results.clone(), millis, made };
            if let Err(refused) = self.bench.cache.keep(&self.key(), &record) {
                ended.verdict = Verdict::broken(refused.to_string(), Some(DISK_REMEDY.into()));
            }
        }
        self.remember(ended.verdict.outcome);
        ended
    }

    /// Remembers what this attempt saw, for people who ask later why the step runs again. Nothing depends on it.
    fn remember(&self, outcome: StepOutcome) {
        if matches!(outcome, StepOutcome::Cancelled | StepOutcome::EngineBroken | StepOutcome::Lost) {
            return;
        }
        let digests: Vec<Digest> = self.layers.iter().map(|(_, layer)| *layer).collect();
        let attempted = Attempted {
            run: self.run.clone(),
            at: unix_millis(),
            outcome,
            key: self.key(),
            seen: what_is_seen(&self.step, self.bench.image(&self.step).digest, &digests),
            layers: self.layers.clone(),
        };
        let saw = (&self.step.input_tree, &*self.source, self.step.inputs.as_slice());
        if let Err(refused) =
            self.bench.cache.remember((&self.plan.project, &self.step.name), &attempted, saw)
        {
            tracing::warn!(%refused, "what the step saw is not remembered");
        }
    }

    async fn run(&self) -> Result<Ended, Verdict> {
        let scratch = self.bench.layers.scratch().map_err(|refused| of_layer_error(&refused))?;
        let spec = self.spec(scratch.upper(), scratch.work()).await?;
        let (output, chunks) = mpsc::channel(64);
        let (exit, ()) = tokio::join!(
            self.bench.engine.run(spec, output, self.stop.cancel.clone()),
            self.forward(chunks),
        );
        let exit = exit.map_err(|broken| verdict::of_engine_error(&broken))?;
        let upper = scratch.upper().to_path_buf();
        let tests = self.read_reports(upper.clone()).await;
        let mut verdict = verdict::of_exit(&self.step, &exit, tests.as_ref().ok().and_then(Option::as_ref));
        let mut layer = None;
        if verdict.outcome == StepOutcome::Passed {
            match (&tests, self.seal(upper).await) {
                (Err(undelivered), _) => verdict = undelivered.clone(),
                (_, Err(undelivered)) => verdict = undelivered,
                (_, Ok(sealed)) => layer = sealed,
            }
        }
        let results = StepResults { tests: tests.ok().flatten(), ..StepResults::default() };
        Ok(Ended { verdict, took: Duration::ZERO, results, layer })
    }

    async fn spec(&self, upper: PathBuf, work: PathBuf) -> Result<StepSpec, Verdict> {
        let (bench, source) = (Arc::clone(&self.bench), Arc::clone(&self.source));
        let inputs = self.step.inputs.clone();
        let checkout = blocking(move || bench.sources.checkout(&source, &inputs))
            .await?
            .map_err(|refused| Verdict::broken(refused.to_string(), refused.remedy()))?;
        self.bench
            .layers
            .collisions(&self.layers, |a, b| self.ordered(a, b))
            .map_err(|both| of_layer_error(&both))?;
        let mut lowers = vec![checkout];
        for (_, layer) in &self.layers {
            let gone =
                || Verdict::broken(format!("the layer {layer} is gone from the store"), Some(AGAIN.into()));
            lowers.push(self.bench.layers.path(layer).ok_or_else(gone)?);
        }
        Ok(StepSpec {
            label: format!("{}-{}", self.run, self.step.name),
            image: self.bench.image(&self.step).clone(),
            lowers,
            upper,
            work,
            workdir: self.step.workdir.clone(),
            argv: match &self.step.command {
                Command::Shell(script) => vec!["/bin/sh".into(), "-ec".into(), script.into()],
                Command::Argv(argv) => argv.iter().map(Into::into).collect(),
            },
            env: self.step.env.clone(),
            secrets: BTreeMap::new(),
            network: self.step.network,
            allow: self.step.allow.clone(),
            timeout: Duration::from_secs(self.step.timeout_seconds),
            limits: self.step.limits.clone(),
        })
    }

    /// Whether one of two steps saw what the other left, so that overwriting was its intent.
    fn ordered(&self, a: &Name, b: &Name) -> bool {
        let sees =
            |one: &Name, other: &Name| self.plan.step(one).is_some_and(|step| step.layers.contains(other));
        sees(a, b) || sees(b, a)
    }

    async fn forward(&self, mut chunks: mpsc::Receiver<OutputChunk>) {
        let (mut out, mut err) = (LineSplitter::default(), LineSplitter::default());
        let mut kept = Kept::default();
        while let Some(chunk) = chunks.recv().await {
            let splitter = if chunk.stream == Stream::Stdout { &mut out } else { &mut err };
            let mut lines = Vec::new();
            splitter.push(&chunk.bytes, |line| lines.push(line));
            for line in lines {
                self.pass_on(&mut kept, chunk.stream, line).await;
            }
        }
        for (stream, splitter) in [(Stream::Stdout, &mut out), (Stream::Stderr, &mut err)] {
            let mut last = None;
            splitter.finish(|line| last = Some(line));
            if let Some(line) = last {
                self.pass_on(&mut kept, stream, line).await;
            }
        }
    }

    async fn pass_on(&self, kept: &mut Kept, stream: Stream, line: String) {
        match kept.take(&line) {
            Take::Line => self.say(Message::Line(stream, line)).await,
            Take::Notice => self.say(Message::Line(Stream::Stderr, TOO_MUCH.to_owned())).await,
            Take::Nothing => {}
        }
    }

    /// What the step's tests said. Reports that were declared and are not there are an error: no data is not success.
    async fn read_reports(&self, upper: PathBuf) -> Result<Option<TestSummary>, Verdict> {
        if self.step.reports.is_empty() {
            return Ok(None);
        }
        let globs = self.step.reports.clone();
        let files = blocking(move || crate::layers::collect(&upper, &globs))
            .await?
            .map_err(|refused| of_layer_error(&refused))?;
        if files.is_empty() {
            let what = format!("it wrote no report that matches {}", self.step.reports.join(", "));
            return Err(Verdict::undelivered(
                what,
                Some("write JUnit XML there, or remove `reports`".into()),
            ));
        }
        let mut summary = TestSummary::default();
        for (path, bytes) in files {
            let one = report::junit(path.as_str(), &bytes)
                .map_err(|bad| Verdict::undelivered(bad.to_string(), Some("reports are JUnit XML".into())))?;
            summary.merge(one);
        }
        Ok(Some(summary))
    }

    async fn seal(&self, upper: PathBuf) -> Result<Option<Digest>, Verdict> {
        if self.step.outputs.is_empty() {
            return Ok(None);
        }
        let (bench, outputs) = (Arc::clone(&self.bench), self.step.outputs.clone());
        let sealed = blocking(move || bench.layers.seal(&upper, &outputs)).await?;
        let sealed = sealed.map_err(|refused| of_layer_error(&refused))?;
        for notice in sealed.notices {
            self.say(Message::Line(Stream::Stderr, format!("staith: {notice}"))).await;
        }
        Ok(Some(sealed.digest))
    }
}

/// What of a step's output is kept. A step that writes without end would otherwise fill the disk with its log.
#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    told: bool,
}

enum Take {
    Line,
    Notice,
    Nothing,
}

/// As much as anybody will read, and as much as a log of events holds well.
const MOST_OUTPUT: usize = 64 << 20;
/// What an event costs beside its line.
const COST_OF_A_LINE: usize = 100;
const TOO_MUCH: &str = "staith: the step has written 64 MiB; what it writes from here on is not kept";

impl Kept {
    fn take(&mut self, line: &str) -> Take {
        self.bytes = self.bytes.saturating_add(line.len() + COST_OF_A_LINE);
        if self.bytes <= MOST_OUTPUT {
            Take::Line
        } else if std::mem::replace(&mut self.told, true) {
            Take::Nothing
        } else {
            Take::Notice
        }
    }
}

const DISK_REMEDY: &str = "make room, or set STAITH_HOME to a directory on another disk";
const AGAIN: &str = "run again: the step that made it will be run again";

fn of_layer_error(refused: &LayerError) -> Verdict {
    if refused.is_the_projects() {
        Verdict::undelivered(refused.to_string(), refused.remedy())
    } else {
        Verdict::broken(refused.to_string(), refused.remedy().or_else(|| Some(DISK_REMEDY.into())))
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Runs file work off the asynchronous threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Verdict> {
    tokio::task::spawn_blocking(work).await.map_err(|panicked| Verdict::broken(panicked.to_string(), None))
}
