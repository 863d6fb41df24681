//! Any bytes, cut in three by zeros: a file, a transform file, and a name that is an expression as well.

#![no_main]

use libfuzzer_sys::fuzz_target;
use staith_packager::{
    transform::{
        variables::{Variable, VariableValue, substitute},
        xdt,
    },
    xml::{Document, Edits, Fragment, Namespaces, Text, XPath},
};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (file, transform, name) = (part(), part(), String::from_utf8_lossy(part()).into_owned());
    let Ok(target) = Text::decode(file) else { return };
    // What can be read can be written back as it was.
    assert_eq!(target.encode().as_deref(), Ok(file));

    if let Ok(transform) = Text::decode(transform)
        && let Ok((after, _)) = xdt::apply(&target, &transform)
    {
        assert!(Document::parse(&after).is_ok());
    }
    let variables = [Variable { name: name.clone(), value: VariableValue::Plain("1".into()), optional: true }];
    if let Ok(done) = substitute(&target, &variables) {
        assert!(done.found[0] > 0 || done.text.as_str() == target.as_str());
    }
    let (Ok(document), Ok(xpath)) = (Document::parse(&target), XPath::parse(&name)) else { return };
    let Ok(nodes) = document.select(&xpath, &Namespaces::default()) else { return };
    let mut edits = Edits::new(&document);
    for node in nodes {
        let _ = edits.set_value(node, "<&\">'\n");
        if let Some(element) = node.element() {
            let new = Fragment::of(element, None);
            let _ = edits.insert_first(element, &new);
            let _ = edits.insert_after(element, &new);
            let _ = edits.set_attribute(element, "new", "\"'");
        }
    }
    if let Ok(after) = edits.apply() {
        assert!(Document::parse(&after).is_ok());
    }
});
