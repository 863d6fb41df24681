//! Hundreds of jobs, simulated hosts and a network that loses, repeats and cuts, on a real database and a clock that nobody waits for.
//! Servers are ended and started, hosts die with all that they had. Everything follows from a seed; afterwards the database is asked
//! whether what was promised holds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../queue_stage/mod.rs"]
mod queue_stage;

mod chance;
mod checks;
mod host;
mod world;

use world::{Size, World};

/// Everything of a seed, and what is left of it afterwards.
fn play(seed: u64, size: Size) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, size);
        world.storm().await;
        world.calm().await;
        checks::all(&world);
        checks::trace(&world)
    })
}

#[test]
fn no_job_is_lost_none_is_done_twice_and_all_end() {
    for seed in 1..=3 {
        play(seed, Size { runs: 150, hosts: 12 });
    }
}

#[test]
fn the_same_seed_gives_the_same_course() {
    let size = || Size { runs: 40, hosts: 6 };
    assert_eq!(play(77, size()), play(77, size()));
}
