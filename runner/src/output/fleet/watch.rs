//! A deployment while it is carried out.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::json;
use staith_model::{
    DeploymentId, DeploymentState, Exit, FleetEvent, FleetPlan, Name, Reason, Work, WorkResult,
};
use staith_releaser::{
    fleet::drive::{Cooled, Deployer, StageWatch, Stamped},
    host::StageProgress,
};

use super::{
    super::{
        OutputMode, Problem, carrying,
        clean::clean_word,
        human,
        look::{Look, Mark, Tone},
        notice::look,
        sink::Sink,
    },
    cooled, in_lines, say,
    words::{ask_in_words, change_in_words, state_in_words, work_in_words},
};
use crate::clock;

/// What carries on a line of progress: what is moving, how much of it is done, how much there is.
type Moving = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Watches a deployment to machines. Clones show on the same screen.
#[derive(Clone)]
pub(crate) struct FleetWatch {
    mode: OutputMode,
    staged: Arc<Mutex<BTreeMap<Name, StageProgress>>>,
    moving: Moving,
    told: Arc<Mutex<Option<Vec<String>>>>,
    began: Instant,
    /// What was written before this time is an earlier story, when a deployment is gone on with.
    since: u64,
    /// The deployment that is watched; those of others are theirs to tell.
    watched: Option<DeploymentId>,
    /// Seconds for which clients believe what they were told before, by the plan that is carried out.
    lingers: u64,
}

impl FleetWatch {
    pub(crate) fn new(mode: OutputMode) -> Self {
        Self {
            mode,
            staged: Arc::default(),
            moving: Arc::new(carrying("bringing files to", mode)),
            told: Arc::default(),
            began: Instant::now(),
            since: clock::unix_millis(),
            watched: None,
            lingers: 0,
        }
    }

    /// The same, for this deployment alone.
    #[must_use]
    pub(crate) fn of(mut self, deployment: &DeploymentId) -> Self {
        self.watched = Some(deployment.clone());
        self
    }

    /// What to tell of files on their way.
    pub(crate) fn staging(&self) -> StageWatch {
        let (staged, moving) = (Arc::clone(&self.staged), Arc::clone(&self.moving));
        Arc::new(move |target: &Name, progress: StageProgress| {
            let mut staged = staged.lock().unwrap_or_else(PoisonError::into_inner);
            staged.insert(target.clone(), progress);
            let done: u64 = staged.values().map(|one| one.files).sum();
            let all: u64 = staged.values().map(|one| one.of_files).sum();
            moving(&human::count(staged.len(), "machine"), done, all);
        })
    }

    /// Shows the plan that is carried out.
    pub(crate) fn begins(&self, plan: &FleetPlan) {
        if !self.mode.is_json() {
            let mut out = Sink::new(io::stdout());
            in_lines(plan).iter().for_each(|line| out.line(line));
        }
    }

    /// Says that what was visible is being taken back.
    pub(crate) fn aborting(&self) {
        if !self.mode.is_json() {
            Sink::new(io::stderr())
                .line("aborting: what is in flight is finished, what was visible is taken back");
        }
    }

    /// Shows what was written into the ledger.
    pub(crate) fn heard(&mut self, entry: &Stamped) {
        let is_ours =
            entry.event.deployment().is_none_or(|of| self.watched.as_ref().is_none_or(|our| our == of));
        if let (true, FleetEvent::Requested { plan, .. } | FleetEvent::Replanned { plan, .. }) =
            (is_ours, &entry.event)
        {
            self.lingers = plan.traffic.as_ref().map_or(0, |traffic| traffic.linger_seconds);
        }
        if !is_ours || entry.at < self.since {
            return;
        }
        let mut out = Sink::new(io::stdout());
        if self.mode.is_json() {
            out.line(&serde_json::to_string(entry).unwrap_or_default());
            return;
        }
        (self.moving)("", 0, 0);
        for line in self.in_words(&entry.event) {
            out.line(&line);
        }
    }

    fn in_words(&self, event: &FleetEvent) -> Vec<String> {
        let look = look();
        match event {
            // A no is told with the change that it leads to.
            FleetEvent::Gates { open: false, refused: false, what, .. } => {
                // The same wait is told once.
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.as_ref() == Some(what) {
                    return Vec::new();
                }
                *told = Some(what.clone());
                what.iter()
                    .map(|what| format!("{} waits for {}", look.mark(Mark::Waiting), clean_word(what)))
                    .collect()
            }
            FleetEvent::Gates { by_default_at_the_deadline: Some(why), .. } => {
                vec![format!("goes on by default, at the deadline of its approvals: {}", clean_word(why))]
            }
            FleetEvent::Outcome { work, result, .. } => {
                outcome(look, work, result).into_iter().chain(lingering(self.lingers, work, result)).collect()
            }
            FleetEvent::Changed { reason: Some(reason), change, .. } => {
                let what = format!("{}: {}", change_in_words(*change), clean_word(&reason.what));
                std::iter::once(look.tint(Tone::Bad, &what)).chain(remedy(reason)).collect()
            }
            FleetEvent::Replanned { plan, .. } => {
                std::iter::once("what is there has changed; the plan is another one now".to_owned())
                    .chain(in_lines(plan))
                    .collect()
            }
            FleetEvent::Asked { by, ask, .. } => {
                vec![format!("{} asks: {}", clean_word(by), ask_in_words(ask))]
            }
            FleetEvent::Voted { by, approves, .. } => {
                vec![format!("{} says {}", clean_word(by), if *approves { "yes" } else { "no" })]
            }
            _ => Vec::new(),
        }
    }

