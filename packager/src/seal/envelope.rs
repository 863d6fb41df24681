//! DSSE: a statement with signatures, in one JSON value. <https://github.com/secure-systems-lab/dsse>
//!
//! What is signed is not the JSON but the pre-authentication encoding (PAE) of type and payload, so that nobody has to agree
//! on a spelling of JSON, and a signature over one type of payload is none over another.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey};

/// What the payloads of Staith's envelopes are.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A payload with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The type of the payload.
    pub payload_type: String,
    /// The payload, in base64.
    payload: String,
    /// None in an envelope that nobody has signed.
    pub signatures: Vec<Signature>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// [`PublicKey::id`] of its key, as a hint.
    #[serde(default)]
    pub keyid: String,
    /// In base64.
    sig: String,
}

impl Envelope {
    /// An envelope of `payload`, signed with the keys.
    pub fn seal(payload_type: &str, payload: &[u8], keys: &[&PrivateKey]) -> Self {
        let message = pae(payload_type, payload);
        let sign = |key: &&PrivateKey| Signature {
            keyid: key.public().id(),
            sig: STANDARD.encode(key.sign(&message)),
        };
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: keys.iter().map(sign).collect(),
        }
    }

    /// The payload; `None` if it is not in base64. Says nothing about who signed it.
    pub fn payload(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok()
    }

    /// The first of `keys` that has signed the payload, with the payload.
    pub fn signed_by<'k>(&self, keys: &'k [PublicKey]) -> Option<(&'k PublicKey, Vec<u8>)> {
        let payload = self.payload()?;
        let message = pae(&self.payload_type, &payload);
        let has_signed = |key: &&PublicKey| {
            let signatures = self.signatures.iter().filter_map(|one| STANDARD.decode(&one.sig).ok());
            signatures.into_iter().any(|signature| key.has_signed(&message, &signature))
        };
        let key = keys.iter().find(has_signed)?;
        Some((key, payload))
    }
}

/// The pre-authentication encoding.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::super::key::Keys;
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let expected = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected.as_bytes());
    }

    #[test]
    fn a_signature_counts_for_its_key_type_and_payload_only() {
        let home = tempfile::tempdir().unwrap();
        let key = |name: &str| Keys::in_directory(&home.path().join(name)).own().unwrap();
        let (ours, others) = (key("a"), key("b"));
        let sealed = Envelope::seal(IN_TOTO, b"{}", &[&ours]);
        let trusted = [others.public(), ours.public()];
        let (by, payload) = sealed.signed_by(&trusted).unwrap();
        assert_eq!((by, payload.as_slice()), (&ours.public(), &b"{}"[..]));
        assert!(sealed.signed_by(&trusted[..1]).is_none() && sealed.signed_by(&[]).is_none());
        let other_type = Envelope { payload_type: "text/plain".into(), ..sealed.clone() };
        let other_payload = Envelope { payload: STANDARD.encode(b"[]"), ..sealed.clone() };
        let claimed = Signature { keyid: others.public().id(), sig: sealed.signatures[0].sig.clone() };
        let other_name = Envelope { signatures: vec![claimed], ..sealed.clone() };
        assert!(other_type.signed_by(&trusted).is_none() && other_payload.signed_by(&trusted).is_none());
        assert_eq!(other_name.signed_by(&trusted).unwrap().0, &ours.public(), "an id is a hint and no proof");
        let unsigned = Envelope { signatures: vec![], ..sealed };
        assert!(unsigned.signed_by(&trusted).is_none());
    }
}
