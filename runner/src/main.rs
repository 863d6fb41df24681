//! Staith: one program that takes a commit to a running release.
//!
//! In reading order: `inner` (this program as its own helper), `cli` (the commands), `workshop` (the stores and the engine of
//! this machine), `destination`, `packing`, `sealing` and `package_place` (where to, what, what lies beside it, and where packages
//! are), `audience` (who hears of a run), `records` (what is known of earlier runs), `resumption` (going on
//! with one), `upkeep` (what is kept, within a
//! budget), `starter` (first pipelines), `terminal` (the user's, lent to a shell in a sandbox), `output` (everything that people see).

mod audience;
mod cli;
mod clock;
mod destination;
mod fleet;
mod home;
mod inner;
mod interrupt;
mod journal;
mod output;
mod package_place;
mod packing;
mod problems;
mod prompt;
mod records;
mod resumption;
mod sealing;
mod starter;
mod terminal;
mod upkeep;
mod workshop;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is any thread: what becomes process 1 of a sandbox must have only one.
    if let Some(code) = inner::called() {
        return code;
    }
    cli::main()
}
