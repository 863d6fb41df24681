use crate::xml::{Document, Namespaces, Node, Outcome, Text, XPath, XPathError};

const SHOP: &str = r#"<shop xmlns:b="urn:b" xml:lang="en-GB">
  <!-- first -->
  <item id="1" price="2.50">Lamp</item>
  <item id="2" price="10">Oil<b:note>best</b:note></item>
  <b:item id="3"/>
  <?go now?>
  <deep><item id="4"><![CDATA[<x>]]> and more</item></deep>
</shop>"#;

fn outcome(expression: &str) -> String {
    let text = Text::of(SHOP);
    let document = Document::parse(&text).unwrap();
    let namespaces = Namespaces::default().with("p", "urn:b");
    let start = Node::Tree(document.tree().root());
    match XPath::parse(expression).unwrap().evaluate(start, &namespaces).unwrap() {
        Outcome::Nodes(nodes) => {
            let told = nodes.iter().map(|node| match node {
                Node::Attribute(..) => format!("@{}={}", node.written_name(), node.string_value()),
                _ => match node.element() {
                    Some(element) => {
                        format!("{}#{}", node.written_name(), element.attribute("id").unwrap_or_default())
                    }
                    None => format!("'{}'", node.string_value().trim()),
                },
            });
            told.collect::<Vec<_>>().join(" ")
        }
        other => other.text(),
    }
}

#[test]
fn expressions_select_what_the_specification_says() {
    for (expression, expected) in [
        ("/shop/item", "item#1 item#2"),
        ("//item", "item#1 item#2 item#4"),
        ("//p:item | //p:note", "b:note# b:item#3"),
        ("//p:*", "b:note# b:item#3"),
        ("/shop/*[2]", "item#2"),
        ("/shop/*[last()]/item", "item#4"),
        ("//item[@price > 3]/@id", "@id=2"),
        ("//item[@id='1' or position()=2]", "item#1 item#2"),
        ("//item[. = 'Lamp']", "item#1"),
        ("//item[text()='<x> and more']", "item#4"),
        ("//item[@id=4]/ancestor::*", "shop# deep#"),
        ("//item[@id=4]/preceding::item[1]", "item#2"),
        ("//item[@id=1]/following::*[last()]", "item#4"),
        ("//p:item/preceding-sibling::*[1]", "item#2"),
        ("//p:item/following-sibling::node()[2]", "'now'"),
        ("/shop/@*", "@xml:lang=en-GB"),
        ("//@price/..", "item#1 item#2"),
        ("(//item)[3]", "item#4"),
        ("//item[not(@price)]", "item#4"),
        ("/shop/comment()", "'first'"),
        ("//processing-instruction('go')", "'now'"),
        ("//item[lang('en')][1]", "item#1 item#4"),
        ("count(//item) + 1 div 2", "3.5"),
        ("sum(//@price)", "12.5"),
        (
            "concat(name(//p:item), ':', local-name(//p:item), ':', namespace-uri(//p:item))",
            "b:item:item:urn:b",
        ),
        ("substring('12345', 1.5, 2.6)", "234"),
        ("substring('12345', 0 div 0, 3)", ""),
        ("substring('12345', -1 div 0)", "12345"),
        ("translate('bar', 'abc', 'AB')", "BAr"),
        ("normalize-space('  a   b ')", "a b"),
        ("substring-before('1999/04/01', '/')", "1999"),
        ("substring-after('1999/04/01', '/')", "04/01"),
        ("string-length('äöü')", "3"),
        ("round(-2.5)", "-2"),
        ("5 mod -2", "1"),
        ("1 div 0", "Infinity"),
        ("'a' < 'b'", "false"),
        ("//item = 'Lamp'", "true"),
        ("//item != 'Lamp'", "true"),
        ("//@price > //@id", "true"),
        ("boolean('false')", "true"),
        ("true() = 'x'", "true"),
        ("- 3 - -2", "-1"),
        ("//nothing = //nothing", "false"),
        ("id('1')", ""),
    ] {
        assert_eq!(outcome(expression), expected, "{expression}");
    }
}

#[test]
fn wrong_expressions_are_told_with_their_column() {
    let column = |expression: &str| match XPath::parse(expression).unwrap_err() {
        XPathError::Wrong { column, why, .. } => (column, why),
        other => panic!("{other}"),
    };
    assert_eq!(column("/a[@b='x'").0, 10);
    assert_eq!(column("/ä[frob()]").0, 4);
    assert!(column("/a[count()]").1.contains("`count` does not take 0"));
    assert_eq!(column("$x").0, 1);
    assert!(matches!(XPath::parse(&"(".repeat(5000)), Err(XPathError::TooMuch { .. })));
    assert!(matches!(XPath::parse(&"-".repeat(5000)), Err(XPathError::TooMuch { .. })));
    assert!(matches!(XPath::parse(&vec!["1"; 3000].join("+")), Err(XPathError::TooMuch { .. })));
    assert!(matches!(XPath::parse(&"a".repeat(100_000)), Err(XPathError::TooMuch { .. })));
}

#[test]
fn prefixes_need_namespaces_and_values_are_no_nodes() {
    let text = Text::of("<a/>");
    let document = Document::parse(&text).unwrap();
    let select =
        |expression: &str| document.select(&XPath::parse(expression).unwrap(), &Namespaces::default());
    assert!(matches!(select("/x/q:a"), Err(XPathError::Prefix { prefix, column: 4, .. }) if prefix == "q"));
    assert!(matches!(select("count(/a)"), Err(XPathError::NoNodes { .. })));
    assert!(matches!(select("('a')[1]"), Err(XPathError::Wrong { .. })));
    assert!(select("xml:a").unwrap().is_empty());
}

#[test]
fn costly_expressions_stop() {
    let text = Text::of(format!("<a>{}</a>", "<b><c/>x</b>".repeat(20_000)));
    let document = Document::parse(&text).unwrap();
    for expression in [
        "//*[//*!=//*]",
        "//b[preceding::b[preceding::b[preceding::c]]]",
        "//c[count(//b[contains(string(/), 'y')])]",
    ] {
        let asked = document.select(&XPath::parse(expression).unwrap(), &Namespaces::default());
        assert!(matches!(asked, Err(XPathError::TooCostly { .. })), "{expression}");
    }
    let deepest = XPath::parse(&format!("{}1{}", "a[".repeat(32), "]".repeat(32))).unwrap();
    assert!(document.select(&deepest, &Namespaces::default()).is_ok());
    let longest = XPath::parse(&vec!["/a"; 250].join("|")).unwrap();
    assert_eq!(document.select(&longest, &Namespaces::default()).unwrap().len(), 1);
}
