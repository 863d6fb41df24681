//! Who listens where.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use serde::{Deserialize, Serialize};

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// The process.
    pub pid: u32,
    /// Its short name.
    pub name: String,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// An address that can't be listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("can't listen on {addr}: {why}; {remedy}")]
pub struct PortTaken {
    /// The address.
    pub addr: SocketAddr,
    /// Who has it, as far as this user may know.
    pub by: Option<PortHolder>,
    /// Why not.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl PortTaken {
    /// Explains a refusal to listen.
    pub(super) fn explain(addr: SocketAddr, error: &io::Error) -> Self {
        let by = (error.kind() == io::ErrorKind::AddrInUse).then(|| port_holder(addr)).flatten();
        let (why, remedy) = match (error.kind(), &by) {
            (io::ErrorKind::AddrInUse, Some(holder)) => {
                (format!("{holder} listens there"), "end that process or choose another port".to_owned())
            }
            (io::ErrorKind::AddrInUse, None) => (
                "a process of another user listens there".to_owned(),
                format!("see `ss -ltnp 'sport = :{}'` as root, or choose another port", addr.port()),
            ),
            (io::ErrorKind::PermissionDenied, _) => (
                "this user may not".to_owned(),
                "choose a port of 1024 or above, or lower net.ipv4.ip_unprivileged_port_start".to_owned(),
            ),
            (io::ErrorKind::AddrNotAvailable, _) => (
                "no network interface of this machine has that address".to_owned(),
                "use 127.0.0.1 for this machine only, or 0.0.0.0 for all its addresses".to_owned(),
            ),
            _ => (error.to_string(), "choose another address".to_owned()),
        };
        Self { addr, by, why, remedy }
    }
}

/// Whether an address could be listened on a moment ago: a check before work begins, not a reservation.
///
/// # Errors
/// [`PortTaken`] says who has it, where that can be known, and what to do.
pub fn port_is_free(addr: SocketAddr) -> Result<(), PortTaken> {
    TcpListener::bind(addr).map(drop).map_err(|error| PortTaken::explain(addr, &error))
}

/// The process that listens on an address (or on all addresses with that port), as far as this user may know: sockets
/// of other users' processes are visible to root only.
pub fn port_holder(addr: SocketAddr) -> Option<PortHolder> {
    let inodes = listening_inodes(addr);
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find_map(|pid: u32| holds(pid, &inodes).then(|| PortHolder { pid, name: name_of(pid) }))
}

fn holds(pid: u32, inodes: &BTreeSet<String>) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|link| {
        link.to_str()
            .and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'))
            .is_some_and(|inode| inodes.contains(inode))
    })
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "a process".to_owned(), |name| name.trim().to_owned())
}

fn listening_inodes(addr: SocketAddr) -> BTreeSet<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|row| listener(row, addr)).collect::<Vec<_>>())
        .collect()
}

/// The inode of a row of the kernel's table when the row is a listener that stands in the way of `addr`.
fn listener(row: &str, addr: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut columns = row.split_whitespace();
    let (ip, port) = columns.nth(1)?.split_once(':')?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let ip = kernel_address(ip)?;
    let in_the_way = ip == addr.ip() || ip.is_unspecified() || addr.ip().is_unspecified();
    (state == LISTEN && u16::from_str_radix(port, 16).ok()? == addr.port() && in_the_way)
        .then(|| inode.to_owned())
}

/// The kernel prints addresses as words of four bytes in the machine's byte order.
fn kernel_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let bytes = words?.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_and_its_holder_named() {
        for ip in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
            let Ok(listener) = TcpListener::bind(format!("{ip}:0")) else { continue };
            let addr = listener.local_addr().unwrap();
            let taken = port_is_free(addr).unwrap_err();
            assert_eq!(taken.by.as_ref().map(|by| by.pid), Some(std::process::id()), "{taken}");
            assert!(taken.to_string().contains(&std::process::id().to_string()), "{taken}");
            drop(listener);
            assert_eq!(port_is_free(addr), Ok(()));
            assert_eq!(port_holder(addr), None);
        }
    }

    #[test]
    fn a_listener_on_all_addresses_stands_in_the_way() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = port_is_free(SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err();
        assert_eq!(taken.by.map(|by| by.pid), Some(std::process::id()));
    }

    #[test]
    fn an_address_of_another_machine_is_explained() {
        let taken = port_is_free("192.0.2.1:8080".parse().unwrap()).unwrap_err();
        assert!(taken.to_string().contains("no network interface"), "{taken}");
    }

    #[test]
    fn rows_that_are_no_listeners_are_passed_over() {
        let addr = "127.0.0.1:8080".parse().unwrap();
        for row in ["", "1:", "0: 0100007F:1F90 0100007F:9999 01 0:0 0:0 0 0 0 77 1", "x y z"] {
            assert_eq!(listener(row, addr), None, "{row}");
        }
        let row = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1";
        assert_eq!(listener(row, addr), Some("4242".to_owned()));
    }
}
