//! Which elements of the target an element of the transform file is about.

use roxmltree::Node as Tree;

use crate::{
    transform::xdt::{LOCATORS, call::Call, elements, fault::Fault, own_attribute},
    xml::{Document, Namespaces, XPath},
};

/// The prefix that stands for the namespace without one. Microsoft's library calls it so, and expressions rely on it.
const DEFAULT: &str = "_defaultNamespace";

/// The paths to what an element of the transform file is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// The path to the elements themselves.
    pub(super) path: String,
    /// The path to what they are in, or shall come into.
    pub(super) parents: String,
    /// The paths of the elements around, outermost first.
    around: Vec<String>,
}

impl Scope {
    /// The scope of an element within this one.
    pub(super) fn within(&self, element: Tree<'_, '_>) -> Result<Self, Fault> {
        let locator = own_attribute(element, "Locator")
            .map(|attribute| Call::parse(attribute.value(), &LOCATORS, "locator", false))
            .transpose()?;
        let step = format!("{}/{}", self.path.trim_end_matches('/'), name_test(element));
        let (path, parents) = match &locator {
            None => (step, self.path.clone()),
            Some(call) if call.name == "Match" => {
                (format!("{step}[{}]", matching(element, call)?), self.path.clone())
            }
            Some(call) if call.name == "Condition" => {
                let condition = call.expression()?;
                let condition = match condition.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    Some(_) => condition.to_owned(),
                    None => format!("[{condition}]"),
                };
                (format!("{step}{condition}"), self.path.clone())
            }
            // What is put in comes into what the expression selects, as Microsoft has it.
            Some(call) => {
                let expression = call.expression()?;
                let path = match expression.strip_prefix('/') {
                    Some(_) => expression.to_owned(),
                    None => format!("{step}/{expression}").replace("/./", "/"),
                };
                (path.clone(), path)
            }
        };
        XPath::parse(&path)?;
        let mut around = self.around.clone();
        around.push(path.clone());
        Ok(Self { path, parents, around })
    }

    /// The elements that are meant.
    pub(super) fn targets<'d, 't>(
        &self,
        document: &'d Document<'t>,
        element: Tree<'_, '_>,
    ) -> Result<Vec<Tree<'d, 't>>, Fault> {
        let found = select(document, &self.path, element)?;
        if found.is_empty() { Err(self.lost(document, element, &self.path)) } else { Ok(found) }
    }

    /// The elements that are meant, which may be none.
    pub(super) fn present<'d, 't>(
        &self,
        document: &'d Document<'t>,
        element: Tree<'_, '_>,
    ) -> Result<Vec<Tree<'d, 't>>, Fault> {
        select(document, &self.path, element)
    }

    /// The elements that what is meant is in.
    pub(super) fn target_parents<'d, 't>(
        &self,
        document: &'d Document<'t>,
        element: Tree<'_, '_>,
    ) -> Result<Vec<Tree<'d, 't>>, Fault> {
        if self.parents.is_empty() {
            return Err(Fault::Edit(crate::xml::XmlError::Impossible(
                "a document has one element, so that nothing can be put in beside it",
            )));
        }
        let found = select(document, &self.parents, element)?;
        if found.is_empty() { Err(self.lost(document, element, &self.parents)) } else { Ok(found) }
    }

    /// Says where a path leaves the document.
    fn lost(&self, document: &Document<'_>, element: Tree<'_, '_>, path: &str) -> Fault {
        let is_lost = |path: &&String| select(document, path, element).is_ok_and(|found| found.is_empty());
        let lost = self
            .around
            .iter()
            .find(is_lost)
            .filter(|lost| lost.as_str() != path && path.starts_with(lost.as_str()));
        Fault::NoMatch { path: path.to_owned(), lost: lost.cloned() }
    }
}

/// Namespaces for expressions: those of the transform's element.
pub(super) fn namespaces(element: Tree<'_, '_>) -> Namespaces {
    Namespaces::in_scope_at(element, Some(DEFAULT))
}

fn select<'d, 't>(
    document: &'d Document<'t>,
    path: &str,
    element: Tree<'_, '_>,
) -> Result<Vec<Tree<'d, 't>>, Fault> {
    elements(&document.select(&XPath::parse(path)?, &namespaces(element))?)
}

/// The element's name as a step of a path.
fn name_test(element: Tree<'_, '_>) -> String {
    let tag = crate::xml::StartTag::of(element);
    match element.tag_name().namespace().filter(|uri| !uri.is_empty()) {
        Some(_) if !tag.name().contains(':') => format!("{DEFAULT}:{}", tag.name()),
        _ => tag.name().to_owned(),
    }
}

fn matching(element: Tree<'_, '_>, call: &Call) -> Result<String, Fault> {
    let names = call.list();
    if names.is_empty() {
        return Err(Fault::NeedsNames);
    }
    let tag = crate::xml::StartTag::of(element);
    let mut conditions = Vec::new();
    for name in names {
        let missing = || Fault::NoSuchAttribute { call: "Match".to_owned(), name: name.to_owned() };
        let written = tag.attribute(name).ok_or_else(missing)?;
        let at = written.name_range().start;
        let value =
            element.attributes().find(|attribute| attribute.range().start == at).ok_or_else(missing)?;
        conditions.push(format!("@{name}={}", literal(value.value())));
    }
    Ok(conditions.join(" and "))
}

/// A value as a string of an expression, which has no escapes.
fn literal(value: &str) -> String {
    if !value.contains('\'') {
        format!("'{value}'")
    } else if !value.contains('"') {
        format!("\"{value}\"")
    } else {
        let parts = value.split('\'').map(|part| format!("'{part}'")).collect::<Vec<_>>();
        format!("concat({})", parts.join(", \"'\", "))
    }
}
