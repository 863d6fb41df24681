//! What a run must not leave behind on the machine: processes, mounts, control groups, half-made files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{container_engine::ContainerEngine, wait, world::World};

/// Waits until nothing of a run is left: no process that has `marker` in its command line, no mount of this world's in
/// any mount namespace, no control group and no directory among the temporary files that process `pid` of Staith made. What a run that was interrupted could not remove
/// from the home before it ended, the next run does.
///
/// # Panics
/// Something is still there after a minute.
pub fn wait_until_nothing_is_left(world: &World, pid: u32, marker: &str) {
    wait::until("no process of the step is left", || (processes_with(marker) == 0).then_some(()));
    wait::until("no mount is left", || mounts_of(world.scratch()).is_empty().then_some(()));
    wait_until_nothing_is_held(&[pid].into());
    wait_until_nothing_is_half_made(world, &world.home());
}

/// Waits until no control group and no directory among the temporary files is left that one of these processes has made.
///
/// # Panics
/// Something is still there after a minute.
pub fn wait_until_nothing_is_held(processes: &BTreeSet<u32>) {
    wait::until("[I-7] no control group is left", || groups_of(processes).is_empty().then_some(()));
    wait::until("[I-7] no temporary directory is left", || temporary(processes).is_empty().then_some(()));
}

/// Waits until nothing half-made is left in a home: what was killed leaves it there, and the next run takes it away.
///
/// # Panics
/// Something is still there after a minute.
pub fn wait_until_nothing_is_half_made(world: &World, home: &Path) {
    wait::until("[I-7] nothing half-made is left", || {
        let is_left = !half_made(home).is_empty();
        if is_left {
            let mut run = world.command(&["run", "--ref", "there-is-no-such-branch"]);
            run.env("STAITH_HOME", home).output().unwrap();
        }
        (!is_left).then_some(())
    });
}

/// Waits until a container engine has nothing that process `pid` of Staith made: no container, volume or network.
///
/// # Panics
/// Something is still there after a minute.
pub fn wait_until_nothing_is_in(engine: &ContainerEngine, pid: u32) {
    let own = [format!("staith-{pid}-"), format!("\"staith.owner\":\"{pid}-")];
    for path in ["/containers/json?all=1", "/volumes", "/networks"] {
        wait::until(&format!("nothing of the run is left in {path}"), || {
            let all = engine.says(path);
            own.iter().all(|name| !all.contains(name)).then_some(())
        });
    }
}

/// Directories of some processes among the temporary files.
fn temporary(processes: &BTreeSet<u32>) -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    entries.filter(|entry| is_of(entry, processes)).map(|entry| entry.path()).collect()
}

/// Whether something is called after one of these processes.
fn is_of(entry: &fs::DirEntry, processes: &BTreeSet<u32>) -> bool {
    let name = entry.file_name();
    let maker = name.to_str().and_then(|name| name.strip_prefix("staith-")?.split('-').next()?.parse().ok());
    maker.is_some_and(|maker: u32| processes.contains(&maker))
}

/// Processes of the whole machine that have a text in their command line.
///
/// # Panics
/// There is no `/proc`.
pub fn processes_with(marker: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let has = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(marker);
    processes.filter(has).count()
}

/// Mounts that have a directory in what they are or where they are, in the mount namespace of any process.
fn mounts_of(directory: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("mountinfo"));
    let name = directory.file_name().unwrap().to_str().unwrap();
    let all = processes.map(|path| fs::read_to_string(path).unwrap_or_default());
    all.flat_map(|text| {
        text.lines().filter(|line| line.contains(name)).map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

/// Control groups that some processes made.
fn groups_of(processes: &BTreeSet<u32>) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::from("/sys/fs/cgroup")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if is_of(&entry, processes) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

fn half_made(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("store/tmp")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
