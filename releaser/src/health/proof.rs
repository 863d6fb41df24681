//! Proves whose process listens on a port: the kernel's table of sockets against the process tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// Why a listener was not proven to belong to a process tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// It belongs to somebody else.
    Other(String),
    /// It can't be told.
    Unknown(String),
}

/// One line of the kernel's table of TCP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// Whether it waits for connections.
    pub listens: bool,
    /// Its inode, by which a process's descriptors name it.
    pub inode: u64,
}

/// The state that the kernel calls `TCP_LISTEN`.
const LISTEN: u8 = 0x0a;

/// Parses `/proc/net/tcp` or `/proc/net/tcp6`. Lines that are not understood are passed over: a table may change while
/// it is read, and one odd line must not hide the others.
pub fn parse_sockets(table: &str) -> Vec<Socket> {
    table.lines().filter_map(parse_socket).collect()
}

fn parse_socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = u8::from_str_radix(state, 16).ok()?;
    Some(Socket {
        local: SocketAddr::new(parse_address(address)?, port),
        listens: state == LISTEN,
        inode: inode.parse().ok()?,
    })
}

/// Addresses are printed as 32-bit words in the machine's byte order, each as eight hexadecimal digits.
fn parse_address(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() {
        return None;
    }
    let words = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(&hex[word * 8..(word + 1) * 8], 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()?;
    match (hex.len(), words.as_slice()) {
        (8, [word]) => Some(IpAddr::V4(Ipv4Addr::from(*word))),
        (32, words) => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// Whether a listener on `listener` would get a connection to `asked`.
pub fn serves(listener: SocketAddr, asked: SocketAddr) -> bool {
    listener.port() == asked.port() && (listener.ip() == asked.ip() || listener.ip().is_unspecified())
}

/// A process as `/proc/<pid>/stat` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
}

/// Parses `/proc/<pid>/stat`. The name in it may hold spaces and parentheses of its own; its end is the last one.
pub fn parse_process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Process { parent, group })
}

/// The processes that belong to `first`: itself, its descendants, and all of its process group (a daemon's children may
/// have lost their parent).
pub fn tree_of(first: u32, processes: &BTreeMap<u32, Process>) -> BTreeSet<u32> {
    let group = processes.get(&first).map_or(first, |process| process.group);
    // A group is the pool's own only if its first process leads it; else it is that of whoever started it.
    let mut members: BTreeSet<u32> = processes
        .iter()
        .filter(|(pid, process)| **pid == first || (group == first && process.group == group))
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let more: Vec<u32> = processes
            .iter()
            .filter(|(pid, process)| !members.contains(*pid) && members.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return members;
        }
        members.extend(more);
    }
}

/// Proves that every socket that would take a connection to `address` belongs to the tree of `pid`, and that the tree
/// was started from `folder` where one is given. Reads `/proc`; blocks.
///
/// # Errors
/// It belongs to somebody else, or it can't be told.
pub fn listener(address: SocketAddr, pid: Option<u32>, folder: Option<&Path>) -> Result<(), Unproven> {
    let first = pid.ok_or_else(|| Unproven::Unknown("the pool has no process".into()))?;
    let sockets = listening(first, address)?;
    if sockets.is_empty() {
        return Err(Unproven::Unknown(format!("the kernel lists nobody who listens on {address}")));
    }
    let members = tree_of(first, &processes());
    let mut owned = BTreeSet::new();
    let mut unreadable = None;
    for member in &members {
        match sockets_of(*member) {
            Ok(inodes) => owned.extend(inodes),
            Err(error) => unreadable = Some((*member, error)),
        }
    }
    if let Some(stranger) = sockets.iter().find(|inode| !owned.contains(*inode)) {
        return Err(match unreadable {
            Some((member, error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Unproven::Unknown(format!("the descriptors of process {member} can't be read: {error}"))
            }
            _ => Unproven::Other(describe(*stranger, address)),
        });
    }
    match folder {
        Some(folder) => stands_in(first, folder),
        None => Ok(()),
    }
}

/// Inodes of the sockets that would take a connection to `address`, as the network of process `pid` has them.
fn listening(pid: u32, address: SocketAddr) -> Result<BTreeSet<u64>, Unproven> {
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{pid}/net/{table}");
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

fn processes() -> BTreeMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // One that ended meanwhile is no loss.
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse_process(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

fn sockets_of(pid: u32) -> std::io::Result<BTreeSet<u64>> {
    let inode = |target: &Path| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?
        .flatten()
        .filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?))
        .collect())
}

/// Names the stranger, for people: they will want to stop it.
fn describe(inode: u64, address: SocketAddr) -> String {
    let owner =
        processes().into_keys().find(|pid| sockets_of(*pid).is_ok_and(|inodes| inodes.contains(&inode)));
    match owner {
        Some(pid) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({}) listens on {address}, and it is not of this pool", name.trim())
        }
        None => format!("a process that is not of this pool listens on {address}"),
    }
}

