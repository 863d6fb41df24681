use crate::xml::{Document, Edits, Fragment, Namespaces, Node, Text, XPath, XmlError};

/// What a change makes of a file; the change gets the nodes that the expression selects.
fn after(xml: &str, xpath: &str, change: impl Fn(&mut Edits<'_, '_>, Node<'_, '_>)) -> String {
    let text = Text::of(xml);
    let document = Document::parse(&text).unwrap();
    let mut edits = Edits::new(&document);
    let nodes =
        document.select(&XPath::parse(xpath).unwrap(), &Namespaces::default().with("n", "urn:n")).unwrap();
    assert!(!nodes.is_empty(), "{xpath} selects nothing");
    nodes.into_iter().for_each(|node| change(&mut edits, node));
    edits.apply().unwrap().as_str().to_owned()
}

fn set(xml: &str, xpath: &str, value: &str) -> String {
    after(xml, xpath, |edits, node| edits.set_value(node, value).unwrap())
}

#[test]
fn values_change_nothing_around_them() {
    assert_eq!(
        set("<a  b = 'x'\n\tc=\"y\" />", "/a/@b", "\"it's\" <1>\n"),
        "<a  b = '\"it&apos;s\" &lt;1&gt;&#10;'\n\tc=\"y\" />"
    );
    assert_eq!(set("<a b=\"\">z</a>", "/a/@b", "'\"&"), "<a b=\"'&quot;&amp;\">z</a>");
    assert_eq!(set("<a>x <![CDATA[<]]> y<b/>z</a>", "/a/text()[1]", "new"), "<a>new<b/>z</a>");
    assert_eq!(set("<a><![CDATA[<]]>y</a>", "/a/text()", "&"), "<a>&amp;</a>");
    assert_eq!(set("<a><b>x<c/>y</b></a>", "/a/b", "t"), "<a><b>t</b></a>");
    assert_eq!(set("<a><b  k='1' /></a>", "/a/b", "t"), "<a><b  k='1'>t</b></a>");
    assert_eq!(set("<a><b/></a>", "/a/b", ""), "<a><b/></a>");
    assert_eq!(set("<a>\r\n<b/></a>", "/a/b", "1\n2\r\n3"), "<a>\r\n<b>1\r\n2\r\n3</b></a>");
}

#[test]
fn attributes_come_and_go_with_their_space() {
    let add = |xml: &str| {
        after(xml, "/a", |edits, node| edits.set_attribute(node.element().unwrap(), "new", "1").unwrap())
    };
    assert_eq!(add("<a/>"), "<a new=\"1\"/>");
    assert_eq!(add("<a   x='1' />"), "<a   x='1' new=\"1\" />");
    assert_eq!(add("<a x='1'\n   y='2' />"), "<a x='1'\n   y='2'\n   new=\"1\" />");
    assert_eq!(add("<a x='1' y='2'\n   z='3'>t</a>"), "<a x='1' y='2'\n   z='3' new=\"1\">t</a>");
    let remove = |xml: &str, names: &[&str]| {
        after(xml, "/a", |edits, node| {
            names.iter().for_each(|name| edits.remove_attribute(node.element().unwrap(), name))
        })
    };
    assert_eq!(remove("<a  x='1'   y='2'    z='3' />", &["x"]), "<a  y='2'    z='3' />");
    assert_eq!(remove("<a  x='1'   y='2'    z='3' />", &["y"]), "<a  x='1'    z='3' />");
    assert_eq!(remove("<a  x='1'   y='2'    z='3' />", &["z"]), "<a  x='1'   y='2' />");
    assert_eq!(remove("<a  x='1'\n  y='2'    z='3' />", &["y"]), "<a  x='1'\n  z='3' />");
    assert_eq!(remove("<a  x='1'\n  y='2'    z='3' />", &["x", "y"]), "<a  z='3' />");
    assert_eq!(remove("<a  x='1'\n  y='2'    z='3' />", &["z", "x", "y", "none"]), "<a />");
}

#[test]
fn what_was_asked_for_last_counts() {
    let both = after("<a x='1'/>", "/a", |edits, node| {
        let element = node.element().unwrap();
        edits.set_attribute(element, "y", "1").unwrap();
        edits.set_attribute(element, "y", "2").unwrap();
        edits.remove_attribute(element, "x");
        edits.set_attribute(element, "x", "3").unwrap();
    });
    assert_eq!(both, "<a x='3' y=\"2\"/>");
    let swallowed = after("<a>\n  <b><c d='1'/></b>\n</a>", "/a/b", |edits, node| {
        let inner = node.element().unwrap().first_element_child().unwrap();
        edits.set_attribute(inner, "d", "2").unwrap();
        edits.insert_last(inner, &Fragment::parse("<x/>").unwrap()).unwrap();
        edits.remove(node).unwrap();
    });
    assert_eq!(swallowed, "<a>\n</a>");
}

#[test]
fn elements_go_with_their_lines() {
    let remove = |xml: &str, xpath: &str| after(xml, xpath, |edits, node| edits.remove(node).unwrap());
    assert_eq!(remove("<a>\r\n  <b/>\r\n  <c/>\r\n</a>", "/a/b"), "<a>\r\n  <c/>\r\n</a>");
    assert_eq!(remove("<a>\n  <b/>    <c/>\n</a>", "/a/b"), "<a>\n  <c/>\n</a>");
    assert_eq!(remove("<a>\n  <b/>    <c/>\n</a>", "/a/c"), "<a>\n  <b/>\n</a>");
    assert_eq!(remove("<a>\n  <b/>\n  <c/>\n</a>", "/a/*"), "<a>\n</a>");
    assert_eq!(remove("<a>one <b/> two</a>", "/a/b"), "<a>one  two</a>");
    assert_eq!(remove("<a>\n  <!-- x -->\n  <c/>\n</a>", "/a/comment()"), "<a>\n  <c/>\n</a>");
    let text = Text::of("<a/>");
    let document = Document::parse(&text).unwrap();
    let root = Node::Tree(document.root_element());
    assert!(matches!(Edits::new(&document).remove(root), Err(XmlError::Impossible(_))));
}

