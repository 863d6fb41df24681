//! The thirteen directions in which a step looks (XPath 1.0, section 2.2).

use roxmltree::Node as Tree;
use xpath_eval::{Axis, NodeTest};

use crate::xml::{
    Node,
    xpath::eval::{Budget, Stop},
};

/// Calls `found` with the nodes on an axis, nearest first, as positions in predicates count them. Each node that is looked at
/// costs a step, whether or not somebody wants it.
pub(super) fn walk<'d, 't>(
    axis: Axis,
    from: Node<'d, 't>,
    budget: &Budget,
    found: &mut dyn FnMut(Node<'d, 't>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut each = |node: Node<'d, 't>| {
        budget.spend(1)?;
        found(node)
    };
    match (axis, from) {
        (Axis::SelfAxis, _) => each(from),
        (Axis::Parent, _) => from.parent().map_or(Ok(()), each),
        (Axis::Ancestor, _) => ancestors(from).try_for_each(each),
        (Axis::AncestorOrSelf, _) => {
            each(from)?;
            ancestors(from).try_for_each(each)
        }
        (Axis::Child, Node::Tree(node)) => node.children().map(Node::Tree).try_for_each(each),
        (Axis::Descendant, Node::Tree(node)) => node.descendants().skip(1).map(Node::Tree).try_for_each(each),
        (Axis::DescendantOrSelf, Node::Tree(node)) => node.descendants().map(Node::Tree).try_for_each(each),
        (Axis::DescendantOrSelf, _) => each(from),
        (Axis::Attribute, Node::Tree(node)) => {
            (0..node.attributes().len()).map(|number| Node::Attribute(node, number)).try_for_each(each)
        }
        (Axis::Namespace, Node::Tree(node)) => {
            (0..node.namespaces().len()).map(|number| Node::Namespace(node, number)).try_for_each(each)
        }
        (Axis::FollowingSibling, Node::Tree(node)) => {
            node.next_siblings().skip(1).map(Node::Tree).try_for_each(each)
        }
        (Axis::PrecedingSibling, Node::Tree(node)) => {
            node.prev_siblings().skip(1).map(Node::Tree).try_for_each(each)
        }
        (Axis::Following, _) => following(from, &mut each),
        (Axis::Preceding, _) => preceding(from, &mut each),
        // Attributes and namespaces have nothing in them or beside them.
        _ => Ok(()),
    }
}

fn ancestors<'d, 't>(from: Node<'d, 't>) -> impl Iterator<Item = Node<'d, 't>> {
    std::iter::successors(from.parent(), |node| node.parent())
}

/// All that begins after the end of a node, in document order.
fn following<'d, 't>(
    from: Node<'d, 't>,
    each: &mut dyn FnMut(Node<'d, 't>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut at = match from {
        Node::Tree(node) => node,
        Node::Attribute(owner, _) | Node::Namespace(owner, _) => {
            // What is in the element comes after its attributes.
            owner.descendants().skip(1).map(Node::Tree).try_for_each(&mut *each)?;
            owner
        }
    };
    loop {
        for sibling in at.next_siblings().skip(1) {
            sibling.descendants().map(Node::Tree).try_for_each(&mut *each)?;
        }
        match at.parent() {
            Some(parent) => at = parent,
            None => return Ok(()),
        }
    }
}

/// All that ends before the beginning of a node, nearest first.
fn preceding<'d, 't>(
    from: Node<'d, 't>,
    each: &mut dyn FnMut(Node<'d, 't>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut at = match from {
        Node::Tree(node) | Node::Attribute(node, _) | Node::Namespace(node, _) => node,
    };
    loop {
        for sibling in at.prev_siblings().skip(1) {
            backwards(sibling, each)?;
        }
        match at.parent() {
            Some(parent) => at = parent,
            None => return Ok(()),
        }
    }
}

/// A node and all in it, last first.
fn backwards<'d, 't>(
    top: Tree<'d, 't>,
    each: &mut dyn FnMut(Node<'d, 't>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let deepest_last = |mut node: Tree<'d, 't>| {
        while let Some(last) = node.last_child() {
            node = last;
        }
        node
    };
    let mut at = deepest_last(top);
    loop {
        each(Node::Tree(at))?;
        if at == top {
            return Ok(());
        }
        at = match (at.prev_sibling(), at.parent()) {
            (Some(before), _) => deepest_last(before),
            (None, Some(parent)) => parent,
            (None, None) => return Ok(()),
        };
    }
}

/// Whether a node is what a step asks for. `uri` is what the prefix of the test stands for.
pub(super) fn passes(node: Node<'_, '_>, axis: Axis, test: &NodeTest, uri: Option<&str>) -> bool {
    let principal = match (axis, node) {
        (Axis::Attribute, Node::Attribute(..)) | (Axis::Namespace, Node::Namespace(..)) => true,
        (Axis::Attribute | Axis::Namespace, _) => false,
        (_, node) => node.element().is_some(),
    };
    let tree = match node {
        Node::Tree(tree) => Some(tree),
        _ => None,
    };
    match test {
        NodeTest::Node => true,
        NodeTest::AnyName => principal,
        NodeTest::NamespaceWildcard(_) => {
            principal && node.expanded_name().is_some_and(|(namespace, _)| namespace == uri)
        }
        NodeTest::QName(name) => {
            principal
                && node
                    .expanded_name()
                    .is_some_and(|(namespace, local)| local == name.local && namespace == uri)
        }
        NodeTest::Text => tree.is_some_and(|node| node.is_text()),
        NodeTest::Comment => tree.is_some_and(|node| node.is_comment()),
        NodeTest::ProcessingInstruction(target) => tree
            .and_then(|node| node.pi())
            .is_some_and(|instruction| target.as_deref().is_none_or(|target| target == instruction.target)),
    }
}
