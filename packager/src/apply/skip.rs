//! What an apply is told to leave alone: Web Deploy's `-skip`, parsed from text and asked for every object.

use std::str::FromStr;

use crate::pattern::{Exhausted, Pattern};

/// The operation that a skip rule forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipAction {
    /// Something at the destination would be deleted.
    Delete,
    /// Something at the destination would be replaced.
    Update,
    /// Something would be added below a directory.
    AddChild,
}

/// One `-skip`: `objectName=filePath,absolutePath=\\logs\\.*,skipAction=Delete`.
///
/// Without an action it is a directive, and hides objects on both sides as if they were not there: each side is asked by its
/// own path. With one, it is a rule, and forbids one kind of change.
#[derive(Debug, Clone)]
pub struct SkipRule {
    text: String,
    action: Option<SkipAction>,
    object: Option<Pattern>,
    path: Option<Pattern>,
}

/// Text that is no skip rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` is no skip rule: {why}")]
pub struct BadSkip {
    /// The rule as it was given.
    pub rule: String,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

/// A regular expression took too long on a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("skip rule `{rule}` can't be decided for {path}: {why}")]
pub struct Undecided {
    rule: String,
    path: String,
    why: String,
}

const KEYS: &str = "objectName, absolutePath, skipAction, File and Directory";

impl FromStr for SkipRule {
    type Err = BadSkip;

    fn from_str(text: &str) -> Result<Self, BadSkip> {
        let bad = |why: String| BadSkip { rule: text.to_owned(), why };
        let mut rule = Self { text: text.to_owned(), action: None, object: None, path: None };
        let mut seen = Vec::new();
        for (key, value) in settings(text).map_err(bad)? {
            let key = key.to_ascii_lowercase();
            if seen.contains(&key) {
                return Err(bad(format!("`{key}` is given twice")));
            }
            match key.as_str() {
                "objectname" => rule.object = Some(regex(&value).map_err(bad)?),
                "absolutepath" => rule.path = Some(regex(&value).map_err(bad)?),
                "skipaction" => rule.action = Some(action(&value).map_err(bad)?),
                "file" => {
                    (rule.object, rule.path) =
                        (Some(regex("^filePath$").map_err(bad)?), Some(regex(&value).map_err(bad)?))
                }
                "directory" => {
                    (rule.object, rule.path) =
                        (Some(regex("^dirPath$").map_err(bad)?), Some(regex(&value).map_err(bad)?))
                }
                "xpath" | "keyattribute" => {
                    return Err(bad(format!(
                        "`{key}` asks for places in Web Deploy's own tree, which Staith has not; use absolutePath"
                    )));
                }
                _ => return Err(bad(format!("it has no setting `{key}`; there are {KEYS}"))),
            }
            seen.push(key);
        }
        if seen.iter().any(|key| key == "file" || key == "directory")
            && seen.iter().any(|key| key == "objectname" || key == "absolutepath")
        {
            return Err(bad("File and Directory stand for objectName and absolutePath; give either".into()));
        }
        if rule.object.is_none() && rule.path.is_none() {
            return Err(bad(
                "it names nothing, so it would skip everything; give objectName or absolutePath".into(),
            ));
        }
        Ok(rule)
    }
}

/// Splits `key=value,key=value`. A comma begins a setting only before a word and `=`, so that expressions may hold commas;
/// a value in quotes may hold those as well.
fn settings(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut settings = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) =
            split_key(rest).ok_or_else(|| format!("settings are written KEY=VALUE; there are {KEYS}"))?;
        let quote = after.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (value, next) = match quote.and_then(|quote| after[1..].split_once(quote)) {
            Some((value, "")) => (value, None),
            Some((value, next)) => {
                (value, Some(next.strip_prefix(',').ok_or("something follows a closing quote")?))
            }
            None if quote.is_some() => return Err("a quote is not closed".into()),
            None => match after.match_indices(',').find(|(at, _)| split_key(&after[at + 1..]).is_some()) {
                Some((at, _)) => (&after[..at], Some(&after[at + 1..])),
                None => (after, None),
            },
        };
        settings.push((key.to_owned(), value.to_owned()));
        match next {
            Some(next) => rest = next,
            None => return Ok(settings),
        }
    }
}

fn split_key(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    is_word.then_some((key, value))
}

fn regex(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("an expression is empty, so it would match everything".into());
    }
    Pattern::new(text, true).map_err(|why| why.to_string())
}

