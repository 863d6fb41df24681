//! What tests, coverage tools, linters and compilers said: their reports, and the lines that they write, become
//! [`StepResults`].
//!
//! A report is written by a step, so it is somebody else's text: its size and depth are bounded, it can't define
//! entities, and what it says is cleaned of characters that would steer a terminal. Its format is told from its content:
//! JUnit XML, TRX, TAP, and what xUnit.net and NUnit write, for tests, Cobertura and LCOV for coverage, SARIF for findings.

use staith_model::StepResults;

mod case;
mod claim;
mod cobertura;
mod dotnet;
mod error;
mod format;
mod junit;
mod lcov;
mod location;
pub mod matcher;
mod sarif;
mod tap;
#[cfg(test)]
mod tests;
mod text;
mod trx;
mod workdir;
mod xml;

pub use error::{Place, ReportError, ReportProblem};
pub use workdir::from_workspace;

use format::Format;

/// The largest report that is read, in bytes. A hundred thousand tests take about a fifth of it.
pub const LARGEST_REPORT: usize = 64 << 20;

/// A problem and the byte where it is.
type Failed<T> = Result<T, (ReportProblem, usize)>;

/// Reads one report of any format; `path` is what errors call it. A report without tests is a summary of nothing, not an
/// error.
///
/// # Errors
/// The bytes are no report that is known, or not one that is safe to read, or it says itself that it is not whole; the error
/// says where.
pub fn read(path: &str, bytes: &[u8]) -> Result<StepResults, ReportError> {
    let (results, flaw) = read_in_part(path, bytes);
    flaw.map_or(Ok(results), Err)
}

/// What can be known from a report, and why it must not be taken for the whole.
fn read_in_part(path: &str, bytes: &[u8]) -> (StepResults, Option<ReportError>) {
    let error = |(problem, offset)| ReportError::new(path, bytes, offset, problem);
    match results(bytes) {
        Ok((results, flaw)) => (results, flaw.map(error)),
        Err(flaw) => (StepResults::default(), Some(error(flaw))),
    }
}

fn results(bytes: &[u8]) -> Failed<(StepResults, Option<(ReportProblem, usize)>)> {
    if bytes.len() > LARGEST_REPORT {
        return Err((ReportProblem::TooLarge(bytes.len()), LARGEST_REPORT));
    }
    let mut results = StepResults::default();
    let mut flaw = None;
    match format::of(bytes)? {
        Format::Junit => results.tests = Some(walk(bytes, junit::Junit::default())?.results()),
        Format::Trx => results.tests = Some(walk(bytes, trx::Trx::default())?.results()),
        Format::DotNet => results.tests = Some(walk(bytes, dotnet::DotNet::default())?.results()),
        Format::Cobertura => results.coverage = Some(walk(bytes, cobertura::Cobertura::default())?.results()),
        Format::Sarif => {
            let (findings, unfinished) = sarif::read(format::utf8(bytes)?)?;
            (results.findings, flaw) = (Some(findings), unfinished);
        }
        Format::Lcov => results.coverage = Some(by_lines(bytes, lcov::read)?),
        Format::Tap => results.tests = Some(by_lines(bytes, tap::read)?),
    }
    Ok((results, flaw))
}

fn walk<E: xml::Elements>(bytes: &[u8], mut elements: E) -> Failed<E> {
    let start = format::body_start(bytes);
    let text = &format::utf8(bytes)?[start..];
    // Spaces before are counted back in, so that places stay right.
    xml::walk(text, &mut elements).map_err(|(problem, place)| (problem, place + start))?;
    Ok(elements)
}

fn by_lines<T>(bytes: &[u8], read: fn(&[u8]) -> Failed<T>) -> Failed<T> {
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    read(body).map_err(|(problem, place)| (problem, place + bytes.len() - body.len()))
}

/// Reads all reports that a step wrote, each with its path, and adds their results up in the order given, beside the errors
/// of those that can't be read or are not whole. Whoever takes the sum in spite of an error must not call it a pass: it has a hole.
pub fn read_all<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> (StepResults, Vec<ReportError>) {
    let (mut sum, mut errors) = (StepResults::default(), Vec::new());
    for (path, bytes) in files {
        let (results, flaw) = read_in_part(path, bytes);
        sum.merge(results);
        errors.extend(flaw);
    }
    (sum, errors)
}
