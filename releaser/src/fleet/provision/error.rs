//! Why machines could not be made or taken down.

use std::{io, path::PathBuf};

use staith_model::{Exit, Name};

use super::super::{drive::LogError, inventory::InventoryError};
use crate::drive::LockError;

/// Why machines could not be made or taken down.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// Somebody else works on it, or a program that a killed process had started.
    #[error("{} makes or takes down the machines of this environment", holder(.0))]
    Busy(LockError),
    /// A deployment is under way.
    #[error("machines are not changed under a deployment: {0}")]
    Deploying(LockError),
    /// The ledger.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The files that are needed.
    #[error("`{folder}`, the folder with what makes the machines, {why}")]
    Folder {
        /// The folder, as runner.toml names it.
        folder: String,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// What is kept beside the ledger.
    #[error("{doing} {}: {source}", path.display())]
    Kept {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program can't be started.
    #[error("`{program}` can't be started: {why}")]
    NotStarted {
        /// The program.
        program: String,
        /// Why not.
        why: String,
    },
    /// A program failed.
    #[error("`{command}` {how}{}", if said.is_empty() { String::new() } else { format!(", and said: {said}") })]
    Failed {
        /// What was run: its program and its first words.
        command: String,
        /// How it ended: `ended with exit code 1`.
        how: String,
        /// The end of what it said, masked.
        said: String,
    },
    /// What a program said is not what it says.
    #[error("`{command}` said what is not understood: {why}")]
    NotUnderstood {
        /// What was run.
        command: String,
        /// What is wrong.
        why: String,
    },
    /// The machines that were made can't be told.
    #[error("the outputs are not understood: {0}")]
    Outputs(#[from] InventoryError),
    /// A secret is not here.
    #[error("the secret `{secret}` is not set here, and `{variable}` is to have its value")]
    NoSecret {
        /// The variable.
        variable: String,
        /// The secret.
        secret: String,
    },
    /// The plan is not the one that was looked at.
    #[error("the plan is not the one that was looked at any more: {why}")]
    Changed {
        /// What has changed.
        why: String,
    },
    /// Gates said no.
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// Machines are there and not ready.
    #[error("machine `{target}` is not ready: {why}")]
    NotReady {
        /// The machine.
        target: Name,
        /// Why not, with the end of what cloud-init wrote.
        why: String,
    },
    /// User data can't be rendered.
    #[error("{template}: {why}")]
    UserData {
        /// The template.
        template: String,
        /// Why not.
        why: String,
    },
    /// There is nothing to take down.
    #[error("nothing was made for this environment")]
    NothingThere,
    /// Cancelled; what was started has been ended.
    #[error("interrupted")]
    Interrupted,
}

fn holder(error: &LockError) -> String {
    match error {
        LockError::Held { pid: Some(pid), .. } => format!("process {pid}, or a program that it started,"),
        LockError::Held { pid: None, .. } => "another process".to_owned(),
        LockError::Io { .. } => format!("it can't be told whether another process ({error})"),
    }
}

impl ProvisionError {
    /// What the shell is told.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Folder { .. } | Self::NoSecret { .. } | Self::UserData { .. } => Exit::Configuration,
            Self::Changed { .. } => Exit::NeedsDecision,
            Self::Refused { .. } => Exit::RolledBack,
            Self::NothingThere => Exit::Usage,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Environment,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Busy(_) => "wait until it has ended; a program that makes machines is never run twice at once".into(),
            Self::Deploying(_) => "wait for it, or abort it with `staith release abort`".into(),
            Self::Folder { remedy, .. } => remedy.clone(),
            Self::NotStarted { .. } => {
                "install it; one with a `/` is looked for in the folder of `provision`, any other in PATH".into()
            }
            Self::Failed { .. } => {
                "what was done so far stays: mend it and give the command again, or take all of it down with `staith env destroy`".into()
            }
            Self::Outputs(_) => {
                "the output `targets` must be a list of machines, as docs/provision.md says".into()
            }
            Self::NoSecret { secret, .. } => format!("set it: `staith secret set {secret}`"),
            Self::Changed { .. } => "give the command again: it makes a new plan".into(),
            Self::Refused { .. } => "docs/protection.md says what protects environments".into(),
            Self::NotReady { .. } => {
                "mend what it is told to do at its first start, and replace the machine; or look at /var/log/cloud-init-output.log there".into()
            }
            Self::UserData { .. } => "docs/provision.md says what may stand in a template".into(),
            Self::NothingThere => "`staith env provision` makes the machines".into(),
            Self::Interrupted => "give the command again: it looks at what is there, and goes on".into(),
            Self::Log(_) | Self::Kept { .. } | Self::NotUnderstood { .. } => {
                "mend that, and give the command again: it looks at what is there, and goes on".into()
            }
        }
    }

    pub(super) fn kept(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Kept { doing, path, source }
    }
}