fn action(text: &str) -> Result<SkipAction, String> {
    match text.to_ascii_lowercase().as_str() {
        "delete" => Ok(SkipAction::Delete),
        "update" => Ok(SkipAction::Update),
        "addchild" => Ok(SkipAction::AddChild),
        _ => Err(format!("`{text}` is no skipAction; there are Delete, Update and AddChild")),
    }
}

impl SkipRule {
    /// The rule as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds for an object of the kind `object` (`filePath`, `dirPath`, or a provider's name) at `path`. The path is
    /// asked in both spellings, `C:\site\a` and `/site/a`: rules come from Windows, and are written on Linux, too.
    ///
    /// # Errors
    /// An expression backtracks too much.
    pub fn covers(&self, object: &str, path: &str) -> Result<bool, Undecided> {
        let matches = |regex: &Pattern, text: &str| {
            let undecided = |why: Exhausted| Undecided {
                rule: self.text.clone(),
                path: path.to_owned(),
                why: why.to_string(),
            };
            regex.is_match(text).map_err(undecided)
        };
        if let Some(regex) = &self.object
            && !matches(regex, object)?
        {
            return Ok(false);
        }
        match &self.path {
            None => Ok(true),
            Some(regex) => {
                Ok(matches(regex, &path.replace('/', "\\"))? || matches(regex, &path.replace('\\', "/"))?)
            }
        }
    }

    /// Whether it hides objects rather than forbidding a change.
    pub fn is_directive(&self) -> bool {
        self.action.is_none()
    }

    /// Whether it forbids `action`.
    pub fn forbids(&self, action: SkipAction) -> bool {
        self.action == Some(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> SkipRule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_are_read_as_web_deploy_reads_them() {
        let directive = rule(r"objectName=filePath,absolutePath=\\docs\\.*");
        assert!(directive.is_directive());
        assert!(directive.covers("filePath", r"C:\site\DOCS\a.txt").unwrap(), "letter case is ignored");
        assert!(
            directive.covers("filePath", "/srv/site/docs/a.txt").unwrap(),
            "a path of Linux is asked as one of Windows"
        );
        assert!(rule("absolutePath=/docs/").covers("filePath", r"C:\site\docs\a.txt").unwrap());
        assert!(!directive.covers("dirPath", r"C:\site\docs\a").unwrap());
        let commas = rule(r"SKIPACTION=delete,absolutePath=^a{1,2},b$,objectName=dirPath");
        assert!(
            commas.forbids(SkipAction::Delete)
                && !commas.forbids(SkipAction::Update)
                && !commas.is_directive()
        );
        assert!(commas.covers("dirPath", "aa,b").unwrap());
        assert!(
            rule("absolutePath='x,File=y',objectName=\"filePath\"").covers("filePath", "x,file=y").unwrap()
        );
        assert!(rule(r"File=\.log$").covers("filePath", "/a.log").unwrap());
        assert!(!rule(r"Directory=\.log$").covers("filePath", "/a.log").unwrap());
        assert!(rule("objectName=setAcl").covers("setAcl", r"C:\anything").unwrap());
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_would_be_one() {
        for (text, why) in [
            ("", "KEY=VALUE"),
            ("objectName", "KEY=VALUE"),
            ("objectName=", "empty"),
            ("skipAction=Delete", "names nothing"),
            ("skipAction=Remove,objectName=filePath", "Delete, Update and AddChild"),
            ("objectName=filePath,absolutPath=x", "no setting `absolutpath`"),
            ("absolutePath=(", "regular expression"),
            ("objectName=a,objectName=b", "twice"),
            ("xPath=//x", "use absolutePath"),
            ("attributes.name=x", "no setting"),
            ("File=a,objectName=b", "give either"),
            ("absolutePath='x", "not closed"),
            ("absolutePath='x'y", "closing quote"),
        ] {
            let refused = text.parse::<SkipRule>().unwrap_err();
            assert!(refused.to_string().contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn an_expression_that_never_ends_is_an_error_and_no_hang() {
        let endless = rule(r"absolutePath=(?=(a+)+$)(a|aa)+\1$");
        assert!(
            endless
                .covers("filePath", &"a".repeat(200).replace("aaaaaaaaaa", "aaaaaaaaab"))
                .is_ok_and(|it| !it)
                || endless.covers("filePath", &format!("{}b", "a".repeat(200))).is_err()
        );
    }
}
