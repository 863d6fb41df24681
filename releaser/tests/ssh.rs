//! Reaching machines by ssh, against OpenSSH's own server, agent and tools.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "ssh/server.rs"]
mod server;

#[path = "ssh/host_keys.rs"]
mod host_keys;
#[path = "ssh/keys.rs"]
mod keys;
#[path = "ssh/programs.rs"]
mod programs;
#[path = "ssh/ready.rs"]
mod ready;
#[path = "ssh/roads.rs"]
mod roads;
#[path = "ssh/windows.rs"]
mod windows;

use staith_releaser::fleet::{machine::MachineError, wire::Wire};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// Has the stand-in say something back, and reads to its end.
async fn echo(mut wire: Wire) -> String {
    wire.to.write_all(b"and back\n").await.unwrap();
    wire.to.shutdown().await.unwrap();
    let mut said = String::new();
    wire.from.read_to_string(&mut said).await.unwrap();
    said
}

/// The first line that comes.
async fn line(wire: &mut Wire) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, &mut wire.from).read_line(&mut line).await.unwrap();
    line
}

const ECHO: &str = "hello serve --folder it's here\nand back\n";

/// Why a machine can't be reached, with what to do.
fn told<T>(result: Result<T, MachineError>) -> String {
    match result.err().expect("it must not work") {
        MachineError::Unreachable { why, remedy, .. } => format!("{why}\n{remedy}"),
        MachineError::Refused { why, remedy, .. } => format!("REFUSED {why}\n{remedy}"),
        MachineError::Lost { why, .. } => format!("LOST {why}"),
        other => panic!("{other}"),
    }
}

macro_rules! tells {
    ($told:expr, $($part:expr),+) => {{
        let told = $told;
        $(assert!(told.contains(&*$part), "{:?} is missing in: {told}", $part);)+
    }};
}
use tells;
