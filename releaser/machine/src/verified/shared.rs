//! Files of a release that goes which other releases have, too. Losing a name changes a file's status, by which it is told whether it
//! was touched since it was verified: without this, every file would be read again after each release that was removed.

use std::{collections::HashSet, fs, fs::Metadata, os::unix::fs::MetadataExt as _, path::Path};

use super::Verified;
use crate::layout::{Layout, UNFINISHED};

/// Verified files that are about to lose a name.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inodes: HashSet<u64>,
    any: bool,
}

impl Shared {
    /// Those in trees that are not finished, or not wanted any more, but for one. Under the folder's lock.
    pub(crate) fn with_unfinished(layout: &Layout, but: Option<&Path>) -> Self {
        let doomed: Vec<_> = fs::read_dir(layout.releases())
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && Some(&*entry.path()) != but)
            .collect();
        if doomed.is_empty() {
            return Self::default();
        }
        let (verified, mut inodes) = (Verified::read(layout), HashSet::new());
        for tree in doomed {
            walk(&tree.path(), &mut |metadata| {
                if metadata.nlink() > 1 && verified.is_untouched(metadata) {
                    inodes.insert(metadata.ino());
                }
            });
        }
        Self { inodes, any: true }
    }

    /// Marks anew those that are still there, once their other names are gone, and forgets files that are no more: their inodes will
    /// be other files' some day.
    pub(crate) fn keep(self, layout: &Layout) {
        if !self.any {
            return;
        }
        let (mut verified, mut there) = (Verified::read(layout), HashSet::new());
        walk(&layout.releases(), &mut |metadata| {
            if there.insert(metadata.ino()) && self.inodes.contains(&metadata.ino()) {
                verified.renew(metadata);
            }
        });
        verified.keep_only(&there);
        verified.write(layout);
    }
}

fn walk(folder: &Path, with: &mut dyn FnMut(&Metadata)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => walk(&entry.path(), with),
            Ok(metadata) => with(&metadata),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use staith_model::Digest;

    use super::*;
    use crate::{spec::clear_leftovers, verified::Mark};

    #[test]
    fn a_file_that_lost_a_name_is_still_verified_and_one_that_was_touched_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let (stays, goes) = (layout.releases().join("stays"), layout.releases().join(".tmp-goes"));
        fs::create_dir_all(&stays).unwrap();
        fs::create_dir_all(&goes).unwrap();
        let mut verified = Verified::default();
        for name in ["whole", "touched", "alone"] {
            fs::write(goes.join(name), name).unwrap();
            if name != "alone" {
                fs::hard_link(goes.join(name), stays.join(name)).unwrap();
            }
            let metadata = fs::symlink_metadata(goes.join(name)).unwrap();
            verified.extend([(metadata.ino(), Mark::of(&metadata, Digest::of(name.as_bytes())))]);
        }
        verified.write(&layout);
        fs::set_permissions(stays.join("touched"), Permissions::from_mode(0o600)).unwrap();
        clear_leftovers(&layout).unwrap();
        assert!(!goes.exists());
        let verified = Verified::read(&layout);
        let holds = |name: &str| {
            verified.holds(&fs::symlink_metadata(stays.join(name)).unwrap(), Digest::of(name.as_bytes()))
        };
        assert!(holds("whole") && !holds("touched"));
        assert_eq!(verified.marks.len(), 2);
    }
}
