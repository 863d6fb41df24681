//! What runs on a machine that Staith deploys to, and the protocol that it speaks over its standard streams.
//!
//! `staith-machine serve --folder DIR` answers requests about one application's folder until its standard input ends. A unit
//! of systemd starts `staith-machine start --folder DIR`, which becomes the application. Nothing stays behind on the machine
//! but the folder, this program in it, and the unit.
//!
//! The folder:
//!
//! | there | what it is |
//! |---|---|
//! | `releases/<release>/` | a release's files, read-only; files with one content are one file, whichever releases they are in |
//! | `releases/<release>.manifest` | what they are |
//! | `releases/<release>.service` | how they are run; a release without it is not there |
//! | `releases/<release>.secrets` | its environment secrets, for the superuser only |
//! | `releases/.spare` | the folders of the release that was removed last, with the names of files that others have: the next is made of it |
//! | `current`, `previous` | links to the release that runs, and to the one before |
//! | `ops/<operation>.json` | what came of a hook |
//! | `.state.json` | the highest epoch, and the operation that is under way |
//! | `.verified` | which files were verified, and what they were like then |
//! | `.lock` | held by who writes |
//! | `.staith-machine` | this program, for the unit or for itself |
//! | `.keeper`, `.running` | of a service that this program keeps running: how it is told to end, and which process it is |
//! | `service.log`, `service.log.1` | what that service writes |
//!
//! Whatever begins with `.tmp-` is not finished, and goes when the program starts again.
//!
//! A map, in reading order:
//!
//! 1. [`protocol`]: what is said over the streams. `session`, `serve`: one end of a conversation.
//! 2. `layout`, `durable`, `state`, `lock`, `spec`, `verified`: what is written down, and how.
//! 3. `stage`: a release's files are put in place. [`escape`]: which packages are refused for that.
//! 4. `switch`, `service`, `start`: a release is made to run. `hook`, `run`: programs around that. `probe`: how it is.
//!    `keep`: a service is kept running where there is no systemd.
//! 5. `retain`: releases are removed; `spare`: one of them is kept for the next. `folder`: trees are walked by handles. [`sockets`]: the kernel's word on who listens where.

mod account;
mod durable;
pub mod escape;
mod facts;
mod folder;
mod hook;
mod keep;
mod layout;
mod lock;
mod place;
mod point;
mod probe;
pub mod protocol;
mod refusal;
mod retain;
mod run;
mod serve;
mod service;
mod session;
pub mod sockets;
mod spare;
mod spec;
mod stage;
mod start;
mod state;
mod switch;
mod tree;
mod verified;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

pub use point::POINTS;

use protocol::Asked;

const USAGE: &str = "usage: staith-machine serve --folder DIR [--units DIR]\n       staith-machine start --folder DIR\n       staith-machine keep --folder DIR\n       staith-machine stop --folder DIR\n       staith-machine --version\n";

/// The program.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|word| word.to_str()) {
        Some("--version") if arguments.len() == 1 => {
            let text =
                format!("staith-machine {} protocol {}\n", env!("CARGO_PKG_VERSION"), protocol::PROTOCOL);
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Some("serve") => match options(&arguments[1..]) {
            Some((folder, units)) => serve_at(&folder, units),
            None => misused(),
        },
        Some("keep") => match options(&arguments[1..]) {
            Some((folder, None)) => told(at(&folder, keep::keep)),
            _ => misused(),
        },
        Some("stop") => match options(&arguments[1..]) {
            Some((folder, None)) => told(at(&folder, service::stop_supervised)),
            _ => misused(),
        },
        Some("start") => match options(&arguments[1..]) {
            Some((folder, None)) => started_at(&folder),
            _ => misused(),
        },
        _ => misused(),
    }
}

fn options(words: &[OsString]) -> Option<(PathBuf, Option<PathBuf>)> {
    let (mut folder, mut units) = (None, None);
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        match name.to_str()? {
            "--folder" => folder = Some(PathBuf::from(value)),
            "--units" => units = Some(PathBuf::from(value)),
            _ => return None,
        }
    }
    Some((folder?, units))
}

fn misused() -> ExitCode {
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(64)
}

fn serve_at(folder: &Path, units: Option<PathBuf>) -> ExitCode {
    match layout::Layout::new(folder) {
        Ok(layout) => {
            serve::serve(&place::Place { layout, units }, io::stdin(), io::stdout());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("can't find {}: {error}", folder.display())),
    }
}

fn at(folder: &Path, what: fn(&layout::Layout) -> refusal::Outcome<()>) -> refusal::Outcome<()> {
    what(&layout::Layout::new(folder).map_err(refusal::io("find", folder))?)
}

fn told(outcome: refusal::Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Asked::Impossible { why, remedy, .. }) => fail(&format!("{why}; {remedy}")),
        Err(other) => fail(&format!("{other:?}")),
    }
}

fn started_at(folder: &Path) -> ExitCode {
    told(at(folder, |layout| match start::start(layout) {
        Err(why) => Err(why),
        Ok(never) => match never {},
    }))
}

fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "staith-machine: {why}");
    ExitCode::from(30)
}
