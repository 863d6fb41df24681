//! Identities of things that happen once: runs, attempts, deployments, registrations.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Crockford's base 32, lower case: no `i`, `l`, `o`, `u` to misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 48 bits of time and 80 bits of chance take 26 characters, as in a ULID.
const LENGTH: usize = 26;

/// What is wrong with a text that should be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id of Staith's: an id is 26 of the characters 0-9 and a-z without i, l, o and u")]
pub struct NotAnId(String);

fn encode(unix_millis: u64, chance: [u8; 10]) -> String {
    let mut value = u128::from(unix_millis & 0xffff_ffff_ffff);
    for byte in chance {
        value = (value << 8) | u128::from(byte);
    }
    (0..LENGTH).rev().map(|place| char::from(ALPHABET[((value >> (5 * place)) & 31) as usize])).collect()
}

fn check(text: &str) -> Result<String, NotAnId> {
    let well_formed = text.len() == LENGTH && text.bytes().all(|c| ALPHABET.contains(&c));
    if well_formed { Ok(text.to_owned()) } else { Err(NotAnId(text.to_owned())) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Ids sort by the time they were made. This crate has no clock and no source of chance: the maker gives both.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// An id from the time in milliseconds since 1970 and ten random bytes.
            pub fn new(unix_millis: u64, chance: [u8; 10]) -> Self {
                Self(encode(unix_millis, chance))
            }

            /// The id as text; safe as a file name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                check(&text).map(Self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                check(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id!(/// One execution of a plan.
    RunId);
id!(/// One execution of a deployment plan.
    DeploymentId);
id!(/// One try at a job of a run, on one runner.
    AttemptId);
id!(/// A build host that was registered.
    RunnerId);
id!(/// Something that happened at a repository, as a server wrote it down.
    ArrivalId);
id!(/// A token that somebody was given; not the token itself.
    TokenId);
id!(/// A conversation between a deployer and the program on a machine, through a server.
    TunnelId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_sort_by_time_and_survive_text(a in 0u64..1 << 48, b in 0u64..1 << 48, x: [u8; 10], y: [u8; 10]) {
            let (first, second) = (RunId::new(a, x), RunId::new(b, y));
            if a != b {
                prop_assert_eq!(first < second, a < b);
            }
            prop_assert_eq!(first.as_str().parse::<RunId>(), Ok(first));
        }
    }

    #[test]
    fn paths_are_no_ids() {
        assert!("../../../etc/passwd-padded-".parse::<RunId>().is_err());
    }
}
