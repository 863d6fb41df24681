//! The attempts where there is no wall. What is refused there as well shows nothing inside, so each has to get further.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    super::ordinary_user::ORDINARY_ID,
    batch,
    canaries::Canaries,
    row::{Outside, Room, Row, Tried},
};

/// What each attempt met outside, by its place in the table.
pub fn outside(rows: &[Row], canaries: &Canaries) -> BTreeMap<usize, String> {
    let mut met = BTreeMap::new();
    for room in [Room::Machine, Room::Namespaces, Room::Root] {
        let expressions: Vec<(usize, &str)> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| (row.needs)().is_none())
            .filter_map(|(place, row)| Some((place, expression(row, room)?)))
            .collect();
        met.extend(enter(room, &expressions, canaries));
    }
    met
}

fn expression(row: &Row, room: Room) -> Option<&str> {
    match (&row.outside, &row.tried) {
        (Outside::Instead(own, expression), _) if *own == room => Some(expression),
        (Outside::Same(own), Tried::Python(expression)) if *own == room => Some(expression),
        _ => None,
    }
}

const NAMESPACES: [&str; 8] =
    ["--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc", "--uts", "--mount-proc"];

fn enter(room: Room, expressions: &[(usize, &str)], canaries: &Canaries) -> BTreeMap<usize, String> {
    let root = nix::unistd::geteuid().is_root();
    if room == Room::Root && !root {
        return BTreeMap::new();
    }
    let place = tempfile::tempdir_in(canaries.folder()).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let here = place.path().join("here");
    fs::create_dir(&here).unwrap();
    fs::set_permissions(&here, fs::Permissions::from_mode(0o777)).unwrap();
    batch::bait(&here);
    let program = place.path().join("probes.py");
    fs::write(&program, batch::program(expressions, canaries, &here.display().to_string(), true)).unwrap();
    let mut command = command(room, &program);
    if root && room != Room::Root {
        command.uid(ORDINARY_ID).gid(ORDINARY_ID);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{room:?}: {}", String::from_utf8_lossy(&output.stderr));
    batch::answers(&String::from_utf8_lossy(&output.stdout))
}

fn command(room: Room, program: &Path) -> Command {
    let mut command = Command::new(if room == Room::Machine { "/usr/bin/python3" } else { "unshare" });
    match room {
        Room::Machine => {}
        Room::Namespaces => {
            command.args(["--user", "--map-root-user", "--cgroup"]).args(NAMESPACES).arg("/usr/bin/python3");
        }
        Room::Root => {
            command.args(NAMESPACES).arg("/usr/bin/python3");
        }
    }
    command.arg(program).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").stdin(Stdio::null());
    command
}
