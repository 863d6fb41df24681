//! Values of a matrix and of parameters inside texts: `{matrix.python}`, `{parameters.profile}`.
//!
//! Never in what a step runs: a value that is put into a script would be read as script. There, values are environment
//! variables.

use std::{collections::BTreeMap, ops::Range};

use super::{
    condition::Known,
    flaw::Flaw,
    matrix::Dimension,
    problems::quoted,
    suggest::{closest, listed},
};

/// What a placeholder names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Matrix,
    Parameters,
}

/// Something between braces that is a placeholder, or was meant to be one.
struct Placeholder<'t> {
    place: Range<usize>,
    source: Source,
    name: &'t str,
    /// Whether it is written as it must be.
    exact: bool,
}

/// The placeholders of a text; braces around anything else are not looked at.
fn placeholders(text: &str) -> Vec<Placeholder<'_>> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices('{') {
        let Some(length) = text[start + 1..].find('}') else { continue };
        let inner = &text[start + 1..start + 1 + length];
        let tidy = inner.trim();
        let source = [(Source::Matrix, "matrix."), (Source::Parameters, "parameters.")];
        let named =
            source.into_iter().find_map(|(source, prefix)| Some((source, tidy.strip_prefix(prefix)?)));
        let Some((source, name)) = named else { continue };
        // Other tools write `${{ matrix.python }}`.
        let first = text[..start].trim_end_matches(['{', '$']).len();
        let last = text.len() - text[start + length + 2..].trim_start_matches('}').len();
        let exact = first == start && inner == tidy;
        let place = if exact { start..start + length + 2 } else { first..last };
        found.push(Placeholder { place, source, name, exact });
    }
    found
}

/// What is wrong with the placeholders of a text.
pub(super) fn check(text: &str, known: &Known<'_>) -> Vec<Flaw> {
    placeholders(text).into_iter().filter_map(|placeholder| flaw(placeholder, known)).collect()
}

fn flaw(placeholder: Placeholder<'_>, known: &Known<'_>) -> Option<Flaw> {
    let Placeholder { place, source, name, exact } = placeholder;
    let (word, names): (&str, Vec<&str>) = match source {
        Source::Matrix => ("matrix", known.matrix.iter().map(|dimension| dimension.name.as_str()).collect()),
        Source::Parameters => {
            ("parameters", known.parameters.iter().map(|known| known.name.as_str()).collect())
        }
    };
    if names.contains(&name) {
        let help = format!("write `{{{word}.{name}}}`");
        return (!exact).then(|| {
            Flaw::at(
                place,
                "has a placeholder that is written otherwise here",
                "one brace on each side",
                help,
            )
        });
    }
    let help = match closest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{{{word}.{meant}}}`?"),
        None if names.is_empty() && source == Source::Matrix => "no `matrix` is declared here".to_owned(),
        None if names.is_empty() => {
            format!("declare it in a table `[parameters.{}]`", quoted(name).trim_matches('`'))
        }
        None => format!("known are {}", listed(names.iter().map(|name| format!("{{{word}.{name}}}")))),
    };
    Some(Flaw::at(
        place,
        format!("asks for {}", quoted(&format!("{word}.{name}"))),
        "nothing is known by this name",
        help,
    ))
}

/// As [`check`], for a glob: parameters are not checked for what they would mean in a path, so they can't be part of one.
pub(super) fn check_glob(text: &str, matrix: &[Dimension]) -> Vec<Flaw> {
    let help = "use a fixed path; a script can name what is in it";
    check_of_matrix(text, matrix, "only values of a matrix can be part of a path", help)
}

/// As [`check`], for a label of runners: who may set a parameter does not choose by it on whose hosts a step runs.
pub(super) fn check_label(text: &str, matrix: &[Dimension]) -> Vec<Flaw> {
    let help = "name the labels in the file: a setting of a run does not choose its runners";
    check_of_matrix(text, matrix, "only values of a matrix can be part of a label", help)
}

fn check_of_matrix(text: &str, matrix: &[Dimension], label: &str, help: &str) -> Vec<Flaw> {
    let parameter =
        placeholders(text).into_iter().find(|placeholder| placeholder.source == Source::Parameters);
    match parameter {
        Some(placeholder) => vec![Flaw::at(placeholder.place, "names a parameter", label, help)],
        None => check(text, &Known { parameters: &[], matrix, outcomes: false }),
    }
}

/// The dimensions that a text names.
pub(super) fn dimensions(text: &str) -> impl Iterator<Item = &str> {
    let is_matrix = |placeholder: &Placeholder<'_>| placeholder.source == Source::Matrix;
    placeholders(text).into_iter().filter(is_matrix).map(|placeholder| placeholder.name)
}

/// What is wrong with a script or an argument: placeholders that would work elsewhere.
pub(super) fn refuse(text: &str, known: &Known<'_>) -> Option<Flaw> {
    let known_here = |placeholder: &Placeholder<'_>| match placeholder.source {
        Source::Matrix => known.matrix.iter().any(|dimension| dimension.name == placeholder.name),
        Source::Parameters => known.parameters.iter().any(|known| known.name.as_str() == placeholder.name),
    };
    let found = placeholders(text).into_iter().find(known_here)?;
    let help = match found.source {
        Source::Matrix => {
            format!("read it from the environment: `\"${}\"`", super::matrix::variable(found.name))
        }
        Source::Parameters => {
            format!(
                "give it to the step in `env`: `env = {{ VALUE = \"{{parameters.{}}}\" }}`, and read `\"$VALUE\"`",
                found.name
            )
        }
    };
    Some(Flaw::at(
        found.place,
        "has a placeholder in it",
        "a value in here would be read as part of the command",
        help,
    ))
}

/// The text with every placeholder replaced by its value.
pub(crate) fn fill(
    text: &str,
    matrix: &BTreeMap<String, String>,
    parameters: &BTreeMap<String, String>,
) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut read = 0;
    for placeholder in placeholders(text) {
        let values = if placeholder.source == Source::Matrix { matrix } else { parameters };
        let Some(value) = values.get(placeholder.name).filter(|_| placeholder.exact) else { continue };
        filled.push_str(&text[read..placeholder.place.start]);
        filled.push_str(value);
        read = placeholder.place.end;
    }
    filled.push_str(&text[read..]);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> BTreeMap<String, String> {
        [("python".to_owned(), "3.12".to_owned()), ("os".to_owned(), "{matrix.python}".to_owned())].into()
    }

    #[test]
    fn only_known_placeholders_are_replaced_and_only_once() {
        for (text, expected) in [
            ("python:{matrix.python}-slim", "python:3.12-slim"),
            ("{matrix.python}{matrix.python}", "3.123.12"),
            ("{matrix.os}", "{matrix.python}"),
            ("{\"a\": \"{matrix.python}\"}", "{\"a\": \"3.12\"}"),
            ("{a,b}/{matrix}", "{a,b}/{matrix}"),
            ("${HOME} {} { {matrix.", "${HOME} {} { {matrix."),
        ] {
            assert_eq!(fill(text, &values(), &BTreeMap::new()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_filled_and_what_has_no_placeholder_stays(text in "[a-z{}$ .]{0,30}|.{0,30}|([{}$ ]|matrix\\.|python){0,12}") {
            let filled = fill(&text, &values(), &BTreeMap::new());
            if !text.contains("matrix.") {
                prop_assert_eq!(filled, text);
            }
        }
    }
}
