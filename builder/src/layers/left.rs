//! What a step that failed left in its workspace, for whoever wants to look at it.
//!
//! One for each step of a project: the next failure takes its place, and a pass removes it. It is a directory below
//! `<store>/left` that came there by a rename, with all that the step changed and a record of what that was on top of.
//! Whoever works in it takes it out by a rename, too, so that it is never used twice at once.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::AsFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use staith_model::{Digest, Name, Plan, RunId, StepOutcome, StepPlan};

use super::{
    LayerStore,
    error::{LayerError, at},
    removal::remove_tree,
    scratch::Scratch,
};
use crate::upkeep::{allowed, whole_blocks};

/// The record beside the changes.
const RECORD: &str = "left.json";
/// Where they are, below the store.
const FOLDER: &str = "left";
/// What is deeper is not kept: nobody makes such a tree who wants somebody to look at it.
const DEEPEST: usize = 256;
/// Others that may keep the same at the same time.
const TRIES: usize = 8;

/// A workspace that a step left when it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The run.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// How the step ended.
    pub outcome: StepOutcome,
    /// The key of all that the step saw.
    pub key: Digest,
    /// The plan of the step and of what it needs.
    pub plan: Plan,
    /// The step.
    pub step: Name,
    /// The directory of the source files that it saw, below the store.
    pub checkout: PathBuf,
    /// What the steps below it had left, lowest first.
    pub layers: Vec<(Name, Digest)>,
    /// Who owns the files: `None` is whoever ran it.
    pub owner: Option<(u32, u32)>,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
}

impl Left {
    /// The step as it was planned.
    pub fn planned(&self) -> Option<&StepPlan> {
        self.plan.step(&self.step)
    }
}

impl LayerStore {
    /// Keeps what a step left in its scratch space, in place of what it left before. `left.bytes` and `left.owner` are found
    /// out here. Nothing that the step started is alive.
    ///
    /// # Errors
    /// There is no room for it, it is deeper than anybody looks, or the file system refuses. It is gone then.
    pub fn keep_left(&self, scratch: &Scratch, left: Left) -> Result<(), LayerError> {
        let (from, to) = (scratch.directory(), self.left_path(&left.plan.project, &left.step));
        let folder = to.parent().unwrap_or(&to);
        remove_tree(&scratch.work()).map_err(at("clearing", from))?;
        let bytes = weight(&scratch.upper()).map_err(at("measuring", from))?;
        let room = allowed(self.allowance.as_ref(), bytes).map_err(at("keeping", from))?;
        let left = Left { bytes, owner: self.owner, ..left };
        let record = serde_json::to_vec(&left).map_err(io::Error::from).map_err(at("recording", from))?;
        fs::write(from.join(RECORD), record).map_err(at("recording", from))?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(at("making", folder))?;
        for _ in 0..TRIES {
            match rustix::fs::renameat_with(CWD, from, CWD, &to, rustix::fs::RenameFlags::NOREPLACE) {
                Err(Errno::EXIST | Errno::NOTEMPTY) => {
                    self.bench.discard(&to).map_err(at("replacing", &to))?;
                }
                Err(refused) => return Err(at("moving into place", &to)(refused)),
                Ok(()) => {
                    room.placed();
                    return Ok(());
                }
            }
        }
        Err(at("moving into place", &to)(Errno::EXIST))
    }

    /// What a step left when it failed the last time, if that is kept.
    pub fn left(&self, project: &Name, step: &Name) -> Option<Left> {
        self.left_in(&self.left_path(project, step))
    }

    /// Takes what a step left out of the store, to work in it. It is gone when the scratch space is dropped, unless it is kept
    /// again.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take_left(&self, project: &Name, step: &Name) -> Result<Option<(Left, Scratch)>, LayerError> {
        let scratch = self.scratch()?;
        let (from, to) = (self.left_path(project, step), scratch.directory());
        remove_tree(&scratch.upper()).map_err(at("clearing", to))?;
        let parked = self.bench.fresh_path();
        match fs::rename(&from, &parked) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            moved => moved.map_err(at("taking", &from))?,
        }
        let left = self.left_in(&parked);
        let moved = fs::rename(parked.join("upper"), scratch.upper()).map_err(at("taking", &from));
        let _ = self.bench.discard(&parked);
        moved?;
        Ok(left.map(|left| (left, scratch)))
    }

    /// Removes what a step left when it failed, if that is kept: it has passed since.
    pub fn forget_left(&self, project: &Name, step: &Name) {
        let path = self.left_path(project, step);
        if let Err(error) = self.bench.discard(&path) {
            tracing::warn!(path = %path.display(), %error, "what a failed step left could not be removed");
        }
    }

    /// What cannot be read, or belongs to a user that steps are no longer run as, counts as not kept.
    fn left_in(&self, directory: &Path) -> Option<Left> {
        let left: Left = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
        (left.owner == self.owner).then_some(left)
    }

    fn left_path(&self, project: &Name, step: &Name) -> PathBuf {
        let whose = Digest::of_value("staith.left.v1", &(project, step));
        self.layers.parent().unwrap_or(&self.layers).join(FOLDER).join(whose.hex())
    }
}

