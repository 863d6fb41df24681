//! Files of packages, where people want them: whole and verified, or not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use staith_model::Digest;
use tokio_util::sync::CancellationToken;

use super::{TransferError, go_on};
use crate::{durable, hashing, stopping::Stoppable};

/// Where the bytes of a file gather before they are whole. A later attempt finds them, and goes on.
pub(super) fn partial(directory: &Path, name: &str, digest: &Digest) -> PathBuf {
    directory.join(format!(".{name}.{}.partial", digest.short()))
}

/// Whether a title can be a file's name as it is: it leads nowhere, hides nothing, and shows nothing odd.
pub(super) fn checked(title: &str) -> Result<&str, TransferError> {
    let plain = |c: char| c.is_alphanumeric() || "._-+ ".contains(c);
    let begins_well = !title.starts_with(['.', '-', ' ']);
    if !title.is_empty() && title.len() <= 200 && begins_well && title.chars().all(plain) {
        return Ok(title);
    }
    Err(TransferError::Title(title.chars().filter(|c| !c.is_control()).take(100).collect()))
}

/// What is at a place: nothing, the same file (`true`), or something else.
pub(super) fn is_there(path: &Path, digest: &Digest) -> Result<Option<bool>, TransferError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at("look at", path)(error)),
        Ok(found) if !found.is_file() => return Ok(Some(false)),
        Ok(_) => {}
    }
    let file = OpenOptions::new().read(true).custom_flags(no_links()).open(path).map_err(at("open", path))?;
    let (found, _) = hashing::digest_of(file).map_err(at("read", path))?;
    Ok(Some(found == *digest))
}

/// Gives a whole file its name, durably. What is there goes; whoever calls has looked at it.
pub(super) fn publish(whole: &Path, path: &Path) -> Result<(), TransferError> {
    // Partial files are for their owner only; what was pulled is as other new files are.
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(whole, readable).and_then(|()| fs::rename(whole, path)).map_err(at("make", path))?;
    let directory = durable::parent(path);
    durable::sync_directory(directory).map_err(at("sync", directory))
}

/// Copies what is left of an open file into a new one beside its final place.
pub(super) fn copy(
    from: &mut File,
    to: &Path,
    heard: &dyn Fn(u64),
    stop: &CancellationToken,
) -> Result<(), TransferError> {
    let copied = copy_all(Stoppable::new(from, stop), to, heard);
    if copied.is_err() {
        // Another attempt begins anew, from a disk of this machine.
        let _ = fs::remove_file(to);
    }
    go_on(stop)?;
    copied
}

fn copy_all(from: Stoppable<'_, &mut File>, to: &Path, heard: &dyn Fn(u64)) -> Result<(), TransferError> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600).custom_flags(no_links());
    let mut file = options.open(to).map_err(at("make", to))?;
    let mut telling = Telling { from, done: 0, heard };
    io::copy(&mut BufReader::with_capacity(1 << 17, &mut telling), &mut file).map_err(at("write", to))?;
    file.sync_all().map_err(at("sync", to))
}

/// Tells how far a file was read.
struct Telling<'a> {
    from: Stoppable<'a, &'a mut File>,
    done: u64,
    heard: &'a dyn Fn(u64),
}

impl Read for Telling<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.done += read as u64;
        (self.heard)(self.done);
        Ok(read)
    }
}

fn no_links() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    let path = path.to_owned();
    move |source| TransferError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_names_of_files() {
        for good in ["shop.SetParameters.xml", "shop-1.0+c.1.zip", "Ünï 1.json"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        let long = "x".repeat(201);
        for bad in
            ["", ".", "..", "a/b", "../x", "/x", "a\\b", ".x", "-rf", "a\nb", "a\u{202e}b", "C:x", &long]
        {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
