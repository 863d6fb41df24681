//! Which runs of a project go first.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How soon a run has its turn among those of its project that wait: a higher one goes first, and what is not said is 0. It says nothing
/// about other projects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Priority(i32);

impl Priority {
    /// After all others.
    pub const LOWEST: Self = Self(-100);
    /// Before all others.
    pub const HIGHEST: Self = Self(100);

    /// The number.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// Whether it is what holds where nothing is said.
    pub const fn is_usual(&self) -> bool {
        self.0 == 0
    }

    /// Whether it goes before what others ask for without saying anything.
    pub const fn goes_before_others(self) -> bool {
        self.0 > 0
    }
}

/// A number that is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a priority is a whole number from {} to {}", Priority::LOWEST, Priority::HIGHEST)]
pub struct NotAPriority;

impl TryFrom<i32> for Priority {
    type Error = NotAPriority;

    fn try_from(number: i32) -> Result<Self, NotAPriority> {
        let priority = Self(number);
        if (Self::LOWEST..=Self::HIGHEST).contains(&priority) { Ok(priority) } else { Err(NotAPriority) }
    }
}

impl From<Priority> for i32 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = NotAPriority;

    fn from_str(text: &str) -> Result<Self, NotAPriority> {
        text.parse::<i32>().map_err(|_| NotAPriority)?.try_into()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_whoever_says_it() {
        for good in ["-100", "0", "100"] {
            let said: Priority = good.parse().unwrap();
            assert_eq!(serde_json::from_str::<Priority>(good).unwrap(), said);
            assert_eq!(serde_json::to_string(&said).unwrap(), good);
        }
        for bad in ["-101", "101", "high", "", "1.5", "99999999999"] {
            assert!(
                bad.parse::<Priority>().is_err() && serde_json::from_str::<Priority>(bad).is_err(),
                "{bad}"
            );
        }
    }
}
