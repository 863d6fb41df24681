//! Our evaluation beside the one of the crate whose grammar we use: other people wrote it, so that mistakes are not the same.

use std::cmp::Ordering;

use proptest::prelude::*;
use xpath_eval::{EvaluationContext, ExpandedName, NodeKind, Value};

use crate::xml::{Document, Namespaces, Node, Outcome, Text, XPath};

impl<'d, 't: 'd> xpath_eval::Node<'d> for Node<'d, 't> {
    fn kind(self) -> NodeKind {
        match self {
            Self::Attribute(..) => NodeKind::Attribute,
            Self::Namespace(..) => NodeKind::Namespace,
            Self::Tree(tree) => match tree.node_type() {
                roxmltree::NodeType::Root => NodeKind::Root,
                roxmltree::NodeType::Element => NodeKind::Element,
                roxmltree::NodeType::PI => NodeKind::ProcessingInstruction,
                roxmltree::NodeType::Comment => NodeKind::Comment,
                roxmltree::NodeType::Text => NodeKind::Text,
            },
        }
    }

    fn parent(self) -> Option<Self> {
        Node::parent(self)
    }

    fn children(self) -> impl Iterator<Item = Self> + 'd {
        let tree = match self {
            Self::Tree(tree) => Some(tree),
            _ => None,
        };
        tree.into_iter().flat_map(|tree| tree.children().map(Node::Tree))
    }

    fn attributes(self) -> impl Iterator<Item = Self> + 'd {
        let element = self.element();
        element
            .into_iter()
            .flat_map(|element| (0..element.attributes().len()).map(move |at| Node::Attribute(element, at)))
    }

    fn namespaces(self) -> impl Iterator<Item = Self> + 'd {
        std::iter::empty()
    }

    fn expanded_name(self) -> Option<ExpandedName> {
        let (uri, local) = Node::expanded_name(self)?;
        Some(ExpandedName { namespace_uri: uri.map(str::to_owned), local_name: local.to_owned() })
    }

    fn string_value(self) -> String {
        Node::string_value(self)
    }

    fn document_order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
}

const FILE: &str = "<r a='1' b='2'><x a='2'>one<y/>two</x><!--c--><x b='1'><y a='3'>4</y><z a='x'><x>4</x></z></x>\
    <?p i?><y a='1' b='1'>2</y>tail<z><z><z>3</z></z></z></r>";

fn expression() -> impl Strategy<Value = String> {
    let axes = vec![
        "",
        "@",
        "ancestor::",
        "ancestor-or-self::",
        "child::",
        "descendant::",
        "descendant-or-self::",
        "following::",
        "following-sibling::",
        "parent::",
        "preceding::",
        "preceding-sibling::",
        "self::",
    ];
    let tests =
        vec!["*", "x", "y", "z", "a", "b", "node()", "text()", "comment()", "processing-instruction()"];
    let conditions = vec![
        "",
        "",
        "",
        "[1]",
        "[2]",
        "[last()]",
        "[position()>1]",
        "[@a]",
        "[@a=../@b]",
        "[.//x or @b]",
        "[count(*)>1]",
        "[. = 4]",
        "[string-length()>1]",
        "[not(following::y)]",
        "[sum(.//@a) mod 2 = 1]",
        "[name()='x'][1]",
        "[preceding-sibling::*[2]]",
        "[@a != @b]",
        "[ancestor::x = 4]",
        "[2 >= @*]",
        "[normalize-space()]",
        "[contains(., 'o')]",
        "[-1 + last() = 2 div 2]",
        "[substring(., 2, 1) = 'n']",
        "[boolean(y) = true()]",
        "[number(@a) < //@b]",
    ];
    let step = (prop::sample::select(axes), prop::sample::select(tests), prop::sample::select(conditions))
        .prop_map(|(axis, test, condition)| format!("{axis}{test}{condition}"));
    let path = (
        prop::sample::select(vec!["/", "//", "/r/", "//x/", "(//y|//z)[2]/"]),
        prop::collection::vec(step, 1..4),
    )
        .prop_map(|(start, steps)| format!("{start}{}", steps.join("/")));
    (path.clone(), path, 0..6).prop_map(|(one, other, form)| match form {
        0 => format!("{one} | {other}"),
        1 => format!("{one} = {other}"),
        2 => format!("count({one}) - string-length({other})"),
        _ => one,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn both_give_the_same(expression in expression()) {
        let text = Text::of(FILE);
        let document = Document::parse(&text).unwrap();
        let start = Node::Tree(document.tree().root());
        let ours = XPath::parse(&expression).unwrap().evaluate(start, &Namespaces::default()).unwrap();
        let parsed = xpath_eval::parse(&expression).unwrap();
        let theirs = xpath_eval::evaluate(&parsed, &EvaluationContext::new(start)).unwrap();
        let same = match (&ours, &theirs) {
            (Outcome::Nodes(ours), Value::NodeSet(theirs)) => ours == theirs,
            (Outcome::Boolean(ours), Value::Boolean(theirs)) => ours == theirs,
            (Outcome::Number(ours), Value::Number(theirs)) => ours == theirs || ours.is_nan() && theirs.is_nan(),
            _ => false,
        };
        prop_assert!(same, "{ours:?}\n{}", theirs.to_xpath_string());
    }
}
