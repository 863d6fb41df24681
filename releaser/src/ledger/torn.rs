//! What an interrupted write left, put where it is in nobody's way and lost to nobody.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use staith_model::Digest;

use super::{entry::Head, file::Held};
use crate::host::durable;

const MARK: &str = ".torn-";

fn begin_of_name(ledger: &Path) -> OsString {
    let mut name = ledger.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(MARK);
    name
}

/// Copies what was written of an entry after `head` into a file of its own, durably, and then takes it from the ledger's end.
/// Interrupted anywhere, it is done again and comes to the same.
pub(super) fn move_aside(held: &mut Held, head: &Head, offset: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = begin_of_name(&held.path);
    name.push(format!("{}-{}", head.position + 1, Digest::of(bytes).short()));
    let aside = held.path.with_file_name(name);
    durable::write(&aside, bytes)?;
    held.file.set_len(offset)?;
    held.file.sync_all()?;
    held.length = offset;
    tracing::warn!(
        ledger = %held.path.display(), aside = %aside.display(),
        "an interrupted write was set aside; nobody was told that it was recorded"
    );
    Ok(aside)
}

/// All that was ever set aside of a ledger, in the order of names.
pub(super) fn set_aside(ledger: &Path) -> io::Result<Vec<PathBuf>> {
    let begin = begin_of_name(ledger);
    let entries = match fs::read_dir(ledger.parent().unwrap_or(Path::new("."))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(begin.as_encoded_bytes()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
