//! Transforms of whole files, and what holds for all of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use staith_packager::{
    transform::{
        Plan, Transform, apply,
        variables::{Variable, VariableValue, substitute},
        xdt,
    },
    xml::{Document, Edits, Fragment, Namespaces, Node, Text, XPath},
};

const SOURCE: &str = include_str!("transform/web.source.config");
const TRANSFORM: &str = include_str!("transform/web.transform.config");
const EXPECTED: &str = include_str!("transform/web.expected.config");

fn transformed(source: &[u8], transform: &str) -> Vec<u8> {
    let files = BTreeMap::from([("web.config".to_owned(), source.to_vec())]);
    let by = Transform {
        target: "web.config".into(),
        name: "web.transform.config".into(),
        bytes: transform.as_bytes().to_vec(),
    };
    let outcome = apply(&files, &Plan { transforms: vec![by], ..Plan::default() })
        .unwrap_or_else(|error| panic!("{error}"));
    outcome.changed.get("web.config").cloned().unwrap_or_else(|| source.to_vec())
}

#[test]
fn a_file_of_a_shop_is_transformed_as_expected() {
    let after = transformed(SOURCE.as_bytes(), TRANSFORM);
    assert_eq!(String::from_utf8(after).unwrap(), EXPECTED);
}

#[test]
fn line_ends_marks_and_encodings_do_not_matter_to_the_result() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(transformed(windows(SOURCE).as_bytes(), TRANSFORM), windows(EXPECTED).into_bytes());
    assert_eq!(transformed(windows(SOURCE).as_bytes(), &windows(TRANSFORM)), windows(EXPECTED).into_bytes());
    assert_eq!(transformed(SOURCE.as_bytes(), &windows(TRANSFORM)), EXPECTED.as_bytes());
    let utf16 = |text: &str| -> Vec<u8> {
        format!("\u{feff}{}", text.replace("utf-8", "utf-16"))
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    assert_eq!(transformed(&utf16(SOURCE), TRANSFORM), utf16(EXPECTED));
}

/// XML of a few names, with odd spaces, comments and CDATA.
fn element() -> impl Strategy<Value = String> {
    let attributes = prop::sample::select(vec!["", " k='1'", "  k=\"&amp;\"\n   m = 'x'", " m='a>b' "]);
    let name = prop::sample::select(vec!["a", "b", "c-d"]);
    let leaf =
        prop::sample::select(vec!["", " ", "\n  ", "text", "<![CDATA[<]]>", "<!-- - -->", "&lt;", "é€"]);
    let leaf = leaf.prop_map(str::to_owned);
    let start = (name, attributes);
    leaf.prop_recursive(4, 40, 5, move |inner| {
        (start.clone(), prop::collection::vec(inner, 0..5)).prop_map(|((name, attributes), content)| {
            match content.concat() {
                content if content.is_empty() => format!("<{name}{attributes}/>"),
                content => format!("<{name}{attributes}>{content}</{name}>"),
            }
        })
    })
}

fn document() -> impl Strategy<Value = String> {
    (element(), prop::bool::ANY).prop_map(|(inner, windows)| {
        let text = format!("<?xml version='1.0'?>\n<root>\n  {inner}\n</root>\n");
        if windows { text.replace('\n', "\r\n") } else { text }
    })
}

/// Name, attributes, direct text; space that only lays out does not count.
type Meaning = (String, Vec<(String, String)>, String);

/// The elements of a document in order.
fn meaning(text: &str) -> Vec<Meaning> {
    let text = Text::of(text);
    let document = Document::parse(&text).unwrap();
    let of = |node: roxmltree::Node<'_, '_>| {
        let attributes =
            node.attributes().map(|one| (one.name().to_owned(), one.value().to_owned())).collect();
        let own = node
            .children()
            .filter(|child| child.is_text())
            .filter_map(|child| child.text())
            .collect::<String>();
        (node.tag_name().name().to_owned(), attributes, own.trim().to_owned())
    };
    document.root_element().descendants().filter(roxmltree::Node::is_element).map(of).collect()
}

fn configuration() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }
}

