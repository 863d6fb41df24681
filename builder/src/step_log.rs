//! All that a step, or a service beside it, wrote, in a file: masked, and otherwise byte for byte.
//!
//! A log is the line `staith-log 1` and then blocks: a line with the time (milliseconds since 1970), the stream (`out`, `err`,
//! or `staith` for notices) and a number of bytes, then that many bytes, then a line end. A block ends with a line of the
//! step's wherever there is one, so the file reads well with any pager; and because lengths and not marks tell where a block
//! ends, nothing that a step writes can be taken for anything else.
//!
//! Blocks are written as they come. A log whose writer was killed is whole up to its last block, which may be cut.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};

use staith_model::{Name, RunId};

pub use self::{
    read::{LogLine, LogReader, LoggedStream},
    write::{LogWriter, Logged},
};

/// A block without a line end is not longer.
const LONGEST_HELD: usize = 64 << 10;
const FIRST_LINE: &str = "staith-log 1\n";

/// Where the logs of runs are, and how long they may become.
#[derive(Debug, Clone)]
pub struct RunLogs {
    runs: PathBuf,
    limit: u64,
}

/// As much disk as the log of one step may take. A step that writes without end would otherwise fill it.
const DEFAULT_LIMIT: u64 = 2 << 30;

impl RunLogs {
    /// Logs below the directory that has a directory for each run.
    pub fn below(runs: PathBuf) -> Self {
        Self { runs, limit: DEFAULT_LIMIT }
    }

    /// The same with another limit for each log, in bytes.
    #[must_use]
    pub fn limited_to(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The file of one step.
    pub fn path(&self, run: &RunId, step: &Name) -> PathBuf {
        path(&self.runs.join(run.as_str()), step)
    }

    /// Opens the log of a service beside a step, as [`open`](Self::open) does that of the step.
    ///
    /// # Errors
    /// The file system refused.
    pub fn open_of_service(
        &self,
        run: &RunId,
        step: &Name,
        service: &Name,
        clock: fn() -> u64,
    ) -> std::io::Result<LogWriter> {
        LogWriter::open(&path_of_service(&self.runs.join(run.as_str()), step, service), self.limit, clock)
    }

    /// Opens the log of a step, and makes it where it is not there; what another attempt wrote stays before.
    ///
    /// # Errors
    /// The file system refused.
    pub fn open(&self, run: &RunId, step: &Name, clock: fn() -> u64) -> std::io::Result<LogWriter> {
        LogWriter::open(&self.path(run, step), self.limit, clock)
    }
}

/// The log of a service beside a step of a run that is kept in `run`.
pub fn path_of_service(run: &Path, step: &Name, service: &Name) -> PathBuf {
    // No name has a `+`, so no other log is called so.
    run.join("logs").join(format!("{step}+{service}.log"))
}

/// The log of a step of a run that is kept in `run`.
pub fn path(run: &Path, step: &Name) -> PathBuf {
    run.join("logs").join(format!("{step}.log"))
}
