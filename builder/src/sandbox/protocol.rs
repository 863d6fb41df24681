//! What the engine and its helper process say to each other, over one socket that only they hold.
//!
//! The engine sends a [`Request`], the seccomp filters, and then [`Command`]s. The helper, and later the
//! sandbox's first process, answer with [`Report`]s. Frames are a length of four bytes (little endian) and that many
//! bytes of JSON. End of file in either direction means that the other side is gone, and then the step has to end.
//!
//! Sockets travel beside frames, each with the frame that speaks of it, so their order is that of their frames.

mod command;

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::Network;

pub(crate) use self::command::Command;
use super::seccomp::Filters;
use crate::engine::Neighbour;

/// No frame is longer. A request's biggest part is a script, which the kernel bounds to 128 KiB per argument.
const MAX_FRAME: usize = 64 << 20;

/// No report is longer: the longest holds a search path and names a program.
const MAX_REPORT: usize = 1 << 20;

/// Where the proxy of a step with outbound network listens, in the sandbox.
pub(super) const PROXY_PORT: u16 = 3128;

/// All that the helper needs to know to make one sandbox and run one step in it. It has no `Debug`: secrets are in it.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    /// User and group on the host that the sandbox's only user and group stand for.
    pub(super) outside: (u32, u32),
    /// Whether the helper runs as the host's root and so has to give that up.
    pub(super) as_root: bool,
    /// Files of cgroup v1 into which the helper writes itself.
    pub(super) cgroup_v1_tasks: Vec<PathBuf>,
    /// The group of cgroup v2 in which the sandbox's first process starts.
    pub(super) cgroup_v2: Option<PathBuf>,
    /// Layers of the image that is the root, lowest first; none when the host's own root is.
    pub(super) image: Vec<PathBuf>,
    /// With an image: where what the step changes of it goes, and overlay's own directory; below `work`.
    pub(super) image_upper: PathBuf,
    pub(super) image_work: PathBuf,
    /// Read-only binds.
    pub(super) binds: Vec<(PathBuf, PathBuf)>,
    /// Lower layers of the workspace, lowest first.
    pub(super) lowers: Vec<PathBuf>,
    /// Upper layer of the workspace.
    pub(super) upper: PathBuf,
    /// Overlay's own directory.
    pub(super) work: PathBuf,
    /// Bytes that `/tmp`, `/run`, `/var/tmp`, `/dev/shm` and the home directory may hold together.
    pub(super) scratch_bytes: u64,
    /// What the step may reach.
    pub(super) network: Network,
    /// Other sandboxes that it can reach by name.
    pub(super) neighbours: Vec<Neighbour>,
    /// What to run.
    pub(super) program: Program,
}

/// A step's program and what it is started with, which is the same in every kind of sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    /// Processes and threads of the step's user; `None` where that user is not the step's alone, and something else limits
    /// them.
    pub(crate) processes: Option<u64>,
    /// Bytes that no file of the step may be longer than.
    pub(crate) longest_file: Option<u64>,
    /// Whether the root is an image's, of which a step may change what it likes: it is gone with the step.
    pub(crate) in_image: bool,
    /// Where the step starts, absolute, in the sandbox.
    pub(crate) workdir: PathBuf,
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    /// Where the program is looked for, in the sandbox.
    pub(crate) path: Vec<PathBuf>,
    /// The whole environment, as `NAME=value`.
    pub(crate) env: Vec<OsString>,
    /// Whether its standard output is a terminal that it is to control and to read from.
    pub(crate) on_terminal: bool,
    /// Whether the engine may ask for connections and checks while it runs.
    pub(crate) has_gate: bool,
}

/// All that the first process of a container needs to know. The engine sends it over the socket that it bound into the
/// container, after one byte that brings the step's output pipes. So no argument and no secret is in the container's
/// configuration, where anybody who may speak to the container engine could read them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Contained {
    /// What the step may reach.
    pub(crate) network: Network,
    /// Other sandboxes that it can reach by name.
    pub(crate) neighbours: Vec<Neighbour>,
    /// What to run.
    pub(crate) program: Program,
}

