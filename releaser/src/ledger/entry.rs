//! An entry, and the one way in which it is written as a line.
//!
//! ```text
//! {"position":7,"at":1795262110123,"who":{...},"previous":"sha256:...","event":...,"hash":"sha256:..."}
//! ```
//!
//! The hash is SHA-256 over `staith.ledger-entry.v1`, a line feed, and **the bytes of the line itself** without its last member:
//! everything before `,"hash":`, and `}`. So it is [`Digest::of_value`] of the entry without its hash when it is written; and whoever
//! checks it hashes the bytes that are there, and needs no agreement on how JSON is spelled, nor any idea of what the event says.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use staith_model::{Digest, DigestStream};

use super::who::Who;

const DOMAIN: &[u8] = b"staith.ledger-entry.v1\n";
const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const AFTER_HASH: &[u8] = b"\"}";
/// `sha256:` and 64 digits.
const HASH: usize = 7 + 64;

/// Something that happened, at its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry<E> {
    /// Its place: 1 for the first, and one more for each. This, not the time, says what came before what.
    pub position: u64,
    /// When it was appended, in milliseconds since 1970 (UTC), by the clock of the machine that did it.
    pub at: u64,
    /// Who appended it.
    pub who: Who,
    /// The hash of the entry before; for the first, what the ledger is [about](super::Ledger::open), hashed.
    pub previous: Digest,
    /// What happened.
    pub event: E,
    /// The hash of all of the above.
    pub hash: Digest,
}

/// An entry whose event nobody has looked into.
pub type RawEntry = Entry<Box<RawValue>>;

#[derive(Serialize)]
struct Unsealed<'a, E> {
    position: u64,
    at: u64,
    who: &'a Who,
    previous: &'a Digest,
    event: &'a E,
}

/// The place in a chain after which something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many entries there are.
    pub position: u64,
    /// The hash of the last, which stands for all of them; of an empty ledger, what it is about, hashed.
    pub hash: Digest,
}

impl<E> Entry<E> {
    /// The ledger's head when this entry is the last.
    pub const fn head(&self) -> Head {
        Head { position: self.position, hash: self.hash }
    }
}

/// The previous hash of the first entry: two ledgers with the same entries about two things share no hash.
pub(super) fn beginning(about: &str) -> Digest {
    Digest::of_value("staith.ledger.v1", &about)
}

/// The line, without its end, of an entry that comes after `head`.
pub(super) fn line<E: Serialize>(
    head: &Head,
    at: u64,
    who: &Who,
    event: &E,
) -> Result<Vec<u8>, serde_json::Error> {
    let unsealed = Unsealed { position: head.position + 1, at, who, previous: &head.hash, event };
    let mut line = serde_json::to_vec(&unsealed)?;
    line.pop();
    let hash = hash_of(&line);
    line.extend_from_slice(BEFORE_HASH);
    line.extend_from_slice(hash.to_string().as_bytes());
    line.extend_from_slice(AFTER_HASH);
    Ok(line)
}

fn hash_of(body: &[u8]) -> Digest {
    let mut hash = DigestStream::new();
    hash.update(DOMAIN);
    hash.update(body);
    hash.update(b"}");
    hash.finish()
}

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotAnEntry {
    /// Its bytes are not those that were hashed.
    Altered(&'static str),
    /// Its bytes are those that were hashed, and its event is of no known kind.
    Unknown {
        /// The place.
        position: u64,
        /// What is not known.
        why: String,
    },
}

/// Reads a line, whose bytes have to be those that were hashed when it was written.
pub(super) fn parse(line: &[u8]) -> Result<RawEntry, NotAnEntry> {
    let tail = BEFORE_HASH.len() + HASH + AFTER_HASH.len();
    let (body, sealed) = line
        .len()
        .checked_sub(tail)
        .and_then(|middle| line.split_at_checked(middle))
        .ok_or(NotAnEntry::Altered("it is too short to be an entry"))?;
    let hash = sealed.strip_prefix(BEFORE_HASH).and_then(|rest| rest.strip_suffix(AFTER_HASH));
    let hash = hash.and_then(|hash| std::str::from_utf8(hash).ok()?.parse::<Digest>().ok());
    let hash = hash.ok_or(NotAnEntry::Altered("it does not end with its hash"))?;
    if hash_of(body) != hash {
        return Err(NotAnEntry::Altered("its hash is not that of its bytes"));
    }
    // Whoever can hash can write any bytes; what they mean must be beyond doubt all the same.
    serde_json::from_slice(line).map_err(|_| NotAnEntry::Altered("it has the right hash but is no entry"))
}

/// The same entry with its event understood.
pub(super) fn understand<E: DeserializeOwned>(raw: &RawEntry) -> Result<Entry<E>, NotAnEntry> {
    let event = serde_json::from_str(raw.event.get())
        .map_err(|why| NotAnEntry::Unknown { position: raw.position, why: why.to_string() })?;
    let RawEntry { position, at, ref who, previous, hash, .. } = *raw;
    Ok(Entry { position, at, who: who.clone(), previous, event, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Who {
        Who { user: "anna".into(), host: "deploy1".into(), claimed: None }
    }

    #[test]
    fn the_hash_is_that_of_the_value_without_it() {
        let head = Head { position: 6, hash: beginning("shop/production") };
        let line = line(&head, 5, &who(), &"x").unwrap();
        let entry: Entry<String> = serde_json::from_slice(&line).unwrap();
        let unsealed = Unsealed { position: 7, at: 5, who: &who(), previous: &head.hash, event: &"x" };
        assert_eq!(entry.hash, Digest::of_value("staith.ledger-entry.v1", &unsealed));
        // As a person would check it: cut the hash off, close the brace, put the domain before it.
        let text = String::from_utf8(line).unwrap();
        let (body, _) = text.rsplit_once(",\"hash\"").unwrap();
        assert_eq!(entry.hash, Digest::of(format!("staith.ledger-entry.v1\n{body}}}").as_bytes()));
    }

    #[test]
    fn what_an_entry_says_is_read_back_or_is_told_as_unknown() {
        let head = Head { position: 0, hash: beginning("a") };
        let raw = parse(&line(&head, 5, &who(), &"x").unwrap()).unwrap();
        assert_eq!(understand::<String>(&raw).unwrap().event, "x");
        assert!(matches!(understand::<u32>(&raw), Err(NotAnEntry::Unknown { position: 1, .. })));
    }

    #[test]
    fn two_ledgers_share_no_hash() {
        assert_ne!(beginning("shop/qa"), beginning("shop/production"));
    }
}
