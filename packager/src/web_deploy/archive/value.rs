//! Attributes' values, of which some are typed and written as base64.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text as it stands.
    Text(String),
    /// One byte.
    Boolean(bool),
    /// Eight bytes, the lowest first.
    Integer(i64),
    /// A moment as .NET keeps it.
    Time(NetTime),
}

/// .NET's `DateTime.ToBinary`: 100-nanosecond steps since the year 1, and in the two highest bits what they are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetTime(pub i64);

impl NetTime {
    /// Seconds since 1970-01-01 00:00:00, in UTC or in whatever zone the writer was in: see [`NetTime::is_utc`].
    pub fn seconds(self) -> i64 {
        const SECONDS_TO_1970: i64 = 62_135_596_800;
        (self.0 & 0x3fff_ffff_ffff_ffff) / 10_000_000 - SECONDS_TO_1970
    }

    /// Whether it says that it is in UTC.
    pub fn is_utc(self) -> bool {
        self.0 >> 62 & 3 == 1
    }
}

/// Decodes `text` as the .NET class `class` would, or gives what is expected instead.
pub(super) fn decode(class: &str, text: &str) -> Result<Value, &'static str> {
    // An integer may stand as text where no provider typed it; a class without a name here is kept as it is written.
    let bytes = || STANDARD.decode(text).map_err(|_| "base64");
    match class.rsplit('.').next().unwrap_or(class) {
        "DeploymentObjectBooleanAttributeValue" => match bytes()?.as_slice() {
            [0] => Ok(Value::Boolean(false)),
            [1] => Ok(Value::Boolean(true)),
            _ => Err("one byte, 0 or 1"),
        },
        "DeploymentObjectInt64AttributeValue" => Ok(Value::Integer(eight(&bytes()?)?)),
        "DeploymentObjectDateTimeAttributeValue" => Ok(Value::Time(NetTime(eight(&bytes()?)?))),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn eight(bytes: &[u8]) -> Result<i64, &'static str> {
    bytes.try_into().map(i64::from_le_bytes).map_err(|_| "eight bytes")
}

/// As Web Deploy's own listing shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Boolean(true) => f.write_str("True"),
            Self::Boolean(false) => f.write_str("False"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Time(time) => fmt::Display::fmt(time, f),
        }
    }
}

/// `2024-07-08T13:14:16`, and `Z` behind it if it says that it is UTC.
impl fmt::Display for NetTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let [year, month, day] = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.is_utc() { f.write_str("Z") } else { Ok(()) }
    }
}

/// Year, month and day of a day that is counted from 1970-01-01, by the calendar's 400 years.
fn civil(days: i64) -> [i64; 3] {
    // From the first of March of the year 0, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [era * 400 + year + i64::from(month <= 2), month, date]
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => to.serialize_str(text),
            Self::Boolean(value) => to.serialize_bool(*value),
            Self::Integer(number) => to.serialize_i64(*number),
            Self::Time(time) => to.collect_str(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(class: &str, text: &str) -> Result<String, &'static str> {
        decode(&format!("Microsoft.Web.Deployment.DeploymentObject{class}AttributeValue"), text)
            .map(|value| value.to_string())
    }

    #[test]
    fn values_are_those_that_web_deploy_shows() {
        assert_eq!(typed("Boolean", "AA=="), Ok("False".into()));
        assert_eq!(typed("Boolean", "AQ=="), Ok("True".into()));
        assert_eq!(typed("Int64", "QAEAAAAAAAA="), Ok("320".into()));
        assert_eq!(typed("DateTime", "AARE3k+f3Eg="), Ok("2024-07-08T13:14:16Z".into()));
        assert_eq!(typed("Other", "AA=="), Ok("AA==".into()));
        for (class, text) in [("Boolean", "Ag=="), ("Boolean", "?"), ("Int64", "AA=="), ("DateTime", "")] {
            assert!(typed(class, text).is_err(), "{class} {text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_has_a_text(ticks: i64) {
            let _ = NetTime(ticks).to_string();
        }
    }
}
