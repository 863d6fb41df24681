//! Variables in .NET's configuration files.

use std::collections::BTreeSet;

use roxmltree::Node as Tree;

use crate::{
    transform::variables::{Substituted, Variable, VariablesError},
    xml::{Document, Edits, StartTag, Text},
};

/// The sections that hold settings.
const SECTIONS: [&str; 2] = ["applicationSettings", "appSettings"];

struct Search<'d, 't> {
    variables: &'d [Variable],
    edits: Edits<'d, 't>,
    /// Where each variable was found: the start of the element, and the attribute, or nothing for its text.
    found: Vec<BTreeSet<(usize, String)>>,
    names: BTreeSet<String>,
}

pub(super) fn substitute(file: &Text, variables: &[Variable]) -> Result<Substituted, VariablesError> {
    let document = Document::parse(file)?;
    let mut search = Search {
        variables,
        edits: Edits::new(&document),
        found: vec![BTreeSet::new(); variables.len()],
        names: BTreeSet::new(),
    };
    let elements = || document.root_element().descendants().filter(Tree::is_element);
    for section in elements() {
        match section.tag_name().name() {
            name if SECTIONS.contains(&name) => search.settings(section)?,
            "connectionStrings" => search.connections(section)?,
            "configSections" => {
                // A section that is declared here holds settings as well; the first element of its name is the one.
                let declared = section.descendants().filter(|node| node.tag_name().name() == "section");
                for name in declared.filter_map(|declared| declared.attribute("name")) {
                    if let Some(custom) = elements().find(|element| element.tag_name().name() == name) {
                        search.settings(custom)?;
                    }
                }
            }
            _ => {}
        }
    }
    let Search { edits, found, names, .. } = search;
    let text = edits.apply()?;
    Ok(Substituted { text, found: found.iter().map(BTreeSet::len).collect(), names })
}

impl Search<'_, '_> {
    /// All settings in a section: by key or name where an element has one, else by the names of its attributes.
    fn settings(&mut self, section: Tree<'_, '_>) -> Result<(), VariablesError> {
        for element in section.descendants().filter(Tree::is_element) {
            let tag = StartTag::of(element);
            for raw in tag.attributes().filter(|raw| !raw.declares_namespace()) {
                if !matches!(raw.name(), "key" | "name") {
                    self.attribute(element, raw.name(), raw.name())?;
                    continue;
                }
                let Some(name) = element.attribute(raw.name()) else { continue };
                if element.has_attribute("value") {
                    self.attribute(element, name, "value")?;
                } else {
                    let values = element.children().filter(|child| child.tag_name().name() == "value");
                    for value in values.filter(|value| value.children().count() <= 1) {
                        self.text(value, name)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Connection strings by their names, or all of them by `connectionString`.
    fn connections(&mut self, section: Tree<'_, '_>) -> Result<(), VariablesError> {
        for element in section.descendants().filter(|element| element.has_attribute("connectionString")) {
            let name = element.attribute("name").unwrap_or_default();
            let own = self.variable(name).is_some();
            self.names.insert(name.to_owned());
            self.attribute(element, if own { name } else { "connectionString" }, "connectionString")?;
        }
        Ok(())
    }

    fn attribute(
        &mut self,
        element: Tree<'_, '_>,
        name: &str,
        attribute: &str,
    ) -> Result<(), VariablesError> {
        self.names.insert(name.to_owned());
        if let Some(variable) = self.variable(name) {
            let value = &self.variables[variable].value;
            value.expose_to(|value| self.edits.set_attribute(element, attribute, value))?;
            self.found[variable].insert((element.range().start, attribute.to_owned()));
        }
        Ok(())
    }

    fn text(&mut self, element: Tree<'_, '_>, name: &str) -> Result<(), VariablesError> {
        self.names.insert(name.to_owned());
        if let Some(variable) = self.variable(name) {
            self.variables[variable].value.expose_to(|value| self.edits.set_text(element, value))?;
            self.found[variable].insert((element.range().start, String::new()));
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|variable| variable.name == name)
    }
}
