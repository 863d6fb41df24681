//! What is new in a release, from the commits between it and the one before.

use std::collections::BTreeSet;

use super::markdown;

/// A commit, as whoever reads the repository has it. All of it was written by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// Who wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
}

/// Between which releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between<'a> {
    /// What people call the release before: its version; `None` if there is none.
    pub from: Option<&'a str>,
    /// What people call the release.
    pub to: &'a str,
}

/// The groups, in the order in which people want to read them, with the prefixes of conventional commits that belong to each.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Features", &["feat", "feature"]),
    ("Fixes", &["fix", "bugfix", "hotfix"]),
    ("Performance", &["perf"]),
    ("Reverts", &["revert"]),
    ("Documentation", &["docs", "doc"]),
    ("Maintenance", &["build", "chore", "ci", "refactor", "style", "test", "tests"]),
];
const BREAKING: &str = "Breaking changes";
const OTHERS: &str = "Other changes";

/// A subject as a conventional commit has it: `type(scope)!: what`.
#[derive(Debug, PartialEq, Eq)]
struct Told<'a> {
    group: &'static str,
    scope: Option<&'a str>,
    is_breaking: bool,
    what: &'a str,
}

/// The notes as Markdown. Commits in the order given; what they say is shown and means nothing to Markdown.
pub fn notes(between: &Between<'_>, commits: impl IntoIterator<Item = Commit>) -> String {
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    let (mut people, mut items) = (BTreeSet::new(), BTreeSet::new());
    for commit in commits {
        let told = told(&commit.subject);
        let is_breaking = told.is_breaking || breaks(&commit.body);
        let line = line(&commit, &told);
        if is_breaking {
            lines.push((BREAKING, line.clone()));
        }
        lines.push((told.group, line));
        items.extend(work_items(&commit.subject));
        items.extend(work_items(&commit.body));
        people.insert(commit.author);
    }
    let mut page = vec![format!("# {}", markdown::text(between.to)), String::new()];
    page.push(match between.from {
        Some(from) => format!("Changes since {}.", markdown::text(from)),
        None => "The first release.".to_owned(),
    });
    if lines.is_empty() {
        page.extend([String::new(), "No commits.".to_owned()]);
    }
    let groups = [BREAKING].into_iter().chain(GROUPS.iter().map(|(name, _)| *name)).chain([OTHERS]);
    for group in groups {
        let of_group: Vec<&String> =
            lines.iter().filter(|(of, _)| *of == group).map(|(_, line)| line).collect();
        if !of_group.is_empty() {
            page.extend([String::new(), format!("## {group}"), String::new()]);
            page.extend(of_group.into_iter().cloned());
        }
    }
    list(&mut page, "Work items", items.iter().map(|item: &WorkItem| item.to_string()));
    list(&mut page, "People", people.iter().cloned());
    page.push(String::new());
    page.join("\n")
}

fn list(page: &mut Vec<String>, title: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.map(|item| format!("- {}", markdown::text(&item))).collect();
    if !items.is_empty() {
        page.extend([String::new(), format!("## {title}"), String::new()]);
        page.extend(items);
    }
}

fn line(commit: &Commit, told: &Told<'_>) -> String {
    let scope = told.scope.map(|scope| format!("**{}** ", markdown::text(scope))).unwrap_or_default();
    let id: String = commit.id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    format!("- {scope}{} ({})", markdown::text(told.what), markdown::code(&id))
}

fn told(subject: &str) -> Told<'_> {
    let other = Told { group: OTHERS, scope: None, is_breaking: false, what: subject };
    let Some((before, what)) = subject.split_once(": ") else { return other };
    let (before, is_breaking) = before.strip_suffix('!').map_or((before, false), |before| (before, true));
    let (kind, scope) = match before.strip_suffix(')').and_then(|before| before.split_once('(')) {
        Some((kind, scope)) => (kind, Some(scope)),
        None => (before, None),
    };
    let kind = kind.to_ascii_lowercase();
    let group = GROUPS.iter().find(|(_, kinds)| kinds.contains(&kind.as_str()));
    group.map_or(other, |(group, _)| Told { group, scope, is_breaking, what })
}

fn breaks(body: &str) -> bool {
    body.lines().any(|line| line.starts_with("BREAKING CHANGE:") || line.starts_with("BREAKING-CHANGE:"))
}

/// A work item that a commit names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct WorkItem {
    /// `AB` of Azure Boards, or nothing.
    board: &'static str,
    number: u64,
}

impl std::fmt::Display for WorkItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.board, self.number)
    }
}

/// `#12` and `AB#12` that stand as words of their own.
fn work_items(text: &str) -> impl Iterator<Item = WorkItem> + '_ {
    text.split(|c: char| !c.is_alphanumeric() && c != '#' && c != '_').filter_map(|word| {
        let (before, number) = word.split_once('#')?;
        let board = match before {
            "" => "",
            board if board.eq_ignore_ascii_case("ab") => "AB",
            _ => return None,
        };
        // As people write numbers: without zeros before them.
        let is_number = !number.starts_with('0') && number.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| number.parse().ok()).flatten().map(|number| WorkItem { board, number })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn commit(subject: &str, body: &str) -> Commit {
        Commit {
            id: "0123456789abcdef0123456789abcdef01234567".into(),
            author: "Anna <anna@example.org>".into(),
            subject: subject.into(),
            body: body.into(),
        }
    }

    #[test]
    fn commits_are_grouped_and_work_items_gathered() {
        let between = Between { from: Some("1.0.0"), to: "1.1.0" };
        let page = notes(
            &between,
            [
                commit("feat(cart): pay by invoice", "Closes #12 and ab#7, not a#5 nor #0x1"),
                commit("Tidy up", ""),
                commit("fix!: round half up (#12)", ""),
                commit("note: this is no type", "BREAKING CHANGE: prices are strings"),
            ],
        );
        let expected = "\
# 1\\.1\\.0

Changes since 1\\.0\\.0.

## Breaking changes

- round half up \\(\\#12\\) (`0123456789ab`)
- note&#58; this is no type (`0123456789ab`)

## Features

- **cart** pay by invoice (`0123456789ab`)

## Fixes

- round half up \\(\\#12\\) (`0123456789ab`)

## Other changes

- Tidy up (`0123456789ab`)
- note&#58; this is no type (`0123456789ab`)

## Work items

- \\#12
- AB\\#7

## People

- Anna &lt;anna&#64;example\\.org&gt;
";
        assert_eq!(page, expected);
    }

    #[test]
    fn no_commits_are_told_as_that() {
        let page = notes(&Between { from: None, to: "1.0.0" }, []);
        assert!(page.contains("The first release.") && page.contains("No commits."));
    }

    proptest! {
        #[test]
        fn a_hostile_subject_makes_no_line_of_its_own(subject in "\\PC{0,60}|[\\x00-\\x7f]{0,60}", id in ".{0,20}") {
            let between = Between { from: None, to: "1.0.0" };
            let hostile = Commit { id, author: String::new(), ..commit(&subject, "") };
            let page = notes(&between, [hostile]);
            let lines = page.lines().filter(|line| line.starts_with("- ")).count();
            prop_assert!(lines >= 1);
            prop_assert!(!page.contains(['<', '>', '@']));
            prop_assert_eq!(page.lines().filter(|line| line.starts_with("# ")).count(), 1);
        }
    }
}
