//! `parameters.xml` and `SetParameters.xml` as values, with the place of everything wrong in them.

use std::collections::HashSet;

use roxmltree::Node;

use super::{
    Declarations, Entry, Fault, Kind, Matcher, Mistake, Mistakes, Note, Parameter, Position, Rule,
    Translation, Validation, declare::fold, mistake::nearest, xpath,
};
use crate::{
    pattern::Pattern,
    xml::{Document, Position as Place, Text, XmlError},
};

/// Longest file that is read.
const LONGEST: usize = 16 << 20;
/// Most parameters, and most entries of all of them: each takes memory for its expressions. Hundreds are many.
const MOST: usize = 1000;
/// Most expressions that take much memory.
const MOST_HEAVY: usize = 32;

/// One value that a file sets.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: u32,
}

/// What is gathered on the way through a file.
struct Reading<'a, 'i> {
    document: &'a Document<'i>,
    entries: usize,
    heavy: usize,
    mistakes: Vec<Mistake>,
    notes: Vec<Note>,
    parameter: Option<String>,
}

/// An element's attributes by their names, which are told apart without letter case.
struct Attributes<'a, 'i> {
    of: Node<'a, 'i>,
    known: Vec<(&'static str, roxmltree::Attribute<'a, 'i>)>,
}

pub(super) fn declarations(bytes: &[u8]) -> Result<Declarations, Mistakes> {
    all_or_nothing(sound_declarations(bytes))
}

/// What can be understood, and all that is wrong.
pub(super) fn sound_declarations(bytes: &[u8]) -> (Declarations, Vec<Mistake>) {
    with_root(bytes, |reading, root| {
        let (mut declared, mut names) = (Declarations::default(), HashSet::new());
        for element in elements(root) {
            if is_called(element, "setParameter") {
                let what = "sets values (`setParameter`); declarations are elements `parameter`";
                reading.mistake(element, Fault::OtherFile(what));
            } else if !is_called(element, "parameter") {
                reading.note(element, format!("the element `{}`", element.tag_name().name()));
            } else if let Some(parameter) = reading.parameter(element) {
                if !names.insert(fold(&parameter.name)) {
                    reading.mistake(element, Fault::SameName(parameter.name.clone()));
                }
                declared.parameters.push(parameter);
            }
            reading.parameter = None;
            if let Some(fault) = reading.excess(declared.parameters.len()) {
                reading.mistake(element, fault);
                break;
            }
        }
        declared.notes = std::mem::take(&mut reading.notes);
        declared
    })
}

pub(super) fn values(bytes: &[u8]) -> Result<Vec<Set>, Mistakes> {
    all_or_nothing(with_root(bytes, |reading, root| {
        let (mut values, mut names) = (Vec::<Set>::new(), HashSet::new());
        for element in elements(root) {
            if is_called(element, "parameter") {
                let what = "declares parameters (`parameter`); values are elements `setParameter`";
                reading.mistake(element, Fault::OtherFile(what));
            } else if is_called(element, "setParameter")
                && let Some(set) = reading.set(element)
            {
                if !names.insert(fold(&set.name)) {
                    reading.mistake(element, Fault::Twice(set.name.clone()));
                }
                values.push(set);
            }
            reading.parameter = None;
            if let Some(fault) = reading.excess(values.len()) {
                reading.mistake(element, fault);
                break;
            }
        }
        values
    }))
}

fn all_or_nothing<T>((read, mistakes): (T, Vec<Mistake>)) -> Result<T, Mistakes> {
    if mistakes.is_empty() { Ok(read) } else { Err(Mistakes(mistakes)) }
}

/// Parses a file and hands its element `parameters` over.
fn with_root<T: Default>(
    bytes: &[u8],
    read: impl FnOnce(&mut Reading<'_, '_>, Node<'_, '_>) -> T,
) -> (T, Vec<Mistake>) {
    let refuse = |line, column, fault| (T::default(), vec![Mistake { line, column, parameter: None, fault }]);
    if bytes.len() > LONGEST {
        return refuse(1, 1, Fault::TooLong(bytes.len()));
    }
    let unusable = |error: XmlError| match error {
        XmlError::NotWellFormed { at, why } => refuse(at.line, at.column, Fault::Xml(why)),
        error => refuse(1, 1, Fault::Unusable(error.to_string())),
    };
    let text = match Text::decode(bytes) {
        Ok(text) => text,
        Err(error) => return unusable(error),
    };
    let document = match Document::parse(&text) {
        Ok(document) => document,
        Err(error) => return unusable(error),
    };
    let root = document.root_element();
    let mut reading = Reading {
        document: &document,
        entries: 0,
        heavy: 0,
        mistakes: Vec::new(),
        notes: Vec::new(),
        parameter: None,
    };
    // `-verb:getParameters` wraps what it prints.
    let wrapped = elements(root).next().filter(|_| is_called(root, "output"));
    let root = wrapped.unwrap_or(root);
    if !is_called(root, "parameters") {
        let found = root.tag_name().name().to_owned();
        reading.mistake(root, Fault::Root { found, expected: "parameters" });
        return (T::default(), reading.mistakes);
    }
    let read = read(&mut reading, root);
    (read, reading.mistakes)
}

fn elements<'a, 'i>(of: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    of.children().filter(Node::is_element)
}

fn is_called(element: Node<'_, '_>, name: &str) -> bool {
    element.tag_name().name().eq_ignore_ascii_case(name)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl<'a, 'i> Attributes<'a, 'i> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.known.iter().find(|(known, _)| *known == name).map(|(_, attribute)| attribute.value())
    }

