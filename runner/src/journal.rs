//! The event log of a run on disk: `runs/<run>/events.jsonl`, one event a line.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use staith_model::{Event, EventKind};

/// An event log that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    runs: PathBuf,
    file: Option<BufWriter<File>>,
    refused: Option<io::Error>,
}

impl Journal {
    /// A journal below `runs`; its directory is made with the first event, which names the run.
    pub(crate) fn new(runs: &Path) -> Self {
        Self { runs: runs.to_path_buf(), file: None, refused: None }
    }

    /// Writes an event. A refusal is kept for [`finish`](Self::finish): a full disk must not end a run halfway.
    pub(crate) fn write(&mut self, event: &Event) {
        if self.refused.is_none() {
            self.refused = self.try_write(event).err();
        }
    }

    fn try_write(&mut self, event: &Event) -> io::Result<()> {
        if let EventKind::RunStarted { run, .. } = &event.what {
            let directory = self.runs.join(run.as_str());
            fs::create_dir_all(&directory)?;
            let file = File::create_new(directory.join("events.jsonl"))?;
            // Held for as long as this process writes: so others can tell a run that goes on from one that was killed.
            file.try_lock().map_err(io::Error::from)?;
            self.file = Some(BufWriter::new(file));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, event)?;
        file.write_all(b"\n")?;
        // Lines of output may wait for each other; everything else a reader wants to see as it happens.
        if matches!(event.what, EventKind::StepOutput { .. }) { Ok(()) } else { file.flush() }
    }

    /// Hands the system what waits in memory. A refusal is kept as by [`write`](Self::write).
    pub(crate) fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && self.refused.is_none()
        {
            self.refused = file.flush().err();
        }
    }

    /// Whether everything was written.
    ///
    /// # Errors
    /// The first refusal of the file system.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.refused.take().map_or(Ok(()), Err)
    }
}
