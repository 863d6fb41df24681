//! Machines that pull their deployments, and the tunnels through which the deployer speaks to them. Both ends ask the server; it
//! connects to neither.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Name, TunnelId};

/// The most bytes of a tunnel that are said at once.
pub const TUNNEL_PIECE: usize = 256 << 10;

/// A machine of an environment of a project, as people write it: `shop/production/web-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetOf {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// The machine, as `targets` calls it.
    pub target: Name,
}

/// What is wrong with a text that should name a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no machine: it is PROJECT/ENVIRONMENT/TARGET")]
pub struct NotATarget(String);

impl FromStr for TargetOf {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let wrong = || NotATarget(text.to_owned());
        let mut names = text.split('/').map(|name| name.parse::<Name>().map_err(|_| wrong()));
        let mut next = || names.next().unwrap_or_else(|| Err(wrong()));
        let found = Self { project: next()?, environment: next()?, target: next()? };
        names.next().is_none().then_some(found).ok_or_else(wrong)
    }
}

impl TryFrom<String> for TargetOf {
    type Error = NotATarget;

    fn try_from(text: String) -> Result<Self, NotATarget> {
        text.parse()
    }
}

impl From<TargetOf> for String {
    fn from(target: TargetOf) -> Self {
        target.to_string()
    }
}

impl fmt::Display for TargetOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.environment, self.target)
    }
}

/// The answer to `POST /api/v1/target/turn`: a machine's runner has begun, and of all that ever did it is the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTurn {
    /// To be said with everything else that it asks.
    pub turn: u64,
}

/// `POST /api/v1/target/tunnels`: a machine's runner asks which tunnels there are to be. The answer waits while these are all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelsAsked {
    /// Which of the machine's runners asks.
    pub turn: u64,
    /// Those whose programs run.
    pub has: Vec<TunnelId>,
}

/// The answer to [`TunnelsAsked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelsTold {
    /// All that there are to be; the programs of others are to end.
    pub tunnels: Vec<TunnelOffered>,
}

/// A tunnel, as a machine is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelOffered {
    /// Which.
    pub tunnel: TunnelId,
    /// The application's folder on the machine.
    pub folder: String,
}

/// `PUT /api/v1/deployer/tunnels/{tunnel}`: the deployer wants to speak to a machine. Said again, it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelWanted {
    /// To which.
    pub target: TargetOf,
    /// The application's folder on it.
    pub folder: String,
}

/// What of the bytes that were said was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelNext {
    /// The offset of the next byte.
    pub next: u64,
}

/// An end of a tunnel says that it is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelEnd {
    /// What went wrong; `None` where all was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_three_names() {
        let target: TargetOf = "shop/production/web-1".parse().unwrap();
        assert_eq!((target.project.as_str(), target.target.as_str()), ("shop", "web-1"));
        assert_eq!(target.to_string(), "shop/production/web-1");
        assert_eq!(serde_json::to_string(&target).unwrap(), "\"shop/production/web-1\"");
        for bad in ["", "shop", "shop/production", "shop/production/", "/a/b", "a/b/c/d", "A/b/c", "a/../c"] {
            assert!(bad.parse::<TargetOf>().is_err(), "{bad}");
        }
    }
}
