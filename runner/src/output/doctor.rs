//! What a host can isolate, for `staith doctor`.

use std::io::{self, IsTerminal as _};

use console::{Term, measure_text_width};
use serde_json::json;
use staith_builder::sandbox::{Finding, Health};

use super::{
    clean::clean_word,
    look::{Look, Mark, Tone},
    sink::Sink,
    wrap::{self, wrap},
};

/// Shows findings on standard output: a line each and what to do below it, or one JSON value.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn diagnosis(findings: &[Finding], works: bool, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        let told = |found: &Finding| json!({"of": found.of, "health": health(found.health), "says": found.says, "remedy": found.remedy});
        let told: Vec<_> = findings.iter().map(told).collect();
        out.line(&json!({"works": works, "findings": told}).to_string());
        return out.written();
    }
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    lines(findings, works, look, wrap::columns(&Term::stdout())).iter().for_each(|line| out.line(line));
    out.written()
}

const fn health(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Limited => "limited",
        Health::Missing => "missing",
    }
}

fn lines(findings: &[Finding], works: bool, look: Look, width: Option<usize>) -> Vec<String> {
    let label = findings.iter().map(|found| measure_text_width(&found.of)).max().unwrap_or_default();
    let begin = 2 + 7 + 2 + label + 2;
    let rest = |text: &str| match width {
        Some(width) => wrap(&clean_word(text), width.saturating_sub(begin)),
        None => vec![clean_word(text)],
    };
    let mut lines = Vec::new();
    for found in findings {
        let (mark, tone) = match found.health {
            Health::Ok => (Mark::Passed, Tone::Good),
            Health::Limited => (Mark::Waiting, Tone::Odd),
            Health::Missing => (Mark::Failed, Tone::Bad),
        };
        let word = look.tint(tone, &format!("{:<7}", health(found.health)));
        let of = format!("{}{}", found.of, " ".repeat(label - measure_text_width(&found.of)));
        let head = format!("{} {word}  {of}  ", look.mark(mark));
        let says = rest(&found.says);
        let remedy = found.remedy.iter().flat_map(|remedy| rest(&format!("do: {remedy}")));
        for (place, line) in says.into_iter().chain(remedy).enumerate() {
            let before = if place == 0 { head.clone() } else { " ".repeat(begin) };
            lines.push(format!("{before}{line}").trim_end().to_owned());
        }
    }
    lines.push(String::new());
    lines.push(if works {
        look.tint(Tone::Good, "the built-in sandbox works on this host")
    } else {
        look.tint(Tone::Bad, "the built-in sandbox does not work on this host")
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_a_line_and_its_remedy_below() {
        let findings = [
            Finding::ok("kernel", "Linux 6.1"),
            Finding::bad("cpu limit", Health::Limited, "no control groups", "run as root"),
        ];
        let expected = [
            "+ ok       kernel     Linux 6.1",
            ". limited  cpu limit  no control groups",
            "                      do: run as root",
            "",
            "the built-in sandbox works on this host",
        ];
        assert_eq!(lines(&findings, true, Look::BARE, None), expected);
    }
}
