//! The keeper: a process that carries out one job, as `staith run` carries out a plan.
//!
//! It is in a session of its own and speaks to the server for the source and the secrets only. What comes of the job it leaves in
//! the job's directory, from where the runner takes it, whichever runner that is.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use staith_builder::{
    execute::{EventLog, Manner, Stop, Watcher},
    secrets::{Known, SecretName, Supply},
};
use staith_model::{
    Blame, Event, EventKind, Exit, Plan, RunState, Secret, StepOutcome, TestReport,
    service::{AttemptOutcome, JobSpec},
};
use tokio::time::sleep;

use super::{
    boot,
    job::{Claim, Ended, Job},
    lease::Standing,
    sharing::{Asker, Outgoing, Sharing},
    source::SourceOfJob,
    taken,
};
use crate::{
    client::{Ask, Client},
    clock,
    execution::{Built, Execution, exit_of},
    home::Home,
    interrupt,
    journal::Journal,
    output::Problem,
    workshop::{EngineName, Workshop},
};

/// How long a step that was asked to end has, with what is made for a failure, before all is killed.
const GRACE: Duration = Duration::from_secs(12);
/// How often the lease is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of output are seen by others after this time at most.
const FLUSH: Duration = Duration::from_millis(50);
/// How long another keeper is waited for that is about to end, or somebody who only looks.
const LOCKED: Duration = Duration::from_secs(2);
/// How long a server that is away is asked for secrets.
const ASKING: Duration = Duration::from_secs(60);

/// Carries out the job in a directory, once: a job that was begun by a keeper that is gone ends as that.
///
/// # Errors
/// The directory can't be used. How the job went is no error; it is written down there.
pub(crate) async fn keep(directory: &Path, engine: EngineName) -> Result<(), Problem> {
    // Its own session: what ends the runner's terminal is nothing to the job. One that is started by hand leads a group already.
    let _ = rustix::process::setsid();
    let job = Job::at(directory);
    let refused = |error: std::io::Error| super::rooms::unkept(directory, &error);
    let Some(_held) = held(&job).await.map_err(refused)? else { return Ok(()) };
    if job.ended().is_some() {
        return Ok(());
    }
    let ended = if job.begin().map_err(refused)? {
        let stop = interrupt::listen()?;
        carry_out(&job, engine, &stop).await
    } else {
        Ended::by_this_host("the process that kept the job was killed")
    };
    job.end(&ended).map_err(refused)
}

async fn held(job: &Job) -> std::io::Result<Option<std::fs::File>> {
    let began = Instant::now();
    loop {
        match job.become_keeper()? {
            None if began.elapsed() < LOCKED => sleep(FLUSH).await,
            held => return Ok(held),
        }
    }
}

/// Why a job is to end before it has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Somebody asked this process to end.
    Asked,
    /// It took too long.
    TimedOut,
    /// The server has not been heard of for too long.
    NoContact,
}

async fn carry_out(job: &Job, engine: EngineName, stop: &Stop) -> Ended {
    let claim = match job.claim() {
        Ok(claim) => claim,
        Err(problem) => return Ended::by_this_host(in_words(&problem)),
    };
    let cause = Arc::new(Mutex::new(None));
    let limit = Duration::from_millis(claim.claimed.job.timeout_millis);
    let guard = tokio::spawn(guard(job.clone(), limit, stop.clone(), Arc::clone(&cause)));
    let done = Keeping { job, engine, claim: &claim, stop }.all().await;
    guard.abort();
    let cause = *cause.lock().unwrap_or_else(PoisonError::into_inner);
    Ended {
        outcome: outcome(&done, cause, job, &claim.claimed.job),
        packages: done.packages(),
        at: clock::unix_millis(),
    }
}

/// Ends the run when somebody asks, when time is up, or when nobody waits for it any more; and kills it when it does not end.
async fn guard(job: Job, limit: Duration, stop: Stop, cause: Arc<Mutex<Option<Cause>>>) {
    let found = tokio::select! {
        () = stop.cancel.cancelled() => Cause::Asked,
        () = sleep(limit) => Cause::TimedOut,
        () = lease_is_over(&job) => Cause::NoContact,
    };
    *cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    stop.cancel.cancel();
    sleep(GRACE).await;
    stop.kill.cancel();
}

async fn lease_is_over(job: &Job) {
    loop {
        sleep(LOOK).await;
        if let Some(lease) = job.lease()
            && matches!(lease.standing(boot::millis()), Standing::Over | Standing::Lost)
        {
            return;
        }
    }
}

/// How it went, before anybody's wish for an end is considered.
enum Done {
    Built(Built, bool),
    Problem(Problem),
}

