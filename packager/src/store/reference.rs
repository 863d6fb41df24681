//! How people say which package they mean.

use std::{fmt, str::FromStr};

use staith_model::{Digest, Name, Version};

use super::{Published, Store, StoreError, version};

/// A package of a store, as people say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: Name,
    /// Which of that name.
    pub which: Which,
}

/// Which package of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The highest release; the highest pre-release where there is no release. `shop` and `shop@latest`.
    Latest,
    /// `shop@TEXT`: the version of exactly this text; else the channel of this name; else, of what begins with the numbers of
    /// this text (`1.4`, `1`), the highest release, and the highest pre-release where there is no release; else the latest
    /// build of this version (`1.4.0-rc.1` for `1.4.0-rc.1+c.0123`).
    Named(String),
    /// `shop@sha256:...`: the package file with this digest, or the package with this manifest.
    Digest(Digest),
}

/// Text that says no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` says no package: {why}; write NAME, NAME@VERSION, NAME@CHANNEL or NAME@sha256:DIGEST")]
pub struct NotAReference {
    text: String,
    why: String,
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let refuse = |why: String| NotAReference { text: text.to_owned(), why };
        let (name, which) = text.split_once('@').map_or((text, None), |(name, which)| (name, Some(which)));
        let name = name.parse().map_err(|why| refuse(format!("{why}")))?;
        let which = match which {
            None | Some("latest") => Which::Latest,
            Some(digest) if digest.contains(':') => {
                Which::Digest(digest.parse().map_err(|why| refuse(format!("{why}")))?)
            }
            // The alphabet of versions has all of that of channels but `_`.
            Some(named) if named.parse::<Version>().is_ok() || named.parse::<Name>().is_ok() => {
                Which::Named(named.to_owned())
            }
            Some(other) => {
                return Err(refuse(format!("`{other}` is neither a version nor a channel nor a digest")));
            }
        };
        Ok(Self { name, which })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Latest => write!(f, "{}", self.name),
            Which::Named(named) => write!(f, "{}@{named}", self.name),
            Which::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

impl Store {
    /// What is published as this.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], with what comes close; or a record can't be read.
    pub fn resolve(&self, reference: &Reference) -> Result<Published, StoreError> {
        let name = &reference.name;
        match &reference.which {
            Which::Latest => self.latest_release(name)?.ok_or_else(|| self.no_version(name, "latest")),
            Which::Named(text) => self.resolve_named(name, text),
            Which::Digest(digest) => {
                let all = self.list(name)?;
                let found = all
                    .into_iter()
                    .find(|found| found.package.digest == *digest || found.manifest().digest == *digest);
                found.ok_or_else(|| self.no_version(name, &digest.to_string()))
            }
        }
    }

    fn resolve_named(&self, name: &Name, text: &str) -> Result<Published, StoreError> {
        if let Ok(version) = text.parse()
            && let Some(found) = self.find(name, &version)?
        {
            return Ok(found);
        }
        if let Ok(channel) = text.parse()
            && let Some(channel) = self.channel(name, &channel)?
        {
            let gone = || self.no_version(name, channel.version.as_str());
            return self.find(name, &channel.version)?.ok_or_else(gone);
        }
        if let Ok(begin) = text.parse() {
            let mut versions = self.versions_of(name)?;
            versions.retain(|it| version::begins_with(it, &begin) || version::is_build_of(it, &begin));
            if let Some(found) = self.newest(name, &versions)? {
                return Ok(found);
            }
        }
        Err(self.no_version_or_channel(name, text))
    }

    fn no_version_or_channel(&self, name: &Name, text: &str) -> StoreError {
        let channels = self.channels(name).unwrap_or_default();
        let versions = self.versions_of(name).unwrap_or_default();
        if versions.is_empty() {
            return self.no_version(name, text);
        }
        let known = channels.iter().map(|channel| channel.name.as_str());
        let remedy = closest(text, known.chain(versions.iter().rev().map(Version::as_str)));
        StoreError::Unknown { what: format!("{name} has no version or channel `{text}` here"), remedy }
    }

    /// The highest release of a name; the highest pre-release where there is no release.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn latest_release(&self, name: &Name) -> Result<Option<Published>, StoreError> {
        self.newest(name, &self.versions_of(name)?)
    }

    /// The highest release of these, or the highest pre-release. Of versions that differ in build metadata only, the one that was
    /// published last.
    fn newest(&self, name: &Name, versions: &[Version]) -> Result<Option<Published>, StoreError> {
        let Some(highest) = highest(versions.iter()) else { return Ok(None) };
        let same = versions.iter().filter(|it| version::compare(it, highest).is_eq());
        let found = same.filter_map(|it| self.find(name, it).transpose()).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().max_by(|a, b| (a.at, &a.package.version).cmp(&(b.at, &b.package.version))))
    }

    /// All versions of a name, the lowest first, without reading what is written of them.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn versions_of(&self, name: &Name) -> Result<Vec<Version>, StoreError> {
        let prefix = format!("names/{name}");
        let keys = self.blobs.list(&prefix)?;
        let version =
            |key: &str| key.strip_prefix(&prefix)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok();
        let mut versions: Vec<Version> = keys.iter().filter_map(|found| version(&found.key)).collect();
        versions.sort_by(|a, b| version::compare(a, b).then_with(|| a.cmp(b)));
        Ok(versions)
    }
}

/// The highest release, or the highest pre-release if there is no release.
fn highest<'a>(versions: impl Iterator<Item = &'a Version>) -> Option<&'a Version> {
    versions.max_by(|a, b| {
        let releases = version::is_release(a).cmp(&version::is_release(b));
        releases.then_with(|| version::compare(a, b)).then_with(|| a.cmp(b))
    })
}

/// Whether a text can't be a channel's name because versions, or `latest`, look like it.
pub(super) fn is_reserved(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or(text);
    text == "latest" || digits.starts_with(|c: char| c.is_ascii_digit())
}

/// What to do about a name that is not there: those that come closest, or some of those that are there.
pub(super) fn closest<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let mut known: Vec<&str> = known.collect();
    if known.is_empty() {
        return "the store is empty; `staith run` and `staith push` publish packages".into();
    }
    let near: Vec<&str> = {
        let mut near: Vec<(f64, &str)> = known
            .iter()
            .map(|it| (strsim::jaro_winkler(asked, it), *it))
            .filter(|(how, _)| *how > 0.8)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.into_iter().take(SHOWN).map(|(_, it)| it).collect()
    };
    if !near.is_empty() {
        return format!("did you mean {}?", listed(&near));
    }
    let more = known.len().saturating_sub(SHOWN);
    known.truncate(SHOWN);
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("there is {}{and_more}", listed(&known))
}

fn listed(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}
