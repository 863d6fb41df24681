//! A package as a source: one of its content roots, with parameters applied.

use std::{borrow::Cow, collections::HashMap, io::Write};

use staith_model::{Digest, RelPath};

use super::{
    ApplyError,
    skip::{SkipRule, Undecided},
    source::Source,
    tree::{FileFacts, Node, Tree},
};
use crate::{
    parameters::{Resolved, Rewrite},
    web_deploy::{ContentRoot, ItemKind, PackageReader, RootKind, archive::Provider},
};

/// Parameters that change files on their way to the destination.
pub trait Rewriter: Sync {
    /// Whether the scope of any parameter holds the file with this source path (`C:\build\shop\web.config`).
    ///
    /// # Errors
    /// It can't be told, in one sentence.
    fn covers(&self, source_path: &str) -> Result<bool, String>;

    /// The file's bytes as they belong at the destination. Called for files that are covered, with any number of threads, and
    /// more than once for a file: the same bytes must come of it.
    ///
    /// # Errors
    /// A parameter can't be applied, in one sentence.
    fn rewrite<'b>(&self, source_path: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, String>;
}

impl Rewriter for Resolved {
    fn covers(&self, source_path: &str) -> Result<bool, String> {
        self.is_in_scope(source_path).map_err(|why| why.to_string())
    }

    fn rewrite<'b>(&self, source_path: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, String> {
        match Self::rewrite(self, source_path, bytes).map_err(|why| why.to_string())? {
            Rewrite::Rewritten { bytes, .. } => Ok(Cow::Owned(bytes)),
            Rewrite::InScopeUnmatched { .. } | Rewrite::Untouched => Ok(Cow::Borrowed(bytes)),
        }
    }
}

/// Longest file that parameters are applied to, in bytes. It is held in memory.
pub const LONGEST_REWRITTEN: u64 = 64 << 20;

/// One content root of a package.
pub struct PackageSource<'p> {
    package: &'p PackageReader,
    root: &'p ContentRoot<'p>,
    rewriter: Option<&'p dyn Rewriter>,
    tree: Tree,
    entries: HashMap<RelPath, usize>,
    /// Path below the root of a single file that goes by another name at the destination.
    single: Option<RelPath>,
}

impl<'p> PackageSource<'p> {
    /// The content of `root`, with the files that `rewriter` covers rewritten. `name` is the name at the destination of a root that
    /// is a single file; directories ignore it.
    ///
    /// # Errors
    /// An entry that is rewritten is damaged, or can't be rewritten.
    pub fn new(
        package: &'p PackageReader,
        root: &'p ContentRoot<'p>,
        rewriter: Option<&'p dyn Rewriter>,
        name: Option<&RelPath>,
    ) -> Result<Self, ApplyError> {
        let spelled = match root.kind {
            RootKind::Directory => root.path,
            RootKind::File => root.path.rsplit_once(['/', '\\']).map_or("", |(above, _)| above),
        };
        let (tree, entries) = (Tree::new(spelled), HashMap::new());
        let mut source = Self { package, root, rewriter, tree, entries, single: None };
        for item in package.items(root) {
            let at = match (root.kind, name) {
                (RootKind::File, Some(name)) => {
                    source.single = Some(item.path.clone());
                    name.clone()
                }
                _ => item.path.clone(),
            };
            let node = match item.kind {
                ItemKind::Directory => Node::Directory,
                ItemKind::Symlink { target } => Node::Link { target },
                ItemKind::File { entry, size, time, mode, digest, .. } => {
                    source.entries.insert(at.clone(), entry);
                    // A zip may hold what is no time; the earliest that it can hold stands for that.
                    const EARLIEST: i64 = 315_532_800;
                    let time = time.seconds().unwrap_or(EARLIEST);
                    Node::File(source.facts(&at, FileFacts { size, time, mode, digest, by_content: false })?)
                }
            };
            source.tree.insert(at, node);
        }
        Ok(source)
    }

    /// What is known of a file once parameters are applied.
    fn facts(&self, path: &RelPath, facts: FileFacts) -> Result<FileFacts, ApplyError> {
        match self.rewritten(path)? {
            None => Ok(facts),
            Some(bytes) => Ok(FileFacts {
                size: bytes.len() as u64,
                digest: Some(Digest::of(&bytes)),
                by_content: true,
                ..facts
            }),
        }
    }

    /// The bytes of a file that a parameter covers.
    fn rewritten(&self, path: &RelPath) -> Result<Option<Vec<u8>>, ApplyError> {
        let Some(rewriter) = self.rewriter else { return Ok(None) };
        let source_path = self.root.source_path(self.single.as_ref().unwrap_or(path));
        let refused = |why| ApplyError::Parameter { file: source_path.clone(), why };
        if !rewriter.covers(&source_path).map_err(refused)? {
            return Ok(None);
        }
        let bytes = self.package.read_text(self.entry(path)?, LONGEST_REWRITTEN)?;
        let rewritten = rewriter.rewrite(&source_path, &bytes);
        Ok(Some(rewritten.map_err(refused)?.into_owned()))
    }

    fn entry(&self, path: &RelPath) -> Result<usize, ApplyError> {
        self.entries.get(path).copied().ok_or_else(|| ApplyError::Unstable(path.clone()))
    }
}

impl Source for PackageSource<'_> {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn copy(&self, path: &RelPath, mut to: &mut dyn Write) -> Result<(), ApplyError> {
        match self.rewritten(path)? {
            Some(bytes) => to.write_all(&bytes).map_err(|source| ApplyError::Destination {
                doing: "write",
                path: path.as_str().into(),
                source,
            }),
            None => Ok(self.package.read_entry(self.entry(path)?, &mut to)?),
        }
    }
}

/// The providers of a package that no directory can take: what makes applications, sets access rights, runs commands or scripts.
/// Of those that lie in each other, the outermost.
///
/// A package that Staith wrote names an application because Web Deploy asks for one; it has no settings, and is not listed.
pub fn untaken(package: &PackageReader) -> Vec<&Provider> {
    fn walk<'p>(providers: &'p [Provider], is_ours: bool, into: &mut Vec<&'p Provider>) {
        for provider in providers {
            if ["iisApp", "contentPath", "dirPath", "filePath"].iter().any(|name| provider.is(name)) {
                walk(&provider.children, is_ours, into);
            } else if !(is_ours && provider.is("createApp")) {
                into.push(provider);
            }
        }
    }
    let mut found = Vec::new();
    walk(&package.archive().providers, package.manifest().is_some(), &mut found);
    found
}

/// Whether a skip directive hides a provider, so that leaving it out is what was asked for.
///
/// # Errors
/// A rule can't be decided.
pub fn is_skipped(provider: &Provider, skips: &[SkipRule]) -> Result<bool, Undecided> {
    for rule in skips.iter().filter(|rule| rule.is_directive()) {
        if rule.covers(&provider.name, provider.path.as_deref().unwrap_or_default())? {
            return Ok(true);
        }
    }
    Ok(false)
}
