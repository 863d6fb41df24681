//! One thing that a lock file pins.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::purl::Purl;

/// What a component is needed for. The greater is what remains when two lock files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// For development and tests only.
    Development,
    /// Where it is there.
    Optional,
    /// Always.
    Required,
}

/// A hash of the file that a package manager fetches. Ordered for a canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash {
    /// As CycloneDX calls it.
    pub(super) algorithm: &'static str,
    /// In hexadecimal digits of lower case.
    pub(super) hex: String,
}

impl Hash {
    /// A hash in hexadecimal digits; none if the digits are too few, too many, or no digits.
    pub(super) fn of_hex(algorithm: &'static str, hex: &str) -> Option<Self> {
        let digits = match algorithm {
            "MD5" => 32,
            "SHA-1" => 40,
            "SHA-256" => 64,
            "SHA-384" => 96,
            "SHA-512" => 128,
            _ => return None,
        };
        let is_right = hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_right.then(|| Self { algorithm, hex: hex.to_ascii_lowercase() })
    }

    /// A hash as pip and others write it: `sha256:0123...`.
    pub(super) fn of_tagged(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once([':', '='])?;
        Self::of_hex(algorithm_of(algorithm)?, hex)
    }

    /// The hashes of a W3C integrity text: `sha512-BASE64`, several between spaces.
    pub(super) fn of_integrity(text: &str) -> Vec<Self> {
        let one = |part: &str| {
            let (algorithm, rest) = part.split_once('-')?;
            let bytes = STANDARD.decode(rest.split('?').next()?).ok()?;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Self::of_hex(algorithm_of(algorithm)?, &hex)
        };
        text.split_ascii_whitespace().filter_map(one).collect()
    }
}

fn algorithm_of(text: &str) -> Option<&'static str> {
    match text {
        "md5" => Some("MD5"),
        "sha1" => Some("SHA-1"),
        "sha256" => Some("SHA-256"),
        "sha384" => Some("SHA-384"),
        "sha512" => Some("SHA-512"),
        _ => None,
    }
}

/// A thing with a fixed version, and what the lock file says of it.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    pub(super) purl: Purl,
    pub(super) scope: Scope,
    pub(super) hashes: Vec<Hash>,
    /// As the lock file writes them; several are a choice.
    pub(super) licences: Vec<String>,
    /// Checksums that are not those of a file, and the like, by what they are called.
    pub(super) properties: Vec<(&'static str, String)>,
    /// What it needs, as places in the lock file's list of pins.
    pub(super) needs: Vec<usize>,
    /// Whether the project itself asks for it; `None` where the lock file does not say.
    pub(super) is_direct: Option<bool>,
    /// Whether the lock file says what it needs, though that may be nothing.
    pub(super) tells_needs: bool,
}

impl Pin {
    /// A required thing of which nothing else is known.
    pub(super) const fn new(purl: Purl) -> Self {
        Self {
            purl,
            scope: Scope::Required,
            hashes: Vec::new(),
            licences: Vec::new(),
            properties: Vec::new(),
            needs: Vec::new(),
            is_direct: None,
            tells_needs: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_taken_only_as_long_as_they_have_to_be() {
        let sha1 = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12";
        assert_eq!(Hash::of_hex("SHA-1", &sha1.to_uppercase()).unwrap().hex, sha1);
        assert_eq!(Hash::of_hex("SHA-256", sha1), None);
        assert_eq!(Hash::of_tagged("sha256:xyz"), None);
        assert_eq!(Hash::of_tagged(&format!("sha1={sha1}")).unwrap().algorithm, "SHA-1");
        let both = Hash::of_integrity("sha1-L9ThxnotKPzthJ7hu3bnORuT6xI= sha9-AAAA sha512-!!! md5");
        assert_eq!(both, [Hash { algorithm: "SHA-1", hex: sha1.into() }]);
    }
}
