//! The times that entries carry.
//!
//! Web Deploy takes a file for unchanged when its size and its zip time are those at the destination, whatever the bytes
//! say. Constant times would therefore make it skip changed files (NuGet had to withdraw its deterministic packages over
//! that), and the clock would make every package different. So a file's time is made from its content: another content
//! has another time, the same content has the same.

use std::fmt;

use serde::{Serialize, Serializer};
use staith_model::Digest;

/// A time as zip holds it: local, without zone, in steps of two seconds. Other writers' packages may hold times that are none
/// (month 13, or all zeros): [`DosTime::seconds`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DosTime {
    /// Years since 1980 in the upper 7 bits, then 4 bits of month and 5 of day, both counted from 1.
    pub date: u16,
    /// 5 bits of hour, 6 of minute, 5 of seconds halved.
    pub time: u16,
}

/// Days from 1980-01-02 to 2107-12-30. The format holds one more at each end; without those, no time zone pushes a time
/// out of it.
const DAYS: u64 = 46_749;
const STEPS_PER_DAY: u64 = 43_200;

impl DosTime {
    /// 2000-01-01 00:00:00, for directories and metadata, whose times mean nothing.
    pub(super) const CONSTANT: Self = Self { date: (20 << 9) | (1 << 5) | 1, time: 0 };

    /// The time that stands for a content: one of two thousand million.
    pub(super) fn of_content(content: &Digest) -> Self {
        let chance = content.as_bytes().iter().take(8).fold(0u64, |n, byte| (n << 8) | u64::from(*byte));
        let step = chance % (DAYS * STEPS_PER_DAY);
        // 1980-01-02 is day 1 of the format.
        Self { date: date_of(step / STEPS_PER_DAY + 1), time: time_of(step % STEPS_PER_DAY) }
    }

    /// Seconds since 1970-01-01 00:00:00, with the time taken as UTC: nobody knows which zone its writer was in, and the zone
    /// of whoever reads would give one package several meanings. `None` if it is no time.
    pub fn seconds(self) -> Option<i64> {
        let [year, month, day, hour, minute, second] = self.fields();
        let february = days_in(year) - 337;
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let length = *months.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
        if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // 3,652 days lie between 1970 and 1980.
        let years: u64 = (1980..year).map(days_in).sum();
        let months: u64 = months.iter().take(usize::try_from(month - 1).ok()?).sum();
        let days = 3652 + years + months + day - 1;
        i64::try_from(((days * 24 + hour) * 60 + minute) * 60 + second).ok()
    }

    /// Year, month, day, hour, minute, second.
    fn fields(self) -> [u64; 6] {
        let (date, time) = (u64::from(self.date), u64::from(self.time));
        [1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2]
    }
}

/// `2024-02-29T12:30:30`, without a zone.
impl fmt::Display for DosTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.fields();
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
    }
}

impl Serialize for DosTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// `step` counts two seconds from midnight.
fn time_of(step: u64) -> u16 {
    let (hours, minutes, half_seconds) = (step / 1800, step / 30 % 60, step % 30);
    ((hours << 11) | (minutes << 5) | half_seconds) as u16
}

/// `day` counts from 1980-01-01.
fn date_of(mut day: u64) -> u16 {
    let mut year = 1980;
    while day >= days_in(year) {
        day -= days_in(year);
        year += 1;
    }
    let february = days_in(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (((year - 1980) << 9) | (month << 5) | (day + 1)) as u16
}

fn days_in(year: u64) -> u64 {
    // Of the centuries in the format's range, 2000 is a leap year and 2100 is not.
    if year.is_multiple_of(4) && year != 2100 { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest_of_step(step: u64) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&step.to_be_bytes());
        Digest::from_bytes(bytes)
    }

    fn civil(time: DosTime) -> (u64, u64, u64, u64, u64, u64) {
        let [year, month, day, hour, minute, second] = time.fields();
        (year, month, day, hour, minute, second)
    }

    #[test]
    fn seconds_are_those_of_every_calendar() {
        let at = |date, time| DosTime { date, time }.seconds();
        assert_eq!(DosTime::CONSTANT.seconds(), Some(946_684_800));
        assert_eq!(at(0x21, 0), Some(315_532_800));
        // 2024-02-29 12:30:30, and 2107-12-31 23:59:58.
        assert_eq!(at(44 << 9 | 2 << 5 | 29, 12 << 11 | 30 << 5 | 15), Some(1_709_209_830));
        assert_eq!(at(0xff9f, 0xbf7d), Some(4_354_819_198));
        for (date, time) in [
            (0, 0),
            (0x20, 0),
            (13 << 5 | 1, 0),
            (43 << 9 | 2 << 5 | 29, 0),
            (0x21, 24 << 11),
            (0x21, 60 << 5),
            (0x21, 30),
        ] {
            assert_eq!(at(date, time), None, "{date:#x} {time:#x}");
        }
        assert_eq!(DosTime::CONSTANT.to_string(), "2000-01-01T00:00:00");
    }

    #[test]
    fn the_calendar_is_right_at_its_edges() {
        let at =
            |day: u64, step: u64| civil(DosTime::of_content(&digest_of_step(day * STEPS_PER_DAY + step)));
        assert_eq!(at(0, 0), (1980, 1, 2, 0, 0, 0));
        assert_eq!(at(58, 0), (1980, 2, 29, 0, 0, 0));
        assert_eq!(at(59, 43_199), (1980, 3, 1, 23, 59, 58));
        assert_eq!(at(365, 1), (1981, 1, 1, 0, 0, 2));
        assert_eq!(at(DAYS - 1, 43_199), (2107, 12, 30, 23, 59, 58));
        assert_eq!(at(DAYS, 0), (1980, 1, 2, 0, 0, 0));
        // 2100-02-28 and the day after, which is no leap day.
        assert_eq!(at(43_887, 0), (2100, 2, 28, 0, 0, 0));
        assert_eq!(at(43_888, 0), (2100, 3, 1, 0, 0, 0));
        assert_eq!(civil(DosTime::CONSTANT), (2000, 1, 1, 0, 0, 0));
    }

    proptest! {
        #[test]
        fn every_time_is_one_that_zip_can_hold(bytes: [u8; 32]) {
            let (year, month, day, hour, minute, second) = civil(DosTime::of_content(&Digest::from_bytes(bytes)));
            prop_assert!((1980..=2107).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day));
            prop_assert!(hour < 24 && minute < 60 && second < 60);
            prop_assert!(DosTime::of_content(&Digest::from_bytes(bytes)).seconds().is_some());
        }

        #[test]
        fn contents_next_to_each_other_have_other_times(step in 0..DAYS * STEPS_PER_DAY - 1) {
            prop_assert_ne!(DosTime::of_content(&digest_of_step(step)), DosTime::of_content(&digest_of_step(step + 1)));
        }
    }
}
