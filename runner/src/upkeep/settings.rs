//! What a person has set for this machine, in `config.toml` of the home.

use std::{fs, io, time::Duration};

use rustix::fs::statvfs;
use serde::{Deserialize, Deserializer, de::Error as _};
use staith_builder::upkeep::known_to_be_kept;
use staith_model::Exit;
use staith_packager::store::Policy;
use staith_releaser::fleet::gate::configured::Protections;
use toml::Table;

use crate::{home::Home, output::Problem};

/// Where nothing is set: of what others leave on the disk, one part in so many,
const PART_OF_WHAT_IS_LEFT: u64 = 2;
/// but no more than one part in so many of the whole disk,
const PART_OF_THE_DISK: u64 = 5;
/// unless that is less than this.
const A_LOT: u64 = 20 << 30;
const DAY: Duration = Duration::from_hours(24);

/// What is set, or follows from the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Bytes that may be kept.
    pub(crate) budget: u64,
    /// Which versions of packages stay when old ones are collected, unless the command says it.
    pub(crate) retention: Policy,
}

impl Settings {
    /// Reads what is set. Without a file, everything is as it is by default.
    ///
    /// # Errors
    /// The file can't be read, or says what nobody understands.
    pub(crate) fn read(home: &Home) -> Result<Self, Problem> {
        let path = home.config();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|refused| {
                Problem::new(Exit::Environment, format!("{} can't be read", path.display()))
                    .with_why(refused.to_string())
            })?,
        };
        let set = set_in(&text).map_err(|why| {
            Problem::new(Exit::Configuration, format!("{} can't be understood", path.display()))
                .with_why(why)
                .with_remedy(
                    "it holds, for example:\n[caches]\nbudget = \"20GiB\"\n[packages]\nkeep = 10\ndays = 30",
                )
        })?;
        Ok(Self {
            budget: set.caches.budget.unwrap_or_else(|| by_default(home)),
            retention: Policy {
                newest: set.packages.keep,
                younger: set.packages.days.map(|days| DAY * days),
            },
        })
    }
}

/// What follows from the disk that the home is on, or will be.
fn by_default(home: &Home) -> u64 {
    let disk = home.path().ancestors().find_map(|place| statvfs(place).ok());
    let nothing_yet = (!home.store().exists()).then_some(0);
    let kept = known_to_be_kept(&home.ledger()).or(nothing_yet);
    disk.map_or(A_LOT, |disk| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        share(bytes(disk.f_blocks), bytes(disk.f_bavail), kept)
    })
}

/// A part of a disk that has so many bytes, of which some are free and some kept already; `None` where nobody knows how many.
/// What is kept counts as if it were free, so that the share does not shrink while it fills.
fn share(disk: u64, free: u64, kept: Option<u64>) -> u64 {
    let most = (disk / PART_OF_THE_DISK).max(A_LOT);
    let left = kept.map_or(disk, |kept| free.saturating_add(kept).min(disk));
    most.min(left / PART_OF_WHAT_IS_LEFT)
}

/// What a file may set. The environments' protections are read by the release stage.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    caches: Caches,
    packages: Packages,
    environments: Table,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Caches {
    #[serde(deserialize_with = "some_size")]
    budget: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Packages {
    keep: Option<usize>,
    days: Option<u32>,
}

fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    size(&text).map(Some).map_err(D::Error::custom)
}

/// What a file sets.
fn set_in(text: &str) -> Result<File, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    // Told early: a deployment that nobody may begin is a bad time to hear of it.
    Protections::parse(text).map_err(|mistake| mistake.to_string())?;
    Ok(file)
}

/// Bytes of a size such as `20GiB`, or `0`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 5] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("", 1)];
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let digits = found.filter(|(digits, factor)| {
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number && (*factor > 1 || digits.bytes().all(|digit| digit == b'0'))
    });
    digits.and_then(|(digits, factor)| digits.parse::<u64>().ok()?.checked_mul(factor)).ok_or_else(|| {
        format!("`{text}` is not a size; write a whole number and KiB, MiB, GiB or TiB, such as 20GiB")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("20GiB", 20 << 30), ("1TiB", 1 << 40), ("512MiB", 512 << 20), ("4KiB", 4096), ("0", 0)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "20", "20GB", "GiB", "-1GiB", "1.5GiB", "+1MiB", "99999999999TiB", "20 GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_share_follows_from_what_others_leave() {
        const GIB: u64 = 1 << 30;
        let table = [
            ("a large disk", (1000 * GIB, 800 * GIB, Some(0)), 200 * GIB),
            ("a usual one", (100 * GIB, 60 * GIB, Some(0)), 20 * GIB),
            ("a tiny one", (2 * GIB, 2 * GIB, Some(0)), GIB),
            ("the same, half full of what is kept", (2 * GIB, GIB, Some(GIB)), GIB),
            ("one that others have filled", (1000 * GIB, 10 * GIB, Some(0)), 5 * GIB),
            ("where nobody has measured", (1000 * GIB, 10 * GIB, None), 200 * GIB),
            ("a ledger that says too much", (2 * GIB, 2 * GIB, Some(u64::MAX)), GIB),
        ];
        for (what, (disk, free, kept), expected) in table {
            assert_eq!(share(disk, free, kept), expected, "{what}");
        }
    }

    #[test]
    fn what_nobody_understands_is_refused() {
        assert_eq!(set_in(""), Ok(File::default()));
        assert_eq!(set_in("[caches]\n"), Ok(File::default()));
        assert!(set_in("[environments.\"shop/production\"]\n").is_ok());
        let set = set_in("[caches]\nbudget = \"1GiB\"\n[packages]\nkeep = 3\n").unwrap();
        assert_eq!(
            (set.caches.budget, set.packages),
            (Some(1 << 30), Packages { keep: Some(3), days: None })
        );
        for bad in [
            "cache = 1",
            "[environments.\"shop/qa\"]\nneeded = 1",
            "[caches]\nbudjet = \"1GiB\"",
            "[caches]\nbudget = 5",
            "caches = 3",
            "[caches",
            "[packages]\nkeep = -1",
            "[packages]\nkept = 1",
        ] {
            assert!(set_in(bad).is_err(), "{bad}");
        }
    }
}
