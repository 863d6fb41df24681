//! When a schedule comes due: the five fields of cron in a time zone. Pure.
//!
//! Where clocks are put forward, what was due in the hour that does not exist is due as much later: 2:30 becomes 3:30. Where they are
//! put back, what is due in the hour that comes twice is due the first time only; unless the schedule is due in every hour, when it is
//! due both times.

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Time},
    tz::{AmbiguousOffset, TimeZone},
};

/// How far back is looked for the last time that a schedule was due: the 29th of February comes after eight years at the latest.
const FARTHEST_DAYS: i64 = 8 * 366 + 2;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Vec<u8>,
    hours: Vec<u8>,
    days: Vec<u8>,
    months: Vec<u8>,
    weekdays: Vec<u8>,
    /// Whether days of the month, and days of the week, say nothing.
    any: (bool, bool),
    zone: TimeZone,
}

struct Field {
    what: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", least: 0, most: 59, names: &[] },
    Field { what: "hour", least: 0, most: 23, names: &[] },
    Field { what: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        what: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Both 0 and 7 are Sunday.
    Field {
        what: "day of the week",
        least: 0,
        most: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Cron {
    /// Understands a schedule.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str, zone: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|_| {
            format!("`{}` is no time zone, such as Europe/Berlin or UTC", zone.escape_debug())
        })?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(format!(
                "`{}` has {} fields and not 5: minute, hour, day of the month, month, day of the week",
                text.escape_debug(),
                words.len()
            ));
        };
        let mut fields =
            FIELDS.iter().zip([minute, hour, day, month, weekday]).map(|(field, word)| field.values(word));
        let mut next = || fields.next().unwrap_or_else(|| Ok(Vec::new()));
        let (minutes, hours, days, months) = (next()?, next()?, next()?, next()?);
        let mut weekdays: Vec<u8> = next()?.into_iter().map(|day| day % 7).collect();
        weekdays.sort_unstable();
        weekdays.dedup();
        let any = (*day == "*", *weekday == "*");
        let cron = Self { minutes, hours, days, months, weekdays, any, zone };
        // From a leap year that eight years of leap days follow.
        let somewhen = Timestamp::new(4_102_444_800, 0).map_err(|bad| bad.to_string())?;
        match cron.last_until(somewhen) {
            Some(_) => Ok(cron),
            None => Err(format!("`{}` names a day that never comes", text.escape_debug())),
        }
    }

    /// The last time that it was due, up to and with a moment.
    pub(super) fn last_until(&self, until: Timestamp) -> Option<Timestamp> {
        // A day begins at other moments elsewhere, and what is put forward may be due after midnight.
        let mut day = self.zone.to_datetime(until).date().checked_add(1.day()).ok()?;
        for _ in 0..FARTHEST_DAYS {
            if self.is_on(day)
                && let Some(last) = self.on(day).into_iter().filter(|due| *due <= until).max()
            {
                return Some(last);
            }
            day = day.checked_sub(1.day()).ok()?;
        }
        None
    }

    /// Where days of both kinds are named, cron takes days that are either.
    fn is_on(&self, day: Date) -> bool {
        let of_month = self.days.contains(&day.day().unsigned_abs());
        let of_week = self.weekdays.contains(&day.weekday().to_sunday_zero_offset().unsigned_abs());
        let is_day = match self.any {
            (true, true) => true,
            (true, false) => of_week,
            (false, true) => of_month,
            (false, false) => of_month || of_week,
        };
        is_day && self.months.contains(&day.month().unsigned_abs())
    }

    fn on(&self, day: Date) -> Vec<Timestamp> {
        let times =
            self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute)));
        let time = |(hour, minute): (u8, u8)| Time::new(hour.cast_signed(), minute.cast_signed(), 0, 0).ok();
        times.filter_map(time).flat_map(|time| self.moments(day, time)).collect()
    }

    fn moments(&self, day: Date, time: Time) -> Vec<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(day.to_datetime(time));
        let comes_twice = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
        let second = (comes_twice && self.hours.len() == 24).then(|| ambiguous.later().ok()).flatten();
        // In the hour that does not exist: as much later.
        ambiguous.compatible().ok().into_iter().chain(second).collect()
    }
}

