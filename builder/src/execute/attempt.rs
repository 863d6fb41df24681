//! One attempt at one step: looks it up, or runs it and keeps what it left. Owns nothing that others see; it tells the
//! dispatcher what happens by messages.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use staith_model::{Command, Digest, Name, Plan, RunId, StepOutcome, StepPlan, StepResults, Stream};
use tokio::sync::mpsc;

use super::{
    Workbench,
    output::Output,
    services::{self, LastLines, Services},
    stop::Stop,
    verdict::{self, Verdict},
};
use crate::{
    cache::{Attempted, Beside, Made, StepRecord, of_service, step_key, what_is_seen},
    engine::{EngineError, OutputChunk, StepExit, StepSpec},
    layers::LayerError,
    report::{self, matcher::Matcher},
    source::Resolved,
};

/// What an attempt tells the dispatcher.
pub(super) enum Message {
    /// It is not known, so it is being run.
    Started,
    /// It wrote a line.
    Line(Stream, String),
    /// A service beside it can be used, and how long that took.
    ServiceReady(Name, Duration),
    /// A service beside it ended while it was needed, and how.
    ServiceEnded(Name, String),
    /// One of the last lines of a service beside it.
    ServiceLine(Name, String),
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

    pub(super) async fn say(&self, message: Message) {
        // The dispatcher outlives its attempts; if it is gone the run is over and nobody needs to know.
        let _ = self.tell.send((self.step.name.clone(), message)).await;
    }

    fn key(&self) -> Digest {
        let layers: Vec<Digest> = self.layers.iter().map(|(_, layer)| *layer).collect();
        step_key(&self.step, self.bench.image(&self.step.image).digest, &layers, &self.beside())
    }

