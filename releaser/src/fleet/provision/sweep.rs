//! What is past its time, or was left half made by a process that died, is taken down. Nothing is forgotten: a failure is told, and
//! the next sweep tries again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use staith_model::{Name, ProvisionState, Provisioning, Standing};

use super::{Place, ProvisionError, Provisioner};
use crate::drive::lock;

/// An environment whose machines are to be taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// Where its ledger is.
    pub directory: PathBuf,
    /// Why.
    pub why: Why,
}

/// Why machines are to be taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Their time has come, in milliseconds since 1970.
    Due(u64),
    /// Something was begun and nobody is at it any more, or taking them down failed. Of environments that are to stay, a person
    /// decides.
    Left,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// They are gone.
    Gone,
    /// There was nothing to take down after all.
    Nothing,
}

/// Environments whose machines are to be taken down at `now`, below the folder of all environments of all projects. A glance: it reads
/// a small file of each environment that has machines of its own, and no ledger. [`sweep`] looks again before it does anything.
///
/// What can't be read is left out here, and told by the command that is about it.
pub fn overdue(environments: &Path, now: u64) -> Vec<Overdue> {
    let mut found = Vec::new();
    for project in folders(environments) {
        for directory in folders(&project) {
            let Some(marker) = Place::of(&directory).marked() else { continue };
            let why = match marker.due {
                Some(due) if due <= now => Why::Due(due),
                Some(_) if marker.open && !lock::is_held(&Place::of(&directory).lock()) => Why::Left,
                _ => continue,
            };
            let (Some(project), Some(environment)) = (name_of(&project), name_of(&directory)) else {
                continue;
            };
            found.push(Overdue { project, environment, directory, why });
        }
    }
    found.sort_by(|one, other| (&one.project, &one.environment).cmp(&(&other.project, &other.environment)));
    found
}

fn folders(above: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn name_of(folder: &Path) -> Option<Name> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// Takes the machines of an environment down, if the ledger says that their time has come or that they were left. Who approved their
/// making approved that, too: nobody is asked.
///
/// # Errors
/// See [`ProvisionError`]. What is there stays known, and the next sweep tries again.
pub async fn sweep(provisioner: &Provisioner) -> Result<Swept, ProvisionError> {
    let session = provisioner.begin().await?;
    let state = provisioner.state()?;
    if !state.may_be_there() {
        // The mark was made, and the process died before it began anything.
        provisioner.place.unmark()?;
        return Ok(Swept::Nothing);
    }
    if !is_to_go(&state, provisioner.clock.now()) {
        return Ok(Swept::Nothing);
    }
    let proposal = session.propose_end("it is past its time, or was left").await?;
    session.carry_out(&proposal).await?;
    Ok(Swept::Gone)
}

/// With the lock in hand, whatever is open was left by a process that died.
fn is_to_go(state: &ProvisionState, now: u64) -> bool {
    let is_due = state.due.is_some_and(|due| due <= now);
    let was_left = match &state.standing {
        Standing::Open(_) => true,
        // Somebody wanted it gone already.
        Standing::Failed(begun, _) => begun.plan.direction == Provisioning::Destroy,
        Standing::Nothing | Standing::Stands { .. } => false,
    };
    is_due || (state.is_ephemeral() && was_left)
}
