//! The content of any package, by the providers that it belongs to.

use staith_model::{Digest, Entry, RelPath};

use super::{Dialect, Listed, PackageReader, ReadError, structure};
use crate::web_deploy::{
    DosTime,
    archive::{Provider, zip_path},
    layout,
};

/// A directory or a single file that the package brings, and the provider that brings it.
///
/// A package may have several roots, and they may overlap. What a root's files are is asked of [`PackageReader::items`].
#[derive(Debug, Clone)]
pub struct ContentRoot<'p> {
    /// The provider, with those that it lies in: `iisApp`, `contentPath`, `dirPath`. Never empty. A gallery package, whose
    /// manifest names the outermost provider only, has just that.
    pub providers: Vec<&'p Provider>,
    /// The path as the package has it: `C:\build\shop`, `app`, without a separator at its end. Scopes and rules of Web Deploy
    /// are about paths that begin with it: [`ContentRoot::source_path`].
    pub path: &'p str,
    /// What it is.
    pub kind: RootKind,
    /// Name of its entry in the zip, in the case that the zip has, without `/` at the end.
    pub entry: String,
    /// Range in the package's sorted entries.
    range: std::ops::Range<usize>,
}

/// What a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// A directory with all below it.
    Directory,
    /// A single file. Its one item has the file's name as its path.
    File,
}

/// Something that a root holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Path below the root.
    pub path: RelPath,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A directory. Web Deploy does not compare directories' times.
    Directory,
    /// A file.
    File {
        /// Its place in [`PackageReader::entries`], for [`PackageReader::read_entry`].
        entry: usize,
        /// Length in bytes.
        size: u64,
        /// CRC-32 of the content.
        crc: u32,
        /// When it was last changed. Web Deploy takes files of equal length and time for equal.
        time: DosTime,
        /// Unix permission bits, where Staith wrote the package.
        mode: Option<u32>,
        /// Digest of the content, where Staith wrote the package.
        digest: Option<Digest>,
    },
    /// A symbolic link that stays within the root, where Staith wrote the package.
    Symlink {
        /// What the link says.
        target: String,
    },
}

impl ContentRoot<'_> {
    /// The source path of something below this root, with backslashes, as Web Deploy's scopes and skip rules see it:
    /// `C:\build\shop\bin\shop.dll`. Of a single file, its own path.
    pub fn source_path(&self, below: &RelPath) -> String {
        match self.kind {
            RootKind::Directory => {
                format!("{}\\{}", self.path.replace('/', "\\"), below.as_str().replace('/', "\\"))
            }
            RootKind::File => self.path.replace('/', "\\"),
        }
    }
}

