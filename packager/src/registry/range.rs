//! Ranges of bytes, as requests and answers say them. Pure.

use std::ops::RangeInclusive;

/// What of a blob is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// The bytes from one to another, both included.
    Part(RangeInclusive<u64>),
    /// Nothing that is there.
    Nothing,
}

/// Reads `Range: bytes=...` for a blob of `size` bytes. What can't be understood, and several ranges at once, mean all, as the
/// specification of HTTP allows; a part that is not there is told.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::All };
    let end = size.saturating_sub(1);
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) => first..=last.min(end),
        (Some(first), None) if last.is_empty() => first..=end,
        (None, Some(0)) if first.is_empty() => return Wanted::Nothing,
        (None, Some(count)) if first.is_empty() => size.saturating_sub(count)..=end,
        _ => return Wanted::All,
    };
    if size == 0 || range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) }
}

/// Reads `Content-Range` of a chunk: `0-1023`, and with the decoration that HTTP itself would have: `bytes 0-1023/*`.
pub(super) fn of_chunk(header: &str) -> Option<RangeInclusive<u64>> {
    let plain = header.trim();
    let plain = plain.strip_prefix("bytes").map_or(plain, |rest| rest.trim_start_matches([' ', '=']));
    let (first, last) = plain.split('/').next()?.split_once('-')?;
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

/// How `Range` tells how much of an upload is here: the place of its last byte. With none it is the same as with one; there are no
/// other words for it.
pub(super) fn uploaded(bytes: u64) -> String {
    format!("0-{}", bytes.saturating_sub(1))
}

/// Digits only: `+1` is a number for Rust and none for HTTP.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_those_of_http() {
        for (header, part) in [
            ("bytes=500-1499", 500..=1499),
            ("bytes=500-", 500..=2047),
            ("bytes=-500", 1548..=2047),
            ("bytes=2000-5000", 2000..=2047),
            ("bytes=-5000", 0..=2047),
            ("bytes=0-0", 0..=0),
        ] {
            assert_eq!(wanted(Some(header), 2048), Wanted::Part(part), "{header}");
        }
        for nothing in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"] {
            assert_eq!(wanted(Some(nothing), 2048), Wanted::Nothing, "{nothing}");
        }
        for all in ["bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=a-b", "bytes=+1-2", "bytes=-", ""] {
            assert_eq!(wanted(Some(all), 2048), Wanted::All, "{all}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
        assert_eq!(wanted(None, 0), Wanted::All);
    }

    #[test]
    fn chunks_say_where_they_belong() {
        for (header, range) in [("0-1023", 0..=1023), ("bytes 5-6/*", 5..=6), ("bytes=5-6/100", 5..=6)] {
            assert_eq!(of_chunk(header), Some(range), "{header}");
        }
        for bad in ["", "-", "5-", "-5", "6-5", "a-b", "bytes */5", "1-99999999999999999999"] {
            assert_eq!(of_chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_always_within(header in "(bytes=)?[-0-9,a ]{0,20}", size: u64) {
            if let Wanted::Part(part) = wanted(Some(&header), size) {
                prop_assert!(part.start() <= part.end() && *part.end() < size);
            }
            let _ = of_chunk(&header);
        }
    }
}
