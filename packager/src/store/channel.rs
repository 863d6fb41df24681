//! Channels: names that move from version to version, with all that they ever were.

use serde::{Deserialize, Serialize};
use staith_model::{Name, Version};

use super::{
    Store, StoreError,
    blobs::place,
    record::now,
    reference::{closest, is_reserved},
};

/// Where a channel of a package stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What the channel is called.
    pub name: Name,
    /// The package.
    pub package: Name,
    /// The version that it stands for.
    pub version: Version,
    /// All moves, the oldest first; the last one led here.
    pub history: Vec<Move>,
}

/// One move of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Who moved it, as they are called where they did.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Where it stood; `None` the first time.
    pub from: Option<Version>,
    /// Where it went.
    pub to: Version,
}

/// What somebody who moves a channel expects of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Anything,
    /// That it is not there yet.
    Nothing,
    /// That it stands for this version.
    Version(Version),
}

impl Store {
    /// Moves a channel of a package to a version, in one step: everybody sees the old or the new one. Moving it to where it
    /// stands changes nothing, and notes nothing.
    ///
    /// # Errors
    /// The version is not published ([`StoreError::Unknown`]); the channel stands elsewhere than expected, also because
    /// somebody moved it meanwhile, or its name is one that versions have ([`StoreError::Kept`]).
    pub fn move_channel(
        &self,
        package: &Name,
        version: &Version,
        channel: &Name,
        expected: &Expected,
        by: &str,
    ) -> Result<Channel, StoreError> {
        if is_reserved(channel.as_str()) {
            return Err(StoreError::Kept {
                what: format!("`{channel}`"),
                why: "`latest`, and what begins with a digit or with `v` and a digit, is for versions; call the channel otherwise"
                    .into(),
            });
        }
        let _announced = self.announce(&[format!("{package}@{version}")])?;
        // Whatever is published now can't be removed before the channel stands for it.
        if self.find(package, version)?.is_none() {
            return Err(self.no_version(package, version.as_str()));
        }
        let key = channel_key(package, channel);
        loop {
            let there = self.read_value::<Channel>(&key)?;
            let (stands, tag) = there.map_or((None, None), |(stands, tag)| (Some(stands), Some(tag)));
            meets(expected, stands.as_ref(), channel)?;
            if let Some(stands) = stands.as_ref().filter(|stands| stands.version == *version) {
                return Ok(stands.clone());
            }
            let from = stands.as_ref().map(|stands| stands.version.clone());
            let mut history = stands.map_or_else(Vec::new, |stands| stands.history);
            history.push(Move { by: by.to_owned(), at: now(), from, to: version.clone() });
            let moved = Channel {
                name: channel.clone(),
                package: package.clone(),
                version: version.clone(),
                history,
            };
            if self.write_value(&key, &moved, tag.as_ref())? {
                return Ok(moved);
            }
        }
    }

    /// Where a channel stands, if there is such a channel.
    ///
    /// # Errors
    /// What is written of it can't be read, or makes no sense.
    pub fn channel(&self, package: &Name, channel: &Name) -> Result<Option<Channel>, StoreError> {
        self.read_channel(&channel_key(package, channel))
    }

    /// All channels of a package, sorted by their names.
    ///
    /// # Errors
    /// As [`Store::channel`].
    pub fn channels(&self, package: &Name) -> Result<Vec<Channel>, StoreError> {
        self.channels_below(&format!("channels/{package}"))
    }

    /// All channels of all packages.
    ///
    /// # Errors
    /// As [`Store::channel`].
    pub fn all_channels(&self) -> Result<Vec<Channel>, StoreError> {
        self.channels_below("channels")
    }

    fn channels_below(&self, prefix: &str) -> Result<Vec<Channel>, StoreError> {
        let keys = self.blobs.list(prefix)?;
        keys.iter().filter_map(|found| self.read_channel(&found.key).transpose()).collect()
    }

    fn read_channel(&self, key: &str) -> Result<Option<Channel>, StoreError> {
        let Some((channel, _)) = self.read_value::<Channel>(key)? else { return Ok(None) };
        if channel_key(&channel.package, &channel.name) == key {
            return Ok(Some(channel));
        }
        let path = place(&*self.blobs, key);
        Err(StoreError::Record { path, why: format!("it is about {} of {}", channel.name, channel.package) })
    }

    pub(super) fn no_version(&self, package: &Name, asked: &str) -> StoreError {
        let known = self.versions_of(package).unwrap_or_default();
        let what = format!("{package} has no version `{asked}` here");
        if known.is_empty() {
            let names = self.names().unwrap_or_default();
            let names = names.iter().map(Name::as_str);
            return StoreError::Unknown {
                what: format!("nothing is published as `{package}`"),
                remedy: closest(package.as_str(), names),
            };
        }
        StoreError::Unknown { what, remedy: closest(asked, known.iter().rev().map(Version::as_str)) }
    }
}

fn meets(expected: &Expected, stands: Option<&Channel>, channel: &Name) -> Result<(), StoreError> {
    let version = stands.map(|stands| &stands.version);
    let is_met = match expected {
        Expected::Anything => true,
        Expected::Nothing => version.is_none(),
        Expected::Version(expected) => version == Some(expected),
    };
    if is_met {
        return Ok(());
    }
    let why = version.map_or_else(
        || "it is not there yet; leave out what you expect of it".to_owned(),
        |version| format!("it stands for {version}; look what that is, then expect it"),
    );
    Err(StoreError::Kept { what: format!("the channel `{channel}`"), why })
}

pub(super) fn channel_key(package: &Name, channel: &Name) -> String {
    format!("channels/{package}/{channel}.json")
}