impl PackageReader {
    /// Every directory and file that the package's providers bring, in the order of the providers.
    ///
    /// In a package of Web Deploy's own kind, those are its `MSDeploy.dirPath` and `MSDeploy.filePath` providers, wherever they lie in the tree
    /// of providers; their content is below `Content/`, where upper and lower case are the same. Opening the package has seen
    /// to it that each has an entry. In a gallery package, they are its providers of content (`iisApp`, `contentPath`,
    /// `dirPath`, `filePath`), with their content in the root of the zip. Other providers (`setAcl`, `runCommand`, `dbFullSql`)
    /// bring no content: see [`PackageReader::archive`].
    pub fn content_roots(&self) -> Vec<ContentRoot<'_>> {
        self.archive().chains().into_iter().filter_map(|chain| self.root(chain)).collect()
    }

    fn root<'p>(&'p self, providers: Vec<&'p Provider>) -> Option<ContentRoot<'p>> {
        let provider = providers.last()?;
        let path = provider.path.as_deref()?;
        let base = match self.dialect() {
            Dialect::Archive if provider.is_directory() || provider.is_file() => "Content/",
            Dialect::Gallery
                if ["iisApp", "contentPath", "dirPath", "filePath"].iter().any(|name| provider.is(name)) =>
            {
                ""
            }
            Dialect::Archive | Dialect::Gallery => return None,
        };
        let name = format!("{base}{}", zip_path(path));
        let key = structure::sort_key(&name);
        let sort_key = |nth: &usize| self.listed[*nth].sort_key();
        let begin = self.sorted.partition_point(|nth| sort_key(nth) < key);
        let (own, below) = (key.clone(), format!("{key}\0"));
        let end = self.sorted.partition_point(|nth| {
            let found = sort_key(nth);
            found <= own || found.starts_with(&below)
        });
        let found = self.sorted.get(begin..end)?.first().map(|nth| &self.listed[*nth])?;
        let is_own = found.sort_key() == key;
        let kind = if is_own && !found.is_directory() { RootKind::File } else { RootKind::Directory };
        // Gallery packages may have no entry for the directory itself.
        let range = if is_own && kind == RootKind::Directory { begin + 1..end } else { begin..end };
        let depth = name.split('/').count();
        let entry = found.name.trim_end_matches('/').split('/').take(depth).collect::<Vec<_>>().join("/");
        let path = path.trim_end_matches(['/', '\\']);
        Some(ContentRoot { providers, path, kind, entry, range })
    }

    /// What a root of this package holds: each directory before what is in it, names in the order in which Web Deploy compares
    /// them. Symbolic links come last.
    ///
    /// Directories that have no entry of their own are not listed; only gallery packages may have such.
    pub fn items(&self, root: &ContentRoot<'_>) -> impl Iterator<Item = Item> {
        let depth = match root.kind {
            RootKind::Directory => root.entry.split('/').count(),
            RootKind::File => root.entry.split('/').count() - 1,
        };
        let is_ours = root.entry == layout::CONTENT;
        let manifest = self.manifest().filter(|_| is_ours);
        let listed = self.sorted.get(root.range.clone()).unwrap_or_default().iter().filter_map(move |&nth| {
            let Listed { name, size, crc, time, .. } = &self.listed[nth];
            let below = name.trim_end_matches('/').splitn(depth + 1, '/').nth(depth)?;
            let path = RelPath::try_from(below).ok()?;
            let (mode, digest) = match manifest.and_then(|manifest| manifest.entries.get(&path)) {
                Some(Entry::File { mode, digest, .. }) => (Some(*mode), Some(*digest)),
                _ => (None, None),
            };
            let kind = if name.ends_with('/') {
                ItemKind::Directory
            } else {
                ItemKind::File { entry: nth, size: *size, crc: *crc, time: *time, mode, digest }
            };
            Some(Item { path, kind })
        });
        let links = manifest.into_iter().flat_map(|manifest| &manifest.entries).filter_map(
            |(path, entry)| match entry {
                Entry::Symlink { target } => {
                    Some(Item { path: path.clone(), kind: ItemKind::Symlink { target: target.clone() } })
                }
                Entry::Directory | Entry::File { .. } => None,
            },
        );
        listed.chain(links)
    }

    /// Writes the bytes of an entry, by its place in [`PackageReader::entries`], to `to`. Held against length and checksum, and,
    /// where Staith wrote the package, against the digest.
    ///
    /// Bytes are handed on as they come, before the last of them is verified: whoever receives them must drop them on error.
    ///
    /// # Errors
    /// The entry is not what it says, there is none, or `to` fails.
    pub fn read_entry(&self, entry: usize, to: &mut impl std::io::Write) -> Result<(), ReadError> {
        let Some(listed) = self.listed.get(entry) else {
            return Err(ReadError::Absent { path: self.path.clone(), file: format!("entry {entry}") });
        };
        self.inflate(entry, to, self.digest_of(&listed.name))
    }

    /// The bytes of an entry that is to be held in memory, such as a script or `web.config`; otherwise as
    /// [`PackageReader::read_entry`].
    ///
    /// # Errors
    /// As [`PackageReader::read_entry`], or it is longer than `longest` bytes.
    pub fn read_text(&self, entry: usize, longest: u64) -> Result<Vec<u8>, ReadError> {
        let size = self.listed.get(entry).map_or(0, |listed| listed.size);
        if size > longest {
            return Err(self.refuse(entry, super::Flaw::TooLong(size)));
        }
        let mut bytes = Vec::new();
        self.read_entry(entry, &mut bytes)?;
        Ok(bytes)
    }

    /// The place in [`PackageReader::entries`] of the entry with this name, in any case: that of a provider's stream, or of a file
    /// in the root such as `parameters.xml`.
    pub fn find(&self, name: &str) -> Option<usize> {
        let key = structure::sort_key(name);
        let at = self.sorted.binary_search_by_key(&key, |&nth| self.listed[nth].sort_key()).ok()?;
        self.sorted.get(at).copied()
    }

    /// What the manifest of a package of Staith's says of the entry with this name.
    fn digest_of(&self, name: &str) -> Option<Digest> {
        let below = name.strip_prefix(layout::CONTENT)?.strip_prefix('/')?;
        match self.manifest()?.entries.get(&RelPath::try_from(below).ok()?)? {
            Entry::File { digest, .. } => Some(*digest),
            Entry::Directory | Entry::Symlink { .. } => None,
        }
    }
}
