//! From a store to another place: what the package is made of first, its manifest last, then what speaks of it.

use std::{
    collections::BTreeSet,
    io::{self, Read, Seek as _, SeekFrom},
};

use staith_model::{Digest, Name, service::Trust};
use tokio_util::sync::CancellationToken;

use super::{Heard, Place, TransferError, go_on};
use crate::{
    registry::{
        client::{Remote, Sent},
        manifest::{Descriptor, Manifest},
        names::{Reference, Tag},
        shelf::{Shelf, ShelfError, StoredManifest},
    },
    stopping::Stoppable,
    store::{Published, Store, StoreError, oci},
};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The package's manifest, by which others find it for good.
    pub manifest: Digest,
    /// Its tag.
    pub tag: Tag,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were there already, or had been sent by an earlier attempt.
    pub known: u64,
    /// Provenance, lists of parts and the like that went along.
    pub referrers: usize,
}

/// Brings a published package, with what comes with it and what speaks of it, to another place. Blobs that are there are not
/// sent; one that was sent in part is gone on with. Doing it again changes nothing. `stop` ends it between files, and within one that
/// comes from a store of this machine; what is under way to a registry is ended by that place's own.
///
/// # Errors
/// See [`TransferError`]. The tag appears when all of the package is there, or does not.
pub fn push(
    from: &Store,
    published: &Published,
    to: &Place,
    heard: &Heard<'_>,
    stop: &CancellationToken,
) -> Result<Pushed, TransferError> {
    let name = &published.package.name;
    let tag = Tag::of_version(&published.package.version);
    let manifest = published.manifest().digest;
    let mut pushed = Pushed { manifest, tag: tag.clone(), sent: 0, known: 0, referrers: 0 };
    let way = Way { from, name, to, heard, stop };
    way.one(&manifest, Some(&tag), &mut pushed)?;
    let (mut open, mut seen) = (vec![manifest], BTreeSet::new());
    while let Some(subject) = open.pop() {
        for referrer in from.referrers(&subject)? {
            let digest = referrer.manifest.digest;
            if seen.insert(digest) {
                way.one(&digest, None, &mut pushed)?;
                pushed.referrers += 1;
                open.push(digest);
            }
        }
    }
    Ok(pushed)
}

/// From where to where.
struct Way<'a> {
    from: &'a Store,
    name: &'a Name,
    to: &'a Place,
    heard: &'a Heard<'a>,
    stop: &'a CancellationToken,
}

impl Way<'_> {
    /// Brings a manifest with its blobs there.
    fn one(&self, digest: &Digest, tag: Option<&Tag>, pushed: &mut Pushed) -> Result<(), TransferError> {
        let found = Store::manifest(self.from, digest)?;
        let found = found
            .ok_or_else(|| StoreError::Missing { digest: *digest, path: self.from.blob_path(digest) })?;
        let stored =
            StoredManifest { digest: found.digest, media_type: found.media_type, bytes: found.bytes };
        let (manifest, _) = Manifest::parse(&stored.bytes, Some(&stored.media_type))
            .map_err(|why| StoreError::Manifest { name: self.name.clone(), why })?;
        if let (Place::Registry(registry), Some(tag)) = (self.to, tag) {
            self.refuse_other(registry, tag, digest)?;
        }
        let mut done = BTreeSet::new();
        for blob in manifest.blobs().filter(|blob| done.insert(blob.digest)) {
            go_on(self.stop)?;
            let known = match self.to {
                Place::Store(store) => self.bring_to_store(blob, store)?,
                Place::Registry(registry) => self.bring_to_registry(blob, registry)?,
            };
            pushed.known += known;
            pushed.sent += blob.size.saturating_sub(known);
        }
        match self.to {
            Place::Store(store) => {
                let tags = tag.map(std::slice::from_ref).unwrap_or_default();
                Shelf::put_manifest(store, self.name, &stored, tags)?;
            }
            Place::Registry(registry) => {
                let by_tag = tag.map(|tag| Reference::Tag(tag.clone()));
                registry.send_manifest(self.name, &by_tag.unwrap_or(Reference::Digest(*digest)), &stored)?;
            }
        }
        Ok(())
    }

    /// Not every registry holds that a version never changes; we do. A server of ours that says it is of less trusted code decides for
    /// itself: there it may make way.
    fn refuse_other(&self, registry: &Remote, tag: &Tag, digest: &Digest) -> Result<(), TransferError> {
        let there = registry.manifest_vouched(self.name, &Reference::Tag(tag.clone()))?;
        let may_yield = |trust: &Option<Trust>| trust.is_some_and(|trust| trust < Trust::Protected);
        match there.filter(|(_, trust)| !may_yield(trust)).map(|(there, _)| there.digest) {
            Some(there) if there != *digest => Err(ShelfError::Conflict(format!(
                "{}/{}:{tag} is {there} there and can't become {digest}: a version never changes its meaning; \
                 publish under another version",
                registry.place(),
                self.name,
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// How many bytes were there already.
    fn bring_to_registry(&self, blob: &Descriptor, to: &Remote) -> Result<u64, TransferError> {
        let title = title(blob);
        let source = |at: u64| -> io::Result<Box<dyn Read + Send>> {
            let mut open = self.from.get(&blob.digest).map_err(io::Error::other)?;
            open.file.seek(SeekFrom::Start(at))?;
            Ok(Box::new(open.file))
        };
        let heard = |done, all| (self.heard)(&title, done, all);
        Ok(match to.send(self.name, (&blob.digest, blob.size), &source, &heard)? {
            Sent::Known => blob.size,
            Sent::All { resumed } => resumed,
        })
    }

    fn bring_to_store(&self, blob: &Descriptor, to: &Store) -> Result<u64, TransferError> {
        let title = title(blob);
        (self.heard)(&title, 0, blob.size);
        let is_there = to.blob_size(&blob.digest)? == Some(blob.size);
        if is_there {
            to.admit(self.name, &blob.digest)?;
        } else {
            let mut open = self.from.get(&blob.digest)?;
            let mut upload = to.begin_upload(self.name)?;
            if let Err(failed) = upload.take(&mut Stoppable::new(&mut open.file, self.stop)) {
                // Nobody goes on with it: the next attempt begins anew, from a disk of this machine.
                let _ = upload.cancel();
                go_on(self.stop)?;
                return Err(failed.into());
            }
            to.finish_upload(self.name, upload, &blob.digest)?;
        }
        (self.heard)(&title, blob.size, blob.size);
        Ok(if is_there { blob.size } else { 0 })
    }
}

fn title(blob: &Descriptor) -> String {
    let said = blob.annotations.as_ref().and_then(|all| all.get(oci::TITLE)?.as_str());
    said.map_or_else(|| blob.digest.short(), str::to_owned)
}
