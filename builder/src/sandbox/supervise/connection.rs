//! The engine's end of the socket to a sandbox.

use std::{
    ffi::OsString,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::OwnedFd,
    process::Stdio,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
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

/// The engine's end of the socket to a sandbox.
pub(crate) struct Connection {
    socket: UnixStream,
    frames: Frames,
    descriptors: Vec<OwnedFd>,
}

/// Starts the helper. Its standard input is the socket; the step inherits its output pipes.
pub(super) fn open(helper: &[OsString]) -> Result<(Connection, Child), EngineError> {
    let start = || -> io::Result<(Connection, Child)> {
        let (program, arguments) =
            helper.split_first().ok_or_else(|| io::Error::other("no helper program is named"))?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
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
        Ok(Self { socket, frames: Frames::default(), descriptors: Vec::new() })
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

    /// Sends a command. A sandbox that is gone already has done what it says.
    pub(crate) async fn tell(&mut self, command: Command) {
        let _ = self.socket.write_all(&[command.byte()]).await;
    }

    /// Waits until the sandbox says something or is gone.
    pub(crate) async fn wait_readable(&self) {
        let _ = self.socket.readable().await;
    }

    /// The next report; none once the sandbox is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>, EngineError> {
        let lost = |error: io::Error| EngineError::Lost(format!("its socket failed: {error}"));
        loop {
            if let Some(report) = self.frames.next().map_err(lost)? {
                return Ok(Some(report));
            }
            let mut buffer = [0; 4096];
            let received =
                self.socket.async_io(Interest::READABLE, || receive(&self.socket, &mut buffer)).await;
            match received {
                Ok((0, _)) => return Ok(None),
                Ok((length, descriptors)) => {
                    self.frames.feed(&buffer[..length]);
                    self.descriptors.extend(descriptors);
                }
                // The helper died with bytes of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// The socket that came with [`Report::Listening`].
    pub(crate) fn take_listener(&mut self) -> Result<TcpListener, EngineError> {
        let descriptor = self.descriptors.pop();
        descriptor
            .map(TcpListener::from)
            .ok_or_else(|| EngineError::Lost("it spoke of a socket for the proxy, but none came".to_owned()))
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