/// What the helper's side says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The socket that comes with this frame listens in the sandbox.
    Listening(Listener),
    /// The answer to [`Command::Connect`]: the socket that comes with this frame is about to be connected, or is.
    Connecting,
    /// The other answer to it: the system's error number.
    Unconnected(i32),
    /// The answer to [`Command::Check`], once the check has ended.
    Checked(CheckEnd),
    /// The program runs.
    Started,
    /// The program could not be started.
    NotStarted {
        /// What was to be started.
        program: String,
        /// Why it could not.
        why: String,
    },
    /// The program has ended; so many processes that it had left behind were still running and were killed.
    Survivors(u32),
    /// The program ended by itself, and all else in the sandbox has ended.
    Exited(i32),
    /// A signal ended the program, and all else in the sandbox has ended.
    Signalled(i32),
    /// The sandbox could not be made.
    Failed(SetupError),
}

/// What whoever connects to a socket in the sandbox wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Listener {
    /// The proxy that leads to other machines.
    Proxy,
    /// A port of one of its neighbours.
    Neighbour {
        /// Which of them, counted from 0 as they were asked for.
        number: usize,
        /// Which port.
        port: u16,
    },
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CheckEnd {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It never began.
    NotStarted {
        /// What was to be started.
        program: String,
        /// Why it could not.
        why: String,
    },
}

/// The part of making a sandbox at which something failed; decides which remedy is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// New namespaces.
    Namespaces,
    /// Who is who in the user namespace.
    Identity,
    /// A control group.
    Cgroup,
    /// Mounting the root file system.
    Root,
    /// Mounting `/proc`.
    Proc,
    /// Mounting the workspace.
    Workspace,
    /// Network.
    Network,
    /// What is taken away from the step before its program starts.
    Confinement,
    /// Anything else, such as a broken socket.
    Other,
}

/// Why a sandbox could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{doing}: {why}")]
pub(crate) struct SetupError {
    pub(crate) stage: Stage,
    pub(crate) doing: String,
    pub(crate) why: String,
    /// The system's error number, 0 where there is none.
    pub(crate) errno: i32,
}

/// Says what was being done when a system call failed.
pub(super) trait Doing<T> {
    fn doing(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, SetupError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, stage: Stage, what: impl FnOnce() -> String) -> Result<T, SetupError> {
        self.map_err(|error| {
            let error = error.into();
            SetupError {
                stage,
                doing: what(),
                why: error.to_string(),
                errno: error.raw_os_error().unwrap_or(0),
            }
        })
    }
}

/// One frame, ready to be sent.
pub(super) fn frame<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The request and the filters, ready to be sent.
pub(super) fn opening<T: Serialize>(request: &T, filters: &Filters) -> io::Result<Vec<u8>> {
    let mut bytes = frame(request)?;
    for filter in [&filters.allow, &filters.refuse] {
        let length = u32::try_from(filter.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(filter);
    }
    Ok(bytes)
}

/// Reads what [`opening`] made.
pub(super) fn read_opening<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Filters)> {
    let request = serde_json::from_slice(&read_block(from)?)?;
    Ok((request, Filters { allow: read_block(from)?, refuse: read_block(from)? }))
}

fn read_block(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = checked_length(length, MAX_FRAME)?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn checked_length(length: [u8; 4], most: usize) -> io::Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::Error::other(format!("a frame of {length} bytes is longer than {most}")));
    }
    Ok(length)
}

/// Sends one report.
pub(super) fn send_report(to: &mut impl Write, report: &Report) -> io::Result<()> {
    to.write_all(&frame(report)?)
}

/// Cuts the frames of reports out of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.0.first_chunk::<4>() else { return Ok(None) };
        let end = 4 + checked_length(*length, MAX_REPORT)?;
        if self.0.len() < end {
            return Ok(None);
        }
        let value = serde_json::from_slice(&self.0[4..end])?;
        self.0.drain(..end);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_being_torn(codes in prop::collection::vec(any::<i32>(), 1..8), cut in 1usize..16) {
            let sent: Vec<Report> = codes.into_iter().map(Report::Exited).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|report| frame(report).unwrap()).collect();
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.feed(piece);
                while let Some(report) = frames.next::<Report>().unwrap() {
                    got.push(report);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn garbage_is_an_error_or_incomplete_never_a_panic(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.feed(&bytes);
            let _ = frames.next::<Report>();
            let _ = read_opening::<Request>(&mut &bytes[..]);
        }
    }

    #[test]
    fn an_overlong_frame_is_refused_before_it_is_read() {
        let mut frames = Frames::default();
        frames.feed(&u32::MAX.to_le_bytes());
        assert!(frames.next::<Report>().is_err());
    }
}
