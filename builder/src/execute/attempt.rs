//! One attempt at one step: looks it up, or runs it and keeps what it left. Owns nothing that others see; it tells the
//! dispatcher what happens by messages.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use staith_model::{
    Command, Digest, Name, Plan, RunId, StepOutcome, StepPlan, StepResults, Stream, TriggerKind,
};
use tokio::sync::mpsc;

use super::{
    Workbench,
    output::Output,
    services::{self, LastLines, Services},
    stop::Stop,
    verdict::{self, Verdict},
    workspace,
};
use crate::{
    cache::{Attempted, Beside, Made, StepPassed, StepRecord, of_service, step_key, what_is_seen},
    engine::{EngineError, OutputChunk, StepExit},
    layers::{LayerError, Left, Scratch},
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
        let ended = match self.known().await {
            Some(record) => {
                self.tell_others(&record, false);
                Ended {
                    verdict: Verdict { outcome: StepOutcome::Cached, reason: None },
                    took: Duration::ZERO,
                    results: record.results,
                    layer: record.layer,
                }
            }
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

    /// The record of the same step with the same inputs: of the run that this one goes on with, of this machine, or of others.
    async fn known(&self) -> Option<StepRecord> {
        if let Some(passed) = self.passed() {
            return Some(passed);
        }
        // What runs because of what became of others has to do it each time that they come to it: tell somebody, clean up.
        // And what became of them is no part of its key.
        if self.step.when.is_some() {
            return None;
        }
        if let Some(record) = self.known_here() {
            return Some(record);
        }
        self.known_elsewhere().await
    }

    async fn known_elsewhere(&self) -> Option<StepRecord> {
        let elsewhere = self.bench.elsewhere.as_ref().filter(|_| self.may_be_shared())?;
        let key = self.key();
        let record = tokio::select! {
            found = elsewhere.find(&key, &self.bench.layers) => found?,
            () = self.stop.cancel.cancelled() => return None,
        };
        if record.layer.as_ref().is_some_and(|layer| self.bench.layers.path(layer).is_none()) {
            return None;
        }
        if let Err(refused) = self.bench.cache.keep(&key, &record) {
            tracing::warn!(%refused, "what others know of a step is asked again the next time");
        }
        Some(record)
    }

    /// Whether others may know what the step came to. With a secret it may have left what only those may have who have the secret.
    fn may_be_shared(&self) -> bool {
        let services = self.plan.services_of(&self.step);
        let has_secrets =
            !self.step.secrets.is_empty() || services.iter().any(|service| !service.secrets.is_empty());
        self.step.when.is_none() && !has_secrets
    }

    fn tell_others(&self, record: &StepRecord, ran: bool) {
        let Some(elsewhere) = &self.bench.elsewhere else { return };
        let key = self.may_be_shared().then(|| self.key());
        let passed = StepPassed { step: &self.step.name, key: key.as_ref(), record, ran };
        elsewhere.passed(passed, &self.bench.layers);
    }

    /// The record of this machine, if what the step left is still there.
    fn known_here(&self) -> Option<StepRecord> {
        let record = self.bench.cache.find(&self.key())?;
        match &record.layer {
            Some(layer) => self.bench.layers.path(layer).map(|_| record),
            None => Some(record),
        }
    }

    /// What the step came to in the run that this one goes on with, if it saw the same there and what it left is here.
    fn passed(&self) -> Option<StepRecord> {
        let passed = self.bench.passed.get(&self.step.name)?;
        let is_here = |layer: &Digest| self.bench.layers.path(layer).is_some();
        let holds = passed.layers == self.layers && passed.record.layer.as_ref().is_none_or(is_here);
        holds.then(|| passed.record.clone())
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
            } else {
                self.tell_others(&record, true);
            }
            self.bench.layers.forget_left(&self.plan.project, &self.step.name);
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
        let lowers =
            workspace::lowers(&self.bench, &self.plan, &self.source, &self.step, &self.layers).await?;
        let checkout = lowers[0].clone();
        let label = format!("{}-{}", self.run, self.step.name);
        let mut spec =
            workspace::sandbox(&self.bench, &self.step, label, lowers, (scratch.upper(), scratch.work()));
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
            Ok((Ok(exit), noticed)) => {
                let (ended, is_whole) = self.conclude(&exit, noticed, scratch.upper(), &gone).await;
                if is_whole && is_of_interest(ended.verdict.outcome) {
                    self.leave(scratch, checkout, ended.verdict.outcome).await;
                }
                Ok(ended)
            }
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

    /// What the end of the step's program means, with what it left; and whether that is all still there.
    async fn conclude(
        &self,
        exit: &StepExit,
        noticed: StepResults,
        upper: PathBuf,
        gone: &[services::Ended],
    ) -> (Ended, bool) {
        let (mut results, unread) = self.read_reports(upper.clone()).await;
        let mut verdict = verdict::of_exit(&self.step, exit, &results, noticed.findings.as_ref());
        let (mut layer, mut is_whole) = (None, true);
        if verdict.outcome == StepOutcome::Passed {
            match unread {
                Some(undelivered) => verdict = undelivered,
                None => match self.seal(upper).await {
                    Ok(sealed) => layer = sealed,
                    Err(unsealed) => (verdict, is_whole) = (unsealed.verdict, unsealed.is_whole),
                },
            }
        }
        results.merge(noticed);
        report::from_workspace(&mut results, self.step.workdir.as_ref());
        services::amend(&mut verdict, gone);
        (Ended { verdict, took: Duration::ZERO, results, layer }, is_whole)
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

    /// Keeps the workspace for whoever wants to look at it. Nothing depends on it. What a pull request has left is not kept:
    /// it is a stranger's, and whoever looks after many of them has no use for it.
    async fn leave(&self, scratch: Scratch, checkout: PathBuf, outcome: StepOutcome) {
        let Ok(plan) = self.plan.only(std::slice::from_ref(&self.step.name)) else { return };
        if plan.trigger.kind == TriggerKind::PullRequest {
            return;
        }
        let left = Left {
            run: self.run.clone(),
            at: unix_millis(),
            outcome,
            key: self.key(),
            plan,
            step: self.step.name.clone(),
            checkout,
            layers: self.layers.clone(),
            owner: None,
            bytes: 0,
        };
        let bench = Arc::clone(&self.bench);
        if let Ok(Err(refused)) = blocking(move || bench.layers.keep_left(&scratch, left)).await {
            tracing::warn!(%refused, "what the step left is not kept");
        }
    }

    async fn seal(&self, upper: PathBuf) -> Result<Option<Digest>, Unsealed> {
        if self.step.outputs.is_empty() {
            return Ok(None);
        }
        let (bench, outputs) = (Arc::clone(&self.bench), self.step.outputs.clone());
        let sealed = blocking(move || bench.layers.seal(&upper, &outputs)).await;
        let sealed = sealed.map_err(|verdict| Unsealed { verdict, is_whole: false })?.map_err(|refused| {
            // Found out before anything was moved.
            let is_whole = matches!(refused, LayerError::NothingMatched { .. });
            Unsealed { verdict: of_layer_error(&refused), is_whole }
        })?;
        for notice in sealed.notices {
            let notice = format!("staith: {notice}");
            let notice = self.bench.secrets.masker().text(&notice).into_owned();
            self.say(Message::Line(Stream::Stderr, notice)).await;
        }
        Ok(Some(sealed.digest))
    }
}

/// Why there is no layer, and whether what the step wrote is still all there.
struct Unsealed {
    verdict: Verdict,
    is_whole: bool,
}

/// Whether a person may want to look at what an attempt that ended so has left.
const fn is_of_interest(outcome: StepOutcome) -> bool {
    matches!(outcome, StepOutcome::Failed | StepOutcome::TimedOut | StepOutcome::OutOfMemory)
}

const DISK_REMEDY: &str = "make room, or set STAITH_HOME to a directory on another disk";

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
