//! Reading single files out of what a step left.

use std::{fs::File, io::Read as _, os::fd::AsFd as _, path::Path};

use rustix::fs::OFlags;
use staith_model::RelPath;

use super::{
    error::{LayerError, at},
    upper::{Found, escaped, open_below, open_root, walk},
};
use crate::source::Globs;

/// One file holds at most this.
pub const LARGEST_FILE: u64 = 32 << 20;
/// All files together hold at most this, because they are held in memory.
const LARGEST_TOTAL: u64 = 256 << 20;

/// The regular files of an upper directory that globs match, with their bytes, in the order of their paths. Links are
/// not followed and not returned; matching nothing is no error.
///
/// # Errors
/// A glob is malformed, a file is larger than [`LARGEST_FILE`], all are larger than 256 MiB, a name is not UTF-8, or
/// reading failed.
pub fn collect(upper: &Path, globs: &[String]) -> Result<Vec<(RelPath, Vec<u8>)>, LayerError> {
    let patterns = Globs::new(globs)?;
    let root = open_root(upper)?;
    let (mut files, mut total) = (Vec::new(), 0_u64);
    for thing in walk(upper)? {
        let Found::File { size, .. } = thing.kind else { continue };
        if !patterns.matches(&thing.path.to_string_lossy()) {
            continue;
        }
        let path = thing.path.to_str().and_then(|text| RelPath::try_from(text).ok());
        let path = path.ok_or_else(|| LayerError::NotUtf8 { path: escaped(&thing.path) })?;
        if size > LARGEST_FILE {
            return Err(LayerError::TooLarge { path: path.to_string(), bytes: size, limit: LARGEST_FILE });
        }
        total = total.saturating_add(size);
        if total > LARGEST_TOTAL {
            return Err(LayerError::TooLarge { path: globs.join(", "), bytes: total, limit: LARGEST_TOTAL });
        }
        let whole = upper.join(&thing.path);
        let file = open_below(root.as_fd(), &thing.path, OFlags::RDONLY).map_err(at("opening", &whole))?;
        let mut bytes = Vec::new();
        File::from(file).take(LARGEST_FILE).read_to_end(&mut bytes).map_err(at("reading", &whole))?;
        files.push((path, bytes));
    }
    Ok(files)
}
