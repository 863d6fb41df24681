//! The engine's end of the socket to a sandbox.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    process::Stdio,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, recvmsg, sockopt,
};
use serde::Serialize;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
    process::Child,
};

use super::super::{
    protocol::{Command, Frames, Report, opening},
    seccomp::Filters,
};
use crate::engine::EngineError;

/// Sockets that have come and that no report has spoken of yet: each comes with the first byte of its report, so one is
/// usual, and more than a few are nonsense.
const MAX_AHEAD: usize = 16;

/// The engine's end of the socket to a sandbox.
pub(crate) struct Connection {
    socket: UnixStream,
    frames: Frames,
    /// Those that no report was taken for yet, the oldest first: sockets come in the order of their reports.
    descriptors: VecDeque<OwnedFd>,
    /// Commands, as far as the sandbox has not taken them: one that takes nothing shall not keep us from the time.
    unsent: VecDeque<u8>,
}

/// Starts the helper. Its standard input is the socket; the step inherits its output pipes, or the terminal.
pub(super) fn open(
    helper: &[OsString],
    terminal: Option<&OwnedFd>,
) -> Result<(Connection, Child), EngineError> {
    let start = || -> io::Result<(Connection, Child)> {
        let (program, arguments) =
            helper.split_first().ok_or_else(|| io::Error::other("no helper program is named"))?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let output = || match terminal {
            Some(terminal) => terminal.try_clone().map(Stdio::from),
            None => Ok(Stdio::piped()),
        };
        let child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(output()?)
            .stderr(output()?)
            .kill_on_drop(true)
            .spawn()?;
        Ok((Connection::over(ours)?, child))
    };
    start().map_err(|error| EngineError::Setup {
        doing: format!("starting the sandbox's helper {helper:?}"),
        why: error.to_string(),
    })
}

impl Connection {
    /// Over a socket that does not block.
    pub(crate) fn over(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let socket = UnixStream::from_std(socket)?;
        let (descriptors, unsent) = (VecDeque::new(), VecDeque::new());
        Ok(Self { socket, frames: Frames::default(), descriptors, unsent })
    }

    pub(crate) async fn send_opening<T: Serialize>(
        &mut self,
        request: &T,
        filters: &Filters,
    ) -> Result<(), EngineError> {
        let send = async { self.socket.write_all(&opening(request, filters)?).await };
        send.await.map_err(|error: io::Error| EngineError::Setup {
            doing: "telling the sandbox what to run".to_owned(),
            why: error.to_string(),
        })
    }

    /// Sends a command, at once if the sandbox takes it and else while [`next`](Self::next) waits. One that is gone already
    /// has done what it says.
    pub(crate) fn tell(&mut self, command: &Command) {
        // A list of texts has a JSON form, and nothing else can fail.
        self.unsent.extend(command.to_bytes().unwrap_or_default());
        self.send_what_is_taken();
    }

    fn send_what_is_taken(&mut self) {
        while !self.unsent.is_empty() {
            match self.socket.try_write(self.unsent.as_slices().0) {
                Ok(taken) => drop(self.unsent.drain(..taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It is gone. So says what is read.
                Err(_) => self.unsent.clear(),
            }
        }
    }

    /// The next report; none once the sandbox is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>, EngineError> {
        let lost = |error: io::Error| EngineError::Lost(format!("its socket failed: {error}"));
        loop {
            if let Some(report) = self.frames.next().map_err(lost)? {
                return Ok(Some(report));
            }
            let wanted = if self.unsent.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            if self.socket.ready(wanted).await.map_err(lost)?.is_writable() {
                self.send_what_is_taken();
            }
            let mut buffer = [0; 4096];
            match self.socket.try_io(Interest::READABLE, || receive(&self.socket, &mut buffer)) {
                Ok((0, _)) => return Ok(None),
                Ok((length, descriptors)) => {
                    self.frames.feed(&buffer[..length]);
                    self.descriptors.extend(descriptors);
                    if self.descriptors.len() > MAX_AHEAD {
                        return Err(EngineError::Lost("it sent sockets that nobody asked for".to_owned()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The helper died with bytes of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// The socket that came with the report that was just taken. What is no socket of TCP's is refused: in a container the
    /// image has a say in what comes.
    pub(crate) fn take_socket(&mut self) -> Result<OwnedFd, EngineError> {
        let lost = |what: &str| EngineError::Lost(format!("it spoke of a socket, but {what}"));
        let socket = self.descriptors.pop_front().ok_or_else(|| lost("none came"))?;
        let is_of_tcp = sockopt::socket_type(&socket) == Ok(SocketType::STREAM)
            && matches!(sockopt::socket_domain(&socket), Ok(AddressFamily::INET | AddressFamily::INET6));
        if is_of_tcp { Ok(socket) } else { Err(lost("what came is none of the internet's")) }
    }
}

fn receive(socket: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}
