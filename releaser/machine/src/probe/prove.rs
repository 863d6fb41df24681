//! Proves that what listens on a port was started from a release.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use staith_model::Digest;

use crate::{
    layout::Layout,
    service::serving::{Standing, standing},
    sockets::{parse_sockets, serves, sockets_of},
};

/// Why it is not proven.
#[derive(Debug)]
pub(super) enum Unproven {
    /// It is somebody else.
    Other(String),
    /// It can't be told.
    Unknown(String),
}

/// The process of the release that listens at `address`. Every socket that would take a connection there has to be held by a
/// process of the release; others may hold it too, as one does that hands it over.
pub(super) fn listener(layout: &Layout, address: SocketAddr, release: &Digest) -> Result<u32, Unproven> {
    let mut wanted = listening(address)?;
    if wanted.is_empty() {
        return Err(Unproven::Unknown(format!("the kernel lists nobody who listens on {address}")));
    }
    let mut proven = None;
    let mut stranger = None;
    let mut hidden = false;
    for pid in processes() {
        let held = match sockets_of(pid) {
            Ok(held) => held,
            Err(error) => {
                hidden |= error.kind() == std::io::ErrorKind::PermissionDenied;
                continue;
            }
        };
        if wanted.is_disjoint(&held)
            && stranger.as_ref().is_none_or(|(_, inodes): &(u32, BTreeSet<u64>)| inodes.is_disjoint(&held))
        {
            continue;
        }
        if standing(layout, pid) == Standing::In(Some(*release)) {
            wanted = wanted.difference(&held).copied().collect();
            proven = Some(pid);
        } else {
            stranger = Some((pid, held));
        }
    }
    match (proven, stranger) {
        (Some(pid), _) if wanted.is_empty() => Ok(pid),
        (_, Some((pid, _))) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = name.trim();
            Err(Unproven::Other(format!(
                "process {pid} ({name}) listens on {address}, and it was not started from this release's folder"
            )))
        }
        _ if hidden => Err(Unproven::Unknown(format!(
            "whoever listens on {address} belongs to another account, whose processes may not be looked at"
        ))),
        _ => Err(Unproven::Unknown(format!("nobody was found who listens on {address}"))),
    }
}

fn listening(address: SocketAddr) -> Result<BTreeSet<u64>, Unproven> {
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/self/net/{table}");
        match fs::read_to_string(&path) {
            Ok(text) => inodes.extend(
                parse_sockets(&text)
                    .into_iter()
                    .filter(|socket| socket.listens && serves(socket.local, address))
                    .map(|socket| socket.inode),
            ),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && table == "tcp6" => {}
            Err(error) => return Err(Unproven::Unknown(format!("{path} can't be read: {error}"))),
        }
    }
    Ok(inodes)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
