//! What streams are called.

use std::{fmt, str::FromStr};

use staith_model::Name;

/// A stream of an attempt. Its text is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// `events`: the run's `events.jsonl`.
    Events,
    /// `log.STEP`: what the step wrote, whole and masked.
    Log(Name),
    /// `log.STEP+SERVICE`: what a service of the step wrote.
    ServiceLog(Name, Name),
}

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no stream: a stream is `events`, `log.STEP` or `log.STEP+SERVICE`", .0.escape_debug())]
pub struct NotAStream(String);

impl FromStr for StreamName {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let refused = || NotAStream(text.chars().take(80).collect());
        if text == "events" {
            return Ok(Self::Events);
        }
        let log = text.strip_prefix("log.").ok_or_else(refused)?;
        let name = |text: &str| text.parse::<Name>().map_err(|_| refused());
        match log.split_once('+') {
            Some((step, service)) => Ok(Self::ServiceLog(name(step)?, name(service)?)),
            None => Ok(Self::Log(name(log)?)),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("events"),
            Self::Log(step) => write!(f, "log.{}", step.as_str()),
            Self::ServiceLog(step, service) => write!(f, "log.{}+{}", step.as_str(), service.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_these_are_streams() {
        for good in ["events", "log.test", "log.a.b", "log.0", "log.test+db"] {
            assert_eq!(good.parse::<StreamName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "log.",
            "log",
            "log..",
            "log.../x",
            "log./etc",
            "events\0",
            "../events",
            "EVENTS",
            "log.a+",
            "log.+a",
            "log.a+b+c",
        ] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_part_of_a_path(text in ".{0,20}|log\\..{0,70}") {
            if let Ok(name) = text.parse::<StreamName>() {
                let text = name.to_string();
                prop_assert!(!text.contains('/') && !text.starts_with('.') && text.len() < 150);
            }
        }
    }
}
