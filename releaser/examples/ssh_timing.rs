//! How long it takes to reach a machine by ssh, beside OpenSSH's own client.
//!
//! `cargo run --release -p staith-releaser --example ssh_timing -- CONFIG HOST FOLDER [ROUNDS]`: `CONFIG` is what `ssh -F` takes,
//! `HOST` one of its aliases, `FOLDER` where the program may be put there. The program is a stand-in that answers at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use staith_model::Digest;
use staith_releaser::fleet::ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay};
use tokio::io::AsyncReadExt as _;

const STAND_IN: &str = "#!/bin/sh\necho done\n";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, host, folder, rounds @ ..] = arguments.as_slice() else {
        panic!("CONFIG HOST FOLDER [ROUNDS]")
    };
    let rounds = rounds.first().map_or(10, |rounds| rounds.parse().expect("a number"));
    let options = SshOptions { config: Some(config.into()), ..SshOptions::default() };
    let mut way = SshWay {
        target: host.clone(),
        destination: Destination::of(host.clone()),
        client: SshClient::new(options.clone()),
        program: Arc::new(Program::new(STAND_IN.as_bytes(), Digest::of(STAND_IN.as_bytes()))),
        arguments: Vec::new(),
        places: Places { programs: vec![folder.clone()], units: Vec::new() },
        superuser: false,
    };
    ask(&way).await;
    let (mut first, mut resolved, mut next, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        way.client = SshClient::new(options.clone());
        resolved.push(timed(async { drop(way.client.settings(&way.destination).await.unwrap()) }).await);
        first.push(timed(ask(&way)).await);
        next.push(timed(ask(&way)).await);
        theirs.push(timed(async { openssh(config, host) }).await);
    }
    for (what, times) in [
        ("ssh -G, once in a process", &mut resolved),
        ("handshake and the program's first answer", &mut first),
        ("the program's first answer on a kept connection", &mut next),
        ("OpenSSH: handshake and a command's answer", &mut theirs),
    ] {
        times.sort_unstable();
        println!("{what}: median {:.1} ms", times[times.len() / 2].as_secs_f64() * 1000.0);
    }
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

async fn ask(way: &SshWay) {
    let mut wire = way.open().await.expect("the machine is reached");
    let mut said = String::new();
    wire.from.read_to_string(&mut said).await.expect("it answers");
    assert_eq!(said, "done\n");
}

fn openssh(config: &str, host: &str) {
    let mut ssh = Command::new("ssh");
    let output =
        ssh.args(["-F", config, host, "echo done"]).stdin(Stdio::null()).output().expect("ssh starts");
    assert_eq!(output.stdout, b"done\n");
}
