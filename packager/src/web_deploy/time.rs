//! The times that entries carry.
//!
//! Web Deploy takes a file for unchanged when its size and its zip time are those at the destination, whatever the bytes
//! say. Constant times would therefore make it skip changed files (NuGet had to withdraw its deterministic packages over
//! that), and the clock would make every package different. So a file's time is made from its content: another content
//! has another time, the same content has the same.

use staith_model::Digest;

/// A time as zip holds it: local, without zone, in steps of two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DosTime {
    pub(super) date: u16,
    pub(super) time: u16,
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

    fn civil(time: DosTime) -> (u16, u16, u16, u16, u16, u16) {
        let (date, time) = (time.date, time.time);
        (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
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
        }

        #[test]
        fn contents_next_to_each_other_have_other_times(step in 0..DAYS * STEPS_PER_DAY - 1) {
            prop_assert_ne!(DosTime::of_content(&digest_of_step(step)), DosTime::of_content(&digest_of_step(step + 1)));
        }
    }
}
