//! Loads a real server with simulated runners, and says what it takes. `benches/run server` starts it.
//!
//! ```text
//! load start ROUNDS                   from the start of the process until it is ready, and what it has of memory when nobody asks
//! load claims RUNNERS RATE SECONDS    so many runners have so many jobs a second, each with a stream of its own
//! load logs STREAMS SECONDS           so many attempts write as fast as they may, each with somebody who reads along
//! ```
//!
//! The server is the program in `STAITH_PROGRAM`, a process of its own with a directory below `TMPDIR`; runners, projects and jobs are put
//! into its database before it starts. What is measured is what a runner sees: from the first byte of a question to the last of its answer.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for people who measure"
)]

mod asking;
mod claims;
mod ground;
mod logs;

use std::time::{Duration, Instant};

use self::{asking::Connection, ground::Ground};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| {
        words.get(at).and_then(|word| word.parse::<u64>().ok()).expect("a number; see the head of this file")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match words.first().map(String::as_str) {
        Some("start") => runtime.block_on(start(number(1))),
        Some("claims") => runtime.block_on(claims::load(number(1), number(2), number(3))),
        Some("logs") => runtime.block_on(logs::load(number(1), number(2))),
        _ => panic!("load start|claims|logs; see the head of this file"),
    }
}

/// One line as those of `benches/pairs.py`.
fn row(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], at(&values, 0.5), values[values.len() - 1]);
    println!("{what:<49} {least:>8.1} {median:>8.1} {most:>8.1}");
}

/// The value below which so much of the sorted ones is.
fn at(sorted: &[f64], part: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[place]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn start(rounds: u64) {
    let (mut ready, mut idle) = (Vec::new(), 0);
    for _ in 0..rounds {
        let ground = Ground::new();
        let began = Instant::now();
        let server = ground.serve();
        let mut connection = Connection::open(&server.address).await;
        assert_eq!(connection.ask("GET", "/readyz", "", b"").await.status, 200);
        ready.push(millis(began.elapsed()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle = idle.max(server.memory("VmRSS:"));
    }
    row("server, from its start until it is ready, ms", ready);
    println!(
        "# server: resident when nobody asks {idle} KiB at most (goal 30720); ready in 300 ms is the goal"
    );
}