impl Field {
    fn values(&self, word: &str) -> Result<Vec<u8>, String> {
        let mut values = Vec::new();
        for item in word.split(',') {
            values.extend(self.item(item)?);
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn item(&self, item: &str) -> Result<Vec<u8>, String> {
        let bad =
            || format!("`{}` is no {} from {} to {}", item.escape_debug(), self.what, self.least, self.most);
        let (span, step) = match item.split_once('/') {
            None => (item, None),
            Some((span, step)) => (span, Some(number(step).filter(|step| *step > 0).ok_or_else(bad)?)),
        };
        let (first, last) = if span == "*" {
            (self.least, self.most)
        } else if let Some((first, last)) = span.split_once('-') {
            (self.one(first).ok_or_else(bad)?, self.one(last).ok_or_else(bad)?)
        } else if step.is_some() {
            return Err(format!("`{}`: before `/` stands `*` or a range", item.escape_debug()));
        } else {
            let one = self.one(span).ok_or_else(bad)?;
            (one, one)
        };
        if first > last {
            return Err(bad());
        }
        Ok((first..=last).step_by(usize::from(step.unwrap_or(1))).collect())
    }

    fn one(&self, text: &str) -> Option<u8> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = name.and_then(|place| u8::try_from(place).ok()).map(|place| place + self.least);
        named.or_else(|| number(text)).filter(|one| (self.least..=self.most).contains(one))
    }
}

/// Digits only: `parse` alone would take `+5`.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(cron: &str, zone: &str, until: &str) -> String {
        let until: Timestamp = until.parse().unwrap();
        Cron::parse(cron, zone).unwrap().last_until(until).unwrap().to_string()
    }

    #[test]
    fn fields_mean_what_cron_means() {
        for (cron, until, due) in [
            ("0 3 * * *", "2026-11-21T12:00:00Z", "2026-11-21T03:00:00Z"),
            ("0 3 * * *", "2026-11-21T02:59:59Z", "2026-11-20T03:00:00Z"),
            ("0 3 * * *", "2026-11-21T03:00:00Z", "2026-11-21T03:00:00Z"),
            ("*/15 * * * *", "2026-11-21T12:44:00Z", "2026-11-21T12:30:00Z"),
            ("0 22 * * mon-fri", "2026-11-22T12:00:00Z", "2026-11-20T22:00:00Z"),
            ("0 0 1 jan *", "2026-11-22T12:00:00Z", "2026-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2027-01-01T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0 0 * * 7", "2026-11-22T12:00:00Z", "2026-11-22T00:00:00Z"),
            // Either: the 1st of a month, and Mondays.
            ("0 0 1 * 1", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z"),
        ] {
            assert_eq!(last(cron, "UTC", until), due, "{cron}");
        }
    }

    #[test]
    fn in_a_zone_a_time_is_that_of_the_zone() {
        assert_eq!(last("0 3 * * *", "Europe/Berlin", "2026-07-01T12:00:00Z"), "2026-07-01T01:00:00Z");
        assert_eq!(last("0 3 * * *", "Asia/Kolkata", "2026-07-01T12:00:00Z"), "2026-06-30T21:30:00Z");
        // A day ahead.
        assert_eq!(last("0 1 * * *", "Pacific/Kiritimati", "2026-07-01T12:00:00Z"), "2026-07-01T11:00:00Z");
    }

    #[test]
    fn in_the_hour_that_does_not_exist_it_is_due_as_much_later() {
        // Clocks go from 2:00 to 3:00 at 01:00Z.
        assert_eq!(last("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(last("30 2 * * *", "Europe/Berlin", "2026-03-29T01:29:00Z"), "2026-03-28T01:30:00Z");
    }

    #[test]
    fn in_the_hour_that_comes_twice_it_is_due_once_unless_it_is_due_in_every_hour() {
        // Clocks go from 3:00 to 2:00 at 01:00Z: 2:30 is at 00:30Z and at 01:30Z.
        assert_eq!(last("30 2 * * *", "Europe/Berlin", "2026-10-25T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(last("30 * * * *", "Europe/Berlin", "2026-10-25T01:40:00Z"), "2026-10-25T01:30:00Z");
        assert_eq!(last("30 * * * *", "Europe/Berlin", "2026-10-25T00:40:00Z"), "2026-10-25T00:30:00Z");
    }

    /// Zones whose clocks jump in unusual ways: by half an hour, at midnight, over a whole day, and not at all.
    const ZONES: [&str; 10] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Asia/Beirut",
        "Africa/Cairo",
        "Pacific/Apia",
        "Asia/Kolkata",
        "America/St_Johns",
    ];
    const MINUTE: i64 = 60;

    fn clock(zone: &TimeZone, at: i64) -> jiff::civil::DateTime {
        zone.to_datetime(Timestamp::from_second(at).unwrap())
    }

    /// Minutes at which clocks did not go on by a minute, with what they showed before.
    fn jumps_between(zone: &TimeZone, from: i64, until: i64) -> Vec<(i64, jiff::civil::DateTime)> {
        let mut found = Vec::new();
        let mut before = clock(zone, from);
        for at in (from + MINUTE..=until).step_by(60) {
            let now = clock(zone, at);
            if now != before.checked_add(1.minute()).unwrap() {
                found.push((at, before));
            }
            before = now;
        }
        found
    }

    /// Whether a schedule is due at a minute, told by what clocks show then and around it, and not by asking when clocks show something.
    fn is_due(cron: &Cron, at: i64, jumps: &[(i64, jiff::civil::DateTime)]) -> bool {
        let names = |shown: jiff::civil::DateTime| {
            cron.is_on(shown.date())
                && cron.hours.contains(&shown.hour().unsigned_abs())
                && cron.minutes.contains(&shown.minute().unsigned_abs())
        };
        let now = clock(&cron.zone, at);
        let jumps: Vec<_> = jumps.iter().filter(|(jump, _)| *jump <= at).collect();
        // Clocks were put back, and showed this before.
        let again = jumps.iter().any(|(jump, before)| now <= *before && at - jump < 24 * 60 * MINUTE);
        if names(now) && (!again || cron.hours.len() == 24) {
            return true;
        }
        // Clocks were put forward: what they passed over is due as much after that as it would have been.
        jumps.iter().any(|(jump, before)| {
            let missing = before.checked_add(((at - jump) / MINUTE + 1).minutes()).unwrap();
            missing < clock(&cron.zone, *jump) && names(missing)
        })
    }

    fn field(least: u8, most: u8) -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        prop_oneof![
            2 => Just("*".to_owned()),
            1 => (2_u8..20).prop_map(|step| format!("*/{step}")),
            3 => prop::collection::btree_set(least..=most, 1..4).prop_map(|some| {
                some.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(",")
            }),
        ]
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

        /// Around each jump of clocks, what was due last is what a person finds who looks at the clock every minute.
        #[test]
        fn clocks_that_jump_make_nothing_due_that_they_do_not_show(
            zone in proptest::sample::select(ZONES.to_vec()),
            minutes in field(0, 59),
            hours in field(0, 23),
            year in 2008_i16..2030,
            which in 0_usize..4,
            later in 0_i64..(36 * 60),
        ) {
            let named = TimeZone::get(zone).unwrap();
            let from = jiff::civil::date(year, 1, 1).to_zoned(TimeZone::UTC).unwrap().timestamp();
            let jumps: Vec<i64> = named.following(from).take(4).map(|jump| jump.timestamp().as_second()).collect();
            let jump = jumps.get(which).copied().unwrap_or_else(|| from.as_second());
            let until = (jump - 2 * 3600).div_euclid(MINUTE) * MINUTE + later * MINUTE;
            let cron = Cron::parse(&format!("{minutes} {hours} * * *"), zone).unwrap();
            let found = cron.last_until(Timestamp::from_second(until).unwrap()).unwrap().as_second();
            let around = jumps_between(&named, until - 4 * 24 * 60 * MINUTE, until);
            let minutes_back = (0..=2 * 24 * 60).map(|back| until - back * MINUTE);
            let seen = minutes_back.into_iter().find(|at| is_due(&cron, *at, &around));
            proptest::prop_assert_eq!(Some(found), seen, "{} {} in {} until {}", minutes, hours, zone, until);
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "",
            "0 3 * *",
            "0 0 3 * * *",
            "60 * * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 30 2 *",
            "*/0 * * * *",
            "5/10 * * * *",
            "0 5-3 * * *",
            "+1 * * * *",
            "0 0 * * mno",
            "0 0 31 4,6 *",
            "0 1,,2 * * *",
        ] {
            assert!(Cron::parse(bad, "UTC").is_err(), "{bad}");
        }
        assert!(Cron::parse("0 3 * * *", "Europe/Nowhere").unwrap_err().contains("time zone"));
    }
}
