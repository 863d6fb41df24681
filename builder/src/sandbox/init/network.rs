//! Sockets that are made in here and given to the engine: its own network stays out there.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        connect, sendmsg, socket_with,
    },
};
use staith_model::Network;

use super::super::protocol::{Doing, Listener, PROXY_PORT, Report, SetupError, Stage, frame, send_report};
use crate::engine::Neighbour;

/// Makes the sockets at which the step finds the proxy and its neighbours, and gives them to the engine. Loopback is up.
pub(in super::super) fn listen_for(
    network: Network,
    neighbours: &[Neighbour],
    control: &UnixStream,
) -> Result<(), SetupError> {
    if network == Network::Outbound {
        listen(Ipv4Addr::LOCALHOST, PROXY_PORT, Listener::Proxy, control)
            .doing(Stage::Network, || "making the proxy's socket".to_owned())?;
    }
    for (number, neighbour) in neighbours.iter().enumerate() {
        for port in neighbour.ports.iter().copied() {
            listen(neighbour.address, port, Listener::Neighbour { number, port }, control)
                .doing(Stage::Network, || {
                    format!("making a socket for {}:{port}", neighbour.name.as_str())
                })?;
        }
    }
    Ok(())
}

fn listen(address: Ipv4Addr, port: u16, what: Listener, control: &UnixStream) -> io::Result<()> {
    let listener = TcpListener::bind((address, port))?;
    hand_over(control, &Report::Listening(what), listener.as_fd())
}

/// Begins a connection to the program, and gives it to the engine, which waits until it is made: nothing here waits for
/// anything. An engine that is gone is noticed where its commands are read.
pub(super) fn connect_for(control: &mut UnixStream, by_v6: bool, port: u16) {
    let begun = begin(by_v6, port).map_err(io::Error::from);
    if let Err(error) = begun.and_then(|socket| hand_over(control, &Report::Connecting, socket.as_fd())) {
        let _ = send_report(control, &Report::Unconnected(error.raw_os_error().unwrap_or(libc::EIO)));
    }
}

fn begin(by_v6: bool, port: u16) -> Result<OwnedFd, Errno> {
    let (family, address): (_, IpAddr) = match by_v6 {
        false => (AddressFamily::INET, Ipv4Addr::LOCALHOST.into()),
        true => (AddressFamily::INET6, Ipv6Addr::LOCALHOST.into()),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddr::new(address, port)) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn hand_over(control: &UnixStream, report: &Report, socket: BorrowedFd<'_>) -> io::Result<()> {
    let bytes = frame(report)?;
    let descriptors = [socket];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("the socket took a part of a frame only")) }
}
