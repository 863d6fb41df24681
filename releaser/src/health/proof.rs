//! Proves whose process listens on a port: the kernel's table of sockets against the process tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
};

use staith_machine::sockets::sockets_of;
pub use staith_machine::sockets::{Socket, parse_sockets, serves};

/// Why a listener was not proven to belong to a process tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// It belongs to somebody else.
    Other(String),
    /// It can't be told.
    Unknown(String),
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

    proptest! {
        #[test]
        fn no_table_makes_the_parser_fail(table: String) {
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
