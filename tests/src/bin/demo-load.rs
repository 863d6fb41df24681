//! Releases an example again and again under a closed-loop load, and prints how many requests failed.
//!
//! `tests/demo-load` runs this. It ends with 1 if a request failed, or if a client saw an older release after a newer one.

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use staith_tests::{load::Load, wait, world::World};

const CLIENTS: usize = 16;
const REQUESTS: u64 = 20_000;
const SWAPS: u32 = 12;
/// Variants of the application. Built before the load starts, which would take the builds' processors.
const VARIANTS: u32 = 4;
const CHANGED: &str = "src/style.css";
/// Requests between one swap and the next, so that every swap happens under load.
const BETWEEN: u64 = 1_500;

fn main() -> ExitCode {
    let world = World::with_example("guestbook");
    println!("building examples/guestbook in {VARIANTS} variants ...");
    let original = fs::read_to_string(world.project().join(CHANGED)).unwrap();
    let show = |variant: u32| world.write(CHANGED, &format!("{original}\n/* variant {variant} */\n"));
    for variant in (0..VARIANTS).rev() {
        show(variant);
        world.staith(&["run"]).exits(0);
    }
    world.staith(&["run", "--release", "local"]).exits(0);
    let mut served = vec![serving(&world)];
    let load = Load::start(world.listen, "/healthz", CLIENTS);
    let (mut swaps, mut slowest_back) = (0, Duration::ZERO);
    while load.asked() < REQUESTS || swaps < SWAPS {
        let far = load.asked() + BETWEEN;
        wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
        if swaps % 3 == 2 {
            let began = Instant::now();
            world.staith(&["rollback"]).exits(0);
            slowest_back = slowest_back.max(began.elapsed());
        } else {
            show((swaps + 1) % VARIANTS);
            world.staith(&["run", "--release", "local"]).exits(0);
        }
        swaps += 1;
        served.push(serving(&world));
    }
    let seen = load.stop();
    let in_order = seen.in_order(&served);
    println!(
        "{CLIENTS} clients, {} requests, {} swaps: {} failed; clients saw releases {}; slowest rollback {} ms",
        seen.answered + seen.failed(),
        swaps,
        seen.failed(),
        if in_order { "only in the order of the swaps" } else { "OUT OF ORDER" },
        slowest_back.as_millis()
    );
    for (what, count) in &seen.failures {
        println!("  {count} × {what}");
    }
    if seen.failed() == 0 && in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The release that status says is serving, in the form in which the application names it.
fn serving(world: &World) -> String {
    let status = world.staith(&["status", "--json"]).exits(0).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status[0]["release"]["digest"].as_str().expect("a release serves").to_owned()
}