impl Done {
    fn packages(&self) -> Vec<(staith_model::Name, staith_model::Version)> {
        let Self::Built(Built::Passed(packed), _) = self else { return Vec::new() };
        let named = |sealed: &staith_packager::seal::Sealed| {
            let package = &sealed.published.package;
            (package.name.clone(), package.version.clone())
        };
        packed.iter().map(named).collect()
    }
}

/// What the server is told.
fn outcome(done: &Done, cause: Option<Cause>, job: &Job, spec: &JobSpec) -> AttemptOutcome {
    if matches!(done, Done::Built(Built::Passed(_), _)) {
        return AttemptOutcome::Passed;
    }
    match cause {
        Some(Cause::Asked) if job.wanted().is_some() => return AttemptOutcome::Cancelled,
        Some(Cause::Asked) => return failed(Blame::Environment, "somebody on the runner's host ended it"),
        Some(Cause::TimedOut) => {
            let seconds = spec.timeout_millis / 1000;
            return failed(Blame::Project, format!("it was ended because it took longer than {seconds} s"));
        }
        Some(Cause::NoContact) => {
            return failed(
                Blame::Environment,
                "it was ended because its runner did not reach the server for too long",
            );
        }
        None => {}
    }
    match done {
        Done::Problem(problem) => AttemptOutcome::Failed {
            blame: blame_of(problem.exit),
            why: in_words(problem),
            configuration: problem.exit == Exit::Configuration,
        },
        Done::Built(Built::Ended(report), saw_a_bug) => {
            let exit = if *saw_a_bug { Exit::Bug } else { exit_of(&spec.plan, report) };
            failed(blame_of(exit), which_steps(report))
        }
        Done::Built(Built::Passed(_), _) => AttemptOutcome::Passed,
    }
}

fn failed(blame: Blame, why: impl Into<String>) -> AttemptOutcome {
    AttemptOutcome::failed(blame, why)
}

const fn blame_of(exit: Exit) -> Blame {
    match exit {
        Exit::Environment | Exit::Interrupted => Blame::Environment,
        Exit::Bug => Blame::Us,
        _ => Blame::Project,
    }
}

/// The steps that did not pass, in the order of their names.
fn which_steps(report: &TestReport) -> String {
    let said = |outcome| match outcome {
        StepOutcome::Failed => Some("failed"),
        StepOutcome::TimedOut => Some("took too long"),
        StepOutcome::OutOfMemory => Some("ran out of memory"),
        StepOutcome::Cancelled => Some("was cancelled"),
        StepOutcome::Lost => Some("was lost: its container or sandbox ended under it"),
        StepOutcome::EngineBroken => Some("could not be run here"),
        _ => None,
    };
    let steps =
        report.steps.iter().filter_map(|(name, step)| Some(format!("step `{name}` {}", said(step.outcome)?)));
    let steps: Vec<String> = steps.collect();
    if steps.is_empty() { "not all steps passed".to_owned() } else { steps.join("; ") }
}

/// A problem in one text, for whoever reads of it elsewhere.
fn in_words(problem: &Problem) -> String {
    let parts = [Some(problem.what.as_str()), problem.why.as_deref(), problem.remedy.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// One job being carried out.
struct Keeping<'a> {
    job: &'a Job,
    engine: EngineName,
    claim: &'a Claim,
    stop: &'a Stop,
}

impl Keeping<'_> {
    async fn all(&self) -> Done {
        match self.prepared_and_built().await {
            Ok((built, saw_a_bug)) => Done::Built(built, saw_a_bug),
            Err(problem) => Done::Problem(problem),
        }
    }

    async fn prepared_and_built(&self) -> Result<(Built, bool), Problem> {
        let preparing = self.prepared();
        let (execution, outgoing) = tokio::select! {
            prepared = preparing => prepared?,
            () = self.stop.cancel.cancelled() => {
                return Err(Problem::new(Exit::Interrupted, "it was ended before anything was run"));
            }
        };
        let built = self.built(&execution).await;
        // Jobs that need this one begin when it has ended.
        outgoing.finish(&self.stop.cancel).await;
        built
    }

    /// Everything that the job is run with. What can be known to be wrong is refused here, before anything is run.
    async fn prepared(&self) -> Result<(Execution, Outgoing), Problem> {
        let (began, started) = (Instant::now(), clock::unix_millis());
        let spec = &self.claim.claimed.job;
        let plan = part_of(spec)?;
        let home = Home::find()?;
        let workshop =
            Workshop::open(&home)?.for_a_job(home.step_cache_of_jobs(spec.trust), self.job.spool());
        let workshop = workshop.isolated_by(self.engine, &home);
        let client = Client::new(&self.claim.server)?;
        let token = Secret::new(self.claim.claimed.token.clone());
        let attempt = self.claim.claimed.attempt.as_str();
        let scratch = home.path();
        let source = SourceOfJob { client: &client, token: &token, attempt, scratch };
        let source = source.fetch(&workshop, &plan).await?;
        let secrets = secrets(spec, &plan, &client, &token, attempt).await?;
        let images = workshop.images(&plan, &|_| {}).await?;
        let asker = Asker {
            client,
            token,
            attempt: attempt.to_owned(),
            fence: self.claim.claimed.fence,
            scratch: self.job.path().to_owned(),
        };
        let part = spec.part.clone().unwrap_or_default();
        let (sharing, outgoing) = Sharing::begin(asker, part.given);
        let passed = taken::from_other_jobs(&plan, &part.taken, &sharing, &workshop.layers()).await?;
        let execution = Execution {
            id: spec.run.clone(),
            upkeep: workshop.upkeep(),
            bench: workshop.bench(images, secrets, None, passed, Some(sharing)),
            home,
            plan: Arc::new(plan),
            source: Arc::new(source),
            manner: Manner::default(),
            stop: self.stop.clone(),
            began,
            started,
            trust: Some(spec.trust),
        };
        Ok((execution, outgoing))
    }

    async fn built(&self, execution: &Execution) -> Result<(Built, bool), Problem> {
        execution.say_what_is_used();
        let journal = Arc::new(Mutex::new(Journal::new(&self.job.spool())));
        let saw_a_bug = Arc::new(Mutex::new(false));
        let mut log = EventLog::new(clock::unix_millis, watcher(&journal, &saw_a_bug));
        let flushing = tokio::spawn(flush(Arc::clone(&journal)));
        let was_cancelled = |report: &TestReport| exit_of(&execution.plan, report) == Exit::Interrupted;
        let incomplete = |gap: &_| tracing::warn!(%gap, "the bill of materials is incomplete");
        let built = execution.build(&mut log, &incomplete, &was_cancelled).await;
        flushing.abort();
        drop(log);
        let kept = lock(&journal).finish();
        execution.upkeep.keep_to_budget();
        kept.map_err(|refused| {
            Problem::new(Exit::Environment, "the run's log could not be written")
                .with_why(refused.to_string())
        })?;
        let saw_a_bug = *lock(&saw_a_bug);
        Ok((built?, saw_a_bug))
    }
}

