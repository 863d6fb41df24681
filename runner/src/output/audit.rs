//! What the ledgers of environments say.

use std::io::{self, IsTerminal as _};

use serde_json::json;
use staith_releaser::ledger::{Checkpoint, RawEntry};

use super::{
    clean::clean_word,
    human,
    look::{Look, Mark, Tone},
    sink::Sink,
    table,
};
use crate::cli::Audited;

fn look() -> Look {
    Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok())
}

/// A time as people and programs read it: `2026-11-21T12:00:00.123Z`.
fn utc(millis: u64) -> String {
    let at = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.map_or_else(|| millis.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// Shows entries, on standard output; for programs each as it is recorded.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn audit_entries(entries: &[RawEntry], json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        for entry in entries {
            out.line(&serde_json::to_string(entry)?);
        }
        return out.written();
    }
    let look = look();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            vec![
                entry.position.to_string(),
                look.tint(Tone::Quiet, &utc(entry.at)),
                clean_word(&entry.who.to_string()),
                clean_word(entry.event.get()),
            ]
        })
        .collect();
    table::lines(&rows).iter().for_each(|line| out.line(line));
    out.written()
}

/// Says of each ledger whether it is whole, on standard output.
///
/// # Errors
/// As [`audit_entries`].
pub(crate) fn audit_verified(all: &[Audited], json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let look = look();
    for Audited { place, verification } in all {
        if json {
            out.line(
                &json!({ "ledger": place, "whole": verification.is_whole(), "verification": verification })
                    .to_string(),
            );
            continue;
        }
        let mark = look.mark(if verification.is_whole() { Mark::Passed } else { Mark::Failed });
        let head = &verification.head;
        let facts = [
            place.clone(),
            format!(
                "{} {}",
                human::number(head.position),
                if head.position == 1 { "entry" } else { "entries" }
            ),
            head.hash.to_string(),
        ];
        let signed = verification.checkpoints.len();
        let signed = if signed > 0 { vec![human::count(signed, "signed head")] } else { Vec::new() };
        let parts: Vec<String> = facts.into_iter().chain(signed).collect();
        out.line(&format!("{mark} {}", parts.join(look.dot())));
        for flaw in &verification.flaws {
            out.line(&format!("  {}", clean_word(&flaw.to_string())));
        }
        for aside in &verification.set_aside {
            let aside = clean_word(&aside.display().to_string());
            out.line(&format!(
                "  {}",
                look.tint(
                    Tone::Quiet,
                    &format!("an interrupted write, which nobody was told was recorded: {aside}")
                )
            ));
        }
    }
    out.written()
}

/// Says which head was signed, on standard output.
///
/// # Errors
/// As [`audit_entries`].
pub(crate) fn head_signed(place: &str, signed: Option<&Checkpoint>, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    out.line(&match (json, signed) {
        (true, signed) => json!({ "ledger": place, "signed": signed }).to_string(),
        (false, Some(signed)) => {
            format!("entry {} of {place} is signed: {}", signed.head.position, signed.head.hash)
        }
        (false, None) => format!("{place} has no entries yet; there is nothing to sign"),
    });
    out.written()
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_utc_to_the_millisecond() {
        assert_eq!(utc(1_795_262_110_007), "2026-11-21T11:55:10.007Z");
    }
}
