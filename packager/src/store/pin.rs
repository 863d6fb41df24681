//! What must stay, whatever the policy says.

use serde::{Deserialize, Serialize};
use staith_model::{Name, Version};

use super::{Store, StoreError, blobs::place, record::now};

/// A version that must stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The package.
    pub package: Name,
    /// The version.
    pub version: Version,
    /// Who said so.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Why, in words; may be empty.
    pub why: String,
}

impl Store {
    /// Pins a published version: it is not removed until it is unpinned. One that is pinned stays as it was pinned first; whether
    /// it was not.
    ///
    /// # Errors
    /// The version is not published, or the store can't be written.
    pub fn pin(&self, package: &Name, version: &Version, by: &str, why: &str) -> Result<bool, StoreError> {
        let _announced = self.announce(&[format!("{package}@{version}")])?;
        // Whatever is published now can't be removed before the pin is there.
        if self.find(package, version)?.is_none() {
            return Err(self.no_version(package, version.as_str()));
        }
        let (package, version) = (package.clone(), version.clone());
        let pin = Pin { package, version, by: by.to_owned(), at: now(), why: why.to_owned() };
        self.write_value(&key(&pin.package, &pin.version), &pin, None)
    }

    /// Lets a version go again; whether it was pinned.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn unpin(&self, package: &Name, version: &Version) -> Result<bool, StoreError> {
        let key = key(package, version);
        let was_pinned = self.blobs.read(&key, Some(0..0))?.is_some();
        self.blobs.delete(&key)?;
        Ok(was_pinned)
    }

    /// All pins, sorted by package and version.
    ///
    /// # Errors
    /// What is written of one can't be read, or makes no sense.
    pub fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let mut pins = Vec::new();
        for found in self.blobs.list("pins")? {
            let Some((pin, _)) = self.read_value::<Pin>(&found.key)? else { continue };
            if key(&pin.package, &pin.version) != found.key {
                let path = place(&*self.blobs, &found.key);
                let why = format!("it is about {}@{}", pin.package, pin.version);
                return Err(StoreError::Record { path, why });
            }
            pins.push(pin);
        }
        Ok(pins)
    }

    /// Whether a version is pinned, going by the name of the pin alone.
    pub(super) fn is_pinned(&self, package: &Name, version: &Version) -> Result<bool, StoreError> {
        Ok(self.blobs.read(&key(package, version), Some(0..0))?.is_some())
    }
}

fn key(package: &Name, version: &Version) -> String {
    format!("pins/{package}/{version}.json")
}