/// What a workspace that was left takes on the disk, by its record.
pub(crate) fn weight_of_left(directory: &Path) -> u64 {
    let record = fs::read(directory.join(RECORD)).ok();
    let left = record.and_then(|record| serde_json::from_slice::<Left>(&record).ok());
    left.map_or(0, |left| left.bytes) + whole_blocks(1)
}

/// What a tree takes on the disk. No link is followed; what can't be read is taken to be empty.
fn weight(tree: &Path) -> io::Result<u64> {
    let top = openat(CWD, tree, FLAGS, Mode::empty())?;
    let mut bytes = 0;
    weigh(top.as_fd(), 0, &mut bytes)?;
    Ok(bytes)
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn weigh(directory: std::os::fd::BorrowedFd<'_>, depth: usize, bytes: &mut u64) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its directories are too deep"));
    }
    *bytes += whole_blocks(1);
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
        let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            *bytes += u64::try_from(found.st_blocks).unwrap_or_default() * 512;
        } else if let Ok(inner) = openat(directory, name, FLAGS, Mode::empty()) {
            weigh(inner.as_fd(), depth + 1, bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use staith_model::{Command, Source, Trigger};

    use super::*;

    fn left(run: u8) -> Left {
        let step = StepPlan::new("test".parse().unwrap(), Command::Shell("true".into()), Digest::of(b""));
        let plan = Plan {
            project: "p".parse().unwrap(),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![step],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        Left {
            run: RunId::new(u64::from(run), [0; 10]),
            at: 0,
            outcome: StepOutcome::Failed,
            key: Digest::of(&[run]),
            plan,
            step: "test".parse().unwrap(),
            checkout: "checkouts/x".into(),
            layers: vec![],
            owner: None,
            bytes: 0,
        }
    }

    fn leave(store: &LayerStore, run: u8) {
        let scratch = store.scratch().unwrap();
        fs::create_dir_all(scratch.upper().join("deep/er")).unwrap();
        fs::write(scratch.upper().join("deep/er/file"), [run; 5000]).unwrap();
        store.keep_left(&scratch, left(run)).unwrap();
    }

    #[test]
    fn the_last_one_is_kept_until_it_is_taken_or_the_step_passes() {
        let place = tempfile::tempdir().unwrap();
        let store = LayerStore::open(&place.path().join("store"), None).unwrap();
        let (project, step) = ("p".parse().unwrap(), "test".parse().unwrap());
        assert_eq!(store.left(&project, &step), None);
        assert!(store.take_left(&project, &step).unwrap().is_none());
        leave(&store, 1);
        leave(&store, 2);
        assert_eq!(store.left(&project, &step).unwrap().key, left(2).key);
        let (taken, scratch) = store.take_left(&project, &step).unwrap().unwrap();
        assert!(taken.bytes >= 3 * 4096 + 5000, "{}", taken.bytes);
        assert_eq!(fs::read(scratch.upper().join("deep/er/file")).unwrap(), [2; 5000]);
        assert!(scratch.work().is_dir());
        assert_eq!(store.left(&project, &step), None, "it is not used twice at once");
        store.keep_left(&scratch, taken).unwrap();
        drop(scratch);
        assert!(store.left(&project, &step).is_some());
        store.forget_left(&project, &step);
        assert_eq!(store.left(&project, &step), None);
        crate::layers::await_removals(std::time::Duration::from_secs(60));
        assert_eq!(fs::read_dir(place.path().join("store/left")).unwrap().count(), 0);
    }

    #[test]
    fn what_nobody_could_look_at_is_not_kept() {
        let place = tempfile::tempdir().unwrap();
        let store = LayerStore::open(&place.path().join("store"), None).unwrap();
        let scratch = store.scratch().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", DEEPEST + 2).collect();
        fs::create_dir_all(scratch.upper().join(deep)).unwrap();
        assert!(store.keep_left(&scratch, left(1)).is_err());
        assert_eq!(store.left(&"p".parse().unwrap(), &"test".parse().unwrap()), None);
    }
}
