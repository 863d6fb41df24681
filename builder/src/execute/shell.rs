//! A program of somebody's choice in a step's own sandbox and workspace, to look around there. Nothing of it is a result:
//! no event tells of it, and the cache never hears of it.

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use staith_model::{Blame, Digest, Name, Plan, Reason, RunId, StepOutcome, StepPlan};
use tokio::sync::mpsc;

use super::{
    Stop, Workbench,
    attempt::{Attempt, Message, of_layer_error},
    services::Services,
    verdict::{self, Verdict},
    workspace,
};
use crate::{
    cache::{Beside, of_service, step_key},
    engine::{OutputChunk, StepExit, StepSpec},
    layers::{Left, Scratch},
    source::Resolved,
};

/// Longer than anybody sits before a shell: it has no time limit.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Which workspace is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The one that the step left when it failed, if it would see the same now; a fresh one otherwise.
    #[default]
    AsItWouldRun,
    /// A fresh one, whatever was left.
    Fresh,
}

/// A step's workspace, and all that belongs into its sandbox.
pub struct Shell {
    bench: Arc<Workbench>,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    step: StepPlan,
    layers: Vec<(Name, Digest)>,
    lowers: Vec<PathBuf>,
    scratch: Scratch,
    left: Option<Left>,
    /// When what was left does not fit: the step would see something else now.
    other: Option<Left>,
}

/// What runs in the sandbox.
pub struct Visitor {
    /// For names on the host.
    pub run: RunId,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables beside the step's own.
    pub env: BTreeMap<String, String>,
    /// Its terminal; without one its output comes in pieces, and there is nothing on its standard input.
    pub terminal: Option<Arc<OwnedFd>>,
}

impl Shell {
    /// A shell in a step as it would be run now. `layers` is what the steps below it have left, lowest first. Blocks while
    /// the source is checked out: cancel-safe.
    ///
    /// # Errors
    /// The source or a layer can't be had; whose fault that is and what to do.
    pub async fn open(
        bench: &Arc<Workbench>,
        plan: &Arc<Plan>,
        source: &Arc<Resolved>,
        step: &StepPlan,
        layers: Vec<(Name, Digest)>,
        wanted: Wanted,
    ) -> Result<Self, Reason> {
        let lowers = workspace::lowers(bench, plan, source, step, &layers).await.map_err(reason)?;
        let digests: Vec<Digest> = layers.iter().map(|(_, layer)| *layer).collect();
        let beside = plan.services_of(step).into_iter();
        let beside: Vec<Beside<'_>> =
            beside.map(|service| (service, of_service(service, bench.image(&service.image)))).collect();
        let key = step_key(step, bench.image(&step.image).digest, &digests, &beside);
        let (mut left, mut other, mut scratch) = (None, None, None);
        if wanted == Wanted::AsItWouldRun {
            match bench.layers.left(&plan.project, &step.name) {
                Some(found) if found.key == key => {
                    let taken = bench.layers.take_left(&plan.project, &step.name);
                    // Another step of the same name may have failed in between.
                    let taken = taken.map_err(|refused| reason(of_layer_error(&refused)))?;
                    (left, scratch) = taken.filter(|(left, _)| left.key == key).unzip();
                }
                found => other = found,
            }
        }
        let scratch = match scratch {
            Some(scratch) => scratch,
            None => bench.layers.scratch().map_err(|refused| reason(of_layer_error(&refused)))?,
        };
        let (bench, plan, source, step) =
            (Arc::clone(bench), Arc::clone(plan), Arc::clone(source), step.clone());
        Ok(Self { bench, plan, source, step, layers, lowers, scratch, left, other })
    }

    /// A shell in what a step left when it failed, whatever it would see now. The plan that the bench was made for is that of
    /// `left`.
    ///
    /// # Errors
    /// What it is on top of was collected meanwhile, or the workspace was taken away by somebody else.
    pub fn reopen(bench: &Arc<Workbench>, source: &Arc<Resolved>, left: &Left) -> Result<Self, Reason> {
        let gone = |what: String| Reason {
            blame: Blame::Environment,
            what,
            remedy: Some("run the step again, or open a shell in a fresh workspace with --fresh".to_owned()),
        };
        let step =
            left.planned().ok_or_else(|| gone("the record of what was left is damaged".into()))?.clone();
        let name = left.checkout.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let checkout = bench.sources.made_before(name);
        let checkout =
            checkout.ok_or_else(|| gone("the source files that the step saw are no longer kept".into()))?;
        let lowers = workspace::on_top_of(bench, checkout, &left.layers).map_err(reason)?;
        let taken = bench.layers.take_left(&left.plan.project, &left.step);
        let taken = taken.map_err(|refused| reason(of_layer_error(&refused)))?;
        let (found, scratch) = taken
            .ok_or_else(|| gone("somebody else works in what the step left, or it was collected".into()))?;
        if found.key != left.key {
            let _ = bench.layers.keep_left(&scratch, found);
            return Err(gone("the step has failed again in the meantime".into()));
        }
        let (plan, layers) = (Arc::new(found.plan.clone()), found.layers.clone());
        let (bench, source) = (Arc::clone(bench), Arc::clone(source));
        Ok(Self { bench, plan, source, step, layers, lowers, scratch, left: Some(found), other: None })
    }

