//! What an XML file says, apart from how it says it.

use staith_packager::xml::Text;

/// The document as lines: one for each element, attribute, text, comment and instruction. Attributes are sorted; line ends, and
/// the space between elements, mean nothing. What is no XML is its bytes.
pub(crate) fn meaning(bytes: &[u8]) -> Vec<String> {
    let Ok(text) = Text::decode(bytes) else { return vec![format!("{bytes:?}")] };
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let Ok(document) = roxmltree::Document::parse_with_options(text.as_str(), options) else {
        return vec![format!("{bytes:?}")];
    };
    let mut lines = Vec::new();
    for node in document.root().descendants() {
        let depth = node.ancestors().count();
        if node.is_element() {
            lines.push(format!("{depth} {:?}", node.tag_name()));
            let mut attributes: Vec<_> = node
                .attributes()
                .map(|it| {
                    format!("{depth} @{:?}{}={:?}", it.namespace(), it.name(), it.value().replace('\r', ""))
                })
                .collect();
            attributes.sort();
            lines.extend(attributes);
        } else if let Some(pi) = node.pi() {
            lines.push(format!("{depth} {pi:?}"));
        } else {
            let text = node.text().unwrap_or_default().replace('\r', "");
            if node.is_comment() || !text.trim().is_empty() {
                lines.push(format!("{depth} {:?} {text:?}", node.node_type()));
            }
        }
    }
    lines
}
