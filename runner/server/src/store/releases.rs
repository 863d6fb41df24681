//! Releases, what protects environments, what the deployer is told, and what its ledgers say.

use async_trait::async_trait;
use staith_model::{
    Digest, FleetRelease, Name, Package, Plan, RunId,
    service::{
        EnvironmentRules, LedgerEntry, LedgerHad, OpenOrder, Order, OrderAnswer, OrderSeen, ReleaseMaterial,
        ReleaseSeen, RunStanding, Trust,
    },
};

use super::{Actor, StoreError};

/// A run, as far as a release needs to know it.
#[derive(Debug, Clone)]
pub struct RunMade {
    /// The project.
    pub project: Name,
    /// How it stands.
    pub state: RunStanding,
    /// Whose code it is.
    pub trust: Trust,
    /// The commit.
    pub commit: Option<String>,
    /// Its plan.
    pub plan: Plan,
}

/// A release that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewRelease {
    /// The project.
    pub project: Name,
    /// The run.
    pub run: RunId,
    /// What it made.
    pub package: Package,
    /// Whose code made it.
    pub trust: Trust,
    /// What it is made of; its number is given by the store.
    pub material: ReleaseMaterial,
}

/// A release with what it was made of.
#[derive(Debug, Clone)]
pub struct KeptRelease {
    /// As people see it.
    pub seen: ReleaseSeen,
    /// What it is made of.
    pub material: ReleaseMaterial,
}

/// Something that the deployer is to be told.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// The project.
    pub project: Name,
    /// A word for the audit log, like `deployment-asked`.
    pub what: &'static str,
    /// What.
    pub order: Order,
    /// Who asks, as whoever deploys writes it down.
    pub who: String,
}

/// A run that is to be released by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The project.
    pub project: Name,
    /// Where to.
    pub environment: Name,
    /// What passed.
    pub run: RunId,
}

/// Releases of projects, and what is told to whoever deploys them. Ledgers are the deployer's; here is a copy that only grows.
#[async_trait]
pub trait Releases {
    /// What a release needs to know of a run.
    ///
    /// # Errors
    /// `Unknown`.
    async fn run_made(&self, run: &RunId) -> Result<RunMade, StoreError>;

    /// Writes a release down, with the order to make it. One of this run and package that is there already is given as it is; one that
    /// could not be made is tried again. The order, if one was given.
    async fn add_release(
        &self,
        new: NewRelease,
        by: Actor,
        now: u64,
    ) -> Result<(ReleaseSeen, Option<u64>), StoreError>;

    /// The releases of a project, the newest first.
    async fn releases(&self, project: &Name) -> Result<Vec<KeptRelease>, StoreError>;

    /// What a release says, as the deployer froze it; `None` of one that was made before that was kept, or that is not made.
    async fn frozen(&self, project: &Name, number: u64) -> Result<Option<FleetRelease>, StoreError>;

    /// What was said to protect an environment.
    async fn rules(&self, project: &Name, environment: &Name)
    -> Result<Option<EnvironmentRules>, StoreError>;

    /// All that was said: project, environment, rules.
    async fn all_rules(&self) -> Result<Vec<(Name, Name, EnvironmentRules)>, StoreError>;

    /// Sets what protects an environment, or takes it back.
    ///
    /// # Errors
    /// `Unknown`: there is no such project, or nothing to take back.
    async fn set_rules(
        &self,
        project: &Name,
        environment: &Name,
        rules: Option<EnvironmentRules>,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError>;

    /// Writes an order down; its number.
    async fn add_order(&self, new: NewOrder, by: Actor, now: u64) -> Result<u64, StoreError>;

    /// Orders that are not answered, in order.
    async fn open_orders(&self) -> Result<Vec<OpenOrder>, StoreError>;

    /// An order, and what became of it.
    ///
    /// # Errors
    /// `Unknown`.
    async fn order(&self, order: u64) -> Result<OrderSeen, StoreError>;

    /// Keeps the deployer's answer. Answered already, nothing changes.
    ///
    /// # Errors
    /// `Unknown`.
    async fn answer_order(
        &self,
        order: u64,
        answer: OrderAnswer,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError>;

    /// Appends to the copy of a ledger. Entries that are there already are passed over.
    ///
    /// # Errors
    /// `Conflict`: there would be a gap, or an entry is another than the one that is there.
    async fn append_ledger(
        &self,
        project: &Name,
        environment: &Name,
        entries: Vec<LedgerEntry>,
    ) -> Result<LedgerHad, StoreError>;

    /// The copy of a ledger, in order.
    async fn ledger(&self, project: &Name, environment: &Name) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Environments of which anything is known.
    async fn environments(&self, project: &Name) -> Result<Vec<Name>, StoreError>;

    /// Of environments that are released to by themselves, the newest protected run that passed since that was said and that was not
    /// released yet; older ones are passed over from then on. With `done`, notes that one was seen to.
    async fn due(&self, done: Option<Due>) -> Result<Vec<Due>, StoreError>;

    /// How far a manifest of a project's package may be believed: that of a fork, if it is not known.
    async fn trust_of(&self, project: &Name, name: &Name, manifest: &Digest) -> Result<Trust, StoreError>;
}
