//! Microsoft's XML Document Transform: the files named `Web.Release.config`.
//!
//! A transform file has the shape of the file that it changes. `xdt:Locator` says which elements are meant, `xdt:Transform` what
//! becomes of them; each transform sees what the ones before it left. All of Microsoft's own locators and transforms are here,
//! with the meaning that they have in its library `Microsoft.Web.XmlTransform`, except that nothing is passed over in silence:
//!
//! * A transform that matches nothing is an error, where Microsoft warns and goes on, unless it has
//!   `xdt:SupressWarnings="true"` (Microsoft's spelling). So are arguments that nobody reads and attributes that nobody knows.
//! * `RemoveAttributes` on an element that lacks the attribute is noted, since what it asks for is so already.
//! * Commas and quotes within a `Condition` or an `XPath` are part of it; values in `Match` may hold quotes.
//! * The file keeps its layout, its encoding and every byte that no transform is about.

mod act;
mod call;
mod fault;
mod locate;
mod tokens;

use roxmltree::Node as Tree;

pub(crate) use fault::with_suggestion;
pub use fault::{Fault, XdtError};

use crate::xml::{Document, Node, Position, Text};
use call::Call;
use locate::Scope;

/// What makes an attribute or an element one of a transform.
pub const NAMESPACE: &str = "http://schemas.microsoft.com/XML-Document-Transform";

/// Transforms of one file. Each of them reads the target anew.
const MOST_TRANSFORMS: usize = 4096;

/// The names of all transforms.
pub(crate) const TRANSFORMS: [&str; 11] = [
    "Replace",
    "Remove",
    "RemoveAll",
    "Insert",
    "InsertIfMissing",
    "InsertBefore",
    "InsertAfter",
    "SetAttributes",
    "SetTokenizedAttributes",
    "RemoveAttributes",
    "CommentOut",
];
/// The names of all locators.
pub(crate) const LOCATORS: [&str; 3] = ["Match", "Condition", "XPath"];

/// What one transform did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its place in the transform file.
    pub at: Position,
    /// Its name, `SetAttributes` for example.
    pub transform: String,
    /// The path that it looked for.
    pub path: String,
    /// How many elements it changed.
    pub changed: usize,
    /// What somebody might not expect, if there is something.
    pub note: Option<String>,
}

/// Applies a transform file to a target.
///
/// # Errors
/// The first transform that is wrong, matches nothing, or can't be carried out, with its place.
pub fn apply(target: &Text, transform: &Text) -> Result<(Text, Vec<Done>), XdtError> {
    let document = Document::parse(transform).map_err(XdtError::transform_file)?;
    let root = document.root_element();
    if !root.descendants().any(|node| node.namespaces().any(|known| known.uri() == NAMESPACE)) {
        return Err(Fault::NoNamespace.at(&document, root.range().start));
    }
    let mut run = Run { transforms: &document, target: target.clone(), done: Vec::new(), imports: false };
    run.check(root)?;
    Document::parse(target).map_err(XdtError::Target)?;
    run.element(root, &Scope::default())?;
    Ok((run.target, run.done))
}

struct Run<'x> {
    transforms: &'x Document<'x>,
    target: Text,
    done: Vec<Done>,
    imports: bool,
}

impl Run<'_> {
    /// Everything that is wrong whatever the target is, before the first change.
    fn check(&mut self, root: Tree<'_, '_>) -> Result<(), XdtError> {
        let mut count = 0;
        for element in root.descendants().filter(Tree::is_element) {
            let at = element.range().start;
            if element.tag_name().namespace() == Some(NAMESPACE) {
                fault::check_own_element(element).map_err(|fault| fault.at(self.transforms, at))?;
                self.imports = true;
            }
            for attribute in element.attributes().filter(|attribute| attribute.namespace() == Some(NAMESPACE))
            {
                let at = attribute.range().start;
                let refuse = |fault: Fault| fault.at(self.transforms, at);
                match attribute.name() {
                    "Transform" => {
                        count += 1;
                        Call::parse(attribute.value(), &TRANSFORMS, "transform", self.imports)
                            .map_err(refuse)?;
                    }
                    "Locator" => {
                        Call::parse(attribute.value(), &LOCATORS, "locator", self.imports).map_err(refuse)?;
                    }
                    "SupressWarnings" => {
                        call::truth(attribute.value()).map_err(refuse)?;
                    }
                    other => {
                        return Err(refuse(Fault::UnknownAttribute(fault::with_suggestion(
                            other,
                            &["Transform", "Locator", "SupressWarnings"],
                        ))));
                    }
                }
            }
            if count > MOST_TRANSFORMS {
                return Err(Fault::TooMany(MOST_TRANSFORMS).at(self.transforms, at));
            }
        }
        if count == 0 {
            return Err(Fault::NothingToDo.at(self.transforms, root.range().start));
        }
        Ok(())
    }

    /// An element, then those in it: in the order in which they stand in the file. Deep files are refused when they are parsed.
    fn element(&mut self, element: Tree<'_, '_>, around: &Scope) -> Result<(), XdtError> {
        if element.tag_name().namespace() == Some(NAMESPACE) {
            return Ok(());
        }
        let place =
            own_attribute(element, "Locator").map_or(element.range().start, |locator| locator.range().start);
        let scope = around.within(element).map_err(|fault| fault.at(self.transforms, place))?;
        if let Some(attribute) = own_attribute(element, "Transform") {
            let at = attribute.range().start;
            let call = Call::parse(attribute.value(), &TRANSFORMS, "transform", self.imports)
                .map_err(|fault| fault.at(self.transforms, at))?;
            self.transform(element, &scope, &call).map_err(|fault| fault.at(self.transforms, at))?;
        }
        element.children().filter(Tree::is_element).try_for_each(|child| self.element(child, &scope))
    }

    fn transform(&mut self, element: Tree<'_, '_>, scope: &Scope, call: &Call) -> Result<(), Fault> {
        let may_match_nothing = own_attribute(element, "SupressWarnings")
            .is_some_and(|attribute| call::truth(attribute.value()).unwrap_or_default());
        let target = self.target.clone();
        let document = Document::parse(&target).map_err(Fault::Edit)?;
        let acted = act::act(&document, element, scope, call);
        let (path, changed, note) = match acted {
            Ok(act) => {
                let outcome = (act.path, act.changed, act.note);
                self.target = act.edits.apply().map_err(Fault::Edit)?;
                outcome
            }
            Err(Fault::NoMatch { path, .. }) if may_match_nothing => {
                (path, 0, Some("it matches nothing, and says that it may".to_owned()))
            }
            Err(fault) => return Err(fault),
        };
        let at =
            own_attribute(element, "Transform").map_or(element.range().start, |found| found.range().start);
        let at = self.transforms.position(at);
        self.done.push(Done { at, transform: call.name.clone(), path, changed, note });
        Ok(())
    }
}

/// An attribute of the transform's own namespace.
fn own_attribute<'a, 't>(element: Tree<'a, 't>, name: &str) -> Option<roxmltree::Attribute<'a, 't>> {
    element.attribute_node((NAMESPACE, name))
}

/// The elements among nodes; anything else can't be transformed.
fn elements<'d, 't>(nodes: &[Node<'d, 't>]) -> Result<Vec<Tree<'d, 't>>, Fault> {
    let element = |node: &Node<'d, 't>| node.element().ok_or(Fault::NotAnElement(node.kind()));
    nodes.iter().map(element).collect()
}
