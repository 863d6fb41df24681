//! A package's XML as a tree in which every element and attribute knows its place. Small and strict: what an honest package
//! has no use for (a document type, nesting without end, a million attributes) is refused, so that reading takes time and
//! memory in proportion to the file.

use std::collections::HashSet;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Mistake, Wrong};

/// Deepest nesting. Packages of Web Deploy have some ten levels.
const DEEPEST: usize = 64;

/// Most elements and attributes. A package with 49 parameters has some 400.
const MOST: usize = 200_000;

/// Most attributes of one element: they are looked up by name, one by one.
const MOST_ATTRIBUTES: usize = 256;

/// An element with all that is in it.
#[derive(Debug)]
pub(crate) struct Element<'x> {
    /// The name, with its prefix.
    pub(crate) name: &'x str,
    pub(crate) attributes: Vec<Attribute<'x>>,
    pub(crate) children: Vec<Element<'x>>,
    /// The text directly in it, without that of its children.
    pub(crate) text: String,
    /// Offset in bytes.
    pub(crate) at: usize,
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
}

#[derive(Debug)]
pub(crate) struct Attribute<'x> {
    pub(crate) name: &'x str,
    /// As XML means it: references resolved, white space normalized.
    pub(crate) value: String,
    /// Offset of the name in bytes.
    pub(crate) at: usize,
}

impl Element<'_> {
    /// An attribute by its exact name.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}

/// Reads a document. With or without a byte-order mark, in UTF-8: Web Deploy writes nothing else.
pub(crate) fn parse(bytes: &[u8]) -> Result<Element<'_>, Mistake> {
    let text = str::from_utf8(bytes)
        .map_err(|error| Mistake::at(bytes, error.valid_up_to(), Wrong::NotXml("it is not UTF-8".into())))?;
    Growing { text, open: Vec::new(), root: None, many: 0, place: (0, 1, 1) }
        .read()
        .map_err(|(at, why)| Mistake::at(bytes, at, Wrong::NotXml(why)))
}

/// A document while it is read.
struct Growing<'x> {
    text: &'x str,
    open: Vec<Element<'x>>,
    root: Option<Element<'x>>,
    many: usize,
    /// An offset that was reached, its line and its column: counting goes on from there.
    place: (usize, usize, usize),
}

type Read<T> = Result<T, (usize, String)>;

impl<'x> Growing<'x> {
    fn read(mut self) -> Read<Element<'x>> {
        let mut reader = Reader::from_str(self.text);
        loop {
            let at = self.begin(reader.buffer_position());
            let event =
                reader.read_event().map_err(|why| (self.begin(reader.error_position()), why.to_string()))?;
            let refuse = |why: &str| Err((at, why.to_owned()));
            match event {
                Event::Start(tag) => {
                    let element = self.element(&tag)?;
                    self.open.push(element);
                    if self.open.len() > DEEPEST {
                        return refuse("elements are nested more than 64 deep");
                    }
                }
                Event::Empty(tag) => {
                    let element = self.element(&tag)?;
                    self.close(element)?;
                }
                Event::End(_) => {
                    if let Some(element) = self.open.pop() {
                        self.close(element)?;
                    }
                }
                Event::Text(text) => {
                    self.add(at, &text.xml10_content())?;
                }
                Event::CData(text) => self.add(at, &text)?,
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref().map_err(|why| (at, why.to_string()))? {
                        Some(character) => character.to_string(),
                        None => quick_xml::escape::resolve_xml_entity(&reference)
                            .ok_or_else(|| (at, "it refers to an entity that is not declared".to_owned()))?
                            .to_owned(),
                    };
                    self.add(at, &resolved)?;
                }
                Event::DocType(_) => return refuse("it has a document type, which no package needs"),
                Event::Eof if !self.open.is_empty() => {
                    return Err((self.text.len(), "an element is not closed".into()));
                }
                Event::Eof => {
                    let none = || (self.text.len(), "it has no outermost element".to_owned());
                    return self.root.ok_or_else(none);
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    /// The reader's offset in the document, which is not beyond its end.
    fn begin(&self, position: u64) -> usize {
        usize::try_from(position).unwrap_or(usize::MAX).min(self.text.len())
    }

    /// Where a piece of the document begins.
    fn offset(&self, piece: &str) -> usize {
        (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len())
    }

    fn add(&mut self, at: usize, text: &str) -> Read<()> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() => {}
            None => return Err((at, "there is text outside of the outermost element".to_owned())),
        }
        Ok(())
    }

