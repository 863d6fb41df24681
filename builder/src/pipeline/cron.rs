//! Whether a text says when a schedule comes due: the five fields of cron.

use std::ops::{Range, RangeInclusive};

use super::{flaw::Flaw, problems::quoted, suggest::closest};

struct Field {
    what: &'static str,
    range: RangeInclusive<u32>,
    /// Names that stand for numbers, from the least on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", range: 0..=59, names: &[] },
    Field { what: "hour", range: 0..=23, names: &[] },
    Field { what: "day of the month", range: 1..=31, names: &[] },
    Field {
        what: "month",
        range: 1..=12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Both 0 and 7 are Sunday.
    Field {
        what: "day of the week",
        range: 0..=7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];
/// Days of the longest February, and of every other month.
const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// # Errors
/// The first place that is wrong.
pub(super) fn check(text: &str) -> Result<(), Flaw> {
    let fields = fields(text);
    if fields.len() != FIELDS.len() {
        return Err(wrong_count(text, fields.len()));
    }
    let mut values = Vec::new();
    for (field, (place, written)) in FIELDS.iter().zip(&fields) {
        values.push(field.values(written).map_err(|flaw| flaw.moved_by(place.start))?);
    }
    let [_, _, days, months, weekdays] = values.as_slice() else { return Ok(()) };
    // Where both are restricted, cron takes days that are either.
    let by_date_only = weekdays.len() >= 7 || fields[4].1 == "*";
    let exists = |month: &u32| {
        let longest = DAYS.get(*month as usize - 1).copied().unwrap_or(31);
        days.iter().any(|day| *day <= longest)
    };
    if by_date_only && !months.iter().any(exists) {
        return Err(Flaw::at(
            fields[2].0.start..fields[3].0.end,
            "names a day that never comes",
            "no such month has so many days",
            "name a day that the month has",
        ));
    }
    Ok(())
}

/// The words of a text, each with its place.
fn fields(text: &str) -> Vec<(Range<usize>, &str)> {
    let start_of = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|word| (start_of(word)..start_of(word) + word.len(), word)).collect()
}

fn wrong_count(text: &str, count: usize) -> Flaw {
    let help = match MACROS.iter().find(|(name, _)| *name == text.trim()) {
        Some((_, meant)) => format!("write \"{meant}\""),
        None if count == 6 => "leave the seconds out: a schedule comes due once a minute at most".to_owned(),
        None => "write minute, hour, day of the month, month and day of the week: \"0 3 * * *\" is every day at 3:00 UTC".to_owned(),
    };
    Flaw::at(0..text.len(), format!("has {count} fields, not 5"), "this is not when anything comes due", help)
}

impl Field {
    /// All that a field stands for.
    fn values(&self, written: &str) -> Result<Vec<u32>, Flaw> {
        let mut values = Vec::new();
        let mut at = 0;
        for item in written.split(',') {
            values.extend(self.item(item).map_err(|flaw| flaw.moved_by(at))?);
            at += item.len() + 1;
        }
        Ok(values)
    }

    fn item(&self, written: &str) -> Result<Vec<u32>, Flaw> {
        let (span, step) = match written.split_once('/') {
            None => (written, 1),
            Some((span, step)) => {
                let parsed = step
                    .parse::<u32>()
                    .ok()
                    .filter(|step| (1..=*self.range.end()).contains(step) && digits(written, span));
                let flaw = || {
                    self.flaw(
                        span.len() + 1..written.len(),
                        step,
                        "after `/` stands a whole number of steps, for example `*/15`",
                    )
                };
                (span, parsed.ok_or_else(flaw)?)
            }
        };
        let range = if span == "*" {
            self.range.clone()
        } else if let Some((first, last)) = span.split_once('-') {
            let (start, end) = (self.number(first, 0)?, self.number(last, first.len() + 1)?);
            if start > end {
                return Err(self.flaw(
                    0..span.len(),
                    span,
                    "the smaller one stands first; write two ranges with `,` between",
                ));
            }
            start..=end
        } else if step > 1 || written.contains('/') {
            let help = format!("write `{span}-{}/{step}`, or `*/{step}`", self.range.end());
            return Err(self.flaw(0..written.len(), written, &help));
        } else {
            let number = self.number(span, 0)?;
            number..=number
        };
        Ok(range.step_by(step as usize).collect())
    }

    fn number(&self, written: &str, at: usize) -> Result<u32, Flaw> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(written));
        let number = if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
            written.parse().ok()
        } else {
            None
        };
        let named = name.and_then(|index| u32::try_from(index).ok()).map(|index| index + *self.range.start());
        named.or(number).filter(|number| self.range.contains(number)).ok_or_else(|| {
            let help = match closest(written, self.names.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "write a {} from {} to {}, `*`, or a list or range of them",
                    self.what,
                    self.range.start(),
                    self.range.end()
                ),
            };
            self.flaw(at..at + written.len(), written, &help)
        })
    }

    fn flaw(&self, place: Range<usize>, written: &str, help: &str) -> Flaw {
        Flaw::at(place, format!("has a bad {}", self.what), format!("{} is none", quoted(written)), help)
    }
}

/// Whether what follows the `/` is digits only: `parse` alone would take `+5`.
fn digits(written: &str, span: &str) -> bool {
    written[span.len() + 1..].bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cron_understands() {
        for good in [
            "0 3 * * *",
            "*/15 * * * *",
            "0 0 1,15 * *",
            "0 22 * * 1-5",
            "0 0 29 2 *",
            "5 4 * JAN-mar sun",
            " 0  3 * * 7 ",
            "0-30/10 * * * *",
            // Every Monday in February: either restriction will do.
            "0 0 31 2 1",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (text, pointed_at, advice) in [
            ("0 24 * * *", "24", "0 to 23"),
            ("60 * * * *", "60", "0 to 59"),
            ("0 3 * *", "0 3 * *", "minute, hour"),
            ("0 0 3 * * *", "0 0 3 * * *", "seconds"),
            ("@daily", "@daily", "0 0 * * *"),
            ("0 3 * * mno", "mno", "`mon`"),
            ("0 3 0 * *", "0", "1 to 31"),
            ("*/0 * * * *", "0", "*/15"),
            ("5/10 * * * *", "5/10", "5-59/10"),
            ("0 5-3 * * *", "5-3", "smaller"),
            ("0 1,,2 * * *", "", "0 to 23"),
            ("0 0 30 2 *", "30 2", "month has"),
            ("0 0 31 4,6 *", "31 4,6", "month has"),
            ("+1 * * * *", "+1", "0 to 59"),
            ("*/+5 * * * *", "+5", "*/15"),
            ("0 3 ? * *", "?", "1 to 31"),
            ("", "", "minute, hour"),
        ] {
            let flaw = check(text).unwrap_err();
            assert_eq!(&text[flaw.place.clone()], pointed_at, "{text}");
            assert!(flaw.help.contains(advice), "{text}: {}", flaw.help);
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "([0-9*,/ a-z+-]{1,4} ?){0,6}|.{0,20}") {
            if let Err(flaw) = check(&text) {
                prop_assert!(text.get(flaw.place).is_some());
            }
        }
    }
}
