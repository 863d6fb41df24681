//! Control groups: limits on memory, processes and processor time, where this process may set them.
//!
//! A step's group lies below a group that this process is in, so limits that were put on Staith itself hold as well. Its
//! name tells who made it ([`Owner`]), so that whoever comes later can remove what a killed process left.

mod hierarchy;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hierarchy::Layout;

use super::{owner::Owner, protocol::Request};
use crate::engine::Support;

/// What the name of each of our groups begins with.
const PREFIX: &str = "staith-";
/// The kernel accounts processor time over this long, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// How long the kernel may take to let go of a group's ended processes.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before trying again to remove a group.
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// The kernel refuses a shorter share of a period, in microseconds.
const CPU_MIN_QUOTA: u64 = 1_000;

/// What a group may use. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupLimits {
    pub(super) memory: Option<u64>,
    pub(super) processes: Option<u64>,
    pub(super) cpu_milli: Option<u64>,
}

/// The control groups of this host, as far as this process may use them. Each was tried.
#[derive(Debug)]
pub(super) struct Cgroups {
    layout: Layout,
    /// Where the trees of control groups are mounted.
    roots: Vec<PathBuf>,
    pub(super) memory: Support,
    pub(super) processes: Support,
    pub(super) cpu: Support,
}

impl Cgroups {
    /// Looks where this process is, and tries to make a group with each limit there.
    pub(super) fn find() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let layout = hierarchy::find(&mounts, &own);
        let try_limit = |limits: GroupLimits| match Group::make(&layout, "probe", limits) {
            Ok(mut group) => {
                group.remove_now();
                Support::Enforced
            }
            Err(why) => Support::Absent(why.to_string()),
        };
        let none = GroupLimits { memory: None, processes: None, cpu_milli: None };
        Self {
            memory: try_limit(GroupLimits { memory: Some(1 << 30), ..none }),
            processes: try_limit(GroupLimits { processes: Some(64), ..none }),
            cpu: try_limit(GroupLimits { cpu_milli: Some(1000), ..none }),
            layout,
            roots: hierarchy::roots(&mounts),
        }
    }

    /// Makes the group of one step. Only limits that can be enforced may be asked for.
    pub(super) fn make(&self, label: &str, limits: GroupLimits) -> io::Result<Group> {
        Group::make(&self.layout, label, limits)
    }

    /// Removes groups whose makers are gone; returns how many. Looks everywhere, because whoever made them may have been in
    /// another group than this process.
    pub(super) fn reap(&self) -> io::Result<usize> {
        let mut removed = 0;
        for root in &self.roots {
            removed += reap_below(root)?;
        }
        Ok(removed)
    }
}

/// Who made a group of this name; none where it is not one of ours.
fn owner_of(name: &str) -> Option<Owner> {
    Owner::parse(name.strip_prefix(PREFIX)?)
}

