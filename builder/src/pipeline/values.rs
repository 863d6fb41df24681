//! Single values of a `runner.toml`: text that means a duration, a size, a path, a glob, ... Each function either understands
//! a text or says what is wrong with it; none knows where the text stands.

use globset::GlobBuilder;
use staith_model::{Name, RelPath};

use super::{problems::quoted, suggest::closest, walk::Placed};

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Continues a sentence that starts with the key: "is not a duration".
    pub(super) what: String,
    /// Stands beside the caret.
    pub(super) label: String,
    /// What to write.
    pub(super) help: String,
}

pub(super) type Understood<T> = Result<T, Complaint>;

pub(super) fn complaint<T>(
    what: impl Into<String>,
    label: impl Into<String>,
    help: impl Into<String>,
) -> Understood<T> {
    Err(Complaint { what: what.into(), label: label.into(), help: help.into() })
}

/// The values of a list without their places.
pub(super) fn texts(placed: Vec<Placed<String>>) -> Vec<String> {
    placed.into_iter().map(|item| item.value).collect()
}

/// Text that the operating system can take as an argument or a variable's value.
pub(super) fn plain(text: &str) -> Understood<String> {
    if text.contains('\0') {
        return complaint(
            "holds a NUL character",
            "no program can be given this text",
            "remove the `\\u0000` from the text",
        );
    }
    Ok(text.to_owned())
}

pub(super) fn name(text: &str) -> Understood<Name> {
    text.parse().or_else(|_| {
        complaint(
            "is not a name",
            format!("{} can't be a name", quoted(text)),
            match name_like(text) {
                Some(name) => format!("write `{name}`: {NAME_RULE}"),
                None => NAME_RULE.to_owned(),
            },
        )
    })
}

const NAME_RULE: &str =
    "a name has 1 to 63 lower-case letters, digits, `-`, `_` or `.`, and starts with a letter or a digit";

/// The name that a person may have had in mind when they wrote `text`.
pub(super) fn name_like(text: &str) -> Option<Name> {
    let dashes: String = text
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    dashes.trim_matches(['-', '_', '.']).parse().ok()
}

/// A folder or file below the workspace.
pub(super) fn relative(text: &str) -> Understood<RelPath> {
    check_place(text)?;
    text.try_into().or_else(|_| path_inside(text))
}

/// A glob over paths below the workspace.
pub(super) fn glob(text: &str) -> Understood<String> {
    check_place(text)?;
    if text.starts_with('!') {
        return complaint(
            "is not a glob",
            "a list here says what is meant; nothing can be taken away from it with `!`",
            "name what you want instead; in `[package]`, `exclude` takes files away",
        );
    }
    let parts = || text.split(['/', '{', '}', ',']);
    if text.split('/').any(|part| part.is_empty() || part == ".") || parts().any(|part| part == "..") {
        return path_inside(text);
    }
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => complaint(
            "is not a glob",
            error.kind().to_string(),
            "`*` stands for anything but `/`, `**` for any folders, `?` for one character, `[ab]` for one of some, \
             `{a,b}` for alternatives",
        ),
    }
}

/// What is true of paths and globs alike.
fn check_place(text: &str) -> Understood<()> {
    if text.is_empty() {
        return complaint("is empty", "nothing is named here", "write a path below the workspace");
    }
    if text.contains('\\') {
        let slashes = text.replace('\\', "/");
        return complaint(
            "holds a backslash",
            "folders are separated by `/` on every system",
            format!("write {}", quoted(&slashes)),
        );
    }
    if text.chars().any(char::is_control) {
        return complaint(
            "holds a control character",
            "this is no file's name that a person would choose",
            "write the path without line breaks and other control characters",
        );
    }
    Ok(())
}

/// Why a text that is no path below the workspace is none, and what to write.
fn path_inside<T>(text: &str) -> Understood<T> {
    let inside = text.strip_prefix("/workspace/").unwrap_or(text);
    let tidy: Vec<&str> = inside.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let help = if tidy.is_empty() {
        "leave the key out for the whole workspace".to_owned()
    } else {
        format!("write {}, relative to the project's folder", quoted(&tidy.join("/")))
    };
    if text.starts_with('/') {
        complaint("is an absolute path", "a step only knows paths below its workspace", help)
    } else if text.split(['/', '{', '}', ',']).any(|part| part == "..") {
        complaint("leaves the workspace", "`..` would lead out of the workspace", help)
    } else if text.ends_with('/') {
        complaint("ends with `/`", "a folder is named without it, and stands for all that is in it", help)
    } else {
        complaint("is not a plain path", "an empty or `.` component means nothing here", help)
    }
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Understood<String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(text.to_owned());
    }
    complaint(
        "has a bad name in it",
        format!("{} can't be a variable's name", quoted(text)),
        "use letters, digits and `_`, first no digit",
    )
}

/// One of a few known words.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Understood<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known = || words.iter().map(|(word, _)| *word);
    let all = super::suggest::listed(known());
    complaint(
        "has an unknown value",
        format!("{} is not one of them", quoted(text)),
        match closest(text, known()) {
            Some(word) => format!("did you mean `{word}`? Known are {all}"),
            None => format!("known are {all}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_globs_stay_in_the_workspace() {
        for good in ["vendor", "target/release/x", "**", "**/*.rs", "a/{b,c}/*", "Cargo.*", "..a", "a..b"] {
            assert_eq!(glob(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "/etc", "../x", "a/../b", "./a", "a/", "a//b", "a\\b", "!a", "{a,../b}", "[", "{a", "a\nb"]
        {
            assert!(glob(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "/etc", "..", "a/..", ".", "a\\b", "a\0"] {
            assert!(relative(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_guessed_from_what_people_write() {
        for (written, meant) in
            [("Build", Some("build")), ("unit test", Some("unit-test")), ("_x", Some("x")), ("ä", None)]
        {
            assert_eq!(name_like(written).map(String::from).as_deref(), meant, "{written}");
        }
    }
}
