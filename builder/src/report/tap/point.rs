//! The lines of TAP, one at a time. Pure.

/// What a line of TAP says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Version(&'l str),
    /// How many tests there will be, or have been.
    Plan(u64),
    Point(Point<'l>),
    Bail(&'l str),
    /// Text after `#`.
    Comment(&'l str),
    Other,
}

/// A test point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point<'l> {
    pub(super) ok: bool,
    pub(super) number: Option<u64>,
    /// Escapes are as they were written.
    pub(super) description: &'l str,
    pub(super) directive: Option<Directive>,
}

/// What a test point says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Skip,
    Todo,
}

/// What `line` says, without its indentation.
pub(super) fn parse(line: &str) -> Line<'_> {
    if let Some(comment) = line.strip_prefix('#') {
        return Line::Comment(comment.strip_prefix(' ').unwrap_or(comment));
    }
    if let Some(version) = line.strip_prefix("TAP version ") {
        return Line::Version(version.trim());
    }
    if let Some(reason) = line.strip_prefix("Bail out!") {
        return Line::Bail(reason.trim());
    }
    if let Some(plan) = line.strip_prefix("1..").and_then(plan) {
        return plan;
    }
    let point = match line.strip_prefix("not ok") {
        Some(rest) => point(false, rest),
        None => line.strip_prefix("ok").and_then(|rest| point(true, rest)),
    };
    point.map_or(Line::Other, Line::Point)
}

fn plan(rest: &str) -> Option<Line<'static>> {
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let tests = rest[..end].parse().ok()?;
    let after = rest[end..].trim();
    (after.is_empty() || after.starts_with('#')).then_some(Line::Plan(tests))
}

fn point(ok: bool, rest: &str) -> Option<Point<'_>> {
    // `okay` and `ok:` are words of somebody else's.
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let rest = rest.trim();
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let after = &rest[end..];
    let is_number = end > 0 && (after.is_empty() || after.starts_with([' ', '\t']));
    let (number, rest) = if is_number { (rest[..end].parse().ok(), after.trim()) } else { (None, rest) };
    let rest = rest.strip_prefix("- ").or_else(|| rest.strip_prefix('-')).unwrap_or(rest);
    let (description, directive) = split_directive(rest);
    Some(Point { ok, number, description: description.trim(), directive })
}

/// What follows the last `#` that is not escaped, if it is a directive.
fn split_directive(text: &str) -> (&str, Option<Directive>) {
    for (place, _) in text.rmatch_indices('#') {
        let escapes = text[..place].bytes().rev().take_while(|byte| *byte == b'\\').count();
        let word: String =
            text[place + 1..].trim_start().chars().take(4).collect::<String>().to_ascii_lowercase();
        match word.as_str() {
            _ if escapes % 2 == 1 => {}
            "skip" => return (&text[..place], Some(Directive::Skip)),
            "todo" => return (&text[..place], Some(Directive::Todo)),
            _ => {}
        }
    }
    (text, None)
}

/// A description without its escapes.
pub(super) fn unescape(text: &str) -> String {
    text.replace("\\#", "#").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ok: bool, number: Option<u64>, description: &str, directive: Option<Directive>) -> Line<'_> {
        Line::Point(Point { ok, number, description, directive })
    }

    #[test]
    fn lines_mean_what_the_specification_says() {
        for (line, meaning) in [
            ("ok", told(true, None, "", None)),
            ("ok 1", told(true, Some(1), "", None)),
            ("not ok 12 - adds up", told(false, Some(12), "adds up", None)),
            ("not ok adds up", told(false, None, "adds up", None)),
            ("ok 3 - a # skip no database", told(true, Some(3), "a", Some(Directive::Skip))),
            ("not ok 4 # TODO later", told(false, Some(4), "", Some(Directive::Todo))),
            ("ok 5 - issue #12", told(true, Some(5), "issue #12", None)),
            (r"ok 5 - a \# skip", told(true, Some(5), r"a \# skip", None)),
            ("ok 2nd try", told(true, None, "2nd try", None)),
            ("okay then", Line::Other),
            ("ok: done", Line::Other),
            ("1..4", Line::Plan(4)),
            ("1..0 # SKIP no network", Line::Plan(0)),
            ("1..2..3", Line::Other),
            ("1..99999999999999999999", Line::Other),
            ("TAP version 14", Line::Version("14")),
            ("Bail out! no disk", Line::Bail("no disk")),
            ("# a comment", Line::Comment("a comment")),
            ("npm WARN", Line::Other),
        ] {
            assert_eq!(parse(line), meaning, "{line}");
        }
    }
}
