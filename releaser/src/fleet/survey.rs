//! A look at all machines of an environment at once: what is there, whether its files are right, and how it is. Reads only.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use staith_model::{Digest, Name};

use super::machine::{Facts, Inspection, Machine, MachineError, MachineState, Question};
use crate::{
    health::Health,
    host::{Files, Patience},
};

/// How closely is looked, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Survey {
    /// How closely files are looked at.
    pub files: Inspection,
    /// How long a machine may take to say what is there and how it is.
    pub patience: Duration,
    /// How long its files may take beyond that.
    pub patience_for_files: Duration,
}

/// What was seen of a machine. Where something is an error, nothing is known of it.
#[derive(Debug)]
pub struct Sighting {
    /// What is there, or why it can't be told.
    pub state: Result<MachineState, String>,
    /// How the files of what `current` points to are; `None` where nothing is there, or the machine could not be asked.
    pub files: Option<Result<Files, String>>,
    /// How what `current` points to is; `None` as for files, and where nobody knows what to ask of it.
    pub health: Option<Result<Health, String>>,
}

/// What a machine said of itself.
pub type Roll = BTreeMap<Name, Result<Facts, MachineError>>;

impl Survey {
    /// Looks at all machines at once. `None` stands for one that nobody knows how to reach. `question` says what a release is asked on a
    /// machine, where that is known. Cancel-safe.
    pub async fn look(
        &self,
        machines: &BTreeMap<Name, Option<Arc<dyn Machine>>>,
        question: impl Fn(&Name, &Digest) -> Option<Question>,
    ) -> BTreeMap<Name, Sighting> {
        let looks = machines.iter().map(|(name, machine)| async {
            let seen = match machine {
                Some(machine) => self.look_at(machine.as_ref(), |release| question(name, release)).await,
                None => Sighting { state: Err(NOBODY.to_owned()), files: None, health: None },
            };
            (name.clone(), seen)
        });
        join_all(looks).await.into_iter().collect()
    }

    async fn look_at(
        &self,
        machine: &dyn Machine,
        question: impl Fn(&Digest) -> Option<Question>,
    ) -> Sighting {
        let state = within(self.patience, machine.observe()).await;
        let Some(current) = state.as_ref().ok().and_then(|state| state.current) else {
            return Sighting { state, files: None, health: None };
        };
        let health = match question(&current) {
            Some(question) => Some(within(self.patience, machine.probe(&question, Patience::Glance)).await),
            None => None,
        };
        let files = Some(within(self.patience_for_files, machine.inspect(&current, self.files)).await);
        Sighting { state, files, health }
    }
}

/// Why a machine that has no way to it can't be looked at.
const NOBODY: &str = "it can't be asked from here: a machine that pulls speaks to its server alone";

async fn within<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, MachineError>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(no_answer(patience)),
    }
}

fn no_answer(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// Asks all machines at once what they are. Cancel-safe.
pub async fn call(machines: &BTreeMap<Name, Option<Arc<dyn Machine>>>, patience: Duration) -> Roll {
    let calls = machines.iter().map(|(name, machine)| async {
        let unreachable = |why: String, remedy: &str| MachineError::Unreachable {
            target: name.to_string(),
            why,
            remedy: remedy.to_owned(),
        };
        let said = match machine {
            None => Err(unreachable(NOBODY.to_owned(), "ask the server: `staith server release status`")),
            Some(machine) => tokio::time::timeout(patience, machine.reach()).await.unwrap_or_else(|_| {
                Err(unreachable(no_answer(patience), "see whether the machine and the network to it are up"))
            }),
        };
        (name.clone(), said)
    });
    join_all(calls).await.into_iter().collect()
}

#[cfg(test)]
mod tests;
