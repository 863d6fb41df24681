//! What is said of packages: that they were verified.

use std::io::{self, IsTerminal as _};

use super::{clean::clean_word, human, look::Look, look::Mark, sink::Sink};
use crate::cli::Verdict;

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

fn verified_line(verdict: &Verdict, look: Look) -> String {
    let against = match &verdict.content {
        Some(content) => format!("content {}", content.short()),
        None => "by checksums only: Staith did not make it".to_owned(),
    };
    let entries = human::number(verdict.entries as u64);
    let read = format!("{entries} entries, {}", human::size(verdict.bytes));
    let parts = [clean_word(&verdict.package), read, against].join(&look.dot());
    format!("{} {parts}", look.mark(Mark::Passed))
}
