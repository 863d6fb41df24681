//! Who listens where.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::Name;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// The process.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// The environment's folder, if it is the keeper of one.
    #[serde(default)]
    pub keeper_of: Option<PathBuf>,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keeper_of {
            Some(dir) => write!(f, "Staith's keeper of {} (process {})", dir.display(), self.pid),
            None => write!(f, "{} (process {})", self.name, self.pid),
        }
    }
}

/// The command that ends the keeper of an environment's folder, as people type it; `None` for a folder elsewhere than
/// where the command line keeps its environments, `.../PROJECT/ENVIRONMENT`.
pub(crate) fn stop_command(dir: &Path) -> Option<String> {
    let name = |path: &Path| path.file_name()?.to_str()?.parse::<Name>().ok();
    Some(format!("staith stop {} --environment {}", name(dir.parent()?)?, name(dir)?))
}

/// An address that can't be listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("can't listen on {addr}: {why}; {remedy}")]
pub struct PortTaken {
    /// The address.
    pub addr: SocketAddr,
    /// Who has it, as far as this user may know.
    pub by: Option<Box<PortHolder>>,
    /// Why not.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl PortTaken {
    /// Explains a refusal to listen.
    pub(super) fn explain(addr: SocketAddr, error: &io::Error) -> Self {
        let by =
            (error.kind() == io::ErrorKind::AddrInUse).then(|| port_holder(addr)).flatten().map(Box::new);
        let (why, remedy) = match (error.kind(), &by) {
            (io::ErrorKind::AddrInUse, Some(holder)) => {
                let command = holder.keeper_of.as_deref().and_then(stop_command);
                let end = command
                    .map_or_else(|| "end that process".to_owned(), |stop| format!("end it with `{stop}`"));
                (format!("{holder} listens there"), format!("{end}, or choose another port"))
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
                "choose 127.0.0.1, or an address that this machine has".to_owned(),
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
        .find_map(|pid: u32| holds(pid, &inodes).then(|| holder(pid)))
}

fn holder(pid: u32) -> PortHolder {
    let name = name_of(pid);
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let keeper_of = name.starts_with("staith").then(|| keeper_of(&command)).flatten();
    PortHolder { pid, name, keeper_of }
}

/// The folder of a keeper, by the end of its command line: the folder and the address that it was started with.
fn keeper_of(command: &[u8]) -> Option<PathBuf> {
    let words: Vec<&str> = std::str::from_utf8(command).ok()?.trim_end_matches('\0').split('\0').collect();
    let [_, .., dir, listen] = words.as_slice() else { return None };
    listen.parse::<SocketAddr>().ok()?;
    let dir = Path::new(dir);
    dir.is_absolute().then(|| dir.to_owned())
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
        assert!(taken.remedy.contains("127.0.0.1") && !taken.remedy.contains("0.0.0.0"), "{taken}");
    }

    #[test]
    fn a_keeper_is_known_by_its_command_line_and_ended_by_its_name() {
        let dir =
            keeper_of(b"/bin/staith\0keeper\0/home/environments/guestbook/local\x00127.0.0.1:80\0").unwrap();
        assert_eq!(stop_command(&dir).as_deref(), Some("staith stop guestbook --environment local"));
        for other in
            [&b""[..], b"staith\0run\0.\0", b"staith\0/a/b\x00127.0.0.1\0", b"\xff\0/a/b\x00127.0.0.1:80\0"]
        {
            assert_eq!(keeper_of(other), None);
        }
        assert_eq!(stop_command(Path::new("/a/Two Words")), None);
        assert_eq!(stop_command(Path::new("/")), None);
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
