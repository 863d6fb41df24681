//! What was intended and what came of it, one line of JSON each, durable before the effect.
//!
//! Nothing reads it to decide what to do: that is looked up in the world. It tells people what a deployment did that
//! was killed, and carries the same operation ids as the target saw.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::Serialize;
use staith_model::{DeploymentId, Digest};

use super::record::{AttemptKind, AttemptResult};
use crate::host::durable;

/// A journal this long is put aside, and a new one begun: some thousand deployments.
const LONGEST: u64 = 4 << 20;

/// One line.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// Milliseconds since 1970.
    pub(super) at: u64,
    pub(super) deployment: &'a DeploymentId,
    pub(super) epoch: u64,
    #[serde(flatten)]
    pub(super) note: Note,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub(super) enum Note {
    /// A deployment began.
    Began { kind: AttemptKind, release: Digest, serving: Option<Digest>, plan: Digest },
    /// An effect is about to be asked for.
    Intent { operation: String, id: String },
    /// What came of it.
    Outcome { id: String, error: Option<String> },
    /// A deployment ended.
    Ended { result: AttemptResult, why: Option<String> },
}

/// The identity of an effect: the same operation of the same deployment under the same epoch.
pub(super) fn operation_id(deployment: &DeploymentId, epoch: u64, operation: &str) -> String {
    Digest::of_value("staith.operation.v1", &(deployment, epoch, operation)).short()
}

/// Appends a line of JSON; it is durable when this returns.
pub(super) fn append(path: &Path, mut json: Vec<u8>) -> io::Result<()> {
    let mut file = open(path)?;
    json.push(b'\n');
    if !ends_whole(&mut file)? {
        // The last writer was killed in the middle of its line: what it left must not swallow this one.
        json.insert(0, b'\n');
    }
    file.write_all(&json)?;
    file.sync_data()
}

fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LONGEST) {
        fs::rename(path, path.with_extension("old.jsonl"))?;
    }
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    durable::make_private(&file)?;
    if is_new && let Some(folder) = path.parent() {
        durable::sync_folder(folder)?;
    }
    Ok(file)
}

fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let deployment = DeploymentId::new(1, [0; 10]);
        let line = |id: &str| {
            let note = Note::Outcome { id: id.into(), error: None };
            serde_json::to_vec(&Line { at: 1, deployment: &deployment, epoch: 1, note }).unwrap()
        };
        append(&path, line("a")).unwrap();
        fs::write(&path, [&fs::read(&path).unwrap()[..], b"{\"at\":2,\"depl"].concat()).unwrap();
        append(&path, line("b")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let whole: Vec<_> =
            text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).collect();
        assert_eq!((text.lines().count(), whole.len()), (3, 2));
        assert!(whole[1].contains("\"b\""));
    }
}
