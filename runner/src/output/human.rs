//! Durations, sizes, counts and digests in the form that people read. Pure.

use std::time::Duration;

/// The longest part of a step's line that is shown, in bytes. A person reads no further; whoever needs the rest has the
/// journal, which keeps every byte.
pub(crate) const SHOWN_BYTES: usize = 4096;

/// Digits of a git id that are shown: enough for people to tell things apart, as with [`staith_model::Digest::short`].
const SHORT_ID: usize = 12;

/// All in seconds.
const MINUTE: u128 = 60;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;

/// A duration in two significant parts at most: `12 ms`, `0.4 s`, `12 s`, `3 m 05 s`, `2 h 07 m`, `1 d 02 h`.
pub(crate) fn duration(time: Duration) -> String {
    // Rounded first, so that no bound below can show `10.0 s` or `60 s`.
    let millis = (time.as_micros() + 500) / 1000;
    let tenths = (millis + 50) / 100;
    let seconds = (millis + 500) / 1000;
    match millis {
        0..100 => format!("{millis} ms"),
        _ if tenths < 100 => format!("{}.{} s", tenths / 10, tenths % 10),
        _ if seconds < MINUTE => format!("{seconds} s"),
        _ if seconds < HOUR => format!("{} m {:02} s", seconds / MINUTE, seconds % MINUTE),
        _ if seconds < DAY => format!("{} h {:02} m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{} d {:02} h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// [`duration`] of milliseconds, as events count them.
pub(crate) fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// A number of bytes in binary units: `812 B`, `4.2 KiB`, `31 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (tenths_of(bytes, 10), 0);
    // 1023.5 KiB and more would be shown as 1024 KiB, which is 1.0 MiB.
    while tenths >= 10_235 && unit + 1 < UNITS.len() {
        unit += 1;
        tenths = tenths_of(bytes, 10 * (unit as u32 + 1));
    }
    if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{} {}", (tenths + 5) / 10, UNITS[unit])
    }
}

/// Tenths of 2^`shift` bytes, rounded.
fn tenths_of(bytes: u64, shift: u32) -> u128 {
    (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift
}

/// A number with its thousands set apart: `12,345`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 step`, `2 steps`.
pub(crate) fn count(many: usize, one: &str) -> String {
    let plural = if many == 1 { "" } else { "s" };
    format!("{} {one}{plural}", number(many as u64))
}

/// The first digits of a git id.
pub(crate) fn short_id(id: &str) -> &str {
    id.char_indices().nth(SHORT_ID).map_or(id, |(end, _)| &id[..end])
}

/// The part of a line that is shown, and how many bytes are not.
pub(crate) fn clip(line: &str) -> (&str, usize) {
    if line.len() <= SHOWN_BYTES {
        return (line, 0);
    }
    let end = line.floor_char_boundary(SHOWN_BYTES);
    (&line[..end], line.len() - end)
}

/// What stands for bytes that are not shown; nothing if there are none.
pub(crate) fn more_bytes(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        1 => "… (1 more byte)".to_owned(),
        _ => format!("… ({} more bytes)", number(bytes as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let table = [
            (0, "0 ms"),
            (499, "0 ms"),
            (950, "1 ms"),
            (12_000, "12 ms"),
            (99_400, "99 ms"),
            (99_600, "0.1 s"),
            (400_000, "0.4 s"),
            (1_234_000, "1.2 s"),
            (9_949_000, "9.9 s"),
            (9_950_000, "10 s"),
            (12_400_000, "12 s"),
            (59_499_000, "59 s"),
            (59_500_000, "1 m 00 s"),
            (185_000_000, "3 m 05 s"),
            (3_599_400_000, "59 m 59 s"),
            (3_599_500_000, "1 h 00 m"),
            (86_399_500_000, "1 d 00 h"),
            (7_620_000_000, "2 h 07 m"),
            (93_600_000_000, "1 d 02 h"),
        ];
        for (micros, text) in table {
            assert_eq!(duration(Duration::from_micros(micros)), text, "{micros} µs");
        }
    }

    #[test]
    fn sizes() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (4_301, "4.2 KiB"),
            (10_188, "9.9 KiB"),
            (10_190, "10 KiB"),
            (1_048_000, "1023 KiB"),
            (1_048_064, "1.0 MiB"),
            (32_300_000, "31 MiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text, "{bytes} bytes");
        }
    }

    #[test]
    fn numbers_counts_and_ids() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")];
        for (value, text) in table {
            assert_eq!(number(value), text);
        }
        assert_eq!((count(1, "step"), count(0, "step")), ("1 step".to_owned(), "0 steps".to_owned()));
        assert_eq!(short_id("3f2a91c0d1e2aabbccdd"), "3f2a91c0d1e2");
        assert_eq!(short_id("äöü"), "äöü");
    }

    #[test]
    fn long_lines_say_how_much_is_missing() {
        let line = "x".repeat(SHOWN_BYTES + 12_345);
        let (shown, more) = clip(&line);
        assert_eq!((shown.len(), more_bytes(more).as_str()), (SHOWN_BYTES, "… (12,345 more bytes)"));
        assert_eq!((clip("short"), more_bytes(0)), (("short", 0), String::new()));
    }

    proptest! {
        #[test]
        fn a_clipped_line_loses_no_byte(line in "[aä€😀]{0,3000}") {
            let (shown, more) = clip(&line);
            prop_assert!(shown.len() <= SHOWN_BYTES && line.starts_with(shown));
            prop_assert_eq!(shown.len() + more, line.len());
        }

        #[test]
        fn durations_and_sizes_keep_to_their_column(micros: u64, bytes: u64) {
            // A hundred days are enough for any run.
            prop_assert!(duration(Duration::from_micros(micros % 8_640_000_000_000)).len() <= 9);
            prop_assert!(size(bytes).len() <= 8);
        }
    }
}
