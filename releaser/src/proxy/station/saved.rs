//! What a backend must not forget: who gets requests, and the highest epoch that has said so.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::Name;

use crate::host::durable;

/// A backend as it is on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    pub(super) epoch: u64,
    pub(super) members: BTreeMap<Name, SavedMember>,
}

/// A member as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedMember {
    pub(super) address: String,
    pub(super) weight: u32,
    pub(super) admitted: bool,
}

/// The file of a backend. Only for the holder of the folder's lock.
#[derive(Debug, Clone)]
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn of(folder: &Path, backend: &Name) -> Self {
        Self(folder.join(format!("{backend}.json")))
    }

    /// What was written last; `None` before that.
    ///
    /// # Errors
    /// It can't be read or is damaged. Nothing is guessed then: who gets requests would be wrong.
    pub(super) fn read(&self) -> io::Result<Option<Saved>> {
        let said = |why: String| {
            let what = self.0.display();
            io::Error::other(format!(
                "{what}: {why}; put it right, or remove it to begin with the configuration"
            ))
        };
        match fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| said(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(said(error.to_string())),
        }
    }

    /// Replaces it; when this returns, a loss of power does not bring the old one back. Blocks.
    ///
    /// # Errors
    /// It can't be written; the old one is still there.
    pub(super) fn write(&self, saved: &Saved) -> io::Result<()> {
        durable::write(&self.0, &serde_json::to_vec_pretty(saved)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_told() {
        let place = tempfile::tempdir().unwrap();
        let file = File::of(place.path(), &"shop".parse().unwrap());
        assert_eq!(file.read().unwrap(), None);
        let member = SavedMember { address: "127.0.0.1:80".into(), weight: 7, admitted: true };
        let saved = Saved { epoch: 3, members: BTreeMap::from([("web1".parse().unwrap(), member)]) };
        file.write(&saved).unwrap();
        assert_eq!(file.read().unwrap(), Some(saved));
        fs::write(place.path().join("shop.json"), "{\"epoch\":3").unwrap();
        let why = file.read().unwrap_err().to_string();
        assert!(why.contains("shop.json") && why.contains("remove it"), "{why}");
    }
}
