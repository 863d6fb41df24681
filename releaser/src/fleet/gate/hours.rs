//! Hours of the week in which deployments may begin, as people's clocks in a time zone show them.

use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};
use staith_model::HoursOfWeek;

/// A week and a day on both sides: what repeats each week is all in there.
const DAYS: i32 = 8;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The windows around one moment, in order and apart from each other; `[from, until)` in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows(Vec<(u64, u64)>);

impl Windows {
    /// # Errors
    /// Hours can't be understood: says which and why.
    pub(super) fn around(hours: &[HoursOfWeek], now: u64) -> Result<Self, String> {
        let mut all = Vec::new();
        for one in hours {
            all.extend(windows(&Rule::of(one)?, now).ok_or("the clock shows a time that no calendar has")?);
        }
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (from, until) in all {
            match merged.last_mut() {
                // What begins as another ends is one window: nothing closes in between.
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        Ok(Self(merged))
    }

    pub(super) fn open_until(&self, now: u64) -> Option<u64> {
        self.0.iter().find(|(from, until)| (*from..*until).contains(&now)).map(|(_, until)| *until)
    }

    pub(super) fn next_opening(&self, now: u64) -> Option<u64> {
        self.0.iter().map(|(from, _)| *from).find(|from| *from > now)
    }

    /// When a window last closed.
    pub(super) fn last_closing(&self, now: u64) -> Option<u64> {
        self.0.iter().map(|(_, until)| *until).rfind(|until| *until <= now)
    }
}

struct Rule {
    days: [bool; 7],
    from: u16,
    until: u16,
    zone: TimeZone,
}

impl Rule {
    fn of(hours: &HoursOfWeek) -> Result<Self, String> {
        let mut days = [false; 7];
        for day in &hours.days {
            let place = NAMES.iter().position(|name| name == day);
            days[place
                .ok_or_else(|| format!("`{day}` in `hours` is no day: write {}", NAMES.join(", ")))?] = true;
        }
        if !days.contains(&true) {
            return Err("`hours` without `days` never come".to_owned());
        }
        let (from, until) = (minutes(&hours.from)?, minutes(&hours.until)?);
        if from == until {
            return Err(format!("`hours` from {} until {} never come", hours.from, hours.until));
        }
        let zone = TimeZone::get(&hours.zone).map_err(|_| {
            format!("`{}` in `hours` is no time zone: write one such as Europe/Berlin", hours.zone)
        })?;
        Ok(Self { days, from, until, zone })
    }
}

/// Whether hours can be understood.
pub(super) fn mistake(hours: &HoursOfWeek) -> Result<(), String> {
    Rule::of(hours).map(|_| ())
}

/// Minutes since midnight of `09:00`; `24:00` is the end of the day.
fn minutes(text: &str) -> Result<u16, String> {
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let found = text.split_once(':').and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
    let found = found.filter(|(hour, minute)| *minute < 60 && hour * 60 + minute <= 24 * 60);
    found
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| format!("`{text}` in `hours` is no time: write one such as 09:00"))
}

fn windows(rule: &Rule, now: u64) -> Option<Vec<(u64, u64)>> {
    let now = Timestamp::from_millisecond(i64::try_from(now).ok()?).ok()?;
    let today = now.to_zoned(rule.zone.clone()).date();
    // One that begins in the evening may end in the morning.
    let days_longer = i32::from(rule.until <= rule.from);
    let mut found = Vec::new();
    for day in -DAYS..=DAYS {
        let date = today.checked_add(day.days()).ok()?;
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        if !rule.days[weekday] {
            continue;
        }
        let from = instant(date, rule.from, &rule.zone)?;
        let until = instant(date.checked_add(days_longer.days()).ok()?, rule.until, &rule.zone)?;
        // Clocks that are put forward can swallow one.
        if from < until {
            found.push((from, until));
        }
    }
    Some(found)
}

/// When clocks there show this. A time that is skipped is the one that comes instead; of one that comes twice, it is the first.
fn instant(date: civil::Date, minutes: u16, zone: &TimeZone) -> Option<u64> {
    let (date, minutes) = if minutes == 24 * 60 { (date.tomorrow().ok()?, 0) } else { (date, minutes) };
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    let time = civil::Time::new(hour, minute, 0, 0).ok()?;
    let at = zone.to_timestamp(date.to_datetime(time)).ok()?;
    u64::try_from(at.as_millisecond()).ok()
}
