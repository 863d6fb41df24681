//! The store as a shelf.
//!
//! Only packages have versions. A tag is a version if it reads as one, if it is published as one, or if the manifest says that
//! it is its version; any other tag is a channel, which can stand for a published version only.

use std::io::{Seek as _, SeekFrom};

use staith_model::{Digest, Name, Version};

use super::{
    manifest::{IMAGE, Manifest},
    names::{Reference, Tag, UploadId},
    shelf::{Append, OpenBlob, Shelf, ShelfError, StoredManifest},
};
use crate::store::{Expected, Store, StoreError, Upload, oci};

impl From<StoreError> for ShelfError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Conflict { .. } => Self::Conflict(text),
            StoreError::Mismatch { said, found } => Self::Mismatch { said, found },
            StoreError::Damaged { .. } | StoreError::Record { .. } | StoreError::Missing { .. } => {
                Self::Damaged(text)
            }
            StoreError::NoUpload(_) | StoreError::Unknown { .. } => Self::Unknown(text),
            StoreError::Busy { .. } => Self::Busy(text),
            StoreError::Manifest { .. } => Self::Invalid(text),
            StoreError::Kept { .. } | StoreError::NotAsSaid { .. } | StoreError::Location { .. } => {
                Self::Refused(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}

impl Shelf for Store {
    fn knows(&self, name: &Name) -> Result<bool, ShelfError> {
        Ok(!self.versions_of(name)?.is_empty())
    }

    fn manifest(&self, name: &Name, reference: &Reference) -> Result<Option<StoredManifest>, ShelfError> {
        let digest = match reference {
            Reference::Tag(tag) => self.tagged(name, tag.as_str())?,
            Reference::Digest(digest) => self.size_under(name, digest)?.map(|_| *digest),
        };
        let Some(digest) = digest else { return Ok(None) };
        let found = Store::manifest(self, &digest)?;
        Ok(found.map(|it| StoredManifest { digest: it.digest, media_type: it.media_type, bytes: it.bytes }))
    }

    fn put_manifest(&self, name: &Name, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), ShelfError> {
        if manifest.media_type != IMAGE {
            let why = format!("this registry keeps packages, and a package is no {}", manifest.media_type);
            return Err(ShelfError::Invalid(why));
        }
        let (told, _) = Manifest::parse(&manifest.bytes, Some(IMAGE)).map_err(ShelfError::Invalid)?;
        let own = told.annotations.as_ref().and_then(|all| all.get(oci::VERSION)?.as_str()?.parse().ok());
        let (mut versions, channels) = sorted(self, name, tags, own.as_ref())?;
        if let (true, false, Some(own)) = (versions.is_empty(), channels.is_empty(), &own) {
            // A channel needs a version to stand for, and the manifest says which one it is.
            versions.push(own.clone());
        }
        let Some(version) = versions.first() else {
            return self.keep_without_version(name, manifest, &channels);
        };
        Store::put_manifest(self, name, &manifest.bytes, &versions)?;
        move_channels(self, name, version, &channels)
    }

    fn tags(&self, name: &Name) -> Result<Option<Vec<Tag>>, ShelfError> {
        let tags = Store::tags(self, name)?;
        // All are made of versions and names, whose alphabets tags have.
        Ok((!tags.is_empty()).then(|| tags.iter().filter_map(|tag| tag.parse().ok()).collect()))
    }

    fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<StoredManifest>, ShelfError> {
        let mut found = Vec::new();
        for referrer in Store::referrers(self, subject)? {
            found.extend(Shelf::manifest(self, name, &Reference::Digest(referrer.manifest.digest))?);
        }
        Ok(found)
    }

    fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, ShelfError> {
        Ok(self.size_under(name, digest)?)
    }

    fn blob(&self, name: &Name, digest: &Digest, from: u64) -> Result<Option<OpenBlob>, ShelfError> {
        if self.size_under(name, digest)?.is_none() {
            return Ok(None);
        }
        let mut blob = self.get(digest)?;
        let sought = blob.file.seek(SeekFrom::Start(from));
        sought.map_err(|refused| {
            ShelfError::Unavailable(format!("can't read {}: {refused}", blob.path.display()))
        })?;
        Ok(Some(OpenBlob { size: blob.size, bytes: Box::new(blob.file) }))
    }

    fn mount(&self, name: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool, ShelfError> {
        if self.size_under(from.unwrap_or(name), digest)?.is_none() {
            return Ok(false);
        }
        self.admit(name, digest)?;
        Ok(true)
    }

    fn begin(&self, name: &Name) -> Result<UploadId, ShelfError> {
        let upload = self.begin_upload(name)?;
        upload.id().parse().map_err(|bad| ShelfError::Unavailable(format!("the store made a bad id: {bad}")))
    }

    fn uploaded(&self, name: &Name, upload: &UploadId) -> Result<Option<u64>, ShelfError> {
        Ok(Store::uploaded(self, name, upload.as_str())?)
    }

    fn append(&self, name: &Name, upload: &UploadId) -> Result<Box<dyn Append>, ShelfError> {
        Ok(Box::new(self.opened_upload(name, upload)?))
    }

    fn finish(&self, name: &Name, upload: &UploadId, digest: &Digest) -> Result<(), ShelfError> {
        let open = self.opened_upload(name, upload)?;
        self.finish_upload(name, open, digest)?;
        Ok(())
    }

    fn cancel(&self, name: &Name, upload: &UploadId) -> Result<bool, ShelfError> {
        let Some(open) = self.open_upload(name, upload.as_str())? else { return Ok(false) };
        open.cancel()?;
        Ok(true)
    }

    fn remove(&self, name: &Name, reference: &Reference) -> Result<bool, ShelfError> {
        let all = self.list(name)?;
        let version = match reference {
            Reference::Tag(tag) => tag.version(),
            Reference::Digest(_) => None,
        };
        let is_meant = |digest: Digest, of: &Version| match reference {
            Reference::Digest(wanted) => *wanted == digest,
            Reference::Tag(_) => version.as_ref() == Some(of),
        };
        let meant: Vec<_> =
            all.iter().filter(|it| is_meant(it.manifest().digest, &it.package.version)).collect();
        for published in &meant {
            self.forget(published)?;
        }
        Ok(!meant.is_empty())
    }
}

impl Store {
    fn opened_upload(&self, name: &Name, upload: &UploadId) -> Result<Upload, StoreError> {
        self.open_upload(name, upload.as_str())?.ok_or_else(|| StoreError::NoUpload(upload.to_string()))
    }

    /// What speaks of a package, or a package that gets its version later.
    fn keep_without_version(
        &self,
        name: &Name,
        manifest: &StoredManifest,
        channels: &[Name],
    ) -> Result<(), ShelfError> {
        if let Some(channel) = channels.first() {
            let why = format!(
                "`{channel}` is a channel, and the manifest says no version that it could stand for; push it under a version first"
            );
            return Err(ShelfError::Refused(why));
        }
        Self::put_manifest(self, name, &manifest.bytes, &[])?;
        // So that it can be read under this name by its digest.
        Ok(self.admit(name, &manifest.digest)?)
    }
}

impl Append for Upload {
    fn offset(&self) -> u64 {
        self.size()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        Ok(Self::append(self, bytes)?)
    }

    fn keep(self: Box<Self>) -> Result<u64, ShelfError> {
        Ok(Self::keep(*self)?)
    }
}

/// The versions and the channels among tags.
fn sorted(
    store: &Store,
    name: &Name,
    tags: &[Tag],
    own: Option<&Version>,
) -> Result<(Vec<Version>, Vec<Name>), ShelfError> {
    let (mut versions, mut channels) = (Vec::new(), Vec::new());
    for tag in tags {
        let version = tag.version();
        match version {
            Some(version)
                if tag.reads_as_version()
                    || own == Some(&version)
                    || store.find(name, &version)?.is_some() =>
            {
                versions.push(version);
            }
            _ if tag.as_str() == Tag::LATEST => {
                let why = "`latest` is always the highest version; push the package under its version";
                return Err(ShelfError::Refused(why.to_owned()));
            }
            _ => channels.push(tag.as_str().parse().map_err(|_| {
                ShelfError::Refused(format!("`{tag}` is no version, and no channel can be called so"))
            })?),
        }
    }
    Ok((versions, channels))
}

fn move_channels(store: &Store, name: &Name, version: &Version, channels: &[Name]) -> Result<(), ShelfError> {
    for channel in channels {
        store.move_channel(name, version, channel, &Expected::Anything, "registry")?;
    }
    Ok(())
}
