//! Starting, stopping and watching what runs a release.

pub(crate) mod serving;
mod supervised;
mod unit;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use staith_model::{Digest, Service};

use crate::{
    durable,
    keep::{self, log},
    layout::Layout,
    place::Place,
    protocol::Words,
    refusal::{self, Outcome},
    run::{self, Ran},
};

/// Lines of a service's log that go into a message.
const LINES: usize = 20;
/// Bytes of a journal that go into a message.
const JOURNAL_BYTES: usize = 16 << 10;
/// What reading a journal may take.
const JOURNAL: std::time::Duration = std::time::Duration::from_secs(5);

/// As much of what a program said as goes into an error.
const SAID: usize = 4 << 10;

/// Refuses what could not be written into a unit or started, before anything is touched for it.
pub(crate) fn check(service: &Service) -> Outcome<()> {
    let flaw = match service {
        Service::Supervised { command, env, user, .. } => bad_program(command, env, user.as_deref()),
        Service::Systemd { unit, command, env, user, .. } => {
            bad_program(command, env, user.as_deref()).or_else(|| bad_unit(unit))
        }
        Service::Unit { unit } => bad_unit(unit),
        Service::Command { restart, stop } => (nothing(restart) || stop.as_deref().is_some_and(nothing))
            .then(|| "the restart command is empty".to_owned()),
        Service::Files => None,
    };
    flaw.map_or(Ok(()), |why| Err(refusal::project(why, "correct the environment in runner.toml")))
}

fn nothing(command: &[String]) -> bool {
    command.first().is_none_or(String::is_empty)
}

fn bad_program(command: &[String], env: &BTreeMap<String, String>, user: Option<&str>) -> Option<String> {
    if let Some(key) = env.keys().find(|key| key.is_empty() || key.contains(['=', '\0'])) {
        return Some(format!("`{}` is no name of a variable", key.escape_debug()));
    }
    if user.is_some_and(|user| !is_plain(user)) {
        return Some("the service's user is no account's name".to_owned());
    }
    nothing(command).then(|| "the service has no command".to_owned())
}

fn bad_unit(unit: &str) -> Option<String> {
    (!is_plain(unit)).then(|| format!("`{}` is no name of a unit", unit.escape_debug()))
}

fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "@_.:-\\".contains(c);
    !name.is_empty() && name.len() < 240 && !name.starts_with(['-', '.']) && name.chars().all(allowed)
}

/// The unit's name with its ending.
pub(crate) fn unit_name(unit: &str) -> String {
    if unit.contains('.') && unit.rsplit('.').next().is_some_and(|end| end == "service" || end == "socket") {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    }
}

/// Brings the unit to what it should be, so that it starts whatever `current` points to; no restart.
pub(crate) fn prepare(place: &Place, service: &Service) -> Outcome<()> {
    let Service::Systemd { unit, user, stop_seconds, .. } = service else { return Ok(()) };
    keep_program(&place.layout)?;
    let text = unit::text(&place.layout, unit, user.as_deref(), *stop_seconds);
    let path = unit::folder(place).join(unit_name(unit));
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        // One that was stopped before is not started with the machine any more, nor is one whose writer was killed here.
        return if unit::starts_with_the_machine(place, &unit_name(unit)) {
            Ok(())
        } else {
            systemctl(&["daemon-reload"])?;
            systemctl(&["enable", &unit_name(unit)])
        };
    }
    if let Some(folder) = path.parent() {
        durable::create_folder(folder, 0o755).map_err(refusal::io("create", folder))?;
    }
    durable::write(&path, text.as_bytes(), 0o644).map_err(refusal::io("write", &path))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", &unit_name(unit)])
}

/// A unit starts this program for as long as the folder is there, whatever becomes of the file that runs now.
fn keep_program(layout: &Layout) -> Outcome<()> {
    let path = layout.program();
    let own = own_program()?;
    if fs::read(&path).is_ok_and(|there| there == own)
        && fs::metadata(&path).is_ok_and(|there| there.permissions().mode() & 0o777 == 0o755)
    {
        return Ok(());
    }
    durable::write(&path, &own, 0o755).map_err(refusal::io("write", &path))?;
    // The mask for new files may have taken something from it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(refusal::io("make executable", &path))
}

/// The program that runs, even if its file was replaced or never had a name.
pub(crate) fn own_program() -> Outcome<Vec<u8>> {
    let path = Path::new("/proc/self/exe");
    fs::read(path).map_err(refusal::io("read", path))
}

/// Restarts what runs the release.
pub(crate) fn restart(place: &Place, release: &Digest, service: &Service) -> Outcome<()> {
    match service {
        Service::Systemd { unit, .. } => {
            // One that failed too often is not started again unless that is forgotten.
            let _ = systemctl(&["reset-failed", &unit_name(unit)]);
            systemctl(&["restart", &unit_name(unit)])
        }
        Service::Unit { unit } => systemctl(&["restart", &unit_name(unit)]),
        Service::Supervised { stop_seconds, .. } => supervised::restart(&place.layout, *stop_seconds),
        Service::Command { restart, .. } => command(&place.layout, release, restart),
        Service::Files => Ok(()),
    }
}

/// Stops what runs the release, and keeps it from being started with the machine where it was Staith who said that it should.
pub(crate) fn stop(place: &Place, release: &Digest, service: &Service) -> Outcome<()> {
    match service {
        Service::Systemd { unit, .. } => systemctl(&["disable", "--now", &unit_name(unit)]),
        Service::Unit { unit } => systemctl(&["stop", &unit_name(unit)]),
        Service::Supervised { stop_seconds, .. } => supervised::stop(&place.layout, *stop_seconds),
        Service::Command { stop: Some(stop), .. } => command(&place.layout, release, stop),
        Service::Command { stop: None, .. } | Service::Files => Ok(()),
    }
}

