//! What a step may try, each attempt with what it has to meet: one table for all engines. docs/security.md walks through it
//! in words; the numbers of rows are the same there.
//!
//! * [`row`]: what an attempt is. The other files hold the attempts, by theme.
//! * [`batch`]: all that can be tried in one sandbox, by one Python program (`probes.py`).
//! * [`rooms`]: the same attempts where there is no wall, to see that they are attempts at all.
//! * [`apart`]: mounts and a network of the suite's own, in which all of it runs.
//! * [`canaries`]: what the attempts aim at: files, sockets and a process of the tests' own, never the machine's.
//! * [`scenarios`]: attempts that need a sandbox of their own.
//! * [`verdict`]: what came out, beside each other and beside the table.
#![allow(clippy::print_stderr, reason = "the results of all sandboxes are what this is for")]

pub mod apart;
pub mod batch;
pub mod canaries;
mod devices;
mod ending;
mod files;
mod flooding;
mod greedy;
mod identity;
mod kernel;
mod leaving;
mod machine;
mod memory;
mod mounts;
mod namespaces;
mod pictures;
mod processes;
mod race;
mod rebinding;
pub mod rooms;
pub mod row;
pub mod scenarios;
mod sockets;
pub mod verdict;

use row::Row;

/// The whole table, by number.
pub fn table() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        mounts::rows(),
        namespaces::rows(),
        kernel::rows(),
        processes::rows(),
        files::rows(),
        devices::rows(),
        sockets::rows(),
        rebinding::rows(),
        machine::rows(),
        identity::rows(),
        pictures::rows(),
        leaving::rows(),
        greedy::rows(),
        memory::rows(),
        flooding::rows(),
        ending::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    rows.sort_by_key(|row| row.number);
    rows
}

/// Which numbers have to be in the table: 55 to 61 are about more than one step.
pub fn numbers() -> impl Iterator<Item = u8> {
    (1..=54).chain(62..=66)
}
