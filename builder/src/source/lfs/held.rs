//! Where the objects of one repository may be.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Pointer;
use crate::source::{
    ignores::common_dir,
    listing::ObjectId,
    origin::{Origin, is_repository},
    remote::{Named, RemoteRepository},
    submodules::{joined_lines, own_remote, unquoted},
    tree::open,
};

/// What one repository has given to git-lfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) struct Held {
    /// Pointers among the source's files, by their ids.
    #[serde(with = "on_paper")]
    pub(in crate::source) pointers: BTreeMap<ObjectId, Pointer>,
    /// Directories of objects on this machine that belong to it: its own, and that of the repository that it was cloned from.
    pub(in crate::source) here: Vec<PathBuf>,
    /// The repository that a server has its objects for.
    pub(in crate::source) remote: Option<RemoteRepository>,
    /// The server that has them, where it is not the repository's own.
    pub(in crate::source) server: Option<Named>,
}

impl Held {
    /// For a repository on this machine, or the mirror of `remote`; `config` is the commit's own `.lfsconfig`. `None` where
    /// nothing was given to git-lfs.
    pub(in crate::source) fn of(
        git_dir: &Path,
        remote: Option<&RemoteRepository>,
        config: &[u8],
        pointers: &[(ObjectId, Pointer)],
    ) -> Option<Self> {
        if pointers.is_empty() {
            return None;
        }
        let by_commit = || server_of(config).map(Named::ByCommit);
        let (here, remote, server) = match remote {
            Some(remote) => (Vec::new(), Some(remote.clone()), by_commit()),
            None => {
                let own = common_dir(git_dir);
                let here = std::iter::once(own.clone()).chain(cloned_from(&own));
                let server = of_owner(&own).map(Named::ByPerson).or_else(by_commit);
                (here.map(|dir| dir.join("lfs/objects")).collect(), own_remote(&own), server)
            }
        };
        let server = server.map(Named::plain);
        Some(Self { pointers: pointers.iter().copied().collect(), here, remote, server })
    }
}

/// Pointers as they are written down: a list of the ids of those that git-lfs writes follows from them.
mod on_paper {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

    use super::{ObjectId, Pointer};

    type Pointers = BTreeMap<ObjectId, Pointer>;

    pub(super) fn serialize<S: Serializer>(pointers: &Pointers, to: S) -> Result<S::Ok, S::Error> {
        pointers.values().map(|pointer| (pointer.oid, pointer.size)).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Pointers, D::Error> {
        let all = Vec::<(staith_model::Digest, u64)>::deserialize(from)?;
        let with_id = |(oid, size)| {
            let pointer = Pointer { oid, size };
            Ok((pointer.id().map_err(D::Error::custom)?, pointer))
        };
        all.into_iter().map(with_id).collect()
    }
}

/// Where git-lfs keeps an object in a directory of objects.
pub(in crate::source) fn place_in(objects: &Path, pointer: &Pointer) -> PathBuf {
    let hex = pointer.oid.hex();
    objects.join(&hex[..2]).join(&hex[2..4]).join(hex)
}

/// The server that the owner of a repository on this machine has set.
fn of_owner(git_dir: &Path) -> Option<String> {
    open(git_dir).ok()?.config().ok()?.get_string("lfs.url").ok()
}

/// The repository on this machine that another one was cloned from.
fn cloned_from(git_dir: &Path) -> Option<PathBuf> {
    let repository = open(git_dir).ok()?;
    let origin = repository.find_remote("origin").ok()?;
    let url = origin.url().ok()?;
    if !url.starts_with('/') && !url.starts_with("file://") {
        return None;
    }
    let git_dir = match Origin::parse(url, Path::new("/")).ok()? {
        Origin::Directory { repository, .. } => repository?.git_dir,
        Origin::Repository { git_dir } => git_dir,
        Origin::Remote(_) => return None,
    };
    is_repository(&git_dir).then(|| common_dir(&git_dir))
}

/// The server that a `.lfsconfig` names: `lfs.url`, or `remote.origin.lfsurl`.
fn server_of(config: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(config);
    let (mut section, mut whole, mut of_origin) = (String::new(), None, None);
    for line in joined_lines(text.trim_start_matches('\u{feff}')) {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).split_whitespace().collect::<Vec<_>>().join(" ");
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match (section.to_ascii_lowercase().as_str(), key.trim().to_ascii_lowercase().as_str()) {
            ("lfs", "url") => whole = Some(value),
            ("remote \"origin\"", "lfsurl") => of_origin = Some(value),
            _ => {}
        }
    }
    whole.or(of_origin).filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_is_written_down_has_credentials() {
        let pointer = Pointer { oid: staith_model::Digest::of(b"x"), size: 1 };
        let remote = RemoteRepository::parse("https://me:hunter2@h/x").unwrap();
        let pointers = [(pointer.id().unwrap(), pointer)];
        for url in ["https://you:hunter2@h/x", "https://you:hunter2@h/x y"] {
            let config = format!("[lfs]\nurl = {url}\n");
            let held =
                Held::of(Path::new("/not/on/this/machine"), Some(&remote), config.as_bytes(), &pointers);
            let held = held.unwrap();
            let text = serde_json::to_string(&held).unwrap();
            assert!(!text.contains("hunter2") && !format!("{held:?}").contains("hunter2"), "{text}");
            let again: Held = serde_json::from_str(&text).unwrap();
            assert_eq!((again.pointers, again.server), (held.pointers, held.server));
        }
    }

    #[test]
    fn the_server_is_the_one_that_git_lfs_would_ask() {
        for (text, expected) in [
            ("[lfs]\n\turl = https://h/x ; ours\n", Some("https://h/x")),
            ("[LFS]\nURL = \"https://h/x\"\n[remote \"origin\"]\nlfsurl = https://i\n", Some("https://h/x")),
            (
                "[remote \"origin\"]\n\tlfsurl = https://i\n[remote \"other\"]\nlfsurl = https://j\n",
                Some("https://i"),
            ),
            ("[lfs \"https://h\"]\n\turl = https://k\n\taccess = basic\n", None),
            ("[lfs]\n\tfetchexclude = x\n", None),
            ("[include]\npath = /not/on/this/machine\n", None),
            ("[lfs]\nurl =\n", None),
            ("", None),
        ] {
            assert_eq!(server_of(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes: Vec<u8>, text in "[\\[\\]lfsur=\"\\\\ \n]{0,40}") {
            server_of(&bytes);
            server_of(text.as_bytes());
        }
    }
}
