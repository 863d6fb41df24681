//! The tree of the release that was removed last, kept for the next one: `releases/.spare`. Most files of the next release have their
//! names there already, so that only what differs is linked, written and removed.
//!
//! What is in it:
//!
//! - names of verified files that releases have, too, and were not touched since; so it holds no content of its own, and what only the
//!   removed release had is gone from the disk, as are its secrets and what was written into its folders;
//! - folders.
//!
//! It is no release: nothing points to it, and nothing in it is believed. Who takes it looks at every name in it.

use std::{collections::HashMap, fs, io, path::Path, path::PathBuf};

use rustix::fs::FileType;

use crate::{
    durable,
    folder::Folder,
    layout::{Layout, UNFINISHED, release_of},
    lock::Lock,
    point::point,
    spec,
    tree::is_kept_mode,
    verified::{Lost, Node, Verified},
};

/// Gives back the room of what has no name any more, but for one tree, which becomes the spare one. Nobody waits for it: what is left is
/// removed by the next staging, which says why where it can't be.
pub(crate) fn sweep(layout: &Layout) {
    // Without the lock, what has no name could be what another program is about to name.
    let Some(_lock) = Lock::try_now(layout) else { return };
    let Some(tree) = removed(layout) else {
        let _ = spec::clear_leftovers(layout);
        return;
    };
    let older = layout.releases().join(format!("{UNFINISHED}spare"));
    let _ = fs::rename(layout.spare(), older);
    // The others first: what only they share with it is to go.
    let _ = spec::clear_leftovers_but(layout, Some(&tree));
    if keep(layout, &tree).is_err() {
        let _ = spec::clear_leftovers(layout);
    }
}

/// A release's tree that has lost its name.
fn removed(layout: &Layout) -> Option<PathBuf> {
    let is_one = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| release_of(name.strip_prefix(UNFINISHED)?)).is_some()
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let mut entries = fs::read_dir(layout.releases()).ok()?.flatten();
    entries.find(is_one).map(|entry| entry.path())
}

/// Makes a tree the spare one.
fn keep(layout: &Layout, tree: &Path) -> io::Result<()> {
    if is_stood_in(tree) {
        return Err(io::Error::other("a process has its folder there"));
    }
    let folder = Folder::open(tree)?;
    let mut verified = Verified::read(layout);
    let mut shed = Shed::new(&verified);
    shed.all(&folder)?;
    // A content that has all of its names in here is nobody else's.
    let own = |(names, here): &(u64, u64)| names == here;
    if shed.counted.values().any(own) {
        shed.second = true;
        shed.all(&folder)?;
    }
    let lost = shed.lost;
    if !lost.is_empty() {
        verified.settle(lost);
        verified.write(layout);
    }
    point("spare-shed");
    fs::rename(tree, layout.spare())?;
    point("spare-named");
    durable::sync_folder(&layout.releases())
}

/// Whether a process has its folder or program in a tree, as far as this account may know. It would find itself in another release.
fn is_stood_in(tree: &Path) -> bool {
    let stands = |process: fs::DirEntry| {
        let place = |what: &str| fs::read_link(process.path().join(what)).unwrap_or_default();
        ["cwd", "exe", "root"].into_iter().any(|what| place(what).starts_with(tree))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process =
        |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    processes.filter(is_process).any(stands)
}

/// Takes from a tree what no release has.
struct Shed<'a> {
    verified: &'a Verified,
    lost: Vec<Lost>,
    /// How many names files have, and how many of them are in the tree.
    counted: HashMap<u64, (u64, u64)>,
    /// Whether all of it was counted.
    second: bool,
}

impl<'a> Shed<'a> {
    fn new(verified: &'a Verified) -> Self {
        Self { verified, lost: Vec::new(), counted: HashMap::new(), second: false }
    }

    fn all(&mut self, folder: &Folder) -> io::Result<()> {
        for (name, kind) in folder.names()? {
            match kind {
                FileType::Directory => self.all(&folder.below(&name)?)?,
                FileType::RegularFile if self.stays(&Node::from(&folder.look(&name)?)) => {}
                _ => self.lost.extend(folder.remove(&name, self.verified)?),
            }
        }
        Ok(())
    }

