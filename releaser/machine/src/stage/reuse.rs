//! Makes the new tree of the spare one: what is right in it stays, all else goes. Nothing is believed of it but what is known of each
//! file by its mark.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
};

use rustix::fs::FileType;
use staith_model::Entry;

use super::Site;
use crate::{
    durable,
    folder::{Folder, Nature},
    point::point,
    refusal::{self, Outcome},
    spec,
    tree::{self, is_executable, kept_mode},
    verified::{Lost, Node, Verified},
};

/// What of the new tree is there already.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Places of files that are right, in ascending order.
    places: HashSet<u32>,
    /// Folders.
    folders: HashSet<String>,
}

impl Kept {
    /// Whether the file with this place in the manifest is there.
    pub(super) fn file(&self, place: u32) -> bool {
        self.places.contains(&place)
    }

    /// Whether the folder is there.
    pub(super) fn folder(&self, path: &str) -> bool {
        self.folders.contains(path)
    }

    fn add(&mut self, found: Found) -> Vec<Lost> {
        self.places.extend(found.places);
        self.folders.extend(found.folders);
        found.lost
    }
}

/// Makes the scratch folder: of the spare tree where there is one that is of use, else an empty one.
pub(super) fn begin(site: &Site<'_>, verified: &mut Verified) -> Outcome<Kept> {
    let created = || fs::create_dir(&site.scratch).map_err(refusal::io("create", &site.scratch));
    created()?;
    // With no marks, or where every byte is to be read, nothing of it could stay.
    if site.stage.every_byte || verified.is_empty() {
        return Ok(Kept::default());
    }
    match take(site, verified) {
        Ok(Some(kept)) => Ok(kept),
        Ok(None) => Ok(Kept::default()),
        Err(_) => {
            // Whatever is wrong with it: it is of no use, and all of the new tree can be had without it.
            let spare = site.layout.spare();
            spec::clear_leftovers(site.layout)?;
            durable::clear(&spare).map_err(refusal::io("remove", &spare))?;
            // Files that lost names with it are marked anew there.
            *verified = Verified::read(site.layout);
            created()?;
            Ok(Kept::default())
        }
    }
}

/// Gives the spare tree the scratch folder's name, and removes from it what the release has not. `None` if there is none.
fn take(site: &Site<'_>, verified: &mut Verified) -> io::Result<Option<Kept>> {
    let fresh = Folder::open(&site.scratch)?.nature()?;
    // A folder is moved onto an empty one in one step.
    match fs::rename(site.layout.spare(), &site.scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        done => done?,
    }
    point("stage-taken");
    let root = Folder::open(&site.scratch)?;
    let patch = Patch { site, verified, fresh, expected: Expected::of(site) };
    let mut found = Found::default();
    let below = patch.names(&root, "", &mut found)?;
    let mut kept = Kept::default();
    let mut lost = kept.add(found);
    let parts = tree::together(&below, |path| Ok(patch.all(&root, path)))
        .map_err(|_| io::Error::other("a thread of the program ended unexpectedly"))?;
    for part in parts {
        lost.extend(kept.add(part?));
    }
    verified.settle(lost);
    Ok(Some(kept))
}

/// What a release has, by path.
struct Expected<'a> {
    files: HashMap<&'a str, u32>,
    folders: HashSet<&'a str>,
}

impl<'a> Expected<'a> {
    fn of(site: &Site<'a>) -> Self {
        let (mut files, mut folders) = (HashMap::with_capacity(site.entries.len()), HashSet::new());
        for (place, (path, entry)) in site.entries.iter().enumerate() {
            let path = path.as_str();
            match entry {
                Entry::File { .. } if !site.stage.private.contains(site.entries[place].0) => {
                    files.insert(path, u32::try_from(place).unwrap_or(u32::MAX));
                }
                Entry::Directory => {
                    folders.insert(path);
                }
                Entry::File { .. } | Entry::Symlink { .. } => {}
            }
            let mut above = path;
            while let Some((parent, _)) = above.rsplit_once('/') {
                if !folders.insert(parent) {
                    break;
                }
                above = parent;
            }
        }
        Self { files, folders }
    }
}

/// What was found in a part of the tree.
#[derive(Default)]
struct Found {
    places: Vec<u32>,
    folders: Vec<String>,
    lost: Vec<Lost>,
}

struct Patch<'a> {
    site: &'a Site<'a>,
    verified: &'a Verified,
    fresh: Nature,
    expected: Expected<'a>,
}

impl Patch<'_> {
    /// Looks at a folder and all that is in it. The folder is one of `root`.
    fn all(&self, root: &Folder, path: &str) -> io::Result<Found> {
        let mut found = Found::default();
        let name = std::ffi::CString::new(path)?;
        self.deep(&root.below(&name)?, path, &mut found)?;
        Ok(found)
    }

    fn deep(&self, folder: &Folder, path: &str, found: &mut Found) -> io::Result<()> {
        for below in self.names(folder, path, found)? {
            let name = below.rsplit('/').next().unwrap_or_default();
            self.deep(&folder.below(&std::ffi::CString::new(name)?)?, &below, found)?;
        }
        Ok(())
    }

    /// Looks at each name in a folder, removes what is not to be there, and gives the folders in it.
    fn names(&self, folder: &Folder, at: &str, found: &mut Found) -> io::Result<Vec<String>> {
        if self.site.session.flags().stop() {
            return Err(io::Error::other("stopped"));
        }
        if folder.nature()? != self.fresh {
            return Err(io::Error::other("somebody changed the folder"));
        }
        let mut below = Vec::new();
        let mut path = String::from(at);
        for (name, kind) in folder.names()? {
            path.truncate(at.len());
            // A name that is no text is in no release.
            let known = name.to_str().is_ok_and(|name| {
                path.extend([if at.is_empty() { "" } else { "/" }, name]);
                true
            });
            match kind {
                FileType::Directory if known && self.expected.folders.contains(&*path) => {
                    below.push(path.clone());
                    found.folders.push(path.clone());
                }
                FileType::RegularFile if known && let Some(place) = self.right(folder, &name, &path)? => {
                    found.places.push(place);
                }
                _ => folder.clear(&name, kind, self.verified, &mut found.lost)?,
            }
        }
        Ok(below)
    }

    /// The place of a file that is as the release has it, and known to be.
    fn right(&self, folder: &Folder, name: &std::ffi::CStr, path: &str) -> io::Result<Option<u32>> {
        let Some(&place) = self.expected.files.get(path) else { return Ok(None) };
        let Some(Entry::File { mode, size, digest }) =
            self.site.entries.get(place as usize).map(|(_, entry)| *entry)
        else {
            return Ok(None);
        };
        let node = Node::from(&folder.look(name)?);
        let same = node.size == *size
            && node.mode & 0o7777 == kept_mode(is_executable(*mode))
            && self.verified.holds(node, *digest);
        Ok(same.then_some(place))
    }
}