/// Ends a service that this program keeps running, by hand.
pub(crate) fn stop_supervised(layout: &Layout) -> Outcome<()> {
    supervised::stop(layout, keep::stop_seconds(layout))
}

/// Whether one service replaces the other when it is restarted, so that the other need not be stopped.
pub(crate) fn is_same(one: &Service, other: &Service) -> bool {
    match (one, other) {
        (Service::Supervised { .. }, Service::Supervised { .. }) => true,
        (Service::Supervised { .. }, _) | (_, Service::Supervised { .. }) => false,
        _ => unit_of(one) == unit_of(other),
    }
}

fn unit_of(service: &Service) -> Option<String> {
    match service {
        Service::Systemd { unit, .. } | Service::Unit { unit } => Some(unit_name(unit)),
        Service::Supervised { .. } | Service::Command { .. } | Service::Files => None,
    }
}

/// The process that is the service, where that can be told.
pub(crate) fn main_process(layout: &Layout, service: &Service) -> Option<u32> {
    match service {
        Service::Systemd { unit, .. } | Service::Unit { unit } => serving::main_process(unit).flatten(),
        Service::Supervised { .. } => supervised::main_process(layout),
        Service::Command { .. } | Service::Files => None,
    }
}

/// What a service wrote last since `current` was pointed to its release, and where that can be read; none where nobody keeps it.
pub(crate) fn last_words(layout: &Layout, service: &Service) -> Option<Words> {
    match service {
        Service::Supervised { .. } => {
            let (from, lines) = (layout.log(), log::last_lines(&layout.log(), LINES));
            Some(Words { from: from.display().to_string(), lines })
        }
        Service::Systemd { unit, .. } | Service::Unit { unit } => journal(layout, unit),
        Service::Command { .. } | Service::Files => None,
    }
}

fn journal(layout: &Layout, unit: &str) -> Option<Words> {
    let name = unit_name(unit);
    // The pointer is moved a moment before the service is restarted.
    let pointed = fs::symlink_metadata(layout.current()).and_then(|link| link.modified()).ok()?;
    let since = pointed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let mut command = Command::new("journalctl");
    if !rustix::process::geteuid().is_root() {
        command.arg("--user");
    }
    command.args(["--unit", &name, "--lines", &LINES.to_string(), &format!("--since=@{since}")]);
    command.args(["--no-pager", "--quiet", "--output=cat"]);
    let ran = run::run(&mut command, Some(JOURNAL), &|| false).ok().filter(|ran| ran.code == Some(0))?;
    let said = &ran.said[ran.said.len().saturating_sub(JOURNAL_BYTES)..];
    Some(Words { from: format!("journalctl -u {name}"), lines: String::from_utf8_lossy(said).into_owned() })
}

fn command(layout: &Layout, release: &Digest, words: &[String]) -> Outcome<()> {
    let home = layout.release(release);
    let mut command = run::in_release(layout, release, words);
    let name = words.first().map_or("", String::as_str);
    let remedy = "run it by hand in that folder on the machine, correct what is wrong, then deploy again";
    let ran = run::run(&mut command, None, &|| false).map_err(|error| {
        let why = format!("the command `{name}` can't be started in {}: {error}", home.display());
        refusal::environment(why, remedy)
    })?;
    if ran.code == Some(0) {
        return Ok(());
    }
    Err(refusal::environment(format!("the command `{name}` {}", ended(&ran)), remedy))
}

fn ended(ran: &Ran) -> String {
    let how =
        ran.code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with code {code}"));
    let said = String::from_utf8_lossy(&ran.said[ran.said.len().saturating_sub(SAID)..]).trim().to_owned();
    if said.is_empty() { how } else { format!("{how}:\n{said}") }
}

/// The user's own manager where this is no superuser.
fn systemctl_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    if !rustix::process::geteuid().is_root() {
        command.arg("--user");
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn systemctl(arguments: &[&str]) -> Outcome<()> {
    let what = arguments.join(" ");
    let remedy = || {
        let unit = arguments.last().copied().unwrap_or_default();
        format!("see what `systemctl status {unit}` and `journalctl -u {unit}` say on the machine")
    };
    let ran = run::run(&mut systemctl_command(arguments), None, &|| false).map_err(|error| {
        refusal::environment(
            format!("`systemctl {what}` can't be started: {error}"),
            "use a machine with systemd, or a service with a restart command of its own",
        )
    })?;
    if ran.code == Some(0) {
        return Ok(());
    }
    Err(refusal::environment(format!("`systemctl {what}` {}", ended(&ran)), remedy()))
}

/// Whether there is a systemd that would carry out what this account asks of it.
pub(crate) fn answers() -> bool {
    let mut asked = systemctl_command(&["show", "--property", "Version"]);
    let ended = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|ended| ended.success())
}

/// What systemd says of a unit's properties.
pub(crate) fn show(unit: &str, properties: &str) -> Option<Vec<(String, String)>> {
    let mut child = systemctl_command(&["show", &unit_name(unit), "--property", properties])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut text = String::new();
    let read = child.stdout.take()?.take(64 << 10).read_to_string(&mut text);
    let ended = child.wait().ok()?;
    read.ok().filter(|_| ended.success())?;
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Some(text.lines().filter_map(pair).collect())
}
