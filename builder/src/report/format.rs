//! Which format a report is in: told from its content, never from its name.

use super::{Failed, ReportProblem, tap, text, xml};

/// Lines at the start of a file that may say nothing: what a package manager prints before the tests begin.
const LINES_SEARCHED: usize = 200;
/// How much of the start of an unknown file an error shows.
const START_SHOWN: usize = 60;

/// A format of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Junit,
    Trx,
    DotNet,
    Cobertura,
    Sarif,
    Lcov,
    Tap,
}

/// The format of a file; XML and JSON are UTF-8 then.
pub(super) fn of(bytes: &[u8]) -> Failed<Format> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((ReportProblem::OtherEncoding("UTF-16".into()), 0));
    }
    let start = body_start(bytes);
    match bytes.get(start) {
        None => Err((ReportProblem::Empty, 0)),
        Some(b'<') => of_xml(utf8(bytes)?, start),
        Some(b'{') => Ok(Format::Sarif),
        Some(_) => of_lines(&bytes[start..]).ok_or_else(|| (unknown(&bytes[start..]), start)),
    }
}

/// The text of a file that has to be UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Failed<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        // A report that says what it is in can be told so; the first bytes are ASCII in all encodings that get here.
        let start = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        match xml::other_encoding(start) {
            Some(encoding) => (ReportProblem::OtherEncoding(encoding), 0),
            None => (ReportProblem::NotUtf8, error.valid_up_to()),
        }
    })
}

/// Where the first byte is that is neither a byte order mark nor white space.
pub(super) fn body_start(bytes: &[u8]) -> usize {
    let mark = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let spaces = bytes[mark..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    mark + spaces
}

fn of_xml(text: &str, start: usize) -> Failed<Format> {
    let root = xml::root(&text[start..]).map_err(|(problem, place)| (problem, place + start))?;
    match root.as_str() {
        "testsuites" | "testsuite" => Ok(Format::Junit),
        "TestRun" => Ok(Format::Trx),
        "assemblies" | "test-run" => Ok(Format::DotNet),
        "coverage" => Ok(Format::Cobertura),
        other => {
            let start_shown = format!("<{}>", text::name(other));
            Err((ReportProblem::Unknown { start: start_shown, hint: hint(other) }, start))
        }
    }
}

/// What to do about formats that are known, and not read.
fn hint(root: &str) -> &'static str {
    match root {
        "test-results" => "; this is of an old NUnit: with `dotnet test`, `--logger trx` writes TRX",
        "report" => "; this may be JaCoCo's: `jacoco2cobertura` and others make Cobertura of it",
        "checkstyle" => "; this is Checkstyle's, and most linters can write SARIF",
        "html" => "; this is a page for people",
        _ => "",
    }
}

fn of_lines(bytes: &[u8]) -> Option<Format> {
    bytes.split(|byte| *byte == b'\n').take(LINES_SEARCHED).find_map(|line| {
        let line = String::from_utf8_lossy(line.trim_ascii_end().get(..200).unwrap_or(line.trim_ascii_end()));
        if line.starts_with("SF:") || line.starts_with("TN:") {
            Some(Format::Lcov)
        } else {
            tap::begins(line.trim_start_matches(' ')).then_some(Format::Tap)
        }
    })
}

fn unknown(bytes: &[u8]) -> ReportProblem {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let start = text::name(&String::from_utf8_lossy(&line[..line.len().min(START_SHOWN)]));
    let hint = match bytes.first() {
        Some(b'[') => "; it may be a linter's own JSON, and most linters can write SARIF",
        _ if line.starts_with(b"mode: ") => "; this is Go's own: `gocover-cobertura` makes Cobertura of it",
        _ => "",
    };
    ReportProblem::Unknown { start, hint }
}
