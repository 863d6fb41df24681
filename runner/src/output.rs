//! The room that talks to people. Whatever Staith shows is shown from here, and nothing here decides anything: each way
//! of showing a run reads the same events.
//!
//! A map, in reading order:
//!
//! 1. [`clean`]: makes hostile text safe to show. `human`: numbers as people read them. `words`: what happened, in words.
//! 2. `look`: colours and marks. `wrap`: lines that fit. `sink`: a reader that may go away.
//! 3. [`Watch`], the seam, and what fills it: `json`, `plain` and `live`. `mode` chooses.
//! 4. [`Problem`]: the one form of an error. [`EnvironmentStatus`]: what serves where. [`LogView`]: what steps wrote. `notice`,
//!    `packages`, `stock`, `parameters`, `inspection`, `applied`, `transform`, `keys` and `secrets`: what short commands did.
//!    `transfer`: packages on their way. `audit`: what an environment's ledger says. `provision`: machines that are made and taken down. `runner`: a build host and its jobs. [`PlanView`]: what would be done. [`Because`]: why a step would be run. [`Passage`]: what a
//!    command in a step's sandbox writes.

mod applied;
mod arrival;
mod audit;
mod clean;
mod counting;
mod deployments;
mod doctor;
mod fleet;
mod gc;
mod human;
mod inspection;
mod json;
mod keys;
mod live;
mod logs;
mod look;
mod mode;
mod notice;
mod packages;
mod parameters;
mod plain;
mod plan;
mod problem;
mod projects;
mod provision;
mod proxy;
mod runner;
mod secrets;
mod server;
mod server_runs;
mod shell;
mod sink;
mod status;
mod stock;
#[cfg(test)]
mod stories;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod transform;
mod why;
mod words;
mod wrap;

use std::io;

use staith_model::{Event, EventKind, Exit, RunState};

pub(crate) use self::{
    applied::applied,
    arrival::{fetching, fetching_images, notice},
    audit::{audit_entries, audit_verified, head_signed},
    clean::clean_word as one_line,
    counting::Counting,
    deployments::{
        server_deployment, server_environments, server_history, server_instructions, server_order,
        server_releases,
    },
    doctor::diagnosis,
    fleet::{
        CheckedTarget, FleetWatch, KnownEnvironment, KnownTarget, cooled, environments, fleet_asked,
        fleet_history, fleet_look, fleet_plan, fleet_status, hold_lifted, metrics, quarantine, release_made,
        release_notes, releases, releases_differ, run_book, targets, targets_checked, whereabouts,
    },
    gc::{collected, made_room},
    human::size as bytes,
    inspection::inspection,
    keys::{document, key_trusted, public_key, trusted_keys},
    logs::{LogView, RunHeading, Wrote, runs},
    mode::OutputMode,
    notice::{Retelling, rolled_back, script, started, stopped, text},
    packages::{difference, extracted, packed, verified},
    parameters::{parameters, set_file_written},
    plan::{Graph, PlanView, plan, plan_graph},
    problem::{Place, Problem, error, error_in_brief},
    projects::{arrivals, explanation, hook, project_list, project_shown, project_told, run_begun},
    provision::{ProvisionVoice, nothing_to_sweep, provision_asked, sweep_installed, swept, tell_of_overdue},
    proxy::{proxy_ended, proxy_paused, proxy_serves, proxy_status},
    runner::{RunnerJob, runner_drained, runner_installed, runner_listed, runner_news, runner_registered},
    secrets::{secret_names, secret_removed, secret_rotated, secret_set, secrets_resealed},
    server::{
        runner_code, server_audit, server_audit_entries, server_backup, server_checked, server_runners,
        server_secrets, server_serves, server_status, token_made, token_revoked, tokens,
    },
    server_runs::{log_not_whole, server_attempt_begins, server_run, server_run_told, server_runs},
    shell::{LeftBy, Passage, Seen, afterwards, welcome},
    status::{DeploymentStatus, EnvironmentStatus, PoolStatus, ReleaseStatus, status},
    stock::{Kept, channel_moved, package_pinned, package_unpinned, packages, packages_collected},
    transfer::{carrying, pulled, pushed, serving},
    transform::{TransformSummary, transformed},
    why::{Because, why},
};

/// Somebody who watches a run and the deployment that may follow it.
///
/// A watcher never fails and never panics for want of a reader. It may block while whoever reads is slow, so call it
/// from a thread of its own or through a channel, not from where steps are run.
pub(crate) trait Watch: Send {
    /// Takes the next event; `state` is the run after it. Events come in order and without gaps.
    fn event(&mut self, event: &Event, state: &RunState);

    /// Says the last word. Nothing may follow.
    fn finish(&mut self, summary: &Summary);

    /// Whether nobody reads any more. Once true, it stays true, and nothing more is written; whether the run goes on is
    /// for the caller to say. Never blocks, however slow whoever reads is.
    fn is_gone(&self) -> bool;

    /// Why what was shown is lost, if it is and not because the reader left: a full disk, for instance. Never blocks.
    /// [`Problem::unwritable`] says it to people.
    fn failure(&self) -> Option<io::Error> {
        None
    }

    /// Whether a person was told why a deployment failed; [`error_in_brief`] is enough then.
    fn has_told_why(&self) -> bool {
        false
    }
}

/// Whether an event says what a person wants to know of a deployment that failed.
fn says_why_a_deployment_failed(event: &Event) -> bool {
    matches!(&event.what, EventKind::DeploymentChanged { reason: Some(_), .. })
}

/// What the events of a run don't say about its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What the shell will be told.
    pub(crate) exit: Exit,
    /// How long the whole command took, since its process started, in milliseconds.
    pub(crate) millis: u64,
    /// Where the release that was deployed now answers.
    pub(crate) url: Option<String>,
    /// How to see all that was written: a command or a file.
    pub(crate) log: Option<String>,
}
