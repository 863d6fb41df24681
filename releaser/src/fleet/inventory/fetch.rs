//! Gets an inventory's text: bounded in size and time, with nothing of the caller's environment but where programs are.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use staith_model::Name;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::InventoryError;

/// How long a program has.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that it may say.
const MOST_BYTES: usize = 4 << 20;
/// Bytes of its complaints that are shown.
const SHOWN_BYTES: usize = 2000;
/// What it gets of the caller's environment: where programs are, and where they keep what they know.
const PASSED_ON: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "TZ"];

/// Ends a program and what it started.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The group outlives its first process where that has started others, and its number is not used again before they end.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.start_kill();
    }
}

/// What a command says to its standard output.
pub(super) async fn output(
    command: &[String],
    folder: &Path,
    known: &[(&str, &Name)],
    cancel: &CancellationToken,
) -> Result<Vec<u8>, InventoryError> {
    output_within(command, folder, known, cancel, PATIENCE).await
}

pub(super) async fn output_within(
    command: &[String],
    folder: &Path,
    known: &[(&str, &Name)],
    cancel: &CancellationToken,
    patience: Duration,
) -> Result<Vec<u8>, InventoryError> {
    let program = command.first().cloned().unwrap_or_default();
    let running = start(command, folder, known)?;
    let seconds = patience.as_secs();
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(InventoryError::Cancelled),
        done = tokio::time::timeout(patience, finish(running, &program)) => {
            done.unwrap_or(Err(InventoryError::TimedOut { program: program.clone(), seconds }))
        }
    }
}

fn start(command: &[String], folder: &Path, known: &[(&str, &Name)]) -> Result<Running, InventoryError> {
    let program = command.first().cloned().unwrap_or_default();
    let path = match program.contains('/') && !program.starts_with('/') {
        true => folder.join(&program),
        false => PathBuf::from(&program),
    };
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new(path)
        .args(command.get(1..).unwrap_or_default())
        .current_dir(folder)
        .env_clear()
        .envs(passed_on)
        .envs(known.iter().map(|(name, value)| (name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| InventoryError::NotStarted { program, why: error.to_string() })?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    Ok(Running { child, group })
}

async fn finish(mut running: Running, program: &str) -> Result<Vec<u8>, InventoryError> {
    let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
    let (said, complained) = tokio::join!(bounded(out, MOST_BYTES), last_of(err));
    let said = said.ok_or_else(|| InventoryError::TooMuch { from: program.to_owned(), most: MOST_BYTES })?;
    let status = running.child.wait().await.map_err(|error| InventoryError::NotStarted {
        program: program.to_owned(),
        why: error.to_string(),
    })?;
    // The process is reaped: its number is free where nothing else is in its group.
    running.group = None;
    if status.success() {
        return Ok(said);
    }
    let how = match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => format!("was ended: {status}"),
    };
    Err(InventoryError::Failed { program: program.to_owned(), how, said: complained })
}

/// All that is said, or nothing if that is too much. What is beyond is not waited for.
async fn bounded(from: Option<impl AsyncRead + Unpin>, most: usize) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    let Some(from) = from else { return Some(said) };
    let most_read = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    // What can't be read any more is at its end; how the program ended tells the rest.
    let _ = from.take(most_read).read_to_end(&mut said).await;
    (said.len() <= most).then_some(said)
}

/// The last of what is said, for people.
async fn last_of(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..length]);
        let surplus = kept.len().saturating_sub(SHOWN_BYTES);
        kept.drain(..surplus);
    }
    printable(&kept)
}

/// Text of others in one line, without what steers a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" / ")
}

/// The content of a file below the project's folder.
pub(super) async fn file(file: &str, folder: &Path) -> Result<Vec<u8>, InventoryError> {
    let (path, folder) = (folder.join(file), folder.to_owned());
    let unreadable = |why: String| InventoryError::Unreadable { path: PathBuf::from(file), why };
    let read = tokio::task::spawn_blocking(move || {
        let real = path.canonicalize()?;
        // A link in a repository must not make Staith read what is elsewhere on this machine.
        if !real.starts_with(folder.canonicalize()?) {
            return Err(std::io::Error::other("it leads out of the project's folder"));
        }
        let length = std::fs::metadata(&real)?;
        if !length.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        if length.len() > MOST_BYTES as u64 {
            return Ok(None);
        }
        std::fs::read(real).map(Some)
    });
    let read = read.await.map_err(|error| unreadable(error.to_string()))?;
    let bytes = read.map_err(|error| unreadable(error.to_string()))?;
    bytes.ok_or_else(|| InventoryError::TooMuch { from: file.to_owned(), most: MOST_BYTES })
}
