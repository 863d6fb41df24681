//! What is said of packages: that they were verified, packed, extracted, and how two of them differ.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use serde_json::json;
use staith_packager::web_deploy::{Change, Difference, Extracted, FileFact, TextFact, What};

use super::{
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
    table, words,
};
use crate::cli::{Packed, Verdict};

pub(super) fn look() -> Look {
    Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok())
}

/// Says that a package was verified, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn verified(verdict: &Verdict, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        out.line(&serde_json::to_string(verdict).unwrap_or_default());
    } else {
        out.line(&verified_line(verdict, look()));
    }
    out.written()
}

/// Says that a package was packed by hand, and what lies beside it, on standard output.
///
/// # Errors
/// As [`verified`].
pub(crate) fn packed(packed: &Packed, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let Packed { package, path, companions, gaps } = packed;
    if json {
        let told = json!({
            "package": package, "path": path.display().to_string(), "companions": companions, "gaps": gaps,
        });
        out.line(&told.to_string());
        return out.written();
    }
    let look = look();
    out.line(&format!("{} {}", look.mark(Mark::Passed), words::package(package).join(look.dot())));
    let companions = companions.iter().map(|one| (one.kind.as_str(), one.path.as_str()));
    let path = path.display().to_string();
    let rows: Vec<Vec<String>> = [("package", path.as_str())]
        .into_iter()
        .chain(companions)
        .map(|(what, path)| vec![format!("  {what}"), clean_word(path)])
        .collect();
    table::lines(&rows).iter().for_each(|line| out.line(line));
    out.written()
}

fn verified_line(verdict: &Verdict, look: Look) -> String {
    let against = match &verdict.content {
        Some(content) => format!("content {}", content.short()),
        None => "by checksums only, Staith did not make it".to_owned(),
    };
    let entries = human::number(verdict.entries as u64);
    let read = format!("{entries} entries, {}", human::size(verdict.bytes));
    let mut parts = vec![clean_word(&verdict.package), read, against];
    if let Some(vouched) = &verdict.vouched {
        let run = vouched.told.invocation.as_ref().map(|run| format!(", run {}", clean_word(run)));
        parts.push(format!("signed by {}{}", &vouched.key[..12], run.unwrap_or_default()));
    }
    format!("{} {}", look.mark(Mark::Passed), parts.join(look.dot()))
}

/// Says what was extracted, and where it is, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn extracted(package: &str, to: &Path, extracted: Extracted, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let Extracted { files, bytes } = extracted;
    if json {
        out.line(&json!({"package": package, "to": to, "files": files, "bytes": bytes}).to_string());
    } else {
        let look = look();
        let what = format!("{}, {}", human::count(files, "file"), human::size(bytes));
        let parts = [clean_word(&to.display().to_string()), what].join(look.dot());
        out.line(&format!("{} {parts}", look.mark(Mark::Passed)));
    }
    out.written()
}

/// Says how two packages differ, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn difference(old: &str, new: &str, difference: &Difference, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        let Difference { files, parameters, providers } = difference;
        let told = json!({
            "old": old, "new": new, "equal": difference.is_empty(),
            "files": files, "parameters": parameters, "providers": providers,
        });
        out.line(&told.to_string());
    } else {
        difference_lines(difference, look()).iter().for_each(|line| out.line(line));
    }
    out.written()
}

fn difference_lines(difference: &Difference, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    for change in &difference.files {
        let facts: Vec<String> = change.facts.iter().map(file_fact).collect();
        lines.push(format!("{}  {}", heading(change, look), look.tint(Tone::Quiet, &facts.join(", "))));
    }
    let texts = [("parameter", &difference.parameters), ("provider", &difference.providers)];
    for (kind, change) in
        texts.iter().flat_map(|(kind, changes)| changes.iter().map(move |change| (kind, change)))
    {
        let mark = mark(change.what, look);
        lines.push(format!("{mark} {kind} {}", clean_word(&change.name)));
        lines.extend(change.facts.iter().map(|fact| text_fact(fact, change.what)));
    }
    lines.push(summary(difference));
    lines
}

fn mark(what: What, look: Look) -> String {
    match what {
        What::Added => look.tint(Tone::Good, "+"),
        What::Removed => look.tint(Tone::Bad, "-"),
        What::Changed => look.tint(Tone::Odd, "~"),
    }
}

fn heading<F>(change: &Change<F>, look: Look) -> String {
    format!("{} {}", mark(change.what, look), clean_word(&change.name))
}

