//! An exact source on paper, so that a run can be gone on with later: its files by path and content, and where contents come
//! from that are not in the pool.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use staith_model::Source;

use super::{
    Resolved, Sources,
    contents::{Contents, Kept},
    lfs::Held,
    listing::ObjectId,
    record::{Record, Recorded, Stamp},
};

/// What stands before the list of files, on a line of its own.
#[derive(Serialize, Deserialize)]
struct Heading {
    source: Source,
    /// Repositories, and whether each is a mirror.
    repositories: Vec<(PathBuf, bool)>,
    root: Option<PathBuf>,
    held: Vec<Held>,
}

impl Resolved {
    /// The source as bytes; `None` where a path is none that can be written down.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let repositories = self.contents.repositories.iter();
        let heading = Heading {
            source: self.source.clone(),
            repositories: repositories.map(|kept| (kept.git_dir.clone(), kept.is_mirror)).collect(),
            root: self.contents.root.clone(),
            held: self.contents.held.clone(),
        };
        let file = |(path, entry): &(_, _)| Recorded {
            path: Clone::clone(path),
            entry: *entry,
            stamp: Stamp::default(),
        };
        let files = self.files.iter().map(file).collect();
        let record = Record {
            tree: ObjectId([0; 20]),
            files,
            links: Vec::new(),
            notices: Vec::new(),
            pointers: Vec::new(),
        };
        let mut bytes = serde_json::to_vec(&heading).ok()?;
        bytes.push(b'\n');
        bytes.extend(record.to_bytes());
        Some(bytes)
    }
}

impl Sources {
    /// A source that was written down. Its contents are looked for when they are needed: those of a working directory may be
    /// gone by then. `None` where the bytes are not whole.
    pub fn recall(&self, bytes: &[u8]) -> Option<Resolved> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let heading: Heading = serde_json::from_slice(&bytes[..end]).ok()?;
        let record = Record::from_bytes(&bytes[end + 1..])?;
        self.bench.may_need(record.files.iter().map(|file| file.entry.blob.as_bytes()));
        let kept = |(git_dir, is_mirror)| Kept { git_dir, is_mirror };
        let repositories = heading.repositories.into_iter().map(kept).collect();
        Some(Resolved {
            source: heading.source,
            files: record.files.into_iter().map(|file| (file.path, file.entry)).collect(),
            notices: Vec::new(),
            contents: Contents { repositories, root: heading.root, held: heading.held },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Origin, Selection};
    use super::*;

    #[test]
    fn a_source_is_the_same_when_it_is_read_again_though_its_directory_has_changed() {
        let place = tempfile::tempdir().unwrap();
        let project = place.path().join("project");
        fs::create_dir_all(project.join("src")).unwrap();
        fs::write(project.join("src/a"), "before").unwrap();
        let open = || Sources::open(&place.path().join("store"), None).unwrap();
        let origin = Origin::parse(".", &project).unwrap();
        let found = open().resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
        let bytes = found.to_bytes().unwrap();
        fs::write(project.join("src/a"), "after").unwrap();
        let sources = open();
        let again = sources.recall(&bytes).unwrap();
        assert_eq!(again, found);
        let checkout = sources.checkout(&again, &[]).unwrap();
        assert_eq!(fs::read_to_string(checkout.join("src/a")).unwrap(), "before");
        let name = checkout.file_name().unwrap().to_str().unwrap();
        assert_eq!(sources.made_before(name), Some(checkout.clone()));
        assert_eq!(sources.made_before("../trees"), None);
        for torn in [0, 5, bytes.len() - 1] {
            assert!(sources.recall(&bytes[..torn]).is_none(), "{torn}");
        }
    }
}
