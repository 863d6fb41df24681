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

/// The file's bytes for a manifest and its digest: one manifest has one spelling.
pub(super) fn encode(manifest: &Manifest, digest: Digest) -> Result<Vec<u8>, serde_json::Error> {
    let entries = Cow::Borrowed(&manifest.entries);
    let mut bytes = serde_json::to_vec(&Sealed { format: FORMAT, digest, entries })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The manifest in the file's bytes, or why there is none.
pub(super) fn decode(bytes: &[u8]) -> Result<(Manifest, Digest), String> {
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    if sealed.format != FORMAT {
        return Err(format!("its format is {}, and this Staith knows {FORMAT}", sealed.format));
    }
    let manifest = Manifest { entries: sealed.entries.into_owned() };
    let digest = manifest.digest();
    if digest != sealed.digest {
        return Err(format!("it says its digest is {}, but it is {digest}", sealed.digest));
    }
    // Two entries of one path, unknown fields or other spacing: not what we write, so somebody else did.
    if encode(&manifest, digest).map_err(|why| why.to_string())? != bytes {
        return Err("it is not spelled the way Staith spells it".to_owned());
    }
    rules::check(&manifest).map_err(|refusals| refusals.to_string())?;
    Ok((manifest, digest))
}

/// The manifest in a file that was written here, and is known to be unchanged since.
pub(super) fn decode_own(bytes: &[u8]) -> Option<Manifest> {
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).ok()?;
    (sealed.format == FORMAT).then(|| Manifest { entries: sealed.entries.into_owned() })
}
