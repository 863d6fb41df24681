//! `image`: the root file system of a step or a service.

use super::{
    problems::quoted,
    values::{Understood, complaint},
    walk::Table,
};

/// What is written for the host's own programs, where the file's default is another image.
const HOST: &str = "host";

/// `image` of a table; `None` is the host image.
pub(super) fn read(table: &Table<'_>) -> Option<String> {
    table.text("image", reference).and_then(|image| image.value)
}

/// `image` of a table, or what it inherits.
pub(super) fn or_inherited(table: &Table<'_>, inherited: &Option<String>) -> Option<String> {
    if table.has("image") { read(table) } else { inherited.clone() }
}

/// Whether a table asks for the host image by name.
pub(super) fn names_host(table: &Table<'_>) -> bool {
    table.entry("image").is_some_and(|entry| entry.value.get_ref().as_str() == Some(HOST))
}

/// The name of an image as registries and engines write it. Whether there is one by this name is not known here.
fn reference(text: &str) -> Understood<Option<String>> {
    if text == HOST {
        return Ok(None);
    }
    if let Some((_, rest)) = text.split_once("://") {
        return complaint(
            "is an address",
            "an image is named without `https://` or the like",
            format!("write {}", quoted(rest)),
        );
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:@+{}".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '{');
    if starts_well && text.len() <= 500 && text.chars().all(fits) && !text.contains("//") {
        return Ok(Some(text.to_owned()));
    }
    complaint(
        "is not an image's name",
        format!("{} can't be an image", quoted(text)),
        "write it as registries do, for example \"python:3.12-slim\" or \"ghcr.io/owner/name:1.2\"; \"host\" stands for this \
         machine's own programs",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_registries_do() {
        for good in [
            "python:3.12-slim",
            "ghcr.io/a/b:1",
            "localhost:5000/a@sha256:00",
            "python:{matrix.python}",
            "a/b_c+d",
        ] {
            assert_eq!(reference(good), Ok(Some(good.to_owned())), "{good}");
        }
        assert_eq!(reference("host"), Ok(None));
        for bad in ["", "-v", "a b", "https://ghcr.io/a", "a//b", "ä", "a\n", "../x", &"x".repeat(501)] {
            assert!(reference(bad).is_err(), "{bad:?}");
        }
    }
}
