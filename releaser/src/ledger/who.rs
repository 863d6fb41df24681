//! Who did something, as far as the system knows.

use std::fmt;

use nix::unistd::{User, gethostname, getuid};
use serde::{Deserialize, Serialize};

/// Variables in which programs that change the account say whose it was before. Anybody can set them.
const CLAIMS: [&str; 2] = ["SUDO_USER", "DOAS_USER"];

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// The account, as the system has it for the process. One without a name is `uid-1234`.
    pub user: String,
    /// What the machine calls itself.
    pub host: String,
    /// What was said beyond that and nobody has checked: `SUDO_USER says anna`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
}

impl Who {
    /// The account that this process runs as, and this machine, both asked of the system. What variables claim is told as a claim.
    pub fn of_this_process() -> Self {
        let uid = getuid();
        let user =
            User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid-{uid}"), |account| account.name);
        let host = gethostname().ok().and_then(|name| name.into_string().ok());
        let said = |variable: &'static str| std::env::var(variable).ok().map(|who| (variable, who));
        let who =
            Self { user, host: host.unwrap_or_else(|| "a host without a name".to_owned()), claimed: None };
        match CLAIMS.into_iter().find_map(said) {
            Some((variable, claimed)) => who.claiming(variable, &claimed),
            None => who,
        }
    }

    /// The same, with what `source` says and nobody has checked. Kept short and on one line: it may be anything.
    #[must_use]
    pub fn claiming(self, source: &str, who: &str) -> Self {
        const LONGEST: usize = 100;
        let harmless: String = who.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Self { claimed: Some(format!("{source} says {harmless}")), ..self }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        self.claimed.as_ref().map_or(Ok(()), |claimed| write!(f, " ({claimed})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_asked_and_claims_are_told_as_claims() {
        let uid = getuid();
        let expected = User::from_uid(uid).unwrap().map_or(format!("uid-{uid}"), |account| account.name);
        let who = Who::of_this_process();
        assert_eq!(who.user, expected);
        let claiming = who.claiming("SUDO_USER", "anna\x1b[31m\n");
        assert!(claiming.to_string().ends_with(" (SUDO_USER says anna[31m)"), "{claiming}");
    }
}
