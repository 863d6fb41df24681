//! Staith: one program that takes a commit to a running release.
//!
//! In reading order: `inner` (this program as its own helper), `cli` (the commands), `workshop` (the stores and the engine of
//! this machine), `destination`, `packing`, `sealing` and `package_place` (where to, what, what lies beside it, and where packages
//! are), `planning` (what happened at a project of a server becomes a plan), `forge_secrets`, `audience` (who hears of a run), `records` (what is known
//! of earlier runs), `resumption` (going on with one), `execution` (a plan carried out), `upkeep` (what is kept, within a budget),
//! `client` (a server's, for people and for runners), `worker` (a server's build host), `deployer` (a server's, with the keys), `tunnel` (from the deployer to machines that pull), `starter` (first pipelines), `terminal` (the user's, lent
//! to a shell in a sandbox), `output` (everything that people see).

mod audience;
mod cli;
mod client;
mod clock;
mod deployer;
mod destination;
mod execution;
mod fleet;
mod forge_secrets;
mod home;
mod inner;
mod interrupt;
mod journal;
mod output;
mod package_place;
mod packing;
mod planning;
mod problems;
mod prompt;
mod records;
mod resumption;
mod sealing;
mod source_supply;
mod starter;
mod terminal;
mod tunnel;
mod upkeep;
mod worker;
mod workshop;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is any thread: what becomes process 1 of a sandbox must have only one.
    if let Some(code) = inner::called() {
        return code;
    }
    cli::main()
}
