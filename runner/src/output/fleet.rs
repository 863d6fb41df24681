//! Releases to machines: what is planned, what happens, where it stands.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use staith_model::{
    DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, Exit, FleetEvent, FleetPlan,
    FleetRelease, Name, Reason, Work, WorkResult,
};
use staith_releaser::{
    fleet::{
        drive::{Deployer, FleetStatus, StageWatch, Stamped},
        plan::lines,
    },
    host::StageProgress,
};

use super::{
    OutputMode, carrying,
    clean::{clean_lines, clean_word},
    human,
    look::{Look, Mark, Tone},
    notice::look,
    sink::Sink,
    table,
};
use crate::clock;

fn say(mode: OutputMode, values: &[Value], lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        values.iter().for_each(|value| out.line(&value.to_string()));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// Says that a release was made, or was there.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn release_made(release: &FleetRelease, already: bool, mode: OutputMode) -> io::Result<()> {
    let mut value = release_value(release);
    value["already"] = already.into();
    let verb = if already { "is there already" } else { "is made" };
    let environments: Vec<&str> = release.settings.keys().map(Name::as_str).collect();
    let package = &release.package;
    let line = format!(
        "release {} {verb}: {}@{} for {}",
        release.digest().short(),
        package.name,
        package.version,
        environments.join(", ")
    );
    say(mode, &[value], &[look().tint(Tone::Good, &line)])
}

fn release_value(release: &FleetRelease) -> Value {
    json!({
        "release": release.digest(), "project": release.project, "package": release.package.name,
        "version": release.package.version, "commit": release.source.commit, "branch": release.source.branch,
        "dirty": release.source.dirty, "environments": release.settings.keys().collect::<Vec<_>>(),
    })
}

/// Lists releases.
pub(crate) fn releases(releases: &[FleetRelease], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = releases.iter().map(release_value).collect();
    let row = |release: &FleetRelease| {
        let environments: Vec<&str> = release.settings.keys().map(Name::as_str).collect();
        let commit = release.source.commit.as_deref().map_or("", |commit| &commit[..commit.len().min(12)]);
        vec![
            release.digest().short(),
            format!("{}@{}", release.package.name, release.package.version),
            clean_word(commit),
            environments.join(", "),
        ]
    };
    let mut lines = table::lines(&releases.iter().map(row).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push("there is no release yet; `staith release create` makes one".into());
    }
    say(mode, &values, &lines)
}

/// Shows a plan.
pub(crate) fn fleet_plan(plan: &FleetPlan, mode: OutputMode) -> io::Result<()> {
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    value["plan"] = json!(plan.digest());
    say(mode, &[value], &in_lines(plan))
}

fn in_lines(plan: &FleetPlan) -> Vec<String> {
    lines(plan)
        .iter()
        .flat_map(|line| clean_lines(line).map(|line| line.into_owned()).collect::<Vec<_>>())
        .collect()
}

/// Says that something was written down for a deployment.
pub(crate) fn fleet_asked(deployment: &DeploymentId, mode: OutputMode) -> io::Result<()> {
    let line = format!("written down for deployment {deployment}; whoever drives it heeds it");
    say(mode, &[json!({"deployment": deployment, "written": true})], &[line])
}

