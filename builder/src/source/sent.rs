//! A source for another machine: the list of its files, and the contents that are asked for.

use std::{
    fs::File,
    io::{self, Write},
};

use staith_model::RelPath;

use super::{
    ObjectId, Resolved, SourceError, Sources,
    contents::{Contents, Opened, Reading},
    error::at,
    lfs::open_plainly,
    listing::FileEntry,
    pool::Item,
    received::{IS_LARGE, meant},
};

/// Why contents are not given.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// They belong to another source, or to none. Nothing was written.
    #[error("the source has no content {0}")]
    NotOfTheSource(String),
    /// They can't be had any more.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Whoever wanted them takes no more.
    #[error("the contents can't be sent: {0}")]
    Writing(#[from] io::Error),
}

impl Resolved {
    /// The list of its files for another machine, to be taken by [`Sources::received`]: nothing in it says where this machine keeps
    /// what. `None` where a path is none that can be written down.
    pub fn list_to_send(&self) -> Option<Vec<u8>> {
        let bare = Self { contents: Contents::default(), notices: Vec::new(), ..self.clone() };
        bare.to_bytes()
    }
}

impl Sources {
    /// Writes exactly these contents of a source, in the form that [`take_contents`](Self::take_contents) reads. What git-lfs keeps
    /// must have been [gathered](Self::gather).
    ///
    /// # Errors
    /// [`NotSent::NotOfTheSource`] before anything is written; the others may come after some contents were written whole.
    pub fn contents(&self, resolved: &Resolved, ids: &[ObjectId], to: &mut dyn Write) -> Result<(), NotSent> {
        let all = meant(resolved);
        if let Some(other) = ids.iter().find(|id| !all.contains_key(id)) {
            return Err(NotSent::NotOfTheSource(other.to_string()));
        }
        let opened = Opened::new(&resolved.contents);
        let mut reading = Reading::new(&opened, &self.pool);
        for meant in ids.iter().filter_map(|id| all.get(id)) {
            if let Some((path, entry)) = meant.plain {
                let content = reading.content(path, entry)?;
                head(entry, content.len() as u64, to)?;
                to.write_all(&content)?;
            }
            if let Some((path, entry)) = meant.large {
                self.large(path, entry, to)?;
            }
        }
        Ok(to.flush()?)
    }

    fn large(&self, path: &RelPath, entry: &FileEntry, to: &mut dyn Write) -> Result<(), NotSent> {
        let changed = || SourceError::Changed(path.to_string());
        let from = self.pool.any_like(Item::first(entry)).ok_or_else(changed)?;
        let mut file = open_plainly(&from).map_err(at("reading", &from))?;
        let length = length_of(&file).map_err(at("reading", &from))?;
        head(entry, length | IS_LARGE, to)?;
        if io::copy(&mut io::Read::take(&mut file, length), to)? != length {
            return Err(changed().into());
        }
        Ok(())
    }
}

fn length_of(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

fn head(entry: &FileEntry, length: u64, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(entry.blob.as_bytes())?;
    to.write_all(&length.to_le_bytes())
}
