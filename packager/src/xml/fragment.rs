//! XML that shall come into a document: brought into its layout, its namespaces, its line ends and its encoding.

use std::fmt::Write as _;

use roxmltree::Node as Tree;

use crate::xml::{
    Document, Node, StartTag, Text, XmlError,
    layout::{Layout, is_blank},
};

/// An element to put in. Where its elements hold no text of their own, they are laid out as the document's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment(Piece);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Element(Element),
    /// Text, comments and the like, as they were written.
    Raw(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    name: String,
    namespace: Option<String>,
    attributes: Vec<Attribute>,
    /// Namespaces that were declared on this very element.
    declared: Declarations,
    /// The space before `>` or `/>`.
    tail: String,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// `<name/>`
    None,
    /// Elements and comments; the space between them means nothing.
    Lines(Vec<Piece>),
    /// All of it means something.
    Text(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    gap: String,
    name: String,
    namespace: Option<String>,
    quote: char,
    raw: String,
}

/// Prefixes (`None`: the default) and what they stand for; the last one of a prefix counts.
type Declarations = Vec<(Option<String>, String)>;

impl Fragment {
    /// Reads one element. Its text may be a secret: errors tell the place in it only.
    ///
    /// # Errors
    /// It is not one well-formed element.
    pub fn parse(xml: &str) -> Result<Self, XmlError> {
        let text = Text::of(xml);
        let document = Document::parse(&text).map_err(|error| {
            let at = match error {
                XmlError::NotWellFormed { at, .. } | XmlError::TooDeep { at, .. } => at,
                _ => document_start(),
            };
            XmlError::Fragment { at }
        })?;
        Ok(Self::of(document.root_element(), None))
    }

    /// An element of another document, without the attributes and declarations of the namespace `without`.
    pub fn of(element: Tree<'_, '_>, without: Option<&str>) -> Self {
        Self(Piece::Element(Element::of(element, without)))
    }

    /// The name of the element, as it is written.
    pub fn name(&self) -> &str {
        match &self.0 {
            Piece::Element(element) => &element.name,
            Piece::Raw(_) => "",
        }
    }

    /// As it is written at a place within `parent`.
    pub(crate) fn write(
        &self,
        document: &Document<'_>,
        parent: Tree<'_, '_>,
        layout: Option<&Layout>,
    ) -> String {
        let scope = parent
            .namespaces()
            .map(|known| (known.name().map(str::to_owned), known.uri().to_owned()))
            .collect();
        let mut writer = Writer { text: document.text(), layout, out: String::new() };
        let indent = layout.map(|layout| layout.child.clone());
        writer.piece(&self.0, &scope, indent.as_deref());
        writer.out
    }
}

impl Element {
    fn of(element: Tree<'_, '_>, without: Option<&str>) -> Self {
        let tag = StartTag::of(element);
        let text = element.document().input_text();
        let mut attributes = Vec::new();
        let mut declared = Declarations::new();
        let mut last = tag.name_range().end;
        for raw in tag.attributes() {
            let gap = text[last..raw.name_range().start].to_owned();
            last = raw.value_range().end + 1;
            if raw.declares_namespace() {
                let prefix = raw.name().strip_prefix("xmlns:").map(str::to_owned);
                let uri = element.lookup_namespace_uri(prefix.as_deref()).unwrap_or_default();
                if Some(uri) != without {
                    declared.push((prefix, uri.to_owned()));
                }
                continue;
            }
            let namespace = raw.name().split_once(':').and_then(|(prefix, _)| uri_of(element, prefix));
            if without.is_some() && namespace.as_deref() == without {
                continue;
            }
            attributes.push(Attribute {
                gap,
                name: raw.name().to_owned(),
                namespace,
                quote: raw.quote(),
                raw: raw.raw_value().to_owned(),
            });
        }
        let tail_end = tag.end() - if tag.is_empty_element() { 2 } else { 1 };
        Self {
            name: tag.name().to_owned(),
            namespace: element.tag_name().namespace().map(str::to_owned),
            attributes,
            declared,
            tail: text[last..tail_end].to_owned(),
            content: Content::of(element, &tag, without),
        }
    }

    /// What has to be declared on the element, given what is in scope around it.
    fn missing(&self, scope: &Declarations) -> Declarations {
        let known = |added: &Declarations, prefix: &Option<String>| {
            let found = added.iter().chain(scope.iter().rev()).find(|(known, _)| known == prefix);
            found.map_or_else(String::new, |(_, uri)| uri.clone())
        };
        let mut missing = Declarations::new();
        let prefix = self.name.split_once(':').map(|(prefix, _)| prefix.to_owned());
        let own = (prefix, self.namespace.clone().unwrap_or_default());
        let of_attributes = self.attributes.iter().filter_map(|attribute| {
            let (prefix, _) = attribute.name.split_once(':')?;
            Some((Some(prefix.to_owned()), attribute.namespace.clone()?))
        });
        for (prefix, uri) in std::iter::once(own).chain(of_attributes).chain(self.declared.iter().cloned()) {
            if prefix.as_deref() != Some("xml") && known(&missing, &prefix) != uri {
                missing.push((prefix, uri));
            }
        }
        missing
    }
}

impl Content {
    fn of(element: Tree<'_, '_>, tag: &StartTag<'_>, without: Option<&str>) -> Self {
        if tag.is_empty_element() {
            return Self::None;
        }
        let has_text = element.children().any(|child| child.is_text() && !is_blank(child));
        let keeps_space =
            element.attribute(("http://www.w3.org/XML/1998/namespace", "space")) == Some("preserve");
        let is_text_only = element.has_children() && element.children().all(|child| child.is_text());
        let whole = has_text || keeps_space || is_text_only;
        let text = element.document().input_text();
        let pieces = element.children().filter(|child| whole || !child.is_text()).map(|child| {
            if child.is_element() {
                Piece::Element(Element::of(child, without))
            } else {
                Piece::Raw(text[Node::Tree(child).range()].to_owned())
            }
        });
        if whole { Self::Text(pieces.collect()) } else { Self::Lines(pieces.collect()) }
    }
}

struct Writer<'a> {
    text: &'a Text,
    layout: Option<&'a Layout>,
    out: String,
}

