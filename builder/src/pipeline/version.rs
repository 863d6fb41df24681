//! `version`: a text, or a scheme with placeholders for what is built.

use staith_model::{Source, Trigger, Version};

use super::{
    problems::quoted,
    suggest::{closest, listed},
    values::{Understood, complaint},
};

const PLACEHOLDERS: [&str; 3] = ["commit", "branch", "tag"];
/// As many digits of a commit's id as people show.
const SHORT_COMMIT: usize = 12;
/// What stands for something that is not known in a version that nobody will see.
const UNKNOWN: &str = "0";

/// A version or a scheme for one.
pub(super) fn scheme(text: &str) -> Understood<String> {
    let mut unknown = None;
    let example = replaced(text, |name| {
        unknown = unknown.take().or_else(|| (!PLACEHOLDERS.contains(&name)).then(|| name.to_owned()));
        UNKNOWN.to_owned()
    });
    if let Some(name) = unknown {
        let written = |name: &str| format!("{{{name}}}");
        return complaint(
            "asks for something unknown",
            format!("{} is not known", quoted(&written(&name))),
            match closest(&name, PLACEHOLDERS) {
                Some(meant) => format!("did you mean `{}`?", written(meant)),
                None => format!(
                    "known are {}; a plan knows no clock and no counter",
                    listed(PLACEHOLDERS.map(written))
                ),
            },
        );
    }
    match example.parse::<Version>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => complaint(
            "is not a version",
            format!("{} can't be a version", quoted(text)),
            "write a version such as \"1.4.0\" or \"2.0.0-rc.1\": letters, digits, `.`, `-` and `+`, first a letter or a \
             digit, 100 characters at most; `{commit}`, `{branch}` and `{tag}` stand for what is built",
        ),
    }
}

/// The version of what is built.
///
/// # Errors
/// What the scheme asks for and is not known, or why the result is no version; in a sentence's end for people. Where `needed`
/// is false, nobody will see the version, and what is not known becomes `0`.
pub(crate) fn resolve(
    scheme: &str,
    source: &Source,
    trigger: &Trigger,
    needed: bool,
) -> Result<String, String> {
    let mut absent = None;
    let text = replaced(scheme, |name| {
        let value = match name {
            "commit" => {
                source.commit.as_deref().map(|commit| commit.get(..SHORT_COMMIT).unwrap_or(commit).to_owned())
            }
            "branch" => trigger.branch.as_deref().map(as_version),
            _ => trigger.tag.as_deref().map(|tag| as_version(without_v(tag))),
        };
        value.unwrap_or_else(|| {
            absent.get_or_insert_with(|| name.to_owned());
            UNKNOWN.to_owned()
        })
    });
    if let Some(absent) = absent.filter(|_| needed) {
        return Err(format!("there is no {absent} to name it after"));
    }
    if text.parse::<Version>().is_ok() || !needed {
        // What nobody sees may be too long.
        return Ok(text.chars().take(100).collect());
    }
    Err(format!("{} is not a version", quoted(&text)))
}

/// `text` with what `value` says in the place of each `{name}`.
fn replaced(text: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(&value(name));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// A name of git with only the characters that a version may have.
fn as_version(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let plain: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    match plain.trim_matches(['-', '.']) {
        "" => UNKNOWN.to_owned(),
        plain => plain.to_owned(),
    }
}

/// `1.4.0` of `v1.4.0`.
fn without_v(tag: &str) -> &str {
    tag.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built(commit: Option<&str>, branch: Option<&str>, tag: Option<&str>) -> (Source, Trigger) {
        let source = Source { tree: String::new(), commit: commit.map(str::to_owned), dirty: false };
        (
            source,
            Trigger { branch: branch.map(str::to_owned), tag: tag.map(str::to_owned), ..Trigger::default() },
        )
    }

    #[test]
    fn a_version_is_named_after_what_is_built() {
        let (source, trigger) = built(Some(&"ab".repeat(20)), Some("feature/Größe_1"), Some("v1.4.0"));
        for (scheme, expected) in [
            ("1.4.0", "1.4.0"),
            ("1.4.0+{commit}", "1.4.0+abababababab"),
            ("1.4.0-{branch}.{commit}", "1.4.0-feature-Gr--e-1.abababababab"),
            ("{tag}", "1.4.0"),
        ] {
            assert_eq!(resolve(scheme, &source, &trigger, true).as_deref(), Ok(expected), "{scheme}");
        }
    }

    #[test]
    fn what_is_not_there_names_nothing_that_people_see() {
        let (source, trigger) = built(None, None, None);
        for (scheme, absent) in
            [("{tag}", "no tag"), ("1-{branch}", "no branch"), ("1+{commit}", "no commit")]
        {
            assert!(resolve(scheme, &source, &trigger, true).unwrap_err().contains(absent), "{scheme}");
            assert!(resolve(scheme, &source, &trigger, false).is_ok(), "{scheme}");
        }
    }

    #[test]
    fn schemes() {
        for good in ["1", "{tag}", "1.0.0-{branch}+{commit}"] {
            assert!(scheme(good).is_ok(), "{good}");
        }
        for bad in ["", "{date}", "{comit}", "{", "1{commit", "1}", "-{tag}", "{{tag}}", "1 {tag}"] {
            assert!(scheme(bad).is_err(), "{bad}");
        }
        assert!(scheme("{comit}").unwrap_err().help.contains("{commit}"));
    }

    proptest! {
        #[test]
        fn what_is_resolved_is_a_version_or_a_reason(scheme_text in "[a-z0-9.+-]{0,8}(\\{(commit|branch|tag)\\})?[a-z0-9.+-]{0,8}", branch in ".{0,120}", tag in ".{0,20}") {
            if scheme(&scheme_text).is_ok() {
                let (source, trigger) = built(Some("0123"), Some(&branch), Some(&tag));
                if let Ok(version) = resolve(&scheme_text, &source, &trigger, true) {
                    prop_assert!(version.parse::<Version>().is_ok(), "{}", version);
                }
            }
        }
    }
}
