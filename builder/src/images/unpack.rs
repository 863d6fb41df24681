//! A layer's archive becomes a directory that overlay can use.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use super::{
    archive::{self, Entry, Flaw, Kind},
    place::{Inside, Place},
};

/// What a name begins with that says that something is gone.
const WHITEOUT: &[u8] = b".wh.";
/// The name that says that a directory shows nothing of lower layers.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What else an old union file system left; it means nothing.
const OF_AUFS: &[u8] = b".wh..wh.";
/// After an archive's end there may be padding; more than this is something else.
const MOST_PADDING: u64 = 16 << 20;

/// Unpacks an archive, and reads `from` to its end, so that a digest over it covers all.
///
/// # Errors
/// The archive is damaged or hostile, or the file system refused. The place is then half filled.
pub(super) fn unpack(from: &mut dyn Read, place: &mut Place) -> Result<(), Flaw> {
    archive::read(from, &mut |entry, content| {
        put(entry, content, place)?;
        Ok(ControlFlow::Continue(()))
    })?;
    if io::copy(&mut from.take(MOST_PADDING), &mut io::sink())? == MOST_PADDING {
        return Err(Flaw::Damaged("much follows its end".to_owned()));
    }
    Ok(())
}

fn put(entry: &Entry, content: &mut dyn Read, place: &mut Place) -> Result<(), Flaw> {
    if entry.has_overlay_attribute {
        return Err(Flaw::hostile(&entry.path, "it carries an attribute that only overlay itself may set"));
    }
    let Some(path) = Inside::of(&entry.path)? else {
        return match entry.kind {
            Kind::Directory => place.directory(None, entry.mode, entry.modified),
            _ => Err(Flaw::hostile(&entry.path, "the root of an image has to be a directory")),
        };
    };
    if path.name().starts_with(WHITEOUT) {
        return take_away(entry, &path, place);
    }
    // A part of a path may not be such a mark either: overlay would not know what it means.
    if path
        .parent()
        .is_some_and(|parent| parent.bytes().split(|b| *b == b'/').any(|part| part.starts_with(WHITEOUT)))
    {
        return Err(Flaw::hostile(&entry.path, "it lies below a name that says that something is gone"));
    }
    match &entry.kind {
        Kind::Directory => place.directory(Some(&path), entry.mode, entry.modified),
        Kind::File => {
            let written = place.file(&path, entry.mode, entry.modified, content)?;
            if written == entry.size {
                return Ok(());
            }
            Err(Flaw::Damaged("it ends in the middle of a file".to_owned()))
        }
        Kind::Symlink(target) => place.symlink(&path, target, entry.modified),
        Kind::HardLink(target) => {
            let target = Inside::of(target)?
                .ok_or_else(|| Flaw::hostile(&entry.path, "it is a hard link to the root"))?;
            place.hard_link(&path, &target)
        }
        Kind::Pipe => place.pipe(&path, entry.mode),
        Kind::Device(0, 0) => {
            Err(Flaw::hostile(&entry.path, "it is a device that only overlay itself may make"))
        }
        // Old images carry these; the sandbox has a `/dev` of its own and never shows theirs.
        Kind::Device(..) if path.is_below("dev") => Ok(()),
        Kind::Device(..) => Err(Flaw::hostile(&entry.path, "it is a device outside of /dev")),
    }
}

fn take_away(entry: &Entry, path: &Inside, place: &mut Place) -> Result<(), Flaw> {
    if path.name() == OPAQUE {
        return place.opaque(path.parent().as_ref());
    }
    if path.name().starts_with(OF_AUFS) {
        return Ok(());
    }
    let gone = path.beside(&path.name()[WHITEOUT.len()..]);
    let gone = gone.ok_or_else(|| Flaw::hostile(&entry.path, "it says that nothing with a name is gone"))?;
    place.whiteout(&gone)
}

#[cfg(test)]
mod tests;
