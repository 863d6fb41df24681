//! Words that prove who somebody is: tokens of people and sessions, codes of enrolment. 256 bits of chance each, with a beginning by
//! which scanners of repositories and logs know them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use staith_model::Digest;

use crate::api::Problem;

/// What a word is for; its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token of a person.
    Person,
    /// A token of a runner's session.
    Session,
    /// A code of enrolment.
    Enrolment,
    /// The token of the process that deploys.
    Deployer,
}

/// A word that was just made. It is told once, and only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Word(String);

impl Word {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(kind: Kind) -> Result<Self, Problem> {
        let mut chance = [0; 32];
        getrandom::fill(&mut chance).map_err(no_chance)?;
        let beginning = match kind {
            Kind::Person => "staith_person_",
            Kind::Session => "staith_session_",
            Kind::Enrolment => "staith_enrol_",
            Kind::Deployer => "staith_deployer_",
        };
        Ok(Self(format!("{beginning}{}", URL_SAFE_NO_PAD.encode(chance))))
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The word itself, for whoever asked for it.
    pub fn tell(self) -> String {
        self.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Ten random bytes, for an id.
///
/// # Errors
/// The system gives no random numbers.
pub fn chance() -> Result<[u8; 10], Problem> {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).map_err(no_chance)?;
    Ok(chance)
}

fn no_chance(refused: getrandom::Error) -> Problem {
    tracing::error!(%refused, "the system gives no random numbers");
    Problem::new(500, "no-chance", "the server's system gives no random numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_and_are_not_shown() {
        let (one, other) = (Word::new(Kind::Person).unwrap(), Word::new(Kind::Person).unwrap());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "***");
        assert_eq!(one.clone().tell().len(), "staith_person_".len() + 43);
        assert_eq!(one.digest(), Digest::of(one.tell().as_bytes()));
    }
}
