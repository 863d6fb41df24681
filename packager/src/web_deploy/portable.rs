//! Names that Linux, Windows and IIS can all hold.
//!
//! A package travels: what one system takes for a file name, another takes for a drive, a stream or a device. The same
//! rule is asked when packing and when reading, so that a package either works everywhere or is refused everywhere.

/// Why one component of a path can't be a name everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NameFlaw {
    /// One of `< > : " | ? * \` or a control character.
    #[error("a name can't hold any of < > : \" | ? * \\ or control characters on Windows")]
    Character,
    /// A dot or a space at the end, which Windows drops.
    #[error("Windows drops a dot or a space at the end of a name")]
    TrailingDotOrSpace,
    /// A device of Windows, with or without an extension.
    #[error("Windows takes this name for a device, whatever its extension")]
    Device,
    /// More than 255 UTF-16 units.
    #[error("a name can't be longer than 255 UTF-16 units on Windows")]
    TooLong,
}

/// What is wrong with `component`, if anything.
///
/// `component` is one part of a path, not empty, `.` or `..`: those are wrong on every system, and other code sees to them.
pub fn flaw(component: &str) -> Option<NameFlaw> {
    let reserved = |c: char| c.is_control() || "<>:\"|?*\\".contains(c);
    if component.contains(reserved) {
        Some(NameFlaw::Character)
    } else if component.ends_with(['.', ' ']) {
        Some(NameFlaw::TrailingDotOrSpace)
    } else if is_device(component) {
        Some(NameFlaw::Device)
    } else if component.encode_utf16().count() > 255 {
        Some(NameFlaw::TooLong)
    } else {
        None
    }
}

fn is_device(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or(component).trim_end_matches(' ').to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let numbered = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    // The superscripts count as digits there.
    numbered.is_some_and(|number| {
        let mut digits = number.chars();
        matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    })
}

/// What a file system that ignores case sees of `path`: two paths with one folding are one file there.
///
/// Character by character, as NTFS does it; characters whose capital is several (`ß`) stand for themselves.
pub fn fold(path: &str) -> String {
    path.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_are_told_from_devices_streams_and_drives() {
        for good in
            ["a", "con1", "console", ".env", "a b", "com10", "lpt", "名前", "a'b,c;d=e&f!g#h{i}[j]%+", "nul_"]
        {
            assert_eq!(flaw(good), None, "{good}");
        }
        for (bad, why) in [
            ("a:b", NameFlaw::Character),
            ("a\\b", NameFlaw::Character),
            ("a\nb", NameFlaw::Character),
            ("a*", NameFlaw::Character),
            ("a.", NameFlaw::TrailingDotOrSpace),
            ("a ", NameFlaw::TrailingDotOrSpace),
            ("NUL", NameFlaw::Device),
            ("nul.txt", NameFlaw::Device),
            ("Con .tar.gz", NameFlaw::Device),
            ("COM1", NameFlaw::Device),
            ("lpt³", NameFlaw::Device),
            ("aux.c", NameFlaw::Device),
        ] {
            assert_eq!(flaw(bad), Some(why), "{bad}");
        }
        assert_eq!(flaw(&"x".repeat(256)), Some(NameFlaw::TooLong));
        assert_eq!(flaw(&"x".repeat(255)), None);
    }

    #[test]
    fn folding_is_that_of_ntfs() {
        assert_eq!(fold("Straße/été"), fold("sTRAße/ÉTÉ"));
        assert_ne!(fold("strasse"), fold("straße"));
    }
}
