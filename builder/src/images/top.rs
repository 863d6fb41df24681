//! The layer that goes on top of every image: the places at which the sandbox mounts something, and what it says of itself.
//!
//! What a layer has on top hides what others have below. So where this one has a directory, an image can't have a link
//! that leads a mount elsewhere, whatever it tries; a link there is simply not seen.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use staith_model::Digest;

use super::{
    archive::Flaw,
    error::ImageError,
    place::{Inside, Place},
    store::Store,
    view::{self, Shown},
};
use crate::engine::hosts;

/// Where the authorities that this host trusts are, in the sandbox of an image.
pub(crate) const AUTHORITIES: &str = "/etc/staith/ca-certificates.crt";
/// Directories at which something is mounted, with what leads there.
const MOUNT_POINTS: [&str; 10] =
    ["dev", "etc", "home", "home/builder", "proc", "run", "tmp", "var", "var/tmp", "workspace"];
/// Bigger files are no lists of users.
const LONGEST_LIST: u64 = 1 << 20;
/// Bigger files are no authorities.
const LONGEST_BUNDLE: u64 = 16 << 20;
/// Where systems keep all authorities in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The layer for the image with these layers, lowest first.
pub(super) fn layer(store: &Store, below: &[PathBuf]) -> Result<(PathBuf, Digest), ImageError> {
    let files = files(below);
    let named: Vec<(&str, Digest)> = files.iter().map(|(name, bytes)| (*name, Digest::of(bytes))).collect();
    let digest = Digest::of_value("staith.image-top.v1", &(MOUNT_POINTS, named));
    let fill = |place: &mut Place| -> Result<(), Flaw> {
        for directory in MOUNT_POINTS {
            place.directory(Inside::of(directory.as_bytes())?.as_ref(), 0o755, 0)?;
        }
        for (name, bytes) in &files {
            if let Some(path) = Inside::of(name.as_bytes())? {
                place.file(&path, 0o644, 0, &mut bytes.as_slice())?;
            }
        }
        Ok(())
    };
    Ok((store.small_layer(&digest, fill)?, digest))
}

fn files(below: &[PathBuf]) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![
        ("etc/passwd", with_line(below, "/etc/passwd", "builder:x:1000:1000:builder:/home/builder:/bin/sh")),
        ("etc/group", with_line(below, "/etc/group", "builder:x:1000:")),
        ("etc/hosts", hosts(&[]).into_bytes()),
    ];
    files.extend(bundle_of_the_host().map(|bundle| (&AUTHORITIES[1..], bundle)));
    files
}

/// The image's own list with the sandbox's user first, because the first that has an id is the one that is found.
fn with_line(below: &[PathBuf], path: &str, line: &str) -> Vec<u8> {
    let own = match view::look(below, Path::new(path)) {
        Some(Shown::File { at, .. }) if fs::metadata(&at).is_ok_and(|found| found.len() <= LONGEST_LIST) => {
            fs::read(at).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let others =
        own.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"builder:"));
    let mut list = [line.as_bytes(), b"\n"].concat();
    for other in others {
        list.extend_from_slice(other);
        list.push(b'\n');
    }
    list
}

/// Every authority that this host trusts, in one file that anybody may read; for steps that see the file itself.
pub(crate) fn authorities_of_the_host() -> Option<PathBuf> {
    find_bundle(|path, _| {
        let is_for_all = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
        is_for_all.then(|| path.to_owned())
    })
}

/// The same, as text.
fn bundle_of_the_host() -> Option<Vec<u8>> {
    find_bundle(|_, bytes| Some(bytes))
}

/// What `SSL_CERT_FILE` of Staith's own environment names, or what the system has: the first that `take` takes.
fn find_bundle<T>(take: impl Fn(&Path, Vec<u8>) -> Option<T>) -> Option<T> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_absolute());
    let read = |path: PathBuf| {
        let found = fs::metadata(&path).ok()?;
        let bytes = (found.is_file() && found.len() <= LONGEST_BUNDLE).then(|| fs::read(&path).ok())??;
        // A private key in the same file is nobody's business in there.
        let is_public = !bytes.windows(12).any(|part| part == b"PRIVATE KEY-");
        let is_bundle = is_public && bytes.windows(17).any(|part| part == b"BEGIN CERTIFICATE");
        if is_bundle { take(&path, bytes) } else { None }
    };
    named.into_iter().chain(BUNDLES.map(PathBuf::from)).find_map(read)
}
