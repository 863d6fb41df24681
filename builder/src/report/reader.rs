//! Walks a report's elements.

use quick_xml::{
    Reader,
    errors::{Error, IllFormedError},
    escape::unescape,
    events::{BytesDecl, BytesRef, BytesStart, Event},
};
use staith_model::TestSummary;

use super::{LARGEST_REPORT, ReportProblem, case::Case};

/// Deeper than any suite of suites; a cap on the memory that open elements take.
const DEEPEST: usize = 64;
/// More than any runner writes on one element.
const ATTRIBUTES_READ: usize = 64;

/// A problem and the byte where it is.
type Failed<T> = Result<T, (ReportProblem, usize)>;

/// The results in `bytes`.
pub(super) fn read(bytes: &[u8]) -> Failed<TestSummary> {
    let text = text_of(bytes)?;
    // Spaces around are counted back in, so that places stay right.
    let trimmed = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let skipped = text.len() - trimmed.len();
    if trimmed.is_empty() {
        return Err((ReportProblem::Empty, 0));
    }
    walk(trimmed).map_err(|(problem, place)| (problem, place + skipped))
}

fn text_of(bytes: &[u8]) -> Failed<&str> {
    if bytes.len() > LARGEST_REPORT {
        return Err((ReportProblem::TooLarge(bytes.len()), LARGEST_REPORT));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((ReportProblem::OtherEncoding("UTF-16".into()), 0));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        // A report that says what it is in can be told so; the first bytes are ASCII in all encodings that get here.
        let start = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        match other_encoding(start) {
            Some(encoding) => (ReportProblem::OtherEncoding(encoding), 0),
            None => (ReportProblem::NotUtf8, error.valid_up_to()),
        }
    })
}

/// The encoding that the XML declaration of `text` names, where it is not a part of UTF-8.
fn other_encoding(text: &str) -> Option<String> {
    match Reader::from_str(text.trim_start_matches('\u{feff}')).read_event() {
        Ok(Event::Decl(declaration)) => declared_encoding(&declaration),
        _ => None,
    }
}

fn declared_encoding(declaration: &BytesDecl<'_>) -> Option<String> {
    let encoding = declaration.encoding()?.ok()?.into_owned();
    let known = ["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.to_lowercase().as_str());
    (!known).then(|| super::text::name(&encoding))
}

fn walk(text: &str) -> Failed<TestSummary> {
    let mut reader = Reader::from_str(text);
    // Kept strict: `</a>` closes `<a>`, and an `&` begins a reference.
    reader.config_mut().check_end_names = true;
    let mut report = Report::default();
    loop {
        let before = offset(reader.buffer_position());
        let event = reader.read_event().map_err(|error| malformed(error, offset(reader.error_position())))?;
        let at = |problem| (problem, before);
        match event {
            Event::Start(element) => report.open(&element).map_err(at)?,
            Event::Empty(element) => {
                report.open(&element).map_err(at)?;
                report.close();
            }
            Event::End(_) => report.close(),
            Event::Text(text) => report.say(&text).map_err(at)?,
            Event::CData(text) => report.say(&text).map_err(at)?,
            Event::GeneralRef(reference) => {
                let said = resolve(&reference).map_err(at)?;
                report.say(&said).map_err(at)?;
            }
            Event::DocType(_) => return Err(at(ReportProblem::DocumentType)),
            Event::Decl(declaration) => {
                if let Some(encoding) = declared_encoding(&declaration) {
                    return Err(at(ReportProblem::OtherEncoding(encoding)));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return report.finish().map_err(|problem| (problem, text.len())),
        }
    }
}

/// On 32-bit hosts too, a report fits into memory.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn malformed(error: Error, place: usize) -> (ReportProblem, usize) {
    let problem = match error {
        Error::IllFormed(IllFormedError::MissingEndTag(element)) => {
            ReportProblem::CutOff(super::text::name(&element))
        }
        other => ReportProblem::Malformed(super::text::name(&other.to_string())),
    };
    (problem, place)
}

/// The character behind `&lt;` or `&#10;`. Only what XML itself defines: nothing here expands to more than it is.
fn resolve(reference: &BytesRef<'_>) -> Result<String, ReportProblem> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    match name {
        "lt" => Ok("<".into()),
        "gt" => Ok(">".into()),
        "amp" => Ok("&".into()),
        "quot" => Ok("\"".into()),
        "apos" => Ok("'".into()),
        other => Err(ReportProblem::UnknownEntity(super::text::name(other))),
    }
}

/// What an open element means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Suites,
    Suite,
    Case,
    /// A failure or an error of a case, or of a suite that could not even start.
    Failure,
    /// Anything else: properties, output, ...
    Other,
}