#[test]
fn elements_come_in_as_if_they_had_been_there() {
    let new = Fragment::parse("<n k='1'><m/><m>t</m></n>").unwrap();
    let last = |xml: &str, xpath: &str| {
        after(xml, xpath, |edits, node| edits.insert_last(node.element().unwrap(), &new).unwrap())
    };
    assert_eq!(last("<a><b/></a>", "/a"), "<a><b/><n k='1'><m/><m>t</m></n></a>");
    assert_eq!(
        last("<a>\r\n\t<b/>\r\n</a>", "/a"),
        "<a>\r\n\t<b/>\r\n\t<n k='1'>\r\n\t\t<m/>\r\n\t\t<m>t</m>\r\n\t</n>\r\n</a>"
    );
    assert_eq!(
        last("<a>\n   <b x='1' />\n</a>", "/a/b"),
        "<a>\n   <b x='1'>\n      <n k='1'>\n         <m/>\n         <m>t</m>\n      </n>\n   </b>\n</a>"
    );
    assert_eq!(
        last("<a>\n  <b></b></a>", "/a/b"),
        "<a>\n  <b>\n    <n k='1'>\n      <m/>\n      <m>t</m>\n    </n>\n  </b></a>"
    );
    assert_eq!(last("<a>text\n<b/></a>", "/a"), "<a>text\n<b/><n k='1'><m/><m>t</m></n></a>");

    let x = Fragment::parse("<x/>").unwrap();
    let twice = |side: fn(&mut Edits<'_, '_>, roxmltree::Node<'_, '_>, &Fragment)| {
        after("<a>\n  <b/><c/>\n</a>", "/a/c", |edits, node| {
            side(edits, node.element().unwrap(), &x);
            side(edits, node.element().unwrap(), &x);
        })
    };
    assert_eq!(
        twice(|edits, at, x| edits.insert_before(at, x).unwrap()),
        "<a>\n  <b/>\n  <x/>\n  <x/>\n  <c/>\n</a>"
    );
    assert_eq!(
        twice(|edits, at, x| edits.insert_after(at, x).unwrap()),
        "<a>\n  <b/><c/>\n  <x/>\n  <x/>\n</a>"
    );
    assert_eq!(
        twice(|edits, at, x| edits.insert_last(at, x).unwrap()),
        "<a>\n  <b/><c>\n    <x/>\n    <x/>\n  </c>\n</a>"
    );
    assert_eq!(
        twice(|edits, at, x| edits.insert_first(at.parent().unwrap(), x).unwrap()),
        "<a>\n  <x/>\n  <x/>\n  <b/><c/>\n</a>"
    );
    let replaced = after("<a>\n  <b/>\n</a>", "/a/b", |edits, node| {
        edits.replace(node.element().unwrap(), &new).unwrap()
    });
    assert_eq!(replaced, "<a>\n  <n k='1'>\n    <m/>\n    <m>t</m>\n  </n>\n</a>");
    let root = after("<?xml version='1.0'?>\n<a>\n</a>\n", "/a", |edits, node| {
        edits.replace(node.element().unwrap(), &x).unwrap()
    });
    assert_eq!(root, "<?xml version='1.0'?>\n<x/>\n");
}

#[test]
fn namespaces_are_declared_where_they_are_missing_only() {
    let new = Fragment::parse("<n xmlns='urn:n' xmlns:p='urn:p'><m p:q='1'/></n>").unwrap();
    let last =
        |xml: &str| after(xml, "/*", |edits, node| edits.insert_last(node.element().unwrap(), &new).unwrap());
    assert_eq!(last("<a/>"), "<a><n xmlns=\"urn:n\" xmlns:p=\"urn:p\"><m p:q='1'/></n></a>");
    assert_eq!(last("<a xmlns='urn:n'/>"), "<a xmlns='urn:n'><n xmlns:p=\"urn:p\"><m p:q='1'/></n></a>");
    let none = Fragment::parse("<n/>").unwrap();
    let out = after("<a xmlns='urn:n'/>", "/*", |edits, node| {
        edits.insert_last(node.element().unwrap(), &none).unwrap()
    });
    assert_eq!(out, "<a xmlns='urn:n'><n xmlns=\"\"/></a>");
}

#[test]
fn impossible_values_are_refused_without_being_told() {
    let text = Text::of("<a><b>--</b></a>");
    let document = Document::parse(&text).unwrap();
    let mut edits = Edits::new(&document);
    let root = document.root_element();
    let refused = edits.set_attribute(root, "x", "hunter2\0").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the value for the attribute `x` holds the character U+0000, which XML can't hold"
    );
    assert!(matches!(edits.set_attribute(root, "x y", ""), Err(XmlError::NotAName(_))));
    assert!(matches!(edits.comment_out(root.first_element_child().unwrap()), Err(XmlError::Impossible(_))));
    edits.set_attribute(root, "p:x", "1").unwrap();
    assert!(matches!(edits.apply(), Err(XmlError::WouldBreak { .. })));
    let refused = Fragment::parse("<hunter2><x></hunter2>").unwrap_err().to_string();
    assert!(!refused.contains("hunter2"), "{refused}");
}
