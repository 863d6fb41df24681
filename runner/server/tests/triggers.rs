//! What happens at repositories becomes runs: the router and the loops with a scripted planner.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "triggers/arriving.rs"]
mod arriving;
#[path = "house/described.rs"]
mod described;
#[path = "triggers/forks.rs"]
mod forks;
#[path = "triggers/statuses.rs"]
mod statuses;
#[path = "triggers/watching.rs"]
mod watching;
#[path = "triggers/webhooks.rs"]
mod webhooks;
#[path = "triggers/yard.rs"]
mod yard;
