//! Heads that are signed with the host's key, in a file beside the ledger: `ledger.heads.jsonl`, a DSSE envelope a line.
//!
//! Whoever can write the ledger but has not the key can't rewrite what was signed. Whoever has both can, and is found by those who
//! remember a head elsewhere.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_packager::seal::{
    envelope::Envelope,
    key::{PrivateKey, PublicKey},
};

use super::{
    entry::Head,
    error::LedgerError,
    file::Held,
    verify::{FlawKind, bytes_of},
};
use crate::host::durable;

/// What the payloads are: a signature over anything else is none over a head.
const PAYLOAD_TYPE: &str = "application/vnd.staith.ledger-head.v1+json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    about: String,
    position: u64,
    hash: staith_model::Digest,
    at: u64,
}

/// A head that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// What was signed.
    pub head: Head,
    /// When, in milliseconds since 1970 (UTC), by the clock of the machine that did it.
    pub at: u64,
    /// [`PublicKey::id`] of whose key it is.
    pub key: String,
}

/// The signed heads of a ledger.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// Those that a trusted key has signed. Whether they are in the chain is another question.
    pub(super) sound: Vec<Checkpoint>,
    pub(super) unsound: Vec<FlawKind>,
}

/// The file of a ledger's signed heads.
pub(super) fn path_of(ledger: &Path) -> PathBuf {
    ledger.with_extension("heads.jsonl")
}

/// Signs the head. The ledger has to be held alone.
pub(super) fn sign(
    held: &Held,
    about: &str,
    head: &Head,
    at: u64,
    key: &PrivateKey,
) -> Result<Checkpoint, LedgerError> {
    let path = path_of(&held.path);
    let payload = Payload { about: about.to_owned(), position: head.position, hash: head.hash, at };
    let unwritable =
        |why: serde_json::Error| LedgerError::Unwritable { path: path.clone(), why: why.to_string() };
    let payload = serde_json::to_vec(&payload).map_err(unwritable)?;
    let envelope = Envelope::seal(PAYLOAD_TYPE, &payload, &[key]);
    let mut line = serde_json::to_vec(&envelope).map_err(unwritable)?;
    line.push(b'\n');
    append(&path, &line).map_err(LedgerError::io("sign the head of", &held.path))?;
    Ok(Checkpoint { head: *head, at, key: key.public().id() })
}

fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // What an interrupted write left of a signature is worth nothing: the head is signed again.
    let there = std::fs::read(path)?;
    let whole = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    if whole < there.len() {
        file.set_len(whole as u64)?;
    }
    file.write_all(line)?;
    file.sync_all()?;
    durable::sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// The position of the newest signed head, as its line says; 0 if there is none. For deciding when to sign again, no more.
pub(super) fn newest(ledger: &Path) -> Result<u64, LedgerError> {
    let bytes = bytes_of(&path_of(ledger))?.unwrap_or_default();
    let last = bytes.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty());
    let envelope = last.and_then(|line| serde_json::from_slice::<Envelope>(line).ok());
    let payload = envelope.and_then(|envelope| serde_json::from_slice::<Payload>(&envelope.payload()?).ok());
    Ok(payload.map_or(0, |payload| payload.position))
}

/// All signed heads, told apart by whether they are sound.
pub(super) fn read(ledger: &Path, about: &str, keys: &[PublicKey]) -> Result<Signed, LedgerError> {
    let mut signed = Signed::default();
    let bytes = bytes_of(&path_of(ledger))?.unwrap_or_default();
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        match sound(line, about, keys) {
            Ok(checkpoint) => signed.sound.push(checkpoint),
            Err(why) => {
                signed.unsound.push(FlawKind::BadCheckpoint { checkpoint: number, why: why.to_owned() });
            }
        }
    }
    Ok(signed)
}

fn sound(line: &[u8], about: &str, keys: &[PublicKey]) -> Result<Checkpoint, &'static str> {
    let line = line.strip_suffix(b"\n").ok_or("its write was interrupted; sign the head again")?;
    let envelope: Envelope = serde_json::from_slice(line).map_err(|_| "it is no signed head")?;
    // Only as it was written: what the signature does not cover (hints, spelling) is no place to hide something either.
    let is_as_written = serde_json::to_vec(&envelope).is_ok_and(|written| written == line);
    if envelope.payload_type != PAYLOAD_TYPE || !is_as_written {
        return Err("it is no signed head");
    }
    let (key, payload) = envelope.signed_by(keys).ok_or(
        "no key that is trusted here has signed it, or it was altered; `staith key trust` adds a key of another host",
    )?;
    if envelope.signatures.iter().any(|signature| signature.keyid != key.id()) {
        return Err("it names another key than the one that signed it");
    }
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| "it is no signed head")?;
    if payload.about != about {
        return Err("it is about another ledger");
    }
    let head = Head { position: payload.position, hash: payload.hash };
    Ok(Checkpoint { head, at: payload.at, key: key.id() })
}
