//! Removes what is beyond retention: first the name, durably, then the files. A crash leaves a release whole or gone.

use std::{collections::BTreeSet, fs, io, path::Path};

use staith_model::Digest;

use super::{
    HostError, Layout, blobs, durable,
    layout::{LEAVING, UNFINISHED, release_of_folder},
};

/// Releases whose folder is there.
pub(super) fn releases(layout: &Layout) -> Result<BTreeSet<Digest>, HostError> {
    Ok(names(&layout.releases())?.iter().filter_map(|name| release_of_folder(name)).collect())
}

/// Removes every release that is not in `keep`, and returns which.
pub(super) fn retain(layout: &Layout, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, HostError> {
    let folder = layout.releases();
    let going: BTreeSet<Digest> = releases(layout)?.difference(keep).copied().collect();
    for release in &going {
        let home = layout.release(release);
        let leaving = folder.join(format!("{LEAVING}{}", release.hex()));
        remove_tree(&leaving)?;
        fs::rename(&home, &leaving).map_err(HostError::io("take the name from", &home))?;
        let manifest = layout.manifest(release);
        match fs::remove_file(&manifest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(HostError::Io { what: "remove", path: manifest, source: error });
            }
            _ => {}
        }
    }
    if !going.is_empty() {
        durable::sync_folder(&folder).map_err(HostError::io("make durable what is in", &folder))?;
    }
    // Also what an earlier attempt renamed and did not get to remove.
    if clear_leftovers(layout)? || !going.is_empty() {
        blobs::sweep(layout)?;
    }
    Ok(going)
}

/// Removes what killed stagings and removals left. Only one deployment at a time writes here, so nothing of this is
/// in use. Says whether there was anything.
pub(super) fn clear_leftovers(layout: &Layout) -> Result<bool, HostError> {
    let folder = layout.releases();
    let leftovers: Vec<String> = names(&folder)?
        .into_iter()
        .filter(|name| name.starts_with(UNFINISHED) || name.starts_with(LEAVING))
        .collect();
    leftovers.iter().try_for_each(|name| remove_tree(&folder.join(name)))?;
    Ok(!leftovers.is_empty())
}

fn names(folder: &Path) -> Result<Vec<String>, HostError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HostError::Io { what: "list", path: folder.to_owned(), source: error }),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(HostError::io("list", folder))
}

fn remove_tree(path: &Path) -> Result<(), HostError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HostError::Io { what: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