impl Writer<'_> {
    /// Writes a piece; with `indent`, its children come on lines of their own.
    fn piece(&mut self, piece: &Piece, scope: &Declarations, indent: Option<&str>) {
        match piece {
            Piece::Raw(raw) => self.raw(raw),
            Piece::Element(element) => self.element(element, scope, indent),
        }
    }

    fn element(&mut self, element: &Element, scope: &Declarations, indent: Option<&str>) {
        let mut scope = scope.clone();
        let _ = write!(self.out, "<{}", element.name);
        let missing = element.missing(&scope);
        // Declared in front, where readers of the file look for them; values hold no quote that was not escaped.
        for (prefix, uri) in missing {
            let uri_written = uri.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            match &prefix {
                Some(prefix) => {
                    let _ = write!(self.out, " xmlns:{prefix}=\"{uri_written}\"");
                }
                None => {
                    let _ = write!(self.out, " xmlns=\"{uri_written}\"");
                }
            }
            scope.push((prefix, uri));
        }
        for attribute in &element.attributes {
            self.gap(&attribute.gap, &element.name, indent);
            let _ = write!(self.out, "{}={}", attribute.name, attribute.quote);
            self.raw(&attribute.raw);
            self.out.push(attribute.quote);
        }
        let tail = if element.tail.contains('\n') { "" } else { element.tail.as_str() };
        self.out.push_str(tail);
        match &element.content {
            Content::None => return self.out.push_str("/>"),
            Content::Text(pieces) => {
                self.out.push('>');
                pieces.iter().for_each(|piece| self.piece(piece, &scope, None));
            }
            Content::Lines(pieces) => {
                self.out.push('>');
                self.lines(pieces, &scope, indent);
            }
        }
        let _ = write!(self.out, "</{}>", element.name);
    }

    fn lines(&mut self, pieces: &[Piece], scope: &Declarations, indent: Option<&str>) {
        let laid_out = self.layout.zip(indent).filter(|_| !pieces.is_empty());
        let Some((layout, indent)) = laid_out else {
            return pieces.iter().for_each(|piece| self.piece(piece, scope, None));
        };
        let inner = format!("{indent}{}", layout.unit);
        for piece in pieces {
            let _ = write!(self.out, "{}{inner}", layout.newline);
            self.piece(piece, scope, Some(&inner));
        }
        let _ = write!(self.out, "{}{indent}", layout.newline);
    }

    /// The space before an attribute; one that begins a line is put below the first.
    fn gap(&mut self, gap: &str, element: &str, indent: Option<&str>) {
        match (gap.contains('\n'), indent, self.layout) {
            (true, Some(indent), Some(layout)) => {
                let below = " ".repeat(element.chars().count() + 2);
                let _ = write!(self.out, "{}{indent}{below}", layout.newline);
            }
            (true, ..) => self.out.push(' '),
            (false, ..) => self.out.push_str(gap),
        }
    }

    /// What was written elsewhere, with this file's line ends, and references for what its encoding lacks.
    fn raw(&mut self, raw: &str) {
        let is_markup = raw.starts_with("<!--") || raw.starts_with("<?") || raw.contains("<![CDATA[");
        let newline = self.text.newline();
        let mut characters = raw.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' => self.out.push_str(newline),
                _ if is_markup || self.text.can_hold(character) => self.out.push(character),
                _ => {
                    let _ = write!(self.out, "&#x{:X};", u32::from(character));
                }
            }
        }
    }
}

fn uri_of(element: Tree<'_, '_>, prefix: &str) -> Option<String> {
    match prefix {
        "xml" => Some("http://www.w3.org/XML/1998/namespace".to_owned()),
        _ => element.lookup_namespace_uri(Some(prefix)).map(str::to_owned),
    }
}

const fn document_start() -> crate::xml::Position {
    crate::xml::Position { line: 1, column: 1 }
}