/// Shows where an environment stands.
pub(crate) fn fleet_status(environment: &Name, status: &FleetStatus, mode: OutputMode) -> io::Result<()> {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    value["environment"] = json!(environment);
    let serves = match &status.release {
        Some(release) => format!("{environment}: release {} serves", release.short()),
        None => format!("{environment}: no release has served yet"),
    };
    let mut lines = vec![serves];
    lines.extend(status.held.iter().map(|why| format!("  held: {}", clean_word(why))));
    for (target, why) in &status.quarantined {
        lines.push(format!("  {target} is out of deployments: {}", clean_word(why)));
    }
    let now = clock::unix_millis();
    for one in &status.deployments {
        let since = human::millis(now.saturating_sub(one.since));
        lines.push(format!(
            "  deployment {} of release {} by {}: {} since {since}",
            one.deployment,
            one.release.short(),
            clean_word(&one.by),
            state_in_words(one.state),
        ));
        lines.extend(one.trouble.iter().map(|trouble| format!("    {}", clean_word(&trouble.what))));
        lines.extend(one.gates.iter().map(|gate| format!("    waits for {}", clean_word(gate))));
        for target in one.targets.iter().filter(|_| !one.state.is_terminal() || one.trouble.is_some()) {
            let failed = target.failed.as_ref().map(|failed| format!(": {}", clean_word(&failed.what)));
            let lost = target.lost.as_ref().map(|lost| format!(": {}", clean_word(lost)));
            lines.push(format!(
                "    {} {:?}{}",
                target.target,
                target.step,
                failed.or(lost).unwrap_or_default()
            ));
        }
    }
    say(mode, &[value], &lines)
}

/// Lists deployments, the newest first.
pub(crate) fn fleet_history(records: &[&DeploymentRecord], mode: OutputMode) -> io::Result<()> {
    let value = |record: &&DeploymentRecord| {
        json!({
            "deployment": record.deployment, "release": record.plan.release, "plan": record.plan.digest(),
            "by": record.by, "reason": record.reason, "requested": record.requested_at, "state": record.state,
            "direction": record.plan.direction, "previous": record.plan.previous,
            "trouble": record.trouble, "targets": record.targets.keys().collect::<Vec<_>>(),
        })
    };
    let values: Vec<Value> = records.iter().map(value).collect();
    let now = clock::unix_millis();
    let row = |record: &&DeploymentRecord| {
        let direction = if record.plan.direction == Direction::Back { "back to" } else { "to" };
        vec![
            format!("{} ago", human::millis(now.saturating_sub(record.requested_at))),
            format!("{direction} {}", record.plan.release.short()),
            state_in_words(record.state).to_owned(),
            clean_word(&record.by),
            clean_word(record.trouble.as_ref().map_or(record.reason.as_str(), |trouble| &trouble.what)),
        ]
    };
    let mut lines = table::lines(&records.iter().map(row).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push("nothing was deployed here yet".into());
    }
    say(mode, &values, &lines)
}

/// Where a deployment is, in words.
pub(crate) fn state_in_words(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Planned => "planned",
        DeploymentState::AwaitingGates => "waits for its gates",
        DeploymentState::Acquiring => "waits for its turn",
        DeploymentState::Staging => "brings files to the machines",
        DeploymentState::Staged => "all machines have every byte",
        DeploymentState::Migrating => "migrates",
        DeploymentState::Switching { .. } => "switches",
        DeploymentState::Soaking { .. } => "is watched",
        DeploymentState::Finalizing => "cleans up",
        DeploymentState::Succeeded => "succeeded",
        DeploymentState::Failed => "failed before anything showed",
        DeploymentState::Halting => "halts",
        DeploymentState::RollingBack => "goes back",
        DeploymentState::RolledBack => "went back",
        DeploymentState::RollbackFailed => "could not go back",
        DeploymentState::NeedsDecision => "needs a decision",
        DeploymentState::Paused { .. } => "stands still",
        DeploymentState::Rejected => "was rejected",
        DeploymentState::Expired => "expired",
        DeploymentState::Superseded => "was superseded by a newer one",
        DeploymentState::Cancelled => "was cancelled",
    }
}

/// Watches a deployment to machines. Clones show on the same screen.
#[derive(Clone)]
pub(crate) struct FleetWatch {
    mode: OutputMode,
    staged: Arc<Mutex<std::collections::BTreeMap<Name, StageProgress>>>,
    moving: Arc<dyn Fn(&str, u64, u64) + Send + Sync>,
    told: Arc<Mutex<Option<Vec<String>>>>,
    began: std::time::Instant,
    /// What was written before this time is an earlier story, when a deployment is gone on with.
    since: u64,
    /// The deployment that is watched; those of others are theirs to tell.
    watched: Option<DeploymentId>,
}

