//! How the contents of a package are written down: numbers in their binary form, behind them a digest of all.

use staith_model::{Digest, Entry, Manifest, RelPath};

use super::{
    super::sealed_package::{Contents, Extent},
    Identity,
};

/// What a file begins with. Another number, another spelling.
const HEAD: &[u8] = b"staith.opened.1\n";

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;

/// The bytes for what the file of `identity` has in it.
pub(super) fn encode(contents: &Contents, identity: Identity) -> Vec<u8> {
    let mut to = Vec::with_capacity(256 + contents.manifest.entries.len() * 128);
    to.extend_from_slice(HEAD);
    to.extend_from_slice(&identity.bytes());
    to.extend_from_slice(contents.digest.as_bytes());
    to.push(u8::from(contents.parameters.is_some()));
    if let Some((extent, size)) = &contents.parameters {
        put_extent(&mut to, extent);
        to.extend_from_slice(&size.to_le_bytes());
    }
    let mut files = contents.files.iter();
    for (path, entry) in &contents.manifest.entries {
        match entry {
            Entry::Directory => {
                to.push(DIRECTORY);
                put_text(&mut to, path.as_str());
            }
            Entry::Symlink { target } => {
                to.push(SYMLINK);
                put_text(&mut to, path.as_str());
                put_text(&mut to, target);
            }
            Entry::File { mode, size, digest } => {
                to.push(FILE);
                put_text(&mut to, path.as_str());
                to.extend_from_slice(&mode.to_le_bytes());
                to.extend_from_slice(&size.to_le_bytes());
                to.extend_from_slice(digest.as_bytes());
                files.next().into_iter().for_each(|extent| put_extent(&mut to, extent));
            }
        }
    }
    let check = *Digest::of(&to).as_bytes();
    to.extend_from_slice(&check);
    to
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(text.as_bytes());
}

fn put_extent(to: &mut Vec<u8>, extent: &Extent) {
    to.extend_from_slice(&extent.at.to_le_bytes());
    to.extend_from_slice(&extent.packed.to_le_bytes());
    to.push(u8::from(extent.deflated));
}

/// What the bytes say the file of `identity` has in it. `None` where they are damaged, or are about another file.
pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Contents> {
    // A loss of power may have left anything: it is not synchronised.
    let (told, check) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(told).as_bytes() != check {
        return None;
    }
    let mut from = From(told.strip_prefix(HEAD)?);
    if from.take(identity.bytes().len())? != identity.bytes() {
        return None;
    }
    let digest = from.digest()?;
    let parameters = if from.byte()? == 0 { None } else { Some((from.extent()?, from.long()?)) };
    let (mut entries, mut files) = (Vec::new(), Vec::new());
    while !from.0.is_empty() {
        let (kind, path) = (from.byte()?, RelPath::try_from(from.text()?).ok()?);
        let entry = match kind {
            DIRECTORY => Entry::Directory,
            SYMLINK => Entry::Symlink { target: from.text()? },
            FILE => {
                let (mode, size, digest) = (from.word()?, from.long()?, from.digest()?);
                files.push(from.extent()?);
                Entry::File { mode, size, digest }
            }
            _ => return None,
        };
        entries.push((path, entry));
    }
    if !entries.is_sorted_by(|(before, _), (after, _)| before < after) {
        return None;
    }
    let manifest = Manifest { entries: entries.into_iter().collect() };
    Some(Contents { manifest, digest, files, parameters })
}

/// What is left to be read.
struct From<'a>(&'a [u8]);

impl<'a> From<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn digest(&mut self) -> Option<Digest> {
        Some(Digest::from_bytes(self.take(32)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.word()?).ok()?;
        Some(str::from_utf8(self.take(length)?).ok()?.to_owned())
    }

    fn extent(&mut self) -> Option<Extent> {
        Some(Extent { at: self.long()?, packed: self.long()?, deflated: self.byte()? != 0 })
    }
}
