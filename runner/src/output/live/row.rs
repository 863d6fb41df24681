//! One row of the picture, fitted to the terminal's width. Pure.

use console::{measure_text_width, truncate_str};

use super::super::look::{Look, Mark, Tone};

/// Columns for durations and words such as `cached`, right-aligned: the longest is `59 m 59 s`.
const TIME_WIDTH: usize = 9;
/// Below this many columns, notes give way to names and times.
const NARROW: usize = 40;
/// A name or operation takes no more than this share of a wide row, so that notes keep the rest.
const NAME_SHARE: (usize, usize) = (2, 3);

/// A row that begins with a mark: what, how long, and a note.
pub(super) struct Row {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) name_tone: Tone,
    pub(super) time: String,
    /// Parts, of which as many are shown as fit.
    pub(super) note: Vec<String>,
    pub(super) note_tone: Tone,
}

impl Row {
    /// The row in `width` columns at most, its name in a column of `name_width` if there is room.
    pub(super) fn fit(&self, look: Look, width: usize, name_width: usize) -> String {
        let mark = look.mark(self.mark);
        let time = look.tint(Tone::Quiet, &self.time);
        if width < NARROW {
            let room =
                width.saturating_sub(2 + self.time.chars().count() + usize::from(!self.time.is_empty()));
            let name = look.tint(self.name_tone, &cut(look, &self.name, room));
            return join(&[
                &mark,
                " ",
                &pad(&name, room),
                if self.time.is_empty() { "" } else { " " },
                &time,
            ]);
        }
        let name = look.tint(self.name_tone, &cut(look, &self.name, name_width));
        let gap = " ".repeat(TIME_WIDTH.saturating_sub(self.time.chars().count()) + 1);
        let room = width.saturating_sub(2 + name_width + 1 + TIME_WIDTH + 2);
        let parts: Vec<(Tone, String)> =
            self.note.iter().map(|part| (self.note_tone, part.clone())).collect();
        let note = fit_parts(look, &parts, room);
        join(&[&mark, " ", &pad(&name, name_width), &gap, &time, "  ", &note])
    }
}

/// The width of a column for these names in a row of `width` columns.
pub(super) fn name_width<'a>(names: impl Iterator<Item = &'a str>, width: usize) -> usize {
    let most = width.saturating_sub(2 + 1 + TIME_WIDTH + 2) * NAME_SHARE.0 / NAME_SHARE.1;
    names.map(measure_text_width).max().unwrap_or_default().min(most)
}

/// A text in `width` columns at most, with a sign that something is missing where it is.
pub(super) fn cut(look: Look, text: &str, width: usize) -> String {
    if width == 0 {
        return String::new();
    }
    truncate_str(text, width, look.ellipsis()).into_owned()
}

/// As many of the parts as fit, from the first; the first is cut if even it does not fit.
pub(super) fn fit_parts(look: Look, parts: &[(Tone, String)], width: usize) -> String {
    let mut shown = String::new();
    let mut used = 0;
    for (tone, part) in parts {
        let dot = if used == 0 { "" } else { look.dot() };
        let wide = measure_text_width(dot) + measure_text_width(part);
        if used > 0 && used + wide > width {
            break;
        }
        shown.push_str(&look.tint(Tone::Quiet, dot));
        shown.push_str(&look.tint(*tone, &cut(look, part, width)));
        used += wide;
    }
    shown
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(measure_text_width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// No row ends in spaces: a terminal that grows narrower would wrap them.
fn join(parts: &[&str]) -> String {
    parts.concat().trim_end().to_owned()
}
