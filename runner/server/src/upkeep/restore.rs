//! A backup becomes a server's directory again.

use std::{
    fs,
    path::{Component, Path},
};

use super::{
    backup::{DATABASE, MANIFEST, Manifest},
    files::{UpkeepError, at, copy, new_directory, sync},
};
use crate::store::{Actor, Sqlite};

/// Restores a backup into a directory that is empty or not there, and checks each byte on the way. The generation of what is restored is
/// one higher, so that no fence is given twice: whatever the lost server gave out after the backup was made is older than anything to
/// come.
///
/// # Errors
/// The backup is not whole, the directory is not empty, or the system refuses.
pub async fn restore(from: &Path, data: &Path, by: Actor, now: u64) -> Result<Manifest, UpkeepError> {
    let manifest = read(from)?;
    new_directory(data)?;
    let generation = manifest.generation + count(from)?;
    // Under another name until the generation is raised: a server that is started in between must not find it.
    let waiting = format!("{DATABASE}.restoring");
    for (path, known) in &manifest.files {
        let to = if path == DATABASE { data.join(&waiting) } else { data.join(path) };
        let (length, digest) = copy(&from.join(path), &to, None)?;
        if length != known.length || digest != known.digest {
            let why = format!("{path} has other bytes than when the backup was made");
            return Err(UpkeepError::NotWhole { at: from.to_owned(), why });
        }
    }
    let database = data.join(&waiting);
    let store = Sqlite::open(&database)?;
    store.raise_generation(generation, by, now).await?;
    drop(store);
    fs::rename(&database, data.join(DATABASE)).map_err(at(&database))?;
    let _ = fs::remove_file(database.with_extension("lock"));
    sync(data)?;
    Ok(manifest)
}

/// Which restore of this backup it is, from one on; written down beside it before anything else, so that two servers made of one backup
/// don't give the same fences.
fn count(from: &Path) -> Result<u64, UpkeepError> {
    let file = from.join("restores");
    let before = match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse::<u64>().map_err(|bad| UpkeepError::NotWhole {
            at: file.clone(),
            why: format!("it does not say how often the backup was restored: {bad}"),
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(at(&file)(error)),
    };
    let part = from.join("restores.part");
    fs::write(&part, format!("{}\n", before + 1)).map_err(at(&part))?;
    fs::File::open(&part).and_then(|part| part.sync_all()).map_err(at(&part))?;
    fs::rename(&part, &file).map_err(at(&file))?;
    sync(from)?;
    Ok(before + 1)
}

fn read(from: &Path) -> Result<Manifest, UpkeepError> {
    let not_whole = |why: String| UpkeepError::NotWhole { at: from.to_owned(), why };
    let text = fs::read(from.join(MANIFEST)).map_err(|error| not_whole(format!("{MANIFEST}: {error}")))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|bad| not_whole(format!("{MANIFEST}: {bad}")))?;
    if manifest.version != 1 {
        return Err(not_whole(format!("its form is {}, and this program knows 1", manifest.version)));
    }
    if !manifest.files.contains_key(DATABASE) {
        return Err(not_whole("it has no database".to_owned()));
    }
    let outside = |path: &&String| {
        !Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_)))
    };
    match manifest.files.keys().find(outside) {
        Some(path) => Err(not_whole(format!("`{path}` is no path inside it"))),
        None => Ok(manifest),
    }
}
