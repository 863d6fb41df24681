//! Durations and sizes.

use super::{
    problems::quoted,
    values::{Understood, complaint},
};

const DAY: u64 = 24 * 60 * 60;

/// Seconds of a duration such as `90s`, `10m` or `2h`, at least `least` and at most a day.
pub(super) fn seconds(text: &str, least: u64) -> Understood<u64> {
    let seconds = any_seconds(text, least)?;
    if seconds > DAY {
        return complaint("is too long", "this is more than a day", "write \"24h\" or less");
    }
    Ok(seconds)
}

/// The same for what may last for days: 90 of them at most.
pub(super) fn seconds_of_days(text: &str, least: u64) -> Understood<u64> {
    let seconds = any_seconds(text, least)?;
    if seconds > 90 * DAY {
        return complaint("is too long", "this is more than 90 days", "write \"2160h\" or less");
    }
    Ok(seconds)
}

fn any_seconds(text: &str, least: u64) -> Understood<u64> {
    let Some(seconds) = seconds_of(text) else {
        return complaint(
            "is not a duration",
            format!("{} is not a whole number and a unit", quoted(text)),
            match duration_like(text) {
                Some(duration) => format!("write \"{duration}\": a whole number and `s`, `m` or `h`"),
                None => "write a whole number and `s`, `m` or `h`, for example \"90s\", \"10m\" or \"2h\""
                    .to_owned(),
            },
        );
    };
    if seconds < least {
        return complaint("is too short", "nothing can be done in that time", "write \"1s\" or more");
    }
    Ok(seconds)
}

fn seconds_of(text: &str) -> Option<u64> {
    let factor = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        _ => return None,
    };
    whole(&text[..text.len() - 1])?.checked_mul(factor)
}

/// The duration that a person may have had in mind when they wrote `10 min`, `90 seconds` or `600`.
fn duration_like(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// The size that a person may have had in mind when they wrote `2GB`, `2 g` or `512mb`.
fn size_like(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text)?;
    let unit = match unit.as_str() {
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim().to_lowercase()))
}

/// Digits only: `parse` alone would take `+5`.
fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Bytes of memory: at least 16 MiB, because below that no program starts.
pub(super) fn memory(text: &str) -> Understood<u64> {
    match bytes(text)? {
        bytes if bytes < 16 << 20 => {
            complaint("is too small", "no program starts in so little memory", "write \"16MiB\" or more")
        }
        bytes => Ok(bytes),
    }
}

/// Bytes on a disk: at least 1 MiB, so that a step can write its own log and a temporary file.
pub(super) fn disk(text: &str) -> Understood<u64> {
    match bytes(text)? {
        bytes if bytes < 1 << 20 => {
            complaint("is too small", "no step gets along with so little", "write \"1MiB\" or more")
        }
        bytes => Ok(bytes),
    }
}

/// Bytes of a size such as `512MiB`, at most 64 TiB.
fn bytes(text: &str) -> Understood<u64> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor))).and_then(
        |(number, factor)| whole(number).filter(|_| !number.is_empty()).map(|n| n.checked_mul(*factor)),
    );
    match found {
        None => complaint(
            "is not a size",
            format!("{} is not a whole number and a unit", quoted(text)),
            match size_like(text) {
                Some(size) => format!("write \"{size}\": a whole number and `KiB`, `MiB` or `GiB`"),
                None => "write a whole number and `KiB`, `MiB` or `GiB`, for example \"512MiB\" or \"2GiB\""
                    .to_owned(),
            },
        ),
        Some(Some(bytes)) if bytes <= 64 << 40 => Ok(bytes),
        Some(_) => complaint("is too large", "no machine has that much", "write \"65536GiB\" or less"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86_400), ("010m", 600)] {
            assert_eq!(seconds(text, 1), Ok(expected), "{text}");
        }
        for bad in
            ["", "s", "10", "10 m", "-1s", "+1s", "1.5h", "1h30m", "25h", "0s", "18446744073709551615h", "5ä"]
        {
            assert!(seconds(bad, 1).is_err(), "{bad}");
        }
        assert_eq!(seconds("0s", 0), Ok(0));
    }

    #[test]
    fn sizes() {
        for (text, expected) in [("16384KiB", 16 << 20), ("512MiB", 512 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(memory(text), Ok(expected), "{text}");
        }
        for bad in ["", "GiB", "2GB", "2G", "2 GiB", "1MiB", "-1GiB", "0.5GiB", "99999999999999999GiB"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
        assert_eq!(disk("1MiB"), Ok(1 << 20));
        assert!(disk("1023KiB").is_err());
    }

    #[test]
    fn what_was_meant_is_written_out() {
        for (written, meant) in
            [("600", "600s"), ("10 min", "10m"), ("2 Hours", "2h"), ("soon", "90s"), ("1h30m", "90s")]
        {
            assert!(seconds(written, 1).unwrap_err().help.contains(&format!("\"{meant}\"")), "{written}");
        }
        for (written, meant) in [("2GB", "2GiB"), ("512 m", "512MiB"), ("much", "2GiB")] {
            assert!(memory(written).unwrap_err().help.contains(&format!("\"{meant}\"")), "{written}");
        }
    }
}