    fn close(&mut self, element: Element<'x>) -> Read<()> {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.root.is_none() => self.root = Some(element),
            None => return Err((element.at, "it has 2 outermost elements instead of one".to_owned())),
        }
        Ok(())
    }

    fn count(&mut self, at: usize) -> Read<()> {
        self.many += 1;
        if self.many > MOST {
            return Err((at, "it has more than 200,000 elements and attributes".to_owned()));
        }
        Ok(())
    }

    /// Line and column of an offset that is not before the last one asked for.
    fn place(&mut self, at: usize) -> (usize, usize) {
        let (from, mut line, mut column) = self.place;
        for character in self.text.get(from..at).unwrap_or_default().chars() {
            match character {
                '\n' => (line, column) = (line + 1, 1),
                // Nobody sees a byte-order mark.
                '\u{feff}' if line == 1 && column == 1 => {}
                _ => column += 1,
            }
        }
        self.place = (at, line, column);
        (line, column)
    }

    fn element(&mut self, tag: &BytesStart<'x>) -> Read<Element<'x>> {
        let name = self.piece(tag.name().as_ref());
        let at = self.offset(name).saturating_sub(1);
        self.count(at)?;
        let (line, column) = self.place(at);
        let (mut seen, mut attributes) = (HashSet::new(), Vec::new());
        // The library's own search for duplicates takes quadratic time.
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|why| (at, why.to_string()))?;
            let name = self.piece(attribute.key.as_ref());
            let place = self.offset(name);
            self.count(place)?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|why| (place, why.to_string()))?.into_owned();
            if !seen.insert(name) {
                return Err((place, format!("attribute `{name}` is given twice")));
            }
            attributes.push(Attribute { name, value, at: place });
            if attributes.len() > MOST_ATTRIBUTES {
                return Err((place, "an element has more than 256 attributes".to_owned()));
            }
        }
        Ok(Element { name, attributes, children: Vec::new(), text: String::new(), at, line, column })
    }

    /// A piece that borrows from a tag, as a piece of the document that it was read from.
    fn piece(&self, piece: &str) -> &'x str {
        let at = self.offset(piece);
        self.text.get(at..at + piece.len()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> (usize, usize, String) {
        let mistake = parse(text.as_bytes()).unwrap_err();
        (mistake.line, mistake.column, mistake.wrong.to_string())
    }

    #[test]
    fn elements_attributes_and_text_know_their_places() {
        let text =
            "\u{feff}<?xml version=\"1.0\"?>\n<a x='1 &amp;&#65;'>t&lt;<b\n y=\"2\"/><![CDATA[<c>]]></a>\n";
        let root = parse(text.as_bytes()).unwrap();
        assert_eq!((root.name, root.attribute("x"), root.text.as_str()), ("a", Some("1 &A"), "t<<c>"));
        assert_eq!(&text[root.at..root.at + 2], "<a");
        let child = &root.children[0];
        assert_eq!((child.name, &text[child.at..child.at + 2]), ("b", "<b"));
        assert_eq!((root.line, root.column, child.line, child.column), (2, 1, 2, 26));
        assert_eq!(&text[child.attributes[0].at..][..3], "y=\"");
    }

    #[test]
    fn what_is_no_xml_is_refused_with_its_place() {
        for (text, line, column, why) in [
            ("<a>\n<b>\n</a>", 3, 1, "b"),
            ("<a>\n", 2, 1, "not closed"),
            ("", 1, 1, "outermost"),
            ("<a/>\n<b/>", 2, 1, "2 outermost"),
            ("<a/>x", 1, 5, "outside"),
            ("<a x='1' x='2'/>", 1, 10, "twice"),
            ("<a>&nbsp;</a>", 1, 4, "entity"),
            ("<a x='&nbsp;'/>", 1, 4, "nbsp"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", 1, 1, "document type"),
        ] {
            let found = refused(text);
            assert!((found.0, found.1) == (line, column) && found.2.contains(why), "{text}: {found:?}");
        }
        assert!(refused(&"<a>".repeat(65)).2.contains("64 deep"));
        assert!(refused(&format!("<a {}/>", "b=''".repeat(3))).2.contains("twice"));
        let many: String = (0..257).map(|nth| format!(" a{nth}=''")).collect();
        assert!(refused(&format!("<a{many}/>")).2.contains("256"));
        assert!(refused(&format!("<a>{}</a>", "<b/>".repeat(200_000))).2.contains("200,000"));
        assert!(parse(b"<a>\xff</a>").unwrap_err().wrong.to_string().contains("UTF-8"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<[/!?]?|[ab =/'\">&;#é\n]|]]>|--|&#x?[0-9]{0,9};|CDATA\\[){0,40}") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
