//! What is said of packages: that they were verified.

use std::io::{self, IsTerminal as _};

use super::{clean::clean_word, human, look::Look, look::Mark, sink::Sink, table, words};
use crate::cli::{Packed, Verdict};

/// Says that a package was verified, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn verified(verdict: &Verdict, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        out.line(&serde_json::to_string(verdict).unwrap_or_default());
        return out.written();
    }
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    out.line(&verified_line(verdict, look));
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
        let told = serde_json::json!({
            "package": package, "path": path.display().to_string(), "companions": companions, "gaps": gaps,
        });
        out.line(&told.to_string());
        return out.written();
    }
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
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
        None => "by checksums only: Staith did not make it".to_owned(),
    };
    let entries = human::number(verdict.entries as u64);
    let read = format!("{entries} entries, {}", human::size(verdict.bytes));
    let mut parts = vec![clean_word(&verdict.package), read, against];
    if let Some(vouched) = &verdict.vouched {
        let run = vouched.told.invocation.as_ref().map(|run| format!(", run {}", clean_word(run)));
        parts.push(format!("signed by {}{}", &vouched.key[..12], run.unwrap_or_default()));
    }
    let parts = parts.join(look.dot());
    format!("{} {parts}", look.mark(Mark::Passed))
}