    fn stays(&mut self, node: &Node) -> bool {
        if self.second {
            return self.counted.get(&node.inode).is_some_and(|(names, here)| names != here);
        }
        // One that is private has another mode.
        let stays = node.names > 1 && is_kept_mode(node.mode) && self.verified.is_untouched(*node);
        if stays {
            self.counted.entry(node.inode).or_insert((node.names, 0)).1 += 1;
        }
        stays
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use staith_model::Digest;

    use super::*;
    use crate::verified::Mark;

    fn write(path: &Path, content: &str, mode: u32, verified: &mut Verified) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mark(path, content, verified);
    }

    fn mark(path: &Path, content: &str, verified: &mut Verified) {
        let metadata = fs::symlink_metadata(path).unwrap();
        verified.extend([(Node::from(&metadata).inode, Mark::of(&metadata, Digest::of(content.as_bytes())))]);
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_kept_are_names_of_what_releases_have() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let stays = layout.release(&Digest::of(b"stays"));
        let goes = layout.releases().join(format!("{UNFINISHED}{}", Digest::of(b"goes").hex()));
        let mut verified = Verified::default();
        for (name, mode) in
            [("shared", 0o444), ("deep/shared", 0o555), ("private", 0o600), ("touched", 0o444)]
        {
            write(&goes.join(name), name, mode, &mut verified);
            fs::create_dir_all(stays.join("deep")).unwrap();
            fs::hard_link(goes.join(name), stays.join(name)).unwrap();
            mark(&goes.join(name), name, &mut verified);
        }
        write(&goes.join("own"), "own", 0o444, &mut verified);
        write(&goes.join("twice"), "twice", 0o444, &mut verified);
        fs::hard_link(goes.join("twice"), goes.join("deep/twice")).unwrap();
        mark(&goes.join("twice"), "twice", &mut verified);
        fs::write(goes.join("deep/log"), "written by the application").unwrap();
        symlink("shared", goes.join("link")).unwrap();
        fs::set_permissions(stays.join("touched"), fs::Permissions::from_mode(0o400)).unwrap();
        verified.write(&layout);
        fs::create_dir_all(layout.spare().join("older")).unwrap();
        sweep(&layout);
        assert_eq!(names(&layout.spare()), ["deep", "shared"]);
        assert_eq!(names(&layout.spare().join("deep")), ["shared"]);
        assert_eq!(names(&layout.releases()), [".spare", &Digest::of(b"stays").hex()]);
        let verified = Verified::read(&layout);
        let holds = |name: &str| {
            verified.holds(&fs::symlink_metadata(stays.join(name)).unwrap(), Digest::of(name.as_bytes()))
        };
        assert_eq!(["shared", "deep/shared", "private", "touched"].map(holds), [true, true, true, false]);
    }

    #[test]
    fn what_only_two_removed_releases_share_goes_and_so_does_a_tree_where_a_process_stands() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let doomed =
            |name: &str| layout.releases().join(format!("{UNFINISHED}{}", Digest::of(name.as_bytes()).hex()));
        let mut verified = Verified::default();
        write(&doomed("a").join("f"), "f", 0o444, &mut verified);
        fs::create_dir(doomed("b")).unwrap();
        fs::hard_link(doomed("a").join("f"), doomed("b").join("f")).unwrap();
        mark(&doomed("a").join("f"), "f", &mut verified);
        verified.write(&layout);
        sweep(&layout);
        assert_eq!(names(&layout.releases()), [".spare"]);
        assert!(names(&layout.spare()).is_empty());
        fs::create_dir(doomed("c")).unwrap();
        let mut stands = std::process::Command::new("sleep");
        let mut stands = stands.arg("1000").current_dir(doomed("c")).spawn().unwrap();
        sweep(&layout);
        stands.kill().unwrap();
        stands.wait().unwrap();
        assert!(names(&layout.releases()).is_empty());
    }
}
