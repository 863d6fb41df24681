//! What is done and what is wanted, in words.

use staith_model::{Ask, DeploymentChange, DeploymentState, Digest, Name, Work};

use super::super::clean::clean_word;

/// Where a deployment is, in words.
pub(in crate::output) fn state_in_words(state: DeploymentState) -> &'static str {
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

/// What is done, in words.
pub(super) fn work_in_words(work: &Work) -> String {
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

pub(super) fn ask_in_words(ask: &Ask) -> String {
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

pub(super) fn change_in_words(change: DeploymentChange) -> String {
    serde_json::to_value(change).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