/// A process whose folder was replaced runs files that are not the release's any more. One that went elsewhere by
/// itself (daemons go to `/`) is taken: where it was started is the keeper's word.
fn stands_in(pid: u32, folder: &Path) -> Result<(), Unproven> {
    if is_orphaned(pid, folder) {
        return Err(Unproven::Other(format!(
            "process {pid} stands on files that were replaced since it was started from {}",
            folder.display()
        )));
    }
    Ok(())
}

/// Whether a process's working directory has been removed, or was once `folder` and is now something else.
pub fn is_orphaned(pid: u32, folder: &Path) -> bool {
    let Ok(here) = fs::read_link(format!("/proc/{pid}/cwd")) else { return false };
    let text = here.to_string_lossy();
    let sibling = here != folder
        && folder.parent().is_some_and(|releases| here.starts_with(releases))
        && !here.starts_with(folder);
    text.ends_with(" (deleted)") || sibling
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel would print for an address.
    fn print_address(address: IpAddr) -> String {
        let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes(bytes.try_into().unwrap()));
        match address {
            IpAddr::V4(v4) => word(&v4.octets()),
            IpAddr::V6(v6) => v6.octets().chunks(4).map(word).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_prints_is_read_back(
            address: IpAddr, port: u16, inode in 0u64..1 << 40, state in 1u8..13, slot in 0u32..9999, uid: u32
        ) {
            let line = format!(
                "  {slot}: {}:{port:04X} 00000000:0000 {state:02X} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0000000000000000 100 0 0 10 0",
                print_address(address)
            );
            let table = format!("  sl  local_address rem_address st tx_queue rx_queue\nnonsense\n{line}\n");
            let canonical = address.to_canonical();
            let expected = Socket { local: SocketAddr::new(canonical, port), listens: state == 10, inode };
            prop_assert_eq!(parse_sockets(&table), vec![expected]);
        }

        #[test]
        fn no_table_makes_the_parser_fail(table: String) {
            let _ = parse_sockets(&table);
            let _ = parse_process(&table);
        }

        #[test]
        fn a_name_can_not_forge_a_parent(name in "[ ()a0-9]{0,16}", parent in 1u32..99999, group in 1u32..99999) {
            let stat = format!("7 ({name}) S {parent} {group} 7 0 -1 4194560 1 2");
            prop_assert_eq!(parse_process(&stat), Some(Process { parent, group }));
        }

        #[test]
        fn a_tree_holds_its_descendants_and_nobody_elses(parents in prop::collection::vec(0usize..20, 1..20), first in 0usize..20) {
            // Process n+1 has as parent one that is older than itself, so that it is a tree with root 1.
            let processes: BTreeMap<u32, Process> = parents.iter().enumerate().map(|(at, parent)| {
                let pid = at as u32 + 1;
                (pid, Process { parent: if at == 0 { 0 } else { (parent % at) as u32 + 1 }, group: 1000 })
            }).collect();
            let first = (first % processes.len()) as u32 + 1;
            let members = tree_of(first, &processes);
            for pid in processes.keys() {
                let mut above = *pid;
                while above != 0 && above != first {
                    above = processes[&above].parent;
                }
                prop_assert_eq!(members.contains(pid), above == first);
            }
        }
    }

    #[test]
    fn a_group_counts_only_if_the_first_process_leads_it() {
        let processes: BTreeMap<u32, Process> = [
            (5, Process { parent: 1, group: 5 }),
            (6, Process { parent: 1, group: 5 }),
            (7, Process { parent: 1, group: 7 }),
        ]
        .into();
        assert_eq!(tree_of(5, &processes), BTreeSet::from([5, 6]));
        assert_eq!(tree_of(6, &processes), BTreeSet::from([6]));
    }

    #[test]
    fn our_own_listener_is_proven_and_a_strangers_is_not() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(listener(address, Some(std::process::id()), None), Ok(()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let refused = listener(address, Some(child.id()), None);
        child.kill().unwrap();
        child.wait().unwrap();
        let Err(Unproven::Other(who)) = refused else { panic!("{refused:?}") };
        assert!(who.contains(&format!("process {}", std::process::id())), "{who}");
    }

    #[test]
    fn a_replaced_folder_is_noticed() {
        let releases = tempfile::tempdir().unwrap();
        let folder = releases.path().canonicalize().unwrap().join("a");
        fs::create_dir(&folder).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").current_dir(&folder).spawn().unwrap();
        assert!(!is_orphaned(child.id(), &folder));
        fs::rename(&folder, folder.with_file_name(".tmp-x")).unwrap();
        fs::create_dir(&folder).unwrap();
        let moved = is_orphaned(child.id(), &folder);
        fs::remove_dir(folder.with_file_name(".tmp-x")).unwrap();
        let removed = is_orphaned(child.id(), &folder);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(moved && removed);
    }
}
