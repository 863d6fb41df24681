//! What lies where below `STAITH_HOME/runner`.
//!
//! ```text
//! host.pem, host.pub     the key that this host is known by
//! registration.json      which server, and who this host is for it
//! lock                   held by the runner that runs
//! drain                  there while nothing new is to be taken
//! asking/<nonce>         claims whose answer may have been lost
//! jobs/<attempt>/        a job that is here
//! records/<attempt>/     what is left of one that does not count any more
//! ```

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use staith_model::{AttemptId, Exit};
use staith_packager::seal::key::Keys;

use crate::{home::Home, output::Problem};

/// The directories and files of a home's runner.
#[derive(Debug, Clone)]
pub(crate) struct Rooms(PathBuf);

impl Rooms {
    /// Those of a home. Nothing is made.
    pub(crate) fn of(home: &Home) -> Self {
        Self(home.runner())
    }

    /// Makes the directories where they are not there.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn make(&self) -> Result<(), Problem> {
        for directory in [self.jobs(), self.records(), self.asking()] {
            make_private(&directory).map_err(|refused| unkept(&directory, &refused))?;
        }
        Ok(())
    }

    /// The key of this host as a runner. It is not the one that signs what runs make: that one says who built something, also when
    /// the host was a runner of several servers.
    pub(super) fn keys(&self) -> Keys {
        Keys::in_directory(&self.0)
    }

    pub(super) fn registration(&self) -> PathBuf {
        self.0.join("registration.json")
    }

    pub(super) fn jobs(&self) -> PathBuf {
        self.0.join("jobs")
    }

    pub(super) fn records(&self) -> PathBuf {
        self.0.join("records")
    }

    pub(super) fn asking(&self) -> PathBuf {
        self.0.join("asking")
    }

    /// The attempts that are here, in the order in which they came.
    pub(crate) fn attempts(&self) -> Vec<AttemptId> {
        let entries = fs::read_dir(self.jobs()).into_iter().flatten().flatten();
        let mut found: Vec<AttemptId> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        found.sort_unstable();
        found
    }

    /// The lock of the runner that runs; `None` while another one has it.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn lock(&self) -> Result<Option<File>, Problem> {
        let path = self.0.join("lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|refused| unkept(&path, &refused))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(refused)) => Err(unkept(&path, &refused)),
        }
    }

    /// Whether a runner of this home runs.
    pub(crate) fn is_running(&self) -> bool {
        let opened = File::open(self.0.join("lock"));
        opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    fn drain(&self) -> PathBuf {
        self.0.join("drain")
    }

    /// Whether nothing new is to be taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain().exists()
    }

    /// Says whether something new is to be taken.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn set_draining(&self, draining: bool) -> Result<(), Problem> {
        let path = self.drain();
        let done = if draining {
            fs::write(&path, b"")
        } else {
            match fs::remove_file(&path) {
                Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            }
        };
        done.map_err(|refused| unkept(&path, &refused))
    }
}

/// Makes a directory that nobody else may enter.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file for its owner only, whole or not at all, and so that a loss of power does not take it back.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // Such files are made with mode 0600.
    let mut staged = tempfile::NamedTempFile::new_in(directory)?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    staged.persist(path).map_err(|lost| lost.error)?;
    File::open(directory)?.sync_all()
}

/// Something of the runner's own can't be kept or read.
pub(super) fn unkept(path: &Path, refused: &io::Error) -> Problem {
    Problem::new(Exit::Environment, format!("{} can't be used", path.display()))
        .with_why(refused.to_string())
        .with_remedy("see to its permissions and its disk, or set STAITH_HOME to a directory of your own")
}
