//! Secrets on their way to a machine.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use staith_model::Secret;

/// A secret that may be written into a message, and nowhere else: [`Secret`] itself has no way into JSON on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub Secret);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.expose_to(|text| to.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Secret::new(text)))
    }
}