fn reap_below(directory: &Path) -> io::Result<usize> {
    let mut removed = 0;
    // Others' groups come and go while this looks, and some may not be looked into.
    let Ok(entries) = fs::read_dir(directory) else { return Ok(0) };
    let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in below {
        let Some(owner) = owner_of(&entry.file_name().to_string_lossy()) else {
            removed += reap_below(&entry.path())?;
            continue;
        };
        if owner.is_alive() {
            continue;
        }
        match remove_directory(&entry.path()) {
            Ok(gone) => removed += usize::from(gone),
            // Made by another user, whose Staith will remove it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// The control groups of one step: one directory on v2, one for each limit on v1.
#[derive(Debug)]
pub(super) struct Group {
    directories: Vec<PathBuf>,
    v2: bool,
    memory: Option<PathBuf>,
}

impl Group {
    fn make(layout: &Layout, label: &str, limits: GroupLimits) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let owner = Owner::this_process()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A file name has at most 255 bytes.
        let label: String =
            label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(100).collect();
        let name = format!("{PREFIX}{owner}-{number}-{label}");
        let mut group = Self { directories: Vec::new(), v2: layout.is_v2(), memory: None };
        // From here on dropping the group removes what was made.
        for (controller, settings) in settings(limits, layout.is_v2()) {
            let directory = layout.parent_of(controller)?.join(&name);
            if !group.directories.contains(&directory) {
                fs::create_dir(&directory).map_err(|error| at(&directory, &error))?;
                group.directories.push(directory.clone());
            }
            if controller == "memory" {
                group.memory = Some(directory.clone());
            }
            for setting in settings {
                let file = directory.join(setting.file);
                match fs::write(&file, &setting.value) {
                    Err(error) if setting.required => return Err(at(&file, &error)),
                    _ => {}
                }
            }
        }
        Ok(group)
    }

    /// Tells the helper where it has to go.
    pub(super) fn enter_by(&self, request: &mut Request) {
        if self.v2 {
            request.cgroup_v2 = self.directories.first().cloned();
        } else {
            request.cgroup_v1_tasks =
                self.directories.iter().map(|directory| directory.join("tasks")).collect();
        }
    }

    /// How many processes the kernel killed because the group's memory was used up.
    pub(super) fn killed_for_memory(&self) -> u64 {
        let Some(directory) = &self.memory else { return 0 };
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        counter(&text, "oom_kill")
    }

    /// Removes the groups. Ended processes can still be on their way out of them for a moment.
    pub(super) async fn remove(mut self) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !self.remove_now() && tokio::time::Instant::now() < until {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Tries to remove the groups; whether all are gone.
    fn remove_now(&mut self) -> bool {
        remove_all(&mut self.directories)
    }
}

impl Drop for Group {
    /// Only where a step's watcher was dropped itself, with its whole runtime, is anything left to remove here.
    fn drop(&mut self) {
        if self.remove_now() {
            return;
        }
        let mut rest = std::mem::take(&mut self.directories);
        // Its processes were told to end and are on their way; nothing waits for this, and what it can't do, `reap` does.
        let _ = std::thread::Builder::new().name("staith-cgroups".to_owned()).spawn(move || {
            let until = std::time::Instant::now() + PATIENCE;
            while !remove_all(&mut rest) && std::time::Instant::now() < until {
                std::thread::sleep(RETRY_AFTER);
            }
        });
    }
}

/// Removes what it can of `directories` and forgets that; whether all are gone.
fn remove_all(directories: &mut Vec<PathBuf>) -> bool {
    directories.retain(|directory| !matches!(remove_directory(directory), Ok(true)));
    directories.is_empty()
}

/// Bytes of memory that the groups which this process is in leave it; `None` where they limit nothing.
pub(crate) fn own_memory_limit() -> Option<u64> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |group: PathBuf| {
        let read = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        // On v2 no limit is the word `max`, on v1 a number beyond all memory.
        read("memory.max").or_else(|| read("memory.limit_in_bytes"))
    };
    hierarchy::memory_groups(&mounts, &own).into_iter().filter_map(limit).min()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether it is gone; false when processes are still in it.
fn remove_directory(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
        Err(error) => Err(at(directory, &error)),
    }
}

/// Bounds the processes in the group that another process is in.
pub(crate) fn limit_processes_around(pid: u32, most: i64) -> io::Result<()> {
    let file = group_around(pid, "pids").ok_or(io::ErrorKind::NotFound)?.join("pids.max");
    fs::write(&file, most.to_string())?;
    if fs::read_to_string(&file)?.trim() == most.to_string() {
        Ok(())
    } else {
        Err(io::ErrorKind::Other.into())
    }
}

fn group_around(pid: u32, controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let its = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    hierarchy::group_of(&mounts, &its, controller)
}

/// How many processes the kernel killed for memory in the group that another process is in; none when that can't be seen
/// from here.
pub(crate) fn kills_for_memory_around(pid: u32) -> Option<u64> {
    let directory = group_around(pid, "memory")?;
    ["memory.events", "memory.oom_control"].iter().find_map(|file| {
        let text = fs::read_to_string(directory.join(file)).ok()?;
        Some(counter(&text, "oom_kill"))
    })
}

fn counter(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// One file of a group.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    value: String,
    /// Whether the limit does not hold without it.
    required: bool,
}

fn settings(limits: GroupLimits, v2: bool) -> Vec<(&'static str, Vec<Setting>)> {
    let required = |file, value: String| Setting { file, value, required: true };
    let if_there = |file, value: String| Setting { file, value, required: false };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        let bytes = bytes.to_string();
        all.push(if v2 {
            // Without swap, and all or nothing: half a build is no use. The sandbox's first process goes too, which the
            // engine takes as what it is, because it reads the counter.
            let files = [("memory.swap.max", "0"), ("memory.oom.group", "1")];
            let mut settings = vec![required("memory.max", bytes)];
            settings.extend(files.map(|(file, value)| if_there(file, value.to_owned())));
            ("memory", settings)
        } else {
            // In this order: memory and swap together may never be less than memory.
            let files = ["memory.memsw.limit_in_bytes"].map(|file| if_there(file, bytes.clone()));
            let mut settings = vec![required("memory.limit_in_bytes", bytes)];
            settings.extend(files);
            ("memory", settings)
        });
    }
    if let Some(processes) = limits.processes {
        // The first process of the sandbox counts too, on v1 also the helper.
        all.push(("pids", vec![required("pids.max", (processes.saturating_add(2)).to_string())]));
    }
    if let Some(milli) = limits.cpu_milli {
        let quota = (milli.saturating_mul(CPU_PERIOD) / 1000).max(CPU_MIN_QUOTA);
        all.push(if v2 {
            ("cpu", vec![required("cpu.max", format!("{quota} {CPU_PERIOD}"))])
        } else {
            let period = required("cpu.cfs_period_us", CPU_PERIOD.to_string());
            ("cpu", vec![period, required("cpu.cfs_quota_us", quota.to_string())])
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_tells_its_owner() {
        let owner = owner_of("staith-12-345-4026531836-0-run-step").unwrap();
        assert_eq!(owner.to_string(), "12-345-4026531836");
        for foreign in ["staith-", "staith-x-1-2", "docker-12-345-0-run", "staith.slice"] {
            assert_eq!(owner_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn counters_are_read_by_their_whole_name() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(counter(v1, "oom_kill"), 3);
        let v2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\n";
        assert_eq!(counter(v2, "oom_kill"), 1);
        assert_eq!(counter("", "oom_kill"), 0);
    }

    #[test]
    fn processor_time_is_a_share_of_a_period() {
        let limits = GroupLimits { memory: None, processes: None, cpu_milli: Some(1500) };
        let [(_, v2)] = &settings(limits, true)[..] else { panic!() };
        assert_eq!(v2[0].value, "150000 100000");
        let tiny = GroupLimits { cpu_milli: Some(0), ..limits };
        let [(_, v1)] = &settings(tiny, false)[..] else { panic!() };
        assert_eq!(v1[1].value, "1000");
    }
}
