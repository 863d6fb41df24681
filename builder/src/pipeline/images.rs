//! `image`: the root file system of a step or a service.

use std::collections::BTreeMap;

use super::{
    condition::Known,
    matrix::Variant,
    problems::quoted,
    template,
    values::{Complaint, Understood, complaint},
    walk::Table,
};
use crate::images::ImageReference;

/// What is written for the host's own programs, where the file's default is another image.
const HOST: &str = "host";
/// With all its placeholders.
const LONGEST: usize = 500;

/// `image` of a table; `None` is the host image.
pub(super) fn read(table: &Table<'_>) -> Option<String> {
    table.text("image", reference).and_then(|image| image.value)
}

/// `image` of a table, or what it inherits.
pub(super) fn or_inherited(table: &Table<'_>, inherited: &Option<String>) -> Option<String> {
    if table.has("image") { read(table) } else { inherited.clone() }
}

/// Complains about placeholders in `image` that name nothing, and about values that make no image of it.
pub(super) fn check_templates(table: &Table<'_>, known: &Known<'_>, variants: &[Variant]) {
    let Some(entry) = table.entry("image") else { return };
    let Some(text) = entry.value.get_ref().as_str() else { return };
    let flaws = template::check(text, known);
    let is_flawless = flaws.is_empty() && reference(text).is_ok();
    for flaw in flaws {
        table.complain_inside("image", entry.value.span(), flaw);
    }
    let defaults: BTreeMap<_, _> = known
        .parameters
        .iter()
        .map(|parameter| (parameter.name.to_string(), parameter.default.clone()))
        .collect();
    let none = BTreeMap::new();
    let matrices = variants.iter().map(|variant| &variant.values).chain(variants.is_empty().then_some(&none));
    let bad =
        matrices.map(|matrix| template::fill(text, matrix, &defaults)).find(|image| filled(image).is_none());
    if let Some(image) = bad.filter(|_| is_flawless) {
        let complaint = Complaint {
            what: "is not an image's name once its values are in it".into(),
            label: format!("{} can't be an image", quoted(&image)),
            help: "use values that can be a part of an image's name".into(),
        };
        table.complain("image", entry.value.span(), complaint);
    }
}

/// The image of a text in which values stand now; none where that can't be an image.
pub(crate) fn filled(text: &str) -> Option<Option<String>> {
    reference(text).ok().filter(|image| !image.as_ref().is_some_and(|image| image.contains(['{', '}'])))
}

/// Whether a table asks for the host image by name.
pub(super) fn names_host(table: &Table<'_>) -> bool {
    table.entry("image").is_some_and(|entry| entry.value.get_ref().as_str() == Some(HOST))
}

/// The name of an image, as [`ImageReference`] reads it. Whether there is one by this name is not known here. With a
/// placeholder in it, it is judged once values stand there.
fn reference(text: &str) -> Understood<Option<String>> {
    if text == HOST {
        return Ok(None);
    }
    let is_template = text.contains('{') && text.len() <= LONGEST && !text.contains(char::is_whitespace);
    match text.parse::<ImageReference>() {
        _ if is_template => Ok(Some(text.to_owned())),
        Ok(_) => Ok(Some(text.to_owned())),
        Err(bad) => complaint(
            "is not an image's name",
            bad.why,
            format!("{}; \"host\" stands for this machine's own programs", bad.remedy),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_registries_do() {
        for good in [
            "python:3.12-slim",
            "ghcr.io/a/b:1",
            "localhost:5000/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "python:{matrix.python}",
            "a/b_c",
            "./image.tar",
            "/opt/images/rootfs",
            "oci:./layout:1",
        ] {
            assert_eq!(reference(good), Ok(Some(good.to_owned())), "{good}");
        }
        assert_eq!(reference("host"), Ok(None));
        for bad in [
            "",
            "-v",
            "a b",
            "https://ghcr.io/a",
            "a//b",
            "ä",
            "a\n",
            "../x",
            "A",
            "a@sha256:00",
            &"x".repeat(501),
        ] {
            assert!(reference(bad).is_err(), "{bad:?}");
        }
    }
}