    /// Where the value of an attribute begins.
    fn place(&self, name: &str) -> usize {
        let found = self.known.iter().find(|(known, _)| *known == name);
        found.map_or(self.of.range().start, |(_, attribute)| attribute.range_value().start)
    }
}

impl Reading<'_, '_> {
    fn at(&mut self, offset: usize, fault: Fault) {
        // Beyond that, nobody reads on.
        if self.mistakes.len() < 100 {
            let Place { line, column } = self.document.position(offset);
            let parameter = self.parameter.clone();
            self.mistakes.push(Mistake { line, column, parameter, fault });
        }
    }

    fn mistake(&mut self, element: Node<'_, '_>, fault: Fault) {
        self.at(element.range().start, fault);
    }

    fn note(&mut self, element: Node<'_, '_>, what: String) {
        if self.notes.len() < 100 {
            let Place { line, column } = self.document.position(element.range().start);
            self.notes.push(Note { line, column, what });
        }
    }

    /// What there is too much of.
    fn excess(&self, parameters: usize) -> Option<Fault> {
        if parameters > MOST || self.entries > MOST {
            return Some(Fault::TooMany("1,000 parameters or entries"));
        }
        (self.heavy > MOST_HEAVY).then_some(Fault::TooMany("32 regular expressions that take much memory"))
    }

    /// A regular expression in an attribute.
    fn pattern(&mut self, text: &str, ignore_case: bool, attribute: &'static str) -> Result<Pattern, Fault> {
        let pattern =
            Pattern::new(text, ignore_case).map_err(|source| Fault::Pattern { attribute, source })?;
        self.heavy += usize::from(pattern.is_heavy());
        Ok(pattern)
    }

    fn attributes<'a, 'i>(&mut self, of: Node<'a, 'i>, known: &[&'static str]) -> Attributes<'a, 'i> {
        let mut found = Attributes { of, known: Vec::new() };
        for attribute in of.attributes() {
            let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(attribute.name())) else {
                let what = format!("the attribute `{}` of `{}`", attribute.name(), of.tag_name().name());
                self.note(of, what);
                continue;
            };
            if found.known.iter().any(|(there, _)| there == name) {
                self.at(attribute.range().start, Fault::Twice((*name).to_owned()));
            }
            found.known.push((name, attribute));
        }
        found
    }

    fn name(
        &mut self,
        of: Node<'_, '_>,
        attributes: &Attributes<'_, '_>,
        element: &'static str,
    ) -> Option<String> {
        let name = attributes.get("name").filter(|name| !name.trim().is_empty());
        if name.is_none() {
            self.mistake(of, Fault::Missing { element, attribute: "name" });
        }
        self.parameter = name.map(str::to_owned);
        self.parameter.clone()
    }

    fn set(&mut self, of: Node<'_, '_>) -> Option<Set> {
        let attributes = self.attributes(of, &["name", "value"]);
        let name = self.name(of, &attributes, "setParameter")?;
        let Some(value) = attributes.get("value") else {
            self.mistake(of, Fault::Missing { element: "setParameter", attribute: "value" });
            return None;
        };
        let line = self.document.position(of.range().start).line;
        Some(Set { name, value: value.to_owned(), line })
    }

    fn parameter(&mut self, of: Node<'_, '_>) -> Option<Parameter> {
        let known = ["name", "description", "friendlyName", "defaultValue", "value", "tags"];
        let attributes = self.attributes(of, &known);
        let name = self.name(of, &attributes, "parameter")?;
        let text = |attribute: &str| attributes.get(attribute).map(str::to_owned);
        let mut parameter = Parameter {
            name,
            description: text("description"),
            friendly_name: text("friendlyName"),
            // The .NET SDK writes the default as a value that somebody set.
            default: text("value").or_else(|| text("defaultValue")),
            tags: attributes.get("tags").map(list).unwrap_or_default(),
            ..Parameter::default()
        };
        for element in elements(of) {
            // Whoever reads on will say that there are too many.
            if self.excess(0).is_some() {
                break;
            }
            if is_called(element, "parameterEntry") {
                self.entries += 1;
                let entry = self.entry(element);
                parameter.entries.extend(entry);
            } else if is_called(element, "parameterValidation") {
                self.validation(element, &mut parameter.validation);
            } else if let Some(of) =
                ["description", "friendlyName"].into_iter().find(|name| is_called(element, name))
            {
                let attributes = self.attributes(element, &["culture"]);
                let culture = attributes.get("culture").unwrap_or_default().to_owned();
                let text = element.text().unwrap_or_default().trim().to_owned();
                parameter.translations.push(Translation { of, culture, text });
            } else {
                self.note(element, format!("the element `{}`", element.tag_name().name()));
            }
        }
        Some(parameter)
    }