    /// Says what came of stopping a pool that an earlier swap left.
    pub(crate) fn cooled(&self, environment: &Name, came: &Result<Cooled, Problem>) -> io::Result<()> {
        cooled((None, environment), came, self.mode)
    }

    /// Says how it ended.
    pub(crate) fn ended(&self, deployer: &Deployer, deployment: &DeploymentId, exit: Exit) -> io::Result<()> {
        let Ok(fleet) = deployer.state() else { return Ok(()) };
        let Some(record) = fleet.deployment(deployment) else { return Ok(()) };
        let environment = &record.plan.environment;
        let state = record.state;
        let release = record.plan.release;
        let took = human::duration(self.began.elapsed());
        if self.mode.is_json() {
            let value = json!({
                "deployment": deployment, "environment": environment, "release": release, "state": state,
                "exit": exit.code(), "trouble": record.trouble, "gates": record.gates,
            });
            return say(self.mode, &[value], &[]);
        }
        let look = look();
        let text = match state {
            DeploymentState::Succeeded => {
                look.tint(Tone::Good, &format!("release {} serves in {environment}", release.short()))
            }
            DeploymentState::AwaitingGates => {
                let plan = record.plan.digest();
                let is_alone =
                    fleet.in_order().filter(|other| other.state == DeploymentState::AwaitingGates).count()
                        == 1;
                let named = if is_alone { String::new() } else { format!(" --plan {plan}") };
                format!(
                    "deployment {deployment} waits; `staith release approve {environment}{named}` says yes to plan {}",
                    plan.short()
                )
            }
            state => look.tint(
                Tone::Bad,
                &format!("deployment {deployment} to {environment} {}", state_in_words(state)),
            ),
        };
        let mut lines = vec![format!("{text}{}{took}", look.dot())];
        if let Some(trouble) = record.trouble.as_ref().filter(|_| state != DeploymentState::Succeeded) {
            lines.push(format!("  {}", clean_word(&trouble.what)));
            lines.extend(remedy(trouble));
        }
        if matches!(state, DeploymentState::NeedsDecision) {
            lines.push(format!(
                "  decide: `staith release retry {environment}`, `skip {environment} MACHINE`, `accept {environment}` or `abort {environment}`"
            ));
        }
        say(self.mode, &[], &lines)
    }
}

fn remedy(reason: &Reason) -> Option<String> {
    reason.remedy.as_ref().map(|remedy| format!("  {}", clean_word(remedy)))
}

/// That a name's records are changed does not mean that nobody believes the ones before.
fn lingering(seconds: u64, work: &Work, result: &WorkResult) -> Option<String> {
    let changed = matches!((work, result), (Work::Serve { .. }, WorkResult::Done { already: false, .. }));
    (changed && seconds > 0).then(|| {
        format!("  clients may believe earlier answers for {seconds} s more; machines that went are left alone until then")
    })
}

/// What outlasts a drain is not cut; it is told, because a restart of that machine ends it.
fn still_answering(name: &Name, count: u64) -> String {
    let what =
        if count == 1 { "1 request or session".to_owned() } else { format!("{count} requests or sessions") };
    format!("  {name} was still answering {what} when the time for that was up; they are not cut off")
}

fn outcome(look: Look, work: &Work, result: &WorkResult) -> Vec<String> {
    let what = work_in_words(work);
    match result {
        // A look at what was proven before says something only when it is not so any more.
        WorkResult::Done { .. } if matches!(work, Work::Probe { glance: true, .. }) => Vec::new(),
        WorkResult::Done { .. } if work.only_reads() => vec![format!("{} {what}", look.mark(Mark::Passed))],
        WorkResult::Done { already: true, .. } => {
            vec![format!("{} {what}{}already so", look.mark(Mark::Cached), look.dot())]
        }
        WorkResult::Done { already: false, left } => {
            let line = format!("{} {what}", look.mark(Mark::Passed));
            std::iter::once(line)
                .chain(left.iter().map(|(name, count)| still_answering(name, *count)))
                .collect()
        }
        WorkResult::Unknown { why } | WorkResult::Inconclusive { why } | WorkResult::Undecided { why } => {
            vec![format!("{} {what}: {}", look.mark(Mark::Waiting), clean_word(why))]
        }
        WorkResult::Failed { reason } => {
            let line = format!("{} {what}: {}", look.mark(Mark::Failed), clean_word(&reason.what));
            std::iter::once(line).chain(remedy(reason)).collect()
        }
    }
}
