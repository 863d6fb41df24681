//! Licences as CycloneDX wants them: identifiers of SPDX where they are ones, names where nobody can tell.

use serde_json::{Value, json};

/// The identifiers that lock files mostly name. Others are written as names, which says no less.
const KNOWN: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AFL-3.0",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "CDLA-Permissive-2.0",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.2",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "ISC",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "MS-PL",
    "OFL-1.1",
    "OpenSSL",
    "PHP-3.01",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "Unicode-3.0",
    "Unlicense",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "ZPL-2.1",
];

fn is_known(text: &str) -> bool {
    KNOWN.contains(&text)
}

/// Whether a text combines licences as SPDX does, and all of them are known.
fn is_expression(text: &str) -> bool {
    let spaced = text.replace(['(', ')'], " ");
    let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    let is_balanced = text.matches('(').count() == text.matches(')').count();
    let alternates = words.iter().enumerate().all(|(place, word)| {
        if place % 2 == 0 { is_known(word.trim_end_matches('+')) } else { matches!(*word, "OR" | "AND") }
    });
    is_balanced && words.len() % 2 == 1 && words.len() > 1 && alternates
}

/// The value of `licenses`; several texts are a choice between them.
pub(super) fn licences(texts: &[String]) -> Vec<Value> {
    match texts {
        [one] if is_known(one) => vec![json!({ "license": { "id": one } })],
        [one] if is_expression(one) => vec![json!({ "expression": one })],
        several if several.len() > 1 && several.iter().all(|one| is_known(one) || is_expression(one)) => {
            let part = |one: &String| if is_known(one) { one.clone() } else { format!("({one})") };
            let parts: Vec<String> = several.iter().map(part).collect();
            vec![json!({ "expression": parts.join(" OR ") })]
        }
        texts => texts.iter().map(|name| json!({ "license": { "name": name } })).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_identifiers_expressions_or_names() {
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Value::from(licences(&texts)).to_string()
        };
        assert_eq!(of(&["MIT"]), r#"[{"license":{"id":"MIT"}}]"#);
        assert_eq!(of(&["(MIT OR Apache-2.0)"]), r#"[{"expression":"(MIT OR Apache-2.0)"}]"#);
        assert_eq!(of(&["MIT", "GPL-2.0-only"]), r#"[{"expression":"MIT OR GPL-2.0-only"}]"#);
        assert_eq!(of(&["SEE LICENSE IN x"]), r#"[{"license":{"name":"SEE LICENSE IN x"}}]"#);
        assert_eq!(of(&["MIT OR"]), r#"[{"license":{"name":"MIT OR"}}]"#);
        assert_eq!(
            of(&["proprietary", "MIT"]),
            r#"[{"license":{"name":"proprietary"}},{"license":{"name":"MIT"}}]"#
        );
        assert_eq!(of(&[]), "[]");
    }
}
