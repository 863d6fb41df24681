//! `NAME.applied.txt`: a series of syncs by Web Deploy, each with its command, its output and the tree that it left.

use std::collections::BTreeMap;

/// One sync.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sync {
    pub(crate) name: String,
    /// What was done before it.
    pub(crate) before: String,
    /// The arguments of its command.
    pub(crate) arguments: Vec<String>,
    /// What it said that it did: `Adding file`, and the path below the destination.
    pub(crate) changes: Vec<(String, String)>,
    /// Its last line.
    pub(crate) total: String,
    pub(crate) left: Left,
}

/// A tree: path (directories end in `/`) → size and SHA-256, or `- -`.
pub(crate) type Listing = BTreeMap<String, String>;

/// What a sync left.
#[derive(Debug, Clone, Default)]
pub(crate) enum Left {
    #[default]
    SameAsFirst,
    Empty,
    Tree(Listing),
    /// Lines that went and lines that came, against the tree of the first sync, or (`changes`) that before this one.
    Differs {
        went: Listing,
        came: Listing,
        since_before: bool,
    },
}

/// All syncs of a series, and the times that the first one gave.
pub(crate) fn read(text: &str) -> (Vec<Sync>, BTreeMap<String, String>) {
    let (mut syncs, mut times) = (Vec::new(), BTreeMap::new());
    for section in text.split("\n== ") {
        let (name, body) = section.trim_start_matches("== ").split_once('\n').unwrap_or((section, ""));
        if name.trim() == "times" {
            let lines = body.lines().filter_map(|line| line.strip_prefix("  ")?.rsplit_once(' '));
            times.extend(lines.map(|(path, time)| (path.to_owned(), time.to_owned())));
        } else {
            syncs.push(sync(name, body));
        }
    }
    (syncs, times)
}

fn sync(name: &str, body: &str) -> Sync {
    let mut sync = Sync { name: name.to_owned(), ..Sync::default() };
    let (mut all, mut went, mut came) = (Listing::new(), Listing::new(), Listing::new());
    let mut tree = "";
    for line in body.lines() {
        match line.split_once(' ') {
            Some(("#", before)) => sync.before = before.to_owned(),
            Some(("$", command)) => sync.arguments = arguments(command),
            Some(("exit", code)) => assert_eq!(code, "0", "{name}"),
            Some(("|", said)) => sync.changes.extend(change(said)),
            Some(("total", total)) => sync.total = total.to_owned(),
            Some(("tree", kind)) => tree = kind,
            None if line == "tree" => tree = "whole",
            _ => {
                let (into, rest) = match line.split_at_checked(4) {
                    Some(("  - ", rest)) => (&mut went, rest),
                    Some(("  + ", rest)) => (&mut came, rest),
                    _ => (&mut all, line.trim_start()),
                };
                if let Some((path, size, digest)) = rest
                    .rsplit_once(' ')
                    .and_then(|(rest, digest)| Some((rest.rsplit_once(' ')?, digest)))
                    .map(|((path, size), digest)| (path, size, digest))
                {
                    into.insert(path.to_owned(), format!("{size} {digest}"));
                }
            }
        }
    }
    sync.left = match tree {
        "whole" => Left::Tree(all),
        "empty" => Left::Empty,
        "same-as-first" => Left::SameAsFirst,
        "differs-from-first" => Left::Differs { went, came, since_before: false },
        "changes" => Left::Differs { went, came, since_before: true },
        other => panic!("{name}: a tree that is {other}"),
    };
    sync
}

/// `Info: Adding file (C:\site\a\b.txt).`
fn change(said: &str) -> Option<(String, String)> {
    let (what, path) = said.strip_prefix("Info: ")?.strip_suffix(").")?.split_once(" (C:\\site")?;
    let known = ["Adding", "Updating", "Deleting"].iter().any(|verb| what.starts_with(verb));
    known.then(|| (what.to_owned(), path.trim_start_matches('\\').replace('\\', "/")))
}

/// Splits a command line; quotes hold spaces together.
fn arguments(command: &str) -> Vec<String> {
    let (mut arguments, mut current, mut quoted) = (Vec::new(), String::new(), false);
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => arguments.push(std::mem::take(&mut current)),
            c => current.push(c),
        }
    }
    arguments.push(current);
    arguments.retain(|argument| !argument.is_empty());
    arguments
}