    /// The value of an attribute under its new or its old name.
    fn kind<'a>(
        &mut self,
        attributes: &Attributes<'a, '_>,
        element: &'static str,
    ) -> Option<(&'a str, usize)> {
        let found = ["kind", "type"]
            .into_iter()
            .find_map(|name| Some((attributes.get(name)?.trim(), attributes.place(name))));
        if found.is_none() {
            self.mistake(attributes.of, Fault::Missing { element, attribute: "kind" });
        }
        found
    }

    fn entry(&mut self, of: Node<'_, '_>) -> Option<Entry> {
        const NAME: &str = "parameterEntry";
        let attributes = self.attributes(of, &["kind", "type", "scope", "match", "tags"]);
        let kind = self.kind(&attributes, NAME).and_then(|(text, place)| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text));
            if kind.is_none() {
                let meant = nearest(text, Kind::ALL.map(Kind::as_str)).map(str::to_owned);
                self.at(place, Fault::Kind { given: text.to_owned(), meant });
            }
            kind
        });
        let scope = attributes.get("scope").unwrap_or_default();
        let scope =
            self.pattern(scope, true, "scope").map_err(|fault| self.at(attributes.place("scope"), fault));
        let matcher = self.matcher(kind?, attributes.get("match"), &attributes)?;
        let tags = attributes.get("tags").map(list).unwrap_or_default();
        Some(Entry { scope: scope.ok()?, matcher, tags })
    }

    fn matcher(
        &mut self,
        kind: Kind,
        text: Option<&str>,
        attributes: &Attributes<'_, '_>,
    ) -> Option<Matcher> {
        let given = text.unwrap_or_default();
        // A regular expression of nothing matches everywhere: nobody means that of a file's text.
        if given.is_empty() && matches!(kind, Kind::TextFile | Kind::XmlFile | Kind::TextFilePosition) {
            self.mistake(attributes.of, Fault::Missing { element: "parameterEntry", attribute: "match" });
            return None;
        }
        let matcher = match kind {
            Kind::ProviderPath => self.pattern(given, true, "match").map(Matcher::ProviderPath),
            Kind::TextFile => self.pattern(given, true, "match").map(Matcher::TextFile),
            Kind::XmlFile => xpath::of_nodes(given).map(Matcher::XmlFile).map_err(Fault::from),
            Kind::TextFilePosition => {
                given.parse::<Position>().map(Matcher::TextFilePosition).map_err(Fault::from)
            }
            Kind::DeploymentObjectAttribute => Ok(Matcher::DeploymentObjectAttribute(given.to_owned())),
            Kind::DestinationVirtualDirectory => Ok(Matcher::DestinationVirtualDirectory(given.to_owned())),
            Kind::DestinationBinding => Ok(Matcher::DestinationBinding(given.to_owned())),
            Kind::SqlCommandVariable => Ok(Matcher::SqlCommandVariable(given.to_owned())),
        };
        matcher.map_err(|fault| self.at(attributes.place("match"), fault)).ok()
    }

    fn validation(&mut self, of: Node<'_, '_>, into: &mut Validation) {
        let attributes = self.attributes(of, &["kind", "type", "validationString"]);
        let Some((kinds, place)) = self.kind(&attributes, "parameterValidation") else { return };
        let text = attributes.get("validationString").unwrap_or_default();
        for kind in list(kinds) {
            let rule = match kind.to_ascii_lowercase().as_str() {
                "allowempty" => {
                    into.allow_empty = true;
                    continue;
                }
                "none" => continue,
                "boolean" => Rule::Boolean,
                "enumeration" if text.is_empty() => {
                    self.mistake(of, Fault::NoChoices);
                    continue;
                }
                // White space belongs to the values.
                "enumeration" => Rule::Enumeration(text.split(',').map(str::to_owned).collect()),
                "regularexpression" => match self.pattern(text, false, "validationString") {
                    Ok(pattern) => Rule::RegularExpression(pattern),
                    Err(fault) => {
                        self.at(attributes.place("validationString"), fault);
                        continue;
                    }
                },
                _ => {
                    self.at(place, Fault::ValidationKind(kind));
                    continue;
                }
            };
            if into.rule.replace(rule).is_some() {
                self.mistake(of, Fault::TwoRules);
            }
        }
    }
}
