//! What a run must not leave behind on the machine: processes, mounts, control groups, half-made files.

use std::{
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
    wait::until("no control group is left", || groups_of(pid).is_empty().then_some(()));
    wait::until("no temporary directory is left", || temporary(pid).is_empty().then_some(()));
    wait::until("nothing half-made is left", || {
        let is_left = !half_made(world).is_empty();
        if is_left {
            world.staith(&["run", "--ref", "there-is-no-such-branch"]);
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

/// Directories of a process among the temporary files.
fn temporary(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let own =
        |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("staith-{pid}-"));
    entries.filter(own).map(|entry| entry.path()).collect()
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

/// Control groups that a process made.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::from("/sys/fs/cgroup")]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with(&format!("staith-{pid}-")) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

fn half_made(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.home().join("store/tmp")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