fn file_fact(fact: &FileFact) -> String {
    let target = |target: &str| format!("link to {}", clean_word(target));
    match fact {
        FileFact::Bytes { old: Some(old), new: Some(new) } if old == new => {
            format!("{}, other bytes", human::size(*old))
        }
        FileFact::Bytes { old: Some(old), new: Some(new) } => {
            format!("{} to {}", human::size(*old), human::size(*new))
        }
        FileFact::Bytes { old, new } => old.or(*new).map(human::size).unwrap_or_default(),
        FileFact::Mode { old, new } => format!("mode {old:03o} to {new:03o}"),
        FileFact::Target { old: Some(old), new: Some(new) } => {
            format!("{}, was {}", target(new), clean_word(old))
        }
        FileFact::Target { old, new } => {
            old.as_ref().or(new.as_ref()).map(|to| target(to)).unwrap_or_default()
        }
        FileFact::Kind { old: Some(old), new: Some(new) } => format!("{new}, was a {old}"),
        FileFact::Kind { old, new } => old.or(*new).unwrap_or_default().to_owned(),
    }
}

fn text_fact(fact: &TextFact, what: What) -> String {
    let said = |text: &Option<String>| match text.as_deref() {
        Some("") => "empty".to_owned(),
        Some(text) => clean_word(text),
        None => "not there".to_owned(),
    };
    let property = clean_word(&fact.property);
    match what {
        What::Added => format!("    {property}: {}", said(&fact.new)),
        What::Removed => format!("    {property}: {}", said(&fact.old)),
        What::Changed if fact.old == fact.new => format!("    {property}: another value (hidden)"),
        What::Changed => format!("    {property}: {}, was {}", said(&fact.new), said(&fact.old)),
    }
}

/// How much differs, in a line.
fn summary(difference: &Difference) -> String {
    if difference.is_empty() {
        return "the same content, parameters and providers".to_owned();
    }
    let times = |what: What| difference.files.iter().filter(|change| change.what == what).count();
    let parts =
        [(times(What::Added), "added"), (times(What::Changed), "changed"), (times(What::Removed), "removed")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| format!("{} {what}", human::number(*many as u64)))
        .collect();
    let mut parts = if parts.is_empty() { vec!["no files".to_owned()] } else { parts };
    for (many, one) in [(difference.parameters.len(), "parameter"), (difference.providers.len(), "provider")]
    {
        if many > 0 {
            parts.push(human::count(many, one));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_one_a_line() {
        let file = |name: &str, what, fact| Change { name: name.to_owned(), what, facts: vec![fact] };
        let fact = |property: &str, old: Option<&str>, new: Option<&str>| TextFact {
            property: property.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let difference = Difference {
            files: vec![
                file("a.txt", What::Added, FileFact::Bytes { old: None, new: Some(2048) }),
                file("b.txt", What::Changed, FileFact::Bytes { old: Some(3), new: Some(3) }),
                file("c.sh", What::Changed, FileFact::Mode { old: 0o644, new: 0o755 }),
                file("d", What::Removed, FileFact::Kind { old: Some("directory"), new: None }),
                file(
                    "e\u{1b}[2J",
                    What::Changed,
                    FileFact::Target { old: Some("x".into()), new: Some("y".into()) },
                ),
            ],
            parameters: vec![Change {
                name: "Db".to_owned(),
                what: What::Changed,
                facts: vec![
                    fact("default", Some("(hidden)"), Some("(hidden)")),
                    fact("tags", None, Some("Password")),
                ],
            }],
            providers: vec![Change {
                name: "setAcl".to_owned(),
                what: What::Added,
                facts: vec![fact("path", None, Some("app"))],
            }],
        };
        let expected = [
            "+ a.txt  2.0 KiB",
            "~ b.txt  3 B, other bytes",
            "~ c.sh  mode 644 to 755",
            "- d  directory",
            "~ e  link to y, was x",
            "~ parameter Db",
            "    default: another value (hidden)",
            "    tags: Password, was not there",
            "+ provider setAcl",
            "    path: app",
            "1 added, 3 changed, 1 removed, 1 parameter, 1 provider",
        ];
        assert_eq!(difference_lines(&difference, Look::BARE), expected);
        assert_eq!(
            difference_lines(&Difference::default(), Look::BARE),
            ["the same content, parameters and providers"]
        );
    }
}