proptest! {
    #![proptest_config(configuration())]

    #[test]
    fn an_attribute_that_is_set_changes_only_its_place(xml in document(), value in "\\PC{0,12}", which in any::<prop::sample::Index>()) {
        let text = Text::of(xml.clone());
        let document = Document::parse(&text).unwrap();
        let elements: Vec<_> = document.root_element().descendants().filter(roxmltree::Node::is_element).collect();
        let at = which.index(elements.len());
        let mut edits = Edits::new(&document);
        edits.set_attribute(elements[at], "k", &value).unwrap();
        let after = edits.apply().unwrap().as_str().to_owned();
        // What is before the element's content and after its start tag is the same.
        let tag = staith_packager::xml::StartTag::of(elements[at]);
        prop_assert_eq!(&after[..tag.name_range().end], &xml[..tag.name_range().end]);
        prop_assert!(after.ends_with(&xml[tag.end()..]));
        let mut expected = meaning(&xml);
        match expected[at].1.iter_mut().find(|attribute| attribute.0 == "k") {
            Some(attribute) => attribute.1 = value,
            None => expected[at].1.push(("k".to_owned(), value)),
        }
        prop_assert_eq!(meaning(&after), expected);
    }

    #[test]
    fn an_element_that_comes_in_and_goes_again_leaves_the_meaning(xml in document(), which in any::<prop::sample::Index>(), side in 0..4) {
        let text = Text::of(xml.clone());
        let document = Document::parse(&text).unwrap();
        let elements: Vec<_> = document.root_element().descendants().filter(roxmltree::Node::is_element).collect();
        let at = elements[which.index(elements.len())];
        let new = Fragment::parse("<new><x/></new>").unwrap();
        let mut edits = Edits::new(&document);
        let done = match side {
            0 => edits.insert_first(at, &new),
            1 => edits.insert_last(at, &new),
            2 => edits.insert_before(at, &new),
            _ => edits.insert_after(at, &new),
        };
        prop_assume!(done.is_ok());
        let between = edits.apply().unwrap();
        prop_assert_eq!(meaning(between.as_str()).len(), meaning(&xml).len() + 2);
        let document = Document::parse(&between).unwrap();
        let mut edits = Edits::new(&document);
        for node in document.select(&XPath::parse("//new").unwrap(), &Namespaces::default()).unwrap() {
            edits.remove(node).unwrap();
        }
        prop_assert_eq!(meaning(edits.apply().unwrap().as_str()), meaning(&xml));
    }

    #[test]
    fn a_transform_that_matches_nothing_leaves_every_byte(xml in document()) {
        let transform = "<root xmlns:x='http://schemas.microsoft.com/XML-Document-Transform'>\
            <nothing k='9' x:Transform='SetAttributes' x:SupressWarnings='true'/><a x:Locator='Condition(@no)' x:Transform='RemoveAll' x:SupressWarnings='true'/></root>";
        let (after, done) = xdt::apply(&Text::of(xml.clone()), &Text::of(transform)).unwrap();
        prop_assert_eq!(after.as_str(), xml);
        prop_assert!(done.iter().all(|one| one.changed == 0));
    }

    #[test]
    fn no_transform_breaks_a_file(xml in document(), name in prop::sample::select(vec!["a", "b", "c-d"]), transform in prop::sample::select(vec![
        "Replace", "Remove", "RemoveAll", "Insert", "InsertIfMissing", "InsertBefore(*)", "InsertAfter(*[last()])", "SetAttributes", "RemoveAttributes", "CommentOut",
    ]), locator in prop::sample::select(vec!["", "XPath(//*[@k])", "XPath(..)", "Condition(1)", "Match(k)"])) {
        let locator = if locator.is_empty() { String::new() } else { format!("x:Locator='{locator}'") };
        let transform = format!("<root xmlns:x='http://schemas.microsoft.com/XML-Document-Transform'>\n<{name} k='1' x:Transform='{transform}' {locator}><n/>\n</{name}></root>");
        // It may be refused; what comes out is XML in any case.
        if let Ok((after, _)) = xdt::apply(&Text::of(xml), &Text::of(transform)) {
            prop_assert!(Document::parse(&after).is_ok());
        }
    }

    #[test]
    fn nothing_panics_on_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a=\"' \\[\\]()@*.:&;!\\-{},0-9\\n]{0,80}", other in "\\PC{0,60}") {
        for file in [bytes.as_slice(), text.as_bytes(), other.as_bytes()] {
            let Ok(read) = Text::decode(file) else { continue };
            prop_assert_eq!(read.encode().unwrap(), file);
            let variables = [Variable { name: text.clone(), value: VariableValue::Plain(other.clone()), optional: true }];
            let _ = substitute(&read, &variables);
            let _ = xdt::apply(&Text::of(SOURCE), &read);
            let _ = xdt::apply(&read, &Text::of(TRANSFORM));
        }
        for expression in [&text, &other] {
            if let Ok(expression) = XPath::parse(expression) {
                let source = Text::of(SOURCE);
                let document = Document::parse(&source).unwrap();
                let _ = expression.evaluate(Node::Tree(document.tree().root()), &Namespaces::default());
            }
        }
    }

    #[test]
    fn json_that_is_set_says_what_was_asked_for(before in "[a-z ]{0,8}", value in "\\PC{0,12}", number in any::<i64>()) {
        let file = format!("// c\n{{ \"a.b\": {{\"c\": \"{before}\"}}, /* d */ \"n\": [0, 1e0,], }}");
        let plain = |name: &str, value: &str| Variable { name: name.into(), value: VariableValue::Plain(value.into()), optional: false };
        let after = substitute(&Text::of(file.clone()), &[plain("a.b.c", &value), plain("n.1", &number.to_string())]).unwrap();
        let text = after.text.as_str();
        prop_assert_eq!(&after.found, &[1, 1]);
        let written = serde_json::Value::from(value.as_str()).to_string();
        prop_assert_eq!(text, file.replace(&format!("\"{before}\"}}"), &format!("{written}}}")).replace("1e0", &number.to_string()));
    }
}
