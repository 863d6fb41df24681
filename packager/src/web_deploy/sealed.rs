//! `staith.manifest.json`: what Web Deploy's own files can't say (Unix modes, symbolic links, hashes). Web Deploy ignores it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Entry, Manifest, RelPath};

use super::rules;

/// The file's shape. A reader refuses numbers it does not know rather than guess.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    format: u32,
    digest: Digest,
    entries: Cow<'a, BTreeMap<RelPath, Entry>>,
}

/// The canonical JSON of a package's content (path, mode, size and digest of every file), as it lies in the package and beside
/// it.
pub fn content_manifest(manifest: &Manifest) -> Vec<u8> {
    encode(manifest, manifest.digest()).unwrap_or_default()
}

/// The file's bytes for a manifest and its digest: one manifest has one spelling.
pub(super) fn encode(manifest: &Manifest, digest: Digest) -> Result<Vec<u8>, serde_json::Error> {
    let entries = Cow::Borrowed(&manifest.entries);
    let mut bytes = serde_json::to_vec(&Sealed { format: FORMAT, digest, entries })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The manifest in the file's bytes, or why there is none.
pub(super) fn decode(bytes: &[u8]) -> Result<(Manifest, Digest), String> {
    let sealed = read(bytes).map_err(|why| why.to_string())?;
    if sealed.format != FORMAT {
        return Err(format!("its format is {}, and this Staith knows {FORMAT}", sealed.format));
    }
    let manifest = Manifest { entries: sealed.entries.into_owned() };
    let spelled = encode(&manifest, sealed.digest).map_err(|why| why.to_string())?;
    // What was just written has the manifest's own text in it: hashing that is hashing the manifest.
    let digest = own_text(&spelled).map_or_else(|| manifest.digest(), |json| Manifest::digest_of_json(&json));
    if digest != sealed.digest {
        return Err(format!("it says its digest is {}, but it is {digest}", sealed.digest));
    }
    // Two entries of one path, unknown fields or other spacing: not what we write, so somebody else did.
    if spelled != bytes {
        return Err("it is not spelled the way Staith spells it".to_owned());
    }
    rules::check(&manifest).map_err(|refusals| refusals.to_string())?;
    Ok((manifest, digest))
}

/// What the file says, whether or not it is true.
fn read(bytes: &[u8]) -> Result<Sealed<'_>, serde_json::Error> {
    // Spelled as it is here, it is a head of two numbers and the manifest's own text.
    if let Some(at) = own_text_at(bytes)
        && let Some(manifest) = own_text(bytes).and_then(|json| Manifest::read_json(&json))
        && let Ok(head) = serde_json::from_slice::<Sealed<'_>>(&[&bytes[..at], b"\"entries\":{}}"].concat())
    {
        let entries = Cow::Owned(manifest.entries);
        return Ok(Sealed { format: head.format, digest: head.digest, entries });
    }
    serde_json::from_slice(bytes)
}

/// Where the manifest's own text begins in a file as [`encode`] writes it.
fn own_text_at(spelled: &[u8]) -> Option<usize> {
    const ENTRIES: &[u8] = b"\"entries\":";
    spelled.get(..128)?.windows(ENTRIES.len()).position(|letters| letters == ENTRIES)
}

/// The manifest's canonical JSON out of a file as [`encode`] writes it.
fn own_text(spelled: &[u8]) -> Option<Vec<u8>> {
    Some([b"{", spelled.get(own_text_at(spelled)?..spelled.len() - 1)?].concat())
}

/// The manifest in a file that was written here, and is known to be unchanged since.
pub(super) fn decode_own(bytes: &[u8]) -> Option<Manifest> {
    let sealed = read(bytes).ok()?;
    (sealed.format == FORMAT).then(|| Manifest { entries: sealed.entries.into_owned() })
}