/// What of the plan this job does, after the plan was held against the name that it goes by.
fn part_of(spec: &JobSpec) -> Result<Plan, Problem> {
    let found = spec.plan.digest();
    if found != spec.plan_digest {
        return Err(Problem::new(
            Exit::Bug,
            "the plan is not the one that the server named; nothing was run",
        )
        .with_why(format!("it was to be {}, and is {found}", spec.plan_digest))
        .with_remedy(
            "a server and a runner of the same version read plans alike: compare `staith --version` on both",
        ));
    }
    match &spec.part {
        None => Ok(spec.plan.clone()),
        Some(part) => {
            let known = |step: &&staith_model::Name| spec.plan.step(step).is_none();
            let named = part.steps.iter().chain(part.taken.iter().map(|taken| &taken.step));
            // For its words.
            if let Some(unknown) = named.clone().find(known) {
                spec.plan.only(std::slice::from_ref(unknown))?;
            }
            Ok(spec.plan.slice(part))
        }
    }
}

/// The answer to `GET /api/v1/attempts/{attempt}/secrets`.
#[derive(Deserialize)]
struct SecretsGiven {
    secrets: BTreeMap<String, String>,
}

/// The secrets of a job, which come from the server only: what a person has set on this host is for what they run themselves.
async fn secrets(
    spec: &JobSpec,
    plan: &Plan,
    client: &Client,
    token: &Secret,
    attempt: &str,
) -> Result<Supply, Problem> {
    let mut known = Known::default();
    if !spec.secrets.is_empty() {
        let ask = Ask::get(format!("/api/v1/attempts/{attempt}/secrets")).with(token);
        let given: SecretsGiven = client.value_within(&ask, ASKING).await?;
        for (name, value) in given.secrets {
            let name: SecretName = name
                .parse()
                .map_err(|bad: staith_builder::secrets::NotASecretName| Problem::bug(bad.to_string()))?;
            known.0.insert(name, Secret::new(value));
        }
    }
    Ok(Supply::gather(plan, &[&known]).await?)
}

fn watcher(journal: &Arc<Mutex<Journal>>, saw_a_bug: &Arc<Mutex<bool>>) -> Watcher {
    let (journal, saw_a_bug) = (Arc::clone(journal), Arc::clone(saw_a_bug));
    Box::new(move |event: &Event, _: &RunState| {
        lock(&journal).write(event);
        if let EventKind::StepFinished { reason: Some(reason), .. } = &event.what
            && reason.blame == Blame::Us
        {
            *lock(&saw_a_bug) = true;
        }
    })
}

/// Lines of output wait for each other in memory; whoever follows from elsewhere wants them soon.
async fn flush(journal: Arc<Mutex<Journal>>) {
    loop {
        sleep(FLUSH).await;
        lock(&journal).flush();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
