//! A plain directory becomes a layer, named by its content: a copy as it is at this moment.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use staith_model::{Digest, DigestStream};

use super::{
    archive::Flaw,
    decode::{Hashing, Seen},
    error::{ImageError, at},
    place::{Inside, Place},
};

/// Copies all of `root` and gives the digest of what was copied: names, kinds, modes, contents.
pub(super) fn copy(root: &Path, place: &mut Place) -> Result<Digest, ImageError> {
    let mut copying = Copying { place, hash: DigestStream::new() };
    copying.hash.update(b"staith.directory-layer.v1\n");
    let found = fs::symlink_metadata(root).map_err(at("looking at", root))?;
    copying.place.directory(None, found.mode(), modified(&found)).map_err(flawed(root))?;
    copying.directory(root, root)?;
    Ok(copying.hash.finish())
}

struct Copying<'a> {
    place: &'a mut Place,
    hash: DigestStream,
}

impl Copying<'_> {
    fn directory(&mut self, root: &Path, directory: &Path) -> Result<(), ImageError> {
        let entries: io::Result<Vec<_>> = fs::read_dir(directory).and_then(Iterator::collect);
        let mut entries = entries.map_err(at("reading", directory))?;
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let found = entry.metadata().map_err(at("looking at", &path))?;
            let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
            let Some(inside) = Inside::of(name).map_err(flawed(&path))? else { continue };
            self.one(&path, &found, &inside)?;
            if found.is_dir() {
                self.directory(root, &path)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, found: &Metadata, inside: &Inside) -> Result<(), ImageError> {
        let kind = found.file_type();
        if kind.is_dir() {
            self.say(b'd', inside, found, b"");
            self.place.directory(Some(inside), found.mode(), modified(found)).map_err(flawed(path))
        } else if kind.is_symlink() {
            let target = fs::read_link(path).map_err(at("reading", path))?;
            self.say(b'l', inside, found, target.as_os_str().as_bytes());
            self.place.symlink(inside, target.as_os_str().as_bytes(), modified(found)).map_err(flawed(path))
        } else if kind.is_file() {
            self.file(path, found, inside)
        } else if kind.is_fifo() {
            self.say(b'p', inside, found, b"");
            self.place.pipe(inside, found.mode()).map_err(flawed(path))
        } else if kind.is_socket() || inside.is_below("dev") {
            // Nobody listens in a copy, and the sandbox has devices of its own.
            Ok(())
        } else {
            Err(ImageError::unsound(path.display().to_string(), "it is a device outside of /dev"))
        }
    }

    fn file(&mut self, path: &Path, found: &Metadata, inside: &Inside) -> Result<(), ImageError> {
        // Somebody may put something else there at this moment: a link is not followed, a pipe is not waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(at("opening", path))?;
        if !file.metadata().map_err(at("looking at", path))?.is_file() {
            return Err(ImageError::unsound(path.display().to_string(), "it changed while it was copied"));
        }
        let seen = Seen::default();
        let mut content: Hashing<'_, File> = Hashing::new(file, &seen);
        let content: &mut dyn Read = &mut content;
        self.place.file(inside, found.mode(), modified(found), content).map_err(flawed(path))?;
        let digest = seen.digest();
        self.say(b'f', inside, found, digest.as_bytes());
        Ok(())
    }

    fn say(&mut self, kind: u8, inside: &Inside, found: &Metadata, more: &[u8]) {
        let lengths = [inside.bytes().len() as u64, more.len() as u64, u64::from(found.mode() & 0o1777)];
        self.hash.update(&[kind]);
        lengths.iter().for_each(|length| self.hash.update(&length.to_le_bytes()));
        self.hash.update(inside.bytes());
        self.hash.update(more);
    }
}

fn modified(found: &Metadata) -> u64 {
    u64::try_from(found.mtime()).unwrap_or(0)
}

fn flawed(path: &Path) -> impl FnOnce(Flaw) -> ImageError {
    let doing = format!("copying {}", path.display());
    move |flaw| ImageError::of_flaw(doing, flaw)
}