/// What has been read so far.
#[derive(Default)]
struct Report {
    summary: TestSummary,
    open: Vec<(Open, String)>,
    /// Names of the suites around, outermost first.
    suites: Vec<String>,
    case: Option<Case>,
    ended: bool,
}

impl Report {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), ReportProblem> {
        let tag = element.local_name();
        let tag: &str = tag.as_ref();
        if self.open.len() == DEEPEST {
            return Err(ReportProblem::TooDeep(DEEPEST));
        }
        let around = self.open.last().map(|(open, _)| *open);
        let meaning = match (around, tag) {
            (None, _) if self.ended => {
                return Err(ReportProblem::Malformed("there is more than one root element".into()));
            }
            (None | Some(Open::Suites), "testsuites") => Open::Suites,
            (None | Some(Open::Suites | Open::Suite), "testsuite") => Open::Suite,
            (None, other) => return Err(ReportProblem::NotJunit(super::text::name(other))),
            (Some(Open::Suites | Open::Suite), "testcase") => Open::Case,
            (Some(Open::Case | Open::Suite), "failure" | "error") => Open::Failure,
            _ => Open::Other,
        };
        match meaning {
            Open::Suite => self.suites.push(attribute(element, "name")?.unwrap_or_default()),
            Open::Case => self.case = Some(self.begin_case(element)?),
            Open::Failure => self.begin_failure(element, around)?,
            Open::Other if around == Some(Open::Case) && tag == "skipped" => {
                if let Some(case) = &mut self.case {
                    case.skipped = true;
                }
            }
            Open::Other | Open::Suites => {}
        }
        self.open.push((meaning, tag.to_owned()));
        Ok(())
    }

    fn begin_case(&self, element: &BytesStart<'_>) -> Result<Case, ReportProblem> {
        let class = attribute(element, "classname")?.filter(|class| !class.trim().is_empty());
        let suite = class.or_else(|| self.suites.last().cloned()).unwrap_or_default();
        let name = attribute(element, "name")?.unwrap_or_else(|| "(a test without a name)".to_owned());
        // GoogleTest writes `status="notrun"` for tests that are switched off.
        let skipped = attribute(element, "status")?
            .is_some_and(|status| ["notrun", "skipped", "disabled"].contains(&status.as_str()));
        Ok(Case::new(suite, name, skipped))
    }

    fn begin_failure(&mut self, element: &BytesStart<'_>, around: Option<Open>) -> Result<(), ReportProblem> {
        let message = match attribute(element, "message")? {
            Some(message) => message,
            None => attribute(element, "type")?.unwrap_or_default(),
        };
        if around == Some(Open::Suite) {
            let suite = self.suites.last().cloned().unwrap_or_default();
            self.case = Some(Case::new(suite, "(the suite itself)".to_owned(), false));
        }
        if let Some(case) = &mut self.case {
            case.fail(message);
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some((closed, _)) = self.open.pop() else { return };
        self.ended = self.open.is_empty();
        let around = self.open.last().map(|(open, _)| *open);
        if closed == Open::Suite {
            self.suites.pop();
        }
        let case_ends = closed == Open::Case || (closed == Open::Failure && around == Some(Open::Suite));
        if let Some(case) = self.case.take_if(|_| case_ends) {
            case.count_in(&mut self.summary);
        }
    }

    fn say(&mut self, text: &str) -> Result<(), ReportProblem> {
        match self.open.last() {
            Some((Open::Failure, _)) => {
                if let Some(case) = &mut self.case {
                    case.say(text);
                }
                Ok(())
            }
            None if !text.trim().is_empty() => {
                Err(ReportProblem::Malformed("there is text outside of the root element".into()))
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<TestSummary, ReportProblem> {
        match self.open.last() {
            Some((_, tag)) => Err(ReportProblem::CutOff(super::text::name(tag))),
            None if !self.ended => Err(ReportProblem::Empty),
            None => Ok(self.summary),
        }
    }
}

/// The value of an attribute, with line breaks as the runner wrote them.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, ReportProblem> {
    let malformed = |why: String| ReportProblem::Malformed(super::text::name(&why));
    // Without quick-xml's check for repetitions, whose cost is the square of an element's attributes.
    for found in element.attributes().with_checks(false).take(ATTRIBUTES_READ) {
        let found = found.map_err(|error| malformed(error.to_string()))?;
        if found.key.as_ref() == name {
            let value = unescape(&found.value).map_err(|error| malformed(error.to_string()))?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}
