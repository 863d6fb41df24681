//! How far a package's files are: one line that is kept up to date on a terminal, and nothing anywhere else.

use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressDrawTarget};
use staith_packager::web_deploy::Progress;
use tokio_util::sync::CancellationToken;

use super::{OutputMode, human};

/// Shows how many files and bytes are done, on standard error, as long as it lives.
#[derive(Debug)]
pub(crate) struct Counting {
    bar: ProgressBar,
    what: &'static str,
}

impl Counting {
    /// `what` is being done: `verifying`.
    pub(crate) fn new(mode: OutputMode, what: &'static str) -> Self {
        let bar = match mode {
            OutputMode::Live(_) => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            _ => ProgressBar::hidden(),
        };
        if let Ok(style) = indicatif::ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, what }
    }

    /// Shows where it is now. May be called from any thread.
    pub(crate) fn tell(&self, progress: Progress) {
        if !self.bar.is_hidden() {
            self.bar.set_message(line(self.what, progress));
            self.bar.tick();
        }
    }
}

impl Counting {
    /// What to give to work that is to be shown, and ended by `stop`.
    pub(crate) fn until<'c>(
        &'c self,
        stop: &'c CancellationToken,
    ) -> impl Fn(Progress) -> ControlFlow<()> + Sync + 'c {
        |progress| {
            self.tell(progress);
            if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(what: &str, progress: Progress) -> String {
    let Progress { files, of_files, bytes, of_bytes } = progress;
    let (files, of_files) = (human::number(files), human::number(of_files));
    format!("{what} {files} of {of_files} files, {} of {}", human::size(bytes), human::size(of_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_bytes_are_counted() {
        let progress = Progress { files: 1200, of_files: 10_000, bytes: 3 << 20, of_bytes: 100 << 20 };
        let text = "verifying 1,200 of 10,000 files, 3.0 MiB of 100 MiB";
        assert_eq!(line("verifying", progress), text);
    }
}
