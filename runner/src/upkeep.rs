//! All that is kept below the home, and what goes to stay within the budget. A map, in reading order:
//!
//! 1. [`settings`]: what a person has set.
//! 2. [`household`]: what is kept in which room, what is in use, and how it is taken out.
//! 3. [`Upkeep`]: the budget that a run keeps to.

mod household;
mod settings;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use staith_builder::upkeep::{Allowance, Budget};
use staith_model::Exit;

pub(crate) use self::{
    household::{Household, Removed},
    settings::{Settings, size},
};
use crate::{home::Home, output::Problem};

/// How long a run that is over is kept from ending by making room.
const PATIENCE: Duration = Duration::from_secs(2);

/// The budget that a run keeps to.
#[derive(Debug, Clone)]
pub(crate) struct Upkeep {
    budget: Arc<Budget>,
    /// What this process has removed so far.
    removed: Arc<Mutex<Removed>>,
}

impl Upkeep {
    /// The budget of a home.
    ///
    /// # Errors
    /// The settings make no sense, or the ledger can't be kept.
    pub(crate) fn open(home: &Home) -> Result<Self, Problem> {
        let settings = Settings::read(home)?;
        let removed = Arc::new(Mutex::new(Removed::default()));
        let (told, home_of) = (Arc::clone(&removed), home.clone());
        let make_room = move |target: u64, until: Option<Instant>| {
            let household = Household::open(&home_of)?;
            let removed = household.collect(target, until)?;
            let left = removed.left;
            told.lock().unwrap_or_else(PoisonError::into_inner).add(removed);
            Ok(left)
        };
        let budget = Budget::open(&home.ledger(), settings.budget, Box::new(make_room))?;
        Ok(Self { budget: Arc::new(budget), removed })
    }

    /// Who is asked before anything is kept.
    pub(crate) fn allowance(&self) -> Arc<dyn Allowance> {
        Arc::clone(&self.budget) as Arc<dyn Allowance>
    }

    /// Makes room until at most `target` bytes are kept, and says what was removed.
    ///
    /// # Errors
    /// Something could not be measured or removed.
    pub(crate) fn collect(&self, target: u64, until: Option<Instant>) -> Result<Removed, Problem> {
        self.budget.collect(target, until).map_err(|why| {
            Problem::new(Exit::Environment, "no room could be made")
                .with_why(why)
                .with_remedy("see to the permissions of what is in Staith's home")
        })?;
        Ok(self.removed())
    }

    fn removed(&self) -> Removed {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes that may be kept.
    pub(crate) fn budget(&self) -> u64 {
        self.budget.bytes()
    }

    /// At the end of a run: counts its log and what is beside it, and makes room if there is too much. Blocks for some seconds at most. Bytes that
    /// this process has removed since it began.
    pub(crate) fn after_run(&self, log: &Path) -> u64 {
        let beside =
            log.parent().and_then(|directory| std::fs::read_dir(directory).ok()).into_iter().flatten();
        let files =
            beside.flatten().filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
        self.budget.settle(files.map(|file| file.len()).sum(), 0);
        self.keep_to_budget()
    }

    /// Makes room if there is too much. Blocks for some seconds at most. Bytes that this process has removed since it began.
    pub(crate) fn keep_to_budget(&self) -> u64 {
        let may_be_kept = self.budget.bytes();
        if self.budget.taken().is_ok_and(|taken| taken.is_some_and(|taken| taken > may_be_kept)) {
            let target = may_be_kept - may_be_kept / 10;
            if let Err(problem) = self.collect(target, Some(Instant::now() + PATIENCE)) {
                tracing::warn!(why = problem.why, "no room could be made");
            }
        }
        self.removed().bytes()
    }
}
