//! The copy of the project's folder in which programs run. What was copied before and is gone from the project goes; what tools
//! have put there (Terraform's state and providers) stays.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use staith_model::{Digest, RelPath};

use super::{
    ProvisionError,
    place::{Place, absent_is_fine},
};
use crate::host::durable;

/// Files at most: what describes machines is no product of a build.
const MOST_FILES: usize = 20_000;
/// Bytes at most, all together.
const MOST_BYTES: u64 = 256 << 20;
/// What tools make for themselves in such a folder.
const NOT_COPIED: [&str; 3] = [".git", ".terraform", "node_modules"];

/// A file: whether it may be executed, and its content.
type Files = BTreeMap<RelPath, (bool, Digest)>;

/// Brings the copy up to date; the digest of all that the project has there. Blocks.
pub(super) fn bring(place: &Place, project: &Path, folder: &str) -> Result<Digest, ProvisionError> {
    let wrong = |why: String, remedy: &str| ProvisionError::Folder {
        folder: folder.to_owned(),
        why,
        remedy: remedy.to_owned(),
    };
    let from = project.join(folder);
    let inside = || -> io::Result<bool> { Ok(from.canonicalize()?.starts_with(project.canonicalize()?)) };
    match inside() {
        Ok(true) if from.is_dir() => {}
        Ok(true) => return Err(wrong("is no folder".into(), "name a folder of the project")),
        Ok(false) => return Err(wrong("leads out of the project".into(), "name a folder of the project")),
        Err(error) => {
            return Err(wrong(format!("can't be read: {error}"), "name a folder that the project has"));
        }
    }
    let mut found = Files::new();
    let mut size = 0;
    gather(&from, &from, &mut found, &mut size).map_err(|error| {
        wrong(format!("can't be copied: {error}"), "keep what makes the machines in a folder of its own")
    })?;
    refuse_state(&found).map_err(|file| {
        wrong(
            format!("has `{file}`, Terraform's state of something that was applied by hand"),
            &format!(
                "Staith keeps the state where it runs Terraform: move it to {}, or use a backend that several people share",
                place.work().display()
            ),
        )
    })?;
    copy(place, &from, &found).map_err(ProvisionError::kept("can't bring files to", &place.work()))?;
    Ok(Digest::of_value("staith.provision-files.v1", &found))
}

fn gather(top: &Path, folder: &Path, found: &mut Files, size: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if NOT_COPIED.iter().any(|not| name == *not) {
            continue;
        }
        let refused = |why: &str| io::Error::other(format!("{}: {why}", path.display()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            gather(top, &path, found, size)?;
            continue;
        }
        // A link could lead anywhere, and would lead elsewhere from the copy.
        if !kind.is_file() {
            return Err(refused("it is neither a file nor a folder"));
        }
        let length = entry.metadata()?;
        *size = size.saturating_add(length.len());
        if found.len() >= MOST_FILES || *size > MOST_BYTES {
            return Err(refused("with it, there is more than 20,000 files or 256 MiB"));
        }
        let relative = path.strip_prefix(top).map_err(io::Error::other)?;
        let relative = relative.to_str().ok_or_else(|| refused("its name is no text in UTF-8"))?;
        let relative = RelPath::try_from(relative).map_err(|_| refused("its name can't be kept"))?;
        let executable = length.permissions().mode() & 0o100 != 0;
        found.insert(relative, (executable, Digest::of(&fs::read(&path)?)));
    }
    Ok(())
}

fn refuse_state(found: &Files) -> Result<(), String> {
    let is_state = |path: &&RelPath| path.as_str() == "terraform.tfstate";
    found.keys().find(is_state).map_or(Ok(()), |file| Err(file.to_string()))
}

fn copy(place: &Place, from: &Path, found: &Files) -> io::Result<()> {
    let before: Vec<String> = match fs::read(place.copied()) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // Both lists together first: a copy that is interrupted leaves nothing that nobody knows of.
    let mut all: Vec<String> = before.clone();
    all.extend(found.keys().map(ToString::to_string));
    all.sort();
    all.dedup();
    durable::write(&place.copied(), &serde_json::to_vec(&all)?)?;
    let work = place.work();
    for gone in before.iter().filter_map(|path| RelPath::try_from(path.as_str()).ok()) {
        if !found.contains_key(&gone) {
            absent_is_fine(fs::remove_file(work.join(gone.as_str())))?;
        }
    }
    for (path, (executable, digest)) in found {
        let to = work.join(path.as_str());
        let bytes = fs::read(from.join(path.as_str()))?;
        if Digest::of(&bytes) != *digest {
            return Err(io::Error::other(format!("{path} changed while it was copied")));
        }
        put(&to, &bytes, *executable)?;
    }
    let now: Vec<String> = found.keys().map(ToString::to_string).collect();
    durable::write(&place.copied(), &serde_json::to_vec(&now)?)
}

fn put(to: &PathBuf, bytes: &[u8], executable: bool) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    durable::write(to, bytes)?;
    fs::set_permissions(to, fs::Permissions::from_mode(if executable { 0o700 } else { 0o600 }))
}
