//! What a server, its runners and its people say to each other: the values of the API's bodies. A map, in reading order:
//!
//! 1. [`Trust`]: how far what a run made may be believed. [`Happening`]: what set it off.
//! 2. [`JobSpec`]: what a runner is given. [`AttemptOutcome`]: how it ended.
//! 3. [`RunnerState`] and what is said of build hosts. `wire`: requests and answers between runners and their server.
//! 4. [`Project`]: what is built, and what [its address](carries_credentials) must not say; [`Arrival`]: what happened to it, as the
//!    server wrote it down. [`Priority`]: which of its runs go first.
//! 5. [`ProblemDetails`]: what is answered when something can't be done.
//! 6. `lifecycle`: the lives of jobs, attempts and runs. [`RunView`]: runs as people see them. `pages`: parts of lists.
//! 7. `release`: releases and deployments, between people, the server and the process that deploys.
//! 8. [`TargetOf`] and what machines that pull say: they are reached through the server.
//! 9. [`StepCame`]: what steps came to, on its way from one runner to another.

mod happening;
mod host;
mod job;
mod lifecycle;
mod origin;
mod pages;
mod priority;
mod problem;
mod project;
mod release;
mod runs;
mod sharing;
mod target;
mod trust;
mod wire;

pub use happening::Happening;
pub use host::{EnrolmentAsked, EnrolmentMade, RunnerChange, RunnerSeen, RunnerState, ServerStatus};
pub use job::{AttemptOutcome, JobSpec};
pub use lifecycle::{
    AttemptChange, AttemptEnd, AttemptState, ImpossibleAttemptChange, ImpossibleJobChange, JobChange,
    JobState, MOST_RETRIES, NotAState, RetryCause, RunStanding, StopKind, after_attempt,
};
pub use origin::{carries_credentials, without_credentials};
pub use pages::{ArrivalPage, ProjectPage, ReleasePage, RunnerPage};
pub use priority::{NotAPriority, Priority};
pub use problem::ProblemDetails;
pub use project::{
    ApprovalAsked, Arrival, ArrivalState, Arrived, Concurrency, ExplainAsked, Explanation, ForgeKind,
    ForgeSettings, Project, ProjectAsked, ProjectSettings, RunAsked, RunGroup, RunSetOff, Schedule,
};
pub use release::{
    DeployAsked, DeploymentView, EnvironmentRules, EnvironmentView, Guarded, LedgerEntry, LedgerHad,
    LedgerPart, LiftAsked, OpenOrder, Order, OrderAnswer, OrderSeen, Orders, OverrideAsked, PastGates,
    QuarantineAsked, ReleaseAsked, ReleaseMaterial, ReleaseSeen, ReleaseStanding, RollbackAsked, SwapAsked,
    VoteAsked, WishAsked,
};
pub use runs::{AttemptView, CancelAsked, JobView, RunPage, RunSummary, RunView};
pub use sharing::{LARGEST_LAYER, LAYER_PIECE, SentLayer, StepCame, StepGiven};
pub use target::{
    NotATarget, TUNNEL_PIECE, TargetOf, TargetTurn, TunnelEnd, TunnelNext, TunnelOffered, TunnelWanted,
    TunnelsAsked, TunnelsTold,
};
pub use trust::{NotATrust, Trust};
pub use wire::{
    ClaimAsked, Claimed, CloseAsked, EnrolAsked, Enrolled, FinishAsked, RenewAsked, Renewed, Session,
    SessionAsked, StreamState, Wanted,
};