impl FleetWatch {
    pub(crate) fn new(mode: OutputMode) -> Self {
        Self {
            mode,
            staged: Arc::default(),
            moving: Arc::new(carrying("bringing files to", mode)),
            told: Arc::default(),
            began: std::time::Instant::now(),
            since: clock::unix_millis(),
            watched: None,
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
            FleetEvent::Gates { open: false, what, .. } => {
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
            FleetEvent::Outcome { work, result, .. } => outcome(look, work, result),
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

    /// Says how it ended.
    pub(crate) fn ended(&self, deployer: &Deployer, deployment: &DeploymentId, exit: Exit) -> io::Result<()> {
        let record = deployer.state().ok().and_then(|state| state.deployment(deployment).cloned());
        let Some(record) = record else { return Ok(()) };
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
            DeploymentState::AwaitingGates => format!(
                "deployment {deployment} waits; `staith release approve {environment}` says yes to plan {}",
                record.plan.digest().short()
            ),
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

fn outcome(look: Look, work: &Work, result: &WorkResult) -> Vec<String> {
    let what = work_in_words(work);
    match result {
        // A look at what was proven before says something only when it is not so any more.
        WorkResult::Done { .. } if matches!(work, Work::Probe { glance: true, .. }) => Vec::new(),
        WorkResult::Done { .. } if work.only_reads() => vec![format!("{} {what}", look.mark(Mark::Passed))],
        WorkResult::Done { already: true } => {
            vec![format!("{} {what}{}already so", look.mark(Mark::Cached), look.dot())]
        }
        WorkResult::Done { already: false } => vec![format!("{} {what}", look.mark(Mark::Passed))],
        WorkResult::Unknown { why } | WorkResult::Inconclusive { why } | WorkResult::Undecided { why } => {
            vec![format!("{} {what}: {}", look.mark(Mark::Waiting), clean_word(why))]
        }
        WorkResult::Failed { reason } => {
            let line = format!("{} {what}: {}", look.mark(Mark::Failed), clean_word(&reason.what));
            std::iter::once(line).chain(remedy(reason)).collect()
        }
    }
}

/// What is done, in words.
fn work_in_words(work: &Work) -> String {
    let short = |to: &Option<Digest>| to.as_ref().map_or_else(|| "nothing".to_owned(), Digest::short);
    match work {
        Work::Stage { target } => format!("{target} has every byte, verified"),
        Work::Hook { target, hook, .. } => format!("hook {hook} on {target}"),
        Work::Switch { target, to } => format!("{target} runs {}", short(to)),
        Work::Probe { target, release, .. } => format!("{target} answers as {}", release.short()),
        Work::Serve { to } => {
            let names: Vec<&str> = to.keys().map(Name::as_str).collect();
            format!("requests go to {}", names.join(", "))
        }
        Work::Analyse { wave } => format!("wave {} is measured", wave + 1),
        Work::Retain { target, .. } => format!("{target} keeps what is needed"),
        Work::Observe { target } => format!("{target} is looked at"),
        Work::Look => "who gets requests is looked at".to_owned(),
    }
}

fn ask_in_words(ask: &staith_model::Ask) -> String {
    use staith_model::Ask;
    match ask {
        Ask::Abort { reason } if reason.is_empty() => "abort".to_owned(),
        Ask::Abort { reason } => format!("abort ({})", clean_word(reason)),
        Ask::Pause => "pause".to_owned(),
        Ask::Resume => "resume".to_owned(),
        Ask::Retry => "retry".to_owned(),
        Ask::Skip { target } => format!("skip {target}"),
        Ask::Accept => "accept".to_owned(),
        Ask::RollBack => "go back".to_owned(),
    }
}

fn change_in_words(change: staith_model::DeploymentChange) -> String {
    serde_json::to_value(change).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