    /// The services beside the step, and what they run in.
    fn beside(&self) -> Vec<Beside<'_>> {
        let services = self.plan.services_of(&self.step).into_iter();
        services.map(|service| (service, of_service(service, self.bench.image(&service.image)))).collect()
    }

    /// The record of the same step with the same inputs, if what it left is still there.
    fn known(&self) -> Option<StepRecord> {
        // What runs because of what became of others has to do it each time that they come to it: tell somebody, clean up.
        // And what became of them is no part of its key.
        if self.step.when.is_some() {
            return None;
        }
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
        self.mask(&mut ended);
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

    /// Nothing that a step says leaves here unmasked: its reports and the names of its files are its words, too.
    fn mask(&self, ended: &mut Ended) {
        let masker = self.bench.secrets.masker();
        masker.results(&mut ended.results);
        ended.verdict.reason.iter_mut().for_each(|reason| masker.reason(reason));
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
            seen: what_is_seen(
                &self.step,
                self.bench.image(&self.step.image).digest,
                &digests,
                &self.beside(),
            ),
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
        let mut spec = self.spec(scratch.upper(), scratch.work()).await?;
        let mut services = Services::begin(self, &spec.lowers)?;
        services.introduce_to(&mut spec);
        let ran = match services.until_ready().await {
            Ok(()) => {
                let (output, chunks) = mpsc::channel(64);
                let run = self.bench.engine.run(spec, output, self.stop.cancel.clone());
                Ok(services.run_beside(async { tokio::join!(run, self.forward(chunks)) }).await)
            }
            Err(verdict) => Err(verdict),
        };
        // However that went: nothing of a service is left before the attempt has its end.
        let (gone, last) = services.end().await;
        let ended = match ran {
            Ok((Ok(exit), noticed)) => Ok(self.conclude(&exit, noticed, scratch.upper(), &gone).await),
            Ok((Err(broken), _)) => Err(verdict::of_engine_error(&broken)),
            Err(verdict) => Err(verdict),
        };
        let verdict = ended.as_ref().map_or_else(|verdict| verdict, |ended| &ended.verdict);
        if !verdict.outcome.is_success() && verdict.outcome != StepOutcome::Cancelled {
            self.show(last).await;
        }
        ended
    }

    /// Shows what services wrote last.
    async fn show(&self, last: Vec<LastLines>) {
        for (service, lines) in last {
            for line in lines {
                self.say(Message::ServiceLine(service.clone(), line)).await;
            }
        }
    }

    /// What the end of the step's program means, with what it left.
    async fn conclude(
        &self,
        exit: &StepExit,
        noticed: StepResults,
        upper: PathBuf,
        gone: &[services::Ended],
    ) -> Ended {
        let (mut results, unread) = self.read_reports(upper.clone()).await;
        let mut verdict = verdict::of_exit(&self.step, exit, &results, noticed.findings.as_ref());
        let mut layer = None;
        if verdict.outcome == StepOutcome::Passed {
            match (unread, self.seal(upper).await) {
                (Some(undelivered), _) | (None, Err(undelivered)) => verdict = undelivered,
                (None, Ok(sealed)) => layer = sealed,
            }
        }
        results.merge(noticed);
        report::from_workspace(&mut results, self.step.workdir.as_ref());
        services::amend(&mut verdict, gone);
        Ended { verdict, took: Duration::ZERO, results, layer }
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
            image: self.bench.image(&self.step.image).clone(),
            lowers,
            upper,
            work,
            workdir: self.step.workdir.clone(),
            argv: argv(&self.step.command),
            env: self.step.env.clone(),
            secrets: self.bench.secrets.variables(&self.step.secrets),
            network: self.step.network,
            allow: self.step.allow.clone(),
            timeout: Duration::from_secs(self.step.timeout_seconds),
            limits: self.step.limits.clone(),
            neighbours: Vec::new(),
            gate: None,
            terminal: None,
        })
    }

    /// Whether one of two steps saw what the other left, so that overwriting was its intent.
    fn ordered(&self, a: &Name, b: &Name) -> bool {
        let sees =
            |one: &Name, other: &Name| self.plan.step(one).is_some_and(|step| step.layers.contains(other));
        sees(a, b) || sees(b, a)
    }

    /// Logs and shows what the step writes, and gives what its matcher found in it. On a thread of its own: masking and
    /// writing a flood takes a processor.
    async fn forward(&self, chunks: mpsc::Receiver<OutputChunk>) -> StepResults {
        let opened =
            self.bench.logs.as_ref().map(|logs| logs.open(&self.run, &self.step.name, self.bench.clock));
        let (log, refused) = match opened.transpose() {
            Ok(log) => (log, None),
            Err(refused) => (None, Some(refused)),
        };
        if let Some(refused) = refused {
            let notice = format!("staith: the step's log can't be written: {refused}");
            self.say(Message::Line(Stream::Stderr, notice)).await;
        }
        let masker = self.bench.secrets.masker();
        let matcher = self.step.matcher.as_deref().and_then(Matcher::named);
        let output = Output::new(&self.run, &self.step.name, masker, log, matcher, self.tell.clone());
        let findings = blocking(move || output.take_all(chunks)).await.ok().flatten();
        StepResults { findings, ..StepResults::default() }
    }

    /// What the step's reports said, and why not all of them could be read. Reports that were declared and are not there
    /// are an error: no data is not success.
    async fn read_reports(&self, upper: PathBuf) -> (StepResults, Option<Verdict>) {
        let none = StepResults::default;
        if self.step.reports.is_empty() {
            return (none(), None);
        }
        let globs = self.step.reports.clone();
        let read = blocking(move || {
            let files = crate::layers::collect(&upper, &globs)?;
            let some = !files.is_empty();
            Ok(some.then(|| report::read_all(files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])))))
        });
        match read.await {
            Ok(Ok(Some((results, errors)))) => (results, verdict::of_report_errors(&errors)),
            Ok(Ok(None)) => (none(), Some(verdict::without_reports(&self.step.reports))),
            Ok(Err(refused)) => (none(), Some(of_layer_error(&refused))),
            Err(panicked) => (none(), Some(panicked)),
        }
    }

    async fn seal(&self, upper: PathBuf) -> Result<Option<Digest>, Verdict> {
        if self.step.outputs.is_empty() {
            return Ok(None);
        }
        let (bench, outputs) = (Arc::clone(&self.bench), self.step.outputs.clone());
        let sealed = blocking(move || bench.layers.seal(&upper, &outputs)).await?;
        let sealed = sealed.map_err(|refused| of_layer_error(&refused))?;
        for notice in sealed.notices {
            let notice = format!("staith: {notice}");
            let notice = self.bench.secrets.masker().text(&notice).into_owned();
            self.say(Message::Line(Stream::Stderr, notice)).await;
        }
        Ok(Some(sealed.digest))
    }
}

const DISK_REMEDY: &str = "make room, or set STAITH_HOME to a directory on another disk";
const AGAIN: &str = "run again: the step that made it will be run again";

pub(super) fn of_layer_error(refused: &LayerError) -> Verdict {
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

/// A command as an engine runs it.
pub(super) fn argv(command: &Command) -> Vec<OsString> {
    match command {
        Command::Shell(script) => vec!["/bin/sh".into(), "-ec".into(), script.into()],
        Command::Argv(argv) => argv.iter().map(Into::into).collect(),
    }
}

/// Runs file work off the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Verdict> {
    tokio::task::spawn_blocking(work).await.map_err(|panicked| Verdict::broken(panicked.to_string(), None))
}
