//! Ids for what the server makes.

use staith_model::{ArrivalId, RunId};

fn chance() -> [u8; 10] {
    let mut bytes = [0; 10];
    // Without a source of chance no server starts at all: TLS and tokens need it first. Should it fail later, ids that are not
    // unique are refused by the database.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

pub(super) fn arrival(now: u64) -> ArrivalId {
    ArrivalId::new(now, chance())
}

pub(super) fn run(now: u64) -> RunId {
    RunId::new(now, chance())
}

/// What somebody calls something who had no name for it.
pub(super) fn delivery(now: u64) -> String {
    ArrivalId::new(now, chance()).to_string()
}
