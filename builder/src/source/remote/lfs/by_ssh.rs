//! Asks a repository's host by ssh where its objects are: `git-lfs-authenticate`, as git-lfs does.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, process::Stdio, sync::Mutex};

use super::{
    super::{
        FetchFailure, Reach,
        address::Host,
        failure::tamed,
        pipe::{LAST_WORDS, is_ready, keep_the_end, quoted, ssh_command, wait},
    },
    LfsFailure,
    protocol::{self, Action},
};

/// Longer answers are none.
const LONGEST_ANSWER: usize = 64 << 10;

/// Where the objects are, and what has to be said there.
pub(super) fn ask(reach: &Reach, user: Option<&str>, host: &Host, path: &str) -> Result<Action, LfsFailure> {
    let there = format!("git-lfs-authenticate {} download", quoted(path));
    let said = |said: String| LfsFailure::Fetch(FetchFailure::Ssh { host: host.name.clone(), said });
    let mut command = ssh_command(reach, user, host, &there);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| said(format!("it can't be started: {error}")))?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(said("it has no output".to_owned()));
    };
    let last_words = keep_the_end(errors);
    let output: OwnedFd = output.into();
    let answer = read_all(&output, reach);
    let child = Mutex::new(child);
    if answer.is_err() {
        let _ = child.lock().unwrap_or_else(std::sync::PoisonError::into_inner).kill();
    }
    let ended = wait(&child, reach.stall).map_err(|error| said(error.to_string()))?;
    let stalled = FetchFailure::Stalled { host: host.name.clone(), after: reach.stall };
    let answer = answer.map_err(|_| LfsFailure::Fetch(stalled))?;
    if !ended.success() {
        return Err(said(tamed(&last_words.recv_timeout(LAST_WORDS).unwrap_or_default())));
    }
    protocol::authenticated(&answer).map_err(|why| LfsFailure::NotUnderstood { host: host.name.clone(), why })
}

fn read_all(output: &OwnedFd, reach: &Reach) -> std::io::Result<Vec<u8>> {
    let (mut file, mut all, mut bytes) = (File::from(output.try_clone()?), Vec::new(), [0; 4096]);
    loop {
        if !is_ready(output, reach.stall)? {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        match file.read(&mut bytes)? {
            0 => return Ok(all),
            read if all.len() + read > LONGEST_ANSWER => return Err(std::io::ErrorKind::InvalidData.into()),
            read => all.extend_from_slice(&bytes[..read]),
        }
    }
}