    /// The step, as it is run here.
    pub fn step(&self) -> &StepPlan {
        &self.step
    }

    /// What the step left, if that is what one sees.
    pub fn left(&self) -> Option<&Left> {
        self.left.as_ref()
    }

    /// What the step left, if it is not what one sees because the step would see something else now.
    pub fn left_aside(&self) -> Option<&Left> {
        self.other.as_ref()
    }

    /// Runs a program to its end, once, with the step's services beside it. Dropping the future ends it.
    ///
    /// # Errors
    /// The engine could not do its part, or a service could not be used; what that wrote last is in the words.
    pub async fn run(
        &self,
        visitor: Visitor,
        output: mpsc::Sender<OutputChunk>,
        stop: Stop,
    ) -> Result<StepExit, Reason> {
        let place = (self.scratch.upper(), self.scratch.work());
        let label = format!("{}-{}", visitor.run, self.step.name);
        let mut spec = workspace::sandbox(&self.bench, &self.step, label, self.lowers.clone(), place);
        spec.argv = visitor.argv;
        spec.env.extend(visitor.env);
        spec.timeout = NEVER;
        // A fresh one has to be empty.
        spec.goes_on = self.left.is_some();
        spec.terminal = visitor.terminal;
        // Nobody hears of what services do; what has to be known of them is in how it ends.
        let (tell, mut unheard) = mpsc::channel(16);
        let hearing = tokio::spawn(async move { while unheard.recv().await.is_some() {} });
        let attempt = self.attempt(visitor.run, stop, tell);
        let ended = self.run_beside_services(&attempt, spec, output).await;
        drop(attempt);
        let _ = hearing.await;
        ended
    }

    async fn run_beside_services(
        &self,
        attempt: &Attempt,
        mut spec: StepSpec,
        output: mpsc::Sender<OutputChunk>,
    ) -> Result<StepExit, Reason> {
        let mut services = Services::begin(attempt, &self.lowers).map_err(reason)?;
        services.introduce_to(&mut spec);
        let ran = match services.until_ready().await {
            Ok(()) => {
                let running = self.bench.engine.run(spec, output, attempt.stop.cancel.clone());
                services.run_beside(running).await.map_err(|broken| verdict::of_engine_error(&broken))
            }
            Err(verdict) if verdict.outcome == StepOutcome::Cancelled => Ok(StepExit::Cancelled),
            Err(verdict) => Err(verdict),
        };
        let (_, last) = services.end().await;
        ran.map_err(|verdict| {
            let mut reason = reason(verdict);
            for (service, line) in
                last.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (name, line)))
            {
                reason.what.push_str(&format!("\n{service} | {line}"));
            }
            reason
        })
    }

    /// What services take for the attempt that they are beside.
    fn attempt(&self, run: RunId, stop: Stop, tell: mpsc::Sender<(Name, Message)>) -> Attempt {
        Attempt {
            bench: Arc::clone(&self.bench),
            run,
            plan: Arc::clone(&self.plan),
            step: StepPlan { timeout_seconds: NEVER.as_secs(), ..self.step.clone() },
            source: Arc::clone(&self.source),
            layers: self.layers.clone(),
            stop,
            tell,
        }
    }

    /// The end. What the step had left when it failed is kept, with all changes since; a fresh workspace is thrown away.
    /// Whether something was kept: not if the step has failed again in the meantime, because that is newer.
    ///
    /// # Errors
    /// There is no room for it, or the file system refuses; it is gone then.
    pub fn leave(self) -> Result<bool, Reason> {
        let Some(left) = self.left else { return Ok(false) };
        if self.bench.layers.left(&left.plan.project, &left.step).is_some() {
            return Ok(false);
        }
        let kept = self.bench.layers.keep_left(&self.scratch, left);
        kept.map(|()| true).map_err(|refused| reason(of_layer_error(&refused)))
    }
}

/// A verdict that is no pass has a reason.
fn reason(verdict: Verdict) -> Reason {
    let unknown = || Reason { blame: Blame::Us, what: "no workspace could be made".into(), remedy: None };
    verdict.reason.unwrap_or_else(unknown)
}
