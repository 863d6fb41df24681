//! Staith: one program that takes a commit to a running release.
//!
//! In reading order: `inner` (this program as its own helper), `cli` (the commands), `workshop` (the stores and the engine of
//! this machine), `packing` (what goes into a package), `output` (everything that people see).

mod cli;
mod clock;
mod home;
mod inner;
mod interrupt;
mod journal;
mod output;
mod packing;
mod problems;
mod workshop;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is any thread: what becomes process 1 of a sandbox must have only one.
    if let Some(code) = inner::called() {
        return code;
    }
    cli::main()
}
