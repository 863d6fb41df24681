//! Walks the elements of an XML report, whatever they mean: bounded, strict, and without entities of its own.

use quick_xml::{
    Reader,
    errors::{Error, IllFormedError},
    escape::unescape,
    events::{BytesDecl, BytesRef, BytesStart, Event},
};

use super::{Failed, ReportProblem, text};

/// Deeper than any suite of suites; a cap on the memory that open elements take.
const DEEPEST: usize = 64;
/// More than any program writes on one element.
const ATTRIBUTES_READ: usize = 64;

/// What hears of elements, in the order of the file. Every `open` has its `close`.
pub(super) trait Elements {
    /// An element begins; `depth` of the root is 0.
    fn open(&mut self, tag: &str, element: &BytesStart<'_>, depth: usize) -> Result<(), ReportProblem>;
    /// A piece of the text of the innermost open element.
    fn say(&mut self, text: &str);
    /// The innermost open element ends.
    fn close(&mut self);
}

/// The name of the root element, without its prefix.
pub(super) fn root(text: &str) -> Failed<String> {
    let mut finder = Root(None);
    let mut reader = Walk::over(text);
    while finder.0.is_none() {
        if !reader.next(&mut finder)? {
            break;
        }
    }
    finder.0.ok_or((ReportProblem::Empty, text.len()))
}

/// Tells `elements` of everything in `text`.
pub(super) fn walk(text: &str, elements: &mut dyn Elements) -> Failed<()> {
    let mut walk = Walk::over(text);
    while walk.next(elements)? {}
    Ok(())
}

struct Root(Option<String>);

impl Elements for Root {
    fn open(&mut self, tag: &str, _: &BytesStart<'_>, _: usize) -> Result<(), ReportProblem> {
        self.0 = Some(tag.to_owned());
        Ok(())
    }

    fn say(&mut self, _: &str) {}

    fn close(&mut self) {}
}

struct Walk<'t> {
    reader: Reader<&'t [u8]>,
    length: usize,
    open: Vec<String>,
    ended: bool,
}

impl<'t> Walk<'t> {
    fn over(text: &'t str) -> Self {
        let mut reader = Reader::from_str(text);
        // Kept strict: `</a>` closes `<a>`, and an `&` begins a reference.
        reader.config_mut().check_end_names = true;
        Self { reader, length: text.len(), open: Vec::new(), ended: false }
    }

    /// Takes the next piece of the file; false after the last.
    fn next(&mut self, elements: &mut dyn Elements) -> Failed<bool> {
        let before = offset(self.reader.buffer_position());
        let event = self
            .reader
            .read_event()
            .map_err(|error| malformed(error, offset(self.reader.error_position())))?;
        let at = |problem| (problem, before);
        match event {
            Event::Start(element) => self.enter(&element, elements).map_err(at)?,
            Event::Empty(element) => {
                self.enter(&element, elements).map_err(at)?;
                self.leave(elements);
            }
            Event::End(_) => self.leave(elements),
            Event::Text(text) => self.say(&text, elements).map_err(at)?,
            Event::CData(text) => self.say(&text, elements).map_err(at)?,
            Event::GeneralRef(reference) => {
                let said = resolve(&reference).map_err(at)?;
                self.say(&said, elements).map_err(at)?;
            }
            Event::DocType(kind) => {
                if !is_harmless(&kind) {
                    return Err(at(ReportProblem::DocumentType));
                }
            }
            Event::Decl(declaration) => {
                if let Some(encoding) = declared_encoding(&declaration) {
                    return Err(at(ReportProblem::OtherEncoding(encoding)));
                }
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return self.finish().map(|()| false),
        }
        Ok(true)
    }

    fn enter(&mut self, element: &BytesStart<'_>, elements: &mut dyn Elements) -> Result<(), ReportProblem> {
        let tag = element.local_name();
        let tag: &str = tag.as_ref();
        if self.ended {
            return Err(ReportProblem::Malformed("there is more than one root element".into()));
        }
        if self.open.len() == DEEPEST {
            return Err(ReportProblem::TooDeep(DEEPEST));
        }
        elements.open(tag, element, self.open.len())?;
        self.open.push(text::name(tag));
        Ok(())
    }

    fn leave(&mut self, elements: &mut dyn Elements) {
        if self.open.pop().is_some() {
            elements.close();
            self.ended = self.open.is_empty();
        }
    }

    fn say(&self, text: &str, elements: &mut dyn Elements) -> Result<(), ReportProblem> {
        if !self.open.is_empty() {
            elements.say(text);
        } else if !text.trim().is_empty() {
            return Err(ReportProblem::Malformed("there is text outside of the root element".into()));
        }
        Ok(())
    }

    fn finish(&mut self) -> Failed<()> {
        match self.open.pop() {
            Some(tag) => Err((ReportProblem::cut_off_in(&tag), self.length)),
            None if !self.ended => Err((ReportProblem::Empty, self.length)),
            None => Ok(()),
        }
    }
}

/// Whether a document type can be passed over: Cobertura's writers name one that lies elsewhere, which is never fetched.
/// One with a body could define entities, and no program that writes reports has a use for that.
fn is_harmless(kind: &str) -> bool {
    let name = kind.split_whitespace().next().unwrap_or_default();
    name == "coverage" && !kind.contains('[')
}

/// The encoding that the XML declaration of `text` names, where it is not a part of UTF-8.
pub(super) fn other_encoding(text: &str) -> Option<String> {
    match Reader::from_str(text.trim_start_matches('\u{feff}')).read_event() {
        Ok(Event::Decl(declaration)) => declared_encoding(&declaration),
        _ => None,
    }
}

fn declared_encoding(declaration: &BytesDecl<'_>) -> Option<String> {
    let encoding = declaration.encoding()?.ok()?.into_owned();
    let known = ["utf-8", "utf8", "us-ascii", "ascii"].contains(&encoding.to_lowercase().as_str());
    (!known).then(|| text::name(&encoding))
}

/// On 32-bit hosts too, a report fits into memory.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn malformed(error: Error, place: usize) -> (ReportProblem, usize) {
    let problem = match error {
        Error::IllFormed(IllFormedError::MissingEndTag(element)) => ReportProblem::cut_off_in(&element),
        other => ReportProblem::Malformed(text::name(&other.to_string())),
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
        other => Err(ReportProblem::UnknownEntity(text::name(other))),
    }
}

/// The value of an attribute, with line breaks as the program wrote them.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, ReportProblem> {
    let malformed = |why: String| ReportProblem::Malformed(text::name(&why));
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

/// The value of an attribute that is a whole number; `None` where it is missing or none.
pub(super) fn number(element: &BytesStart<'_>, name: &str) -> Result<Option<u64>, ReportProblem> {
    Ok(attribute(element, name)?.and_then(|value| value.trim().parse().ok()))
}
