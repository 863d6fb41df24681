//! What tests said: JUnit XML, as most test runners write it, becomes a [`TestSummary`].
//!
//! A report is written by a step, so it is somebody else's text: its size and depth are bounded, it can't define
//! entities, and what it says is cleaned of characters that would steer a terminal.

use staith_model::TestSummary;

mod case;
mod error;
mod reader;
#[cfg(test)]
mod tests;
mod text;

pub use error::{Place, ReportError, ReportProblem};

/// The largest report that is read, in bytes. A hundred thousand tests take about a fifth of it.
pub const LARGEST_REPORT: usize = 64 << 20;

/// Reads one JUnit file; `path` is what errors call it. A report without tests is a summary of nothing, not an error.
///
/// # Errors
/// The bytes are no JUnit report, or not one that is safe to read; the error says where.
pub fn junit(path: &str, bytes: &[u8]) -> Result<TestSummary, ReportError> {
    reader::read(bytes).map_err(|(problem, offset)| ReportError::new(path, bytes, offset, problem))
}

/// Reads all the JUnit files that a step wrote, each with its path, and adds their results up in the order given. None
/// where there are no files.
///
/// # Errors
/// Every file that could not be read. The results of the others are dropped: a sum with a hole in it would look like a pass.
pub fn junit_files<'f>(
    files: impl IntoIterator<Item = (&'f str, &'f [u8])>,
) -> Result<Option<TestSummary>, Vec<ReportError>> {
    let mut sum: Option<TestSummary> = None;
    let mut errors = Vec::new();
    for (path, bytes) in files {
        match junit(path, bytes) {
            Ok(summary) => sum.get_or_insert_default().merge(summary),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(sum) } else { Err(errors) }
}
