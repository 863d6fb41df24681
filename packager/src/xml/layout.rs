//! How a file lays its elements out, so that what comes in looks as if it had always been there.

use roxmltree::Node as Tree;

use crate::xml::{Document, tag};

/// What one level is indented by where the file does not tell.
const UNTOLD: &str = "  ";

/// How the children of an element are laid out, each on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) newline: &'static str,
    /// Before each child.
    pub(crate) child: String,
    /// Before the parent, and so before its end tag.
    pub(crate) own: String,
    /// What each level adds.
    pub(crate) unit: String,
}

impl Layout {
    /// The layout within `parent`, near `sibling` if that is given. `None` where space would matter or where there is none: among
    /// text, under `xml:space="preserve"`, and in a file whose elements are all on one line.
    pub(crate) fn within(
        document: &Document<'_>,
        parent: Tree<'_, '_>,
        sibling: Option<Tree<'_, '_>>,
    ) -> Option<Self> {
        let root = document.root_element();
        let is_one_line = !document.text().as_str()[root.range()].contains('\n');
        if is_one_line
            || keeps_space(parent)
            || parent.children().any(|child| child.is_text() && !is_blank(child))
        {
            return None;
        }
        let own = line_indent(parent).to_owned();
        let unit = unit(document, parent);
        let near = sibling.and_then(indent_of);
        let other = || parent.children().filter(|child| !child.is_text()).filter_map(indent_of).last();
        let before = || {
            let known = |node: &Tree<'_, '_>| !node.is_text();
            sibling?.next_siblings().skip(1).filter(known).find_map(indent_of)
        };
        let child = near.or_else(before).or_else(other).map_or_else(|| format!("{own}{unit}"), str::to_owned);
        Some(Self { newline: document.text().newline(), child, own, unit })
    }

    /// A line end and the indentation of a child.
    pub(crate) fn child_line(&self) -> String {
        format!("{}{}", self.newline, self.child)
    }

    /// A line end and the indentation of the parent's end tag.
    pub(crate) fn own_line(&self) -> String {
        format!("{}{}", self.newline, self.own)
    }
}

/// The space before a node, if nothing else is before it on its line.
pub(crate) fn indent_of<'t>(node: Tree<'_, 't>) -> Option<&'t str> {
    if node.is_root() || node.is_text() {
        return None;
    }
    let before = &node.document().input_text()[..node.range().start];
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    line.chars().all(|character| matches!(character, ' ' | '\t')).then_some(line)
}

/// The space that the line begins with on which a node begins.
fn line_indent<'t>(node: Tree<'_, 't>) -> &'t str {
    let before = &node.document().input_text()[..node.range().start];
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// What a level adds: told by the nearest ancestors that are indented within one another, else by what is in the root.
fn unit(document: &Document<'_>, parent: Tree<'_, '_>) -> String {
    let nearest = parent.ancestors().find_map(|node| {
        let (inner, outer) = (indent_of(node)?, indent_of(node.parent()?)?);
        inner.strip_prefix(outer).filter(|rest| !rest.is_empty())
    });
    let children = document.root_element().children();
    let first = || children.filter(Tree::is_element).find_map(indent_of).filter(|indent| !indent.is_empty());
    nearest.or_else(first).unwrap_or(UNTOLD).to_owned()
}

fn keeps_space(element: Tree<'_, '_>) -> bool {
    let told = element
        .ancestors()
        .find_map(|node| node.attribute(("http://www.w3.org/XML/1998/namespace", "space")));
    told == Some("preserve")
}

/// A text of nothing but space that is written as such.
pub(crate) fn is_blank(text: Tree<'_, '_>) -> bool {
    let range = crate::xml::Node::Tree(text).range();
    text.document().input_text()[range].chars().all(|character| matches!(character, ' ' | '\t' | '\r' | '\n'))
}

/// Whether an element has nothing in it, or only space.
pub(crate) fn is_hollow(element: Tree<'_, '_>) -> bool {
    let content = tag::content(element);
    element.document().input_text()[content].trim().is_empty()
}
