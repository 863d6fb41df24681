//! Of several programs in one folder, one writes.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};

use crate::{
    durable,
    layout::Layout,
    protocol::Asked,
    refusal::{self, Outcome},
    session::Flags,
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The folder's lock, held until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder if it is not there, and waits for its lock.
    pub(crate) fn wait(layout: &Layout, patience: Duration, flags: &Flags) -> Outcome<Self> {
        let until = Instant::now() + patience;
        durable::create_folder(layout.root(), 0o755).map_err(refusal::io("create", layout.root()))?;
        let file = open(layout)?;
        loop {
            if take(&file, layout)? {
                return Ok(Self { _file: file });
            }
            if flags.stop() {
                return Err(Asked::Cancelled);
            }
            if Instant::now() >= until {
                return Err(refusal::environment(
                    format!(
                        "another deployment's program has been at work in {} for more than {} seconds",
                        layout.root().display(),
                        patience.as_secs()
                    ),
                    "wait until it has ended, or end the process that holds `.lock` there, then deploy again",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The lock if nobody has it and the folder is there.
    pub(crate) fn try_now(layout: &Layout) -> Option<Self> {
        let file = layout.root().is_dir().then(|| open(layout).ok())??;
        take(&file, layout).ok()?.then_some(Self { _file: file })
    }
}

fn open(layout: &Layout) -> Outcome<File> {
    let path = layout.lock();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(&path).map_err(refusal::io("open", &path))
}

fn take(file: &File, layout: &Layout) -> Outcome<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(error) => Err(refusal::told("lock", &layout.lock(), &error.into())),
    }
}
