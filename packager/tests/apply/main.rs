//! Applying packages: what Web Deploy does with its own samples, what holds for all trees, and what a kill leaves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod golden;
mod hostile;
mod killed;
mod properties;
mod series;
mod site;
