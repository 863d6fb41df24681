//! How far what a run made may be believed.

use serde::{Deserialize, Serialize};

/// Whose code a run executes. What a run of a lower level wrote is never read by one of a higher level, and the release stage
/// takes only what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Of people who may not write to the repository. Gets no secrets.
    Fork,
    /// A branch or a request to merge by people who may.
    Branch,
    /// A branch or a tag that the project protects.
    Protected,
}

impl Trust {
    /// As the API and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Branch => "branch",
            Self::Protected => "protected",
        }
    }

    /// Whether a run of this level may read what one of `other` wrote.
    pub fn may_read(self, other: Self) -> bool {
        other >= self
    }
}

/// What is wrong with a text that should be a level of trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level of trust: fork, branch or protected")]
pub struct NotATrust(String);

impl std::str::FromStr for Trust {
    type Err = NotATrust;

    fn from_str(text: &str) -> Result<Self, NotATrust> {
        let known = [Self::Fork, Self::Branch, Self::Protected];
        known.into_iter().find(|trust| trust.as_str() == text).ok_or_else(|| NotATrust(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_flows_up() {
        assert!(Trust::Fork.may_read(Trust::Protected) && Trust::Branch.may_read(Trust::Branch));
        assert!(!Trust::Protected.may_read(Trust::Branch) && !Trust::Branch.may_read(Trust::Fork));
    }
}
