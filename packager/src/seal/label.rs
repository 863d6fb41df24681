//! Whose code a package was made of.

use staith_model::{Digest, service::Trust};

use super::{NotVouched, envelope::Envelope, key::PublicKey, provenance, verify};

/// What was said of it: by keys that are trusted, the highest, because the same bytes are what the higher code makes. Where none of them
/// said anything, what others say against it is believed, and nothing that they say for it. `None` where it is not known.
pub fn label(package: &Digest, statements: &[Vec<u8>], trusted: &[PublicKey]) -> Option<Trust> {
    let (mut signed, mut told) = (None, None);
    for statement in statements {
        match verify(package, statement, trusted) {
            Ok(vouched) => signed = signed.max(vouched.told.trust),
            Err(NotVouched::Untrusted(_) | NotVouched::Unsigned) => {
                let low = claimed(package, statement).filter(|trust| *trust < Trust::Protected);
                told = match (told, low) {
                    (Some(told), Some(low)) => Some(std::cmp::min::<Trust>(told, low)),
                    (told, low) => told.or(low),
                };
            }
            Err(_) => {}
        }
    }
    signed.or(told)
}

/// What a statement says that nobody vouches for.
fn claimed(package: &Digest, statement: &[u8]) -> Option<Trust> {
    let envelope: Envelope = serde_json::from_slice(statement).ok()?;
    provenance::read(&envelope.payload()?, package).ok()?.trust
}
