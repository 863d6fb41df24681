//! Whether a package is what somebody trusted has vouched for.

use serde::Serialize;
use staith_model::Digest;

use super::{
    envelope::{Envelope, IN_TOTO},
    key::PublicKey,
    provenance::{self, Told},
};

/// Longer envelopes are not read.
pub const MAX_ENVELOPE_BYTES: u64 = 16 << 20;

/// Who vouches for a package, and what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vouched {
    /// [`PublicKey::id`] of the key that signed.
    pub key: String,
    /// What the statement says.
    #[serde(flatten)]
    pub told: Told,
}

/// Why a package is not vouched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVouched {
    /// The file beside the package is no envelope.
    #[error(
        "the provenance is no DSSE envelope of an in-toto statement ({0}); take it from where the package was made"
    )]
    NotAnEnvelope(String),
    /// Nobody has signed it.
    #[error("nobody has signed the provenance; build the package in a run, or pack it with `--sign`")]
    Unsigned,
    /// Somebody else has signed it, or it was changed after it was signed.
    #[error(
        "no trusted key has signed the provenance (it names {}); either it was changed, or the key is not trusted: \
         `staith key trust FILE` trusts it, if you know whose it is", .0.join(", ")
    )]
    Untrusted(Vec<String>),
    /// It is signed, but about something else.
    #[error("the provenance is signed, but {0}; take the one that belongs to this package")]
    AboutSomethingElse(String),
}

/// Verifies that one of the trusted keys has signed, in `envelope`, a statement about the package file of this digest, which
/// the caller has computed from the file.
///
/// # Errors
/// See [`NotVouched`].
pub fn verify(package: &Digest, envelope: &[u8], trusted: &[PublicKey]) -> Result<Vouched, NotVouched> {
    if envelope.len() as u64 > MAX_ENVELOPE_BYTES {
        return Err(NotVouched::NotAnEnvelope(format!("it is longer than {} MiB", MAX_ENVELOPE_BYTES >> 20)));
    }
    let envelope: Envelope =
        serde_json::from_slice(envelope).map_err(|bad| NotVouched::NotAnEnvelope(bad.to_string()))?;
    if envelope.payload_type != IN_TOTO {
        return Err(NotVouched::NotAnEnvelope(format!("it is of {:?}", envelope.payload_type)));
    }
    if envelope.signatures.is_empty() {
        return Err(NotVouched::Unsigned);
    }
    let Some((key, payload)) = envelope.signed_by(trusted) else {
        let named = envelope.signatures.iter().take(8).map(|one| format!("{:?}", one.keyid));
        return Err(NotVouched::Untrusted(named.collect()));
    };
    let told = provenance::read(&payload, package).map_err(NotVouched::AboutSomethingElse)?;
    Ok(Vouched { key: key.id(), told })
}
