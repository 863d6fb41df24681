//! What was removed to make room, for `staith gc` and at the end of runs.

use std::io::{self, IsTerminal as _};

use serde_json::json;

use super::{human, look::Look, look::Tone, sink::Sink, table};
use crate::upkeep::Removed;

/// One sentence about room that was made on the way.
pub(crate) fn made_room(bytes: u64, budget: u64) -> String {
    let (bytes, budget) = (human::size(bytes), human::size(budget));
    format!("removed {bytes} that was not used for longest, so that no more than {budget} is kept")
}

/// Says what was removed, or would be, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn collected(removed: &Removed, budget: u64, is_done: bool, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        let kinds: serde_json::Map<String, serde_json::Value> = removed
            .kinds
            .iter()
            .map(|(kind, (things, bytes))| {
                (kind.plural().to_owned(), json!({"things": things, "bytes": bytes}))
            })
            .collect();
        let told = json!({
            "removed": removed.bytes(), "dry_run": !is_done, "before": removed.before, "kept": removed.left,
            "budget": budget, "in_use": removed.spared, "kinds": kinds,
            "unsound": removed.unsound,
        });
        out.line(&told.to_string());
        return out.written();
    }
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    lines(removed, budget, is_done, look).iter().for_each(|line| out.line(line));
    out.written()
}

fn lines(removed: &Removed, budget: u64, is_done: bool, look: Look) -> Vec<String> {
    let row = |(kind, (things, bytes)): (&staith_builder::upkeep::Kind, &(usize, u64))| {
        vec![format!("  {}", human::number(*things as u64)), kind.plural().to_owned(), human::size(*bytes)]
    };
    let what_is_done = if is_done { "removed, and made again when it is needed" } else { "would be removed" };
    let unsound = |name: &String| format!("{name} is not what it was when it was kept: {what_is_done}");
    let mut lines: Vec<String> = removed.unsound.iter().map(unsound).collect();
    lines.extend(table::lines(&removed.kinds.iter().map(row).collect::<Vec<_>>()));
    let (left, of) = (human::size(removed.left), human::size(budget));
    let verb = match (removed.kinds.is_empty(), is_done) {
        (true, _) => "nothing to remove".to_owned(),
        (_, true) => format!("removed {}", human::size(removed.bytes())),
        (_, false) => format!("would remove {}", human::size(removed.bytes())),
    };
    lines.push(format!("{}{}{left} kept, {of} allowed", look.tint(Tone::Strong, &verb), look.dot()));
    if removed.spared > 0 {
        lines.push(format!("{} came into use meanwhile", human::count(removed.spared, "thing")));
    }
    if removed.left > budget {
        lines.push(
            "what is kept beyond that is in use by a run, or is released and may be rolled back to"
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use staith_builder::upkeep::Kind;

    use super::*;

    #[test]
    fn what_went_is_told_by_kind() {
        let removed = Removed {
            kinds: [(Kind::Layer, (3, 5 << 20)), (Kind::Package, (1, 1 << 20))].into(),
            spared: 1,
            before: 16 << 20,
            left: 10 << 20,
            unsound: vec!["store/layers/ab".into()],
        };
        let expected = [
            "store/layers/ab is not what it was when it was kept: removed, and made again when it is needed",
            "  3  layers    5.0 MiB",
            "  1  packages  1.0 MiB",
            "removed 6.0 MiB, 10 MiB kept, 8.0 MiB allowed",
            "1 thing came into use meanwhile",
            "what is kept beyond that is in use by a run, or is released and may be rolled back to",
        ];
        assert_eq!(lines(&removed, 8 << 20, true, Look::BARE), expected);
        let nothing = Removed { left: 1 << 20, ..Removed::default() };
        assert_eq!(
            lines(&nothing, 2 << 20, true, Look::BARE),
            ["nothing to remove, 1.0 MiB kept, 2.0 MiB allowed"]
        );
    }
}
