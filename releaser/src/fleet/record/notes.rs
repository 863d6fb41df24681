//! What is new in a release, from the commits between it and the one before.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{Deserialize, Serialize};
use staith_model::{Name, SourceOfRelease, Version};

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

/// Commits between two releases, as whoever reads the repository found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that the later one has and the earlier has not.
    pub new: Vec<Commit>,
    /// Whether there are more than are told.
    pub more: bool,
    /// How many the earlier one has and the later has not.
    pub gone: usize,
}

/// A release, as far as notes tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What people call it: its package and version.
    name: String,
    /// Whether it also has changes that no commit has.
    is_dirty: bool,
}

impl Side {
    /// Of a release of this package that came from there.
    pub fn of(package: &Name, version: &Version, source: &SourceOfRelease) -> Self {
        Self { name: format!("{package}@{version}"), is_dirty: source.dirty }
    }
}

/// What is new in a release, with what a reader should know of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseNotes {
    /// What is new.
    #[serde(flatten)]
    pub notes: Notes,
    /// What a reader should know, a sentence each.
    pub remarks: Vec<String>,
}

impl ReleaseNotes {
    /// From one release to another, with the commits between.
    pub fn of(from: &Side, to: &Side, found: Found) -> Self {
        let mut remarks = Vec::new();
        if found.more {
            remarks.push("there are more commits than are told here".to_owned());
        }
        if found.gone > 0 {
            let commits = if found.gone == 1 { "commit" } else { "commits" };
            remarks.push(format!("{} lacks {} {commits} that {} has", to.name, found.gone, from.name));
        }
        let dirty = [from, to].into_iter().filter(|side| side.is_dirty);
        remarks.extend(dirty.map(|side| format!("{} also has changes that no commit has", side.name)));
        Self { notes: Notes::of(&Between { from: Some(&from.name), to: &to.name }, found.new), remarks }
    }
}

/// What is new in a release. All but the titles was written by others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// What people call the release before; `None` if there is none.
    pub from: Option<String>,
    /// What people call the release.
    pub to: String,
    /// What changed, group by group in the order in which people want to read them; none is empty. A breaking change is in two.
    pub groups: Vec<Group>,
    /// Work items that commits name, in order: `#12`, `AB#7`.
    pub work_items: Vec<String>,
    /// Who wrote the commits, in order, each once.
    pub people: Vec<String>,
}

/// Changes of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What kind.
    pub title: Cow<'static, str>,
    /// They, in the order of their commits.
    pub changes: Vec<Change>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The first digits of its commit.
    pub commit: String,
    /// What part of the project it is about, where it says so.
    pub scope: Option<String>,
    /// What it does.
    pub what: String,
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

impl Notes {
    /// Of commits, which stay in the order given.
    pub fn of(between: &Between<'_>, commits: impl IntoIterator<Item = Commit>) -> Self {
        let mut changes: Vec<(&'static str, Change)> = Vec::new();
        let (mut people, mut items) = (BTreeSet::new(), BTreeSet::new());
        for commit in commits {
            let told = told(&commit.subject);
            let change = Change {
                commit: commit.id.chars().filter(char::is_ascii_hexdigit).take(12).collect(),
                scope: told.scope.map(str::to_owned),
                what: told.what.to_owned(),
            };
            if told.is_breaking || breaks(&commit.body) {
                changes.push((BREAKING, change.clone()));
            }
            changes.push((told.group, change));
            items.extend(work_items(&commit.subject));
            items.extend(work_items(&commit.body));
            people.insert(commit.author);
        }
        let titles = [BREAKING].into_iter().chain(GROUPS.iter().map(|(title, _)| *title)).chain([OTHERS]);
        let group = |title: &'static str| {
            let of_group = changes.iter().filter(|(of, _)| *of == title);
            Group { title: title.into(), changes: of_group.map(|(_, change)| change.clone()).collect() }
        };
        Self {
            from: between.from.map(str::to_owned),
            to: between.to.to_owned(),
            groups: titles.map(group).filter(|group| !group.changes.is_empty()).collect(),
            work_items: items.iter().map(ToString::to_string).collect(),
            people: people.into_iter().filter(|person| !person.is_empty()).collect(),
        }
    }

    /// As Markdown. What commits say is shown and means nothing to Markdown.
    pub fn markdown(&self) -> String {
        let mut page = vec![format!("# {}", markdown::text(&self.to)), String::new()];
        page.push(match &self.from {
            Some(from) => format!("Changes since {}.", markdown::text(from)),
            None => "The first release.".to_owned(),
        });
        if self.groups.is_empty() {
            page.extend([String::new(), "No commits.".to_owned()]);
        }
        for group in &self.groups {
            page.extend([String::new(), format!("## {}", group.title), String::new()]);
            page.extend(group.changes.iter().map(line));
        }
        list(&mut page, "Work items", &self.work_items);
        list(&mut page, "People", &self.people);
        page.push(String::new());
        page.join("\n")
    }
}

fn list(page: &mut Vec<String>, title: &str, items: &[String]) {
    if !items.is_empty() {
        page.extend([String::new(), format!("## {title}"), String::new()]);
        page.extend(items.iter().map(|item| format!("- {}", markdown::text(item))));
    }
}

fn line(change: &Change) -> String {
    let scope = change.scope.as_ref().map(|scope| format!("**{}** ", markdown::text(scope)));
    let (scope, what) = (scope.unwrap_or_default(), markdown::text(&change.what));
    format!("- {scope}{what} ({})", markdown::code(&change.commit))
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
        let notes = Notes::of(
            &between,
            [
                commit("feat(cart): pay by invoice", "Closes #12 and ab#7, not a#5 nor #0x1"),
                commit("Tidy up", ""),
                commit("fix!: round half up (#12)", ""),
                commit("note: this is no type", "BREAKING CHANGE: prices are strings"),
            ],
        );
        assert_eq!((notes.groups.len(), notes.work_items.join(" ").as_str()), (4, "#12 AB#7"));
        let page = notes.markdown();
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
        let page = Notes::of(&Between { from: None, to: "1.0.0" }, []).markdown();
        assert!(page.contains("The first release.") && page.contains("No commits."));
    }

    proptest! {
        #[test]
        fn a_hostile_subject_makes_no_line_of_its_own(subject in "\\PC{0,60}|[\\x00-\\x7f]{0,60}", id in ".{0,20}") {
            let between = Between { from: None, to: "1.0.0" };
            let hostile = Commit { id, author: String::new(), ..commit(&subject, "") };
            let page = Notes::of(&between, [hostile]).markdown();
            let lines = page.lines().filter(|line| line.starts_with("- ")).count();
            prop_assert!(lines >= 1);
            prop_assert!(!page.contains(['<', '>', '@']));
            prop_assert_eq!(page.lines().filter(|line| line.starts_with("# ")).count(), 1);
        }
    }
}
