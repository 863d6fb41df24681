//! Keys as objects of a bucket: S3, Azure Blob, or anything else that `object_store` knows.

mod parts;

use std::{
    fmt,
    io::{self, Cursor, Read},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion,
    multipart::MultipartStore, path::Path,
};
use tokio::runtime::Handle;

use self::parts::Sent;
use super::{Blobs, Listed, Reading, Staged, StoreError, Tag};

/// A part of a file that is sent in parts, in bytes. S3 takes at least 5 MiB, and at most 10,000 parts: 160 GiB.
const PART: u64 = 16 << 20;

/// A bucket, or what begins with a prefix in it.
///
/// Conditions are those of HTTP: `If-None-Match: *` for what is not there yet, `If-Match` for what has not changed. S3 has both since 2024;
/// a server that knows neither must not be used, because it would let a version be published twice. [`Bucket::open`] tries
/// that.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    prefix: String,
    place: String,
    runtime: Handle,
    part: u64,
}

impl Bucket {
    /// The objects that begin with `prefix`; `place` is what people call that (`s3://bucket/prefix`). `runtime` drives the
    /// network, and has to run as long as this is used, on other threads than the callers'.
    ///
    /// # Errors
    /// The bucket can't be reached, or does not honour conditions.
    pub fn open<S: ObjectStore + MultipartStore>(
        objects: Arc<S>,
        prefix: &str,
        place: &str,
        runtime: Handle,
    ) -> Result<Self, StoreError> {
        let prefix = prefix.trim_matches('/').to_owned();
        let (place, multipart) = (place.to_owned(), Arc::clone(&objects));
        let bucket = Self { objects, multipart, prefix, place, runtime, part: PART };
        bucket.require_conditions()?;
        Ok(bucket)
    }

    /// The same, with parts of another size, in bytes.
    #[must_use]
    pub const fn with_parts_of(mut self, bytes: u64) -> Self {
        self.part = if bytes == 0 { PART } else { bytes };
        self
    }

    /// Writes something twice under the condition that it is not there: the second time has to be refused.
    fn require_conditions(&self) -> Result<(), StoreError> {
        const CANARY: &str = "collection/conditions";
        self.put_new(CANARY, b"honoured")?;
        if !self.put_new(CANARY, b"honoured")? {
            return Ok(());
        }
        Err(StoreError::Remote {
            what: "keep packages in",
            place: PathBuf::from(&self.place),
            why: "its server ignores `If-None-Match`, so that two could publish one version; take another server".into(),
        })
    }

    fn path(&self, key: &str) -> Result<Path, StoreError> {
        let full = if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Path::parse(&full).map_err(|why| self.failed("say the name of", key, &why))
    }

    fn failed(&self, what: &'static str, key: &str, why: &dyn std::error::Error) -> StoreError {
        let mut told = why.to_string();
        let mut cause = why.source();
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            // Many errors repeat what lies below them.
            if !told.contains(&text) {
                told = format!("{told}: {text}");
            }
            cause = deeper.source();
        }
        StoreError::Remote { what, place: PathBuf::from(format!("{self}/{key}")), why: told }
    }

    fn get(&self, key: &str, options: GetOptions) -> Result<Option<GetResult>, object_store::Error> {
        let path = Path::parse(if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        })?;
        match self.runtime.block_on(self.objects.get_opts(&path, options)) {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            got => got.map(Some),
        }
    }

    fn head(&self, key: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let got = self.get(key, GetOptions::new().with_head(true));
        Ok(got.map_err(|why| self.failed("look at", key, &why))?.map(|got| got.meta))
    }

    fn reading(&self, got: GetResult) -> Reading {
        let (size, tag) = (got.meta.size, got.meta.e_tag.clone().map(Tag));
        let (runtime, stream) = (self.runtime.clone(), got.into_stream());
        Reading { size, tag, bytes: Box::new(Coming { runtime, stream, here: Cursor::default() }) }
    }

    fn put(
        &self,
        key: &str,
        bytes: Vec<u8>,
        mode: PutMode,
    ) -> Result<Result<(), object_store::Error>, StoreError> {
        let path = self.path(key)?;
        let put = self.objects.put_opts(&path, PutPayload::from(bytes), mode.into());
        Ok(self.runtime.block_on(put).map(drop))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place.trim_end_matches('/'))
    }
}

impl Blobs for Bucket {
    fn read(&self, key: &str, part: Option<Range<u64>>) -> Result<Option<Reading>, StoreError> {
        let Some(part) = part else {
            let got = self.get(key, GetOptions::new()).map_err(|why| self.failed("read", key, &why))?;
            return Ok(got.map(|got| self.reading(got)));
        };
        let Some(meta) = self.head(key)? else { return Ok(None) };
        if part.start >= part.end.min(meta.size) {
            let nothing = Box::new(io::empty());
            return Ok(Some(Reading { size: meta.size, tag: meta.e_tag.map(Tag), bytes: nothing }));
        }
        let options = GetOptions::new().with_range(Some(part.start..part.end.min(meta.size)));
        let got = self.get(key, options).map_err(|why| self.failed("read", key, &why))?;
        Ok(got.map(|got| self.reading(got)))
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.put(key, bytes.to_vec(), PutMode::Create)? {
            Ok(()) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(why) => Err(self.failed("write", key, &why)),
        }
    }

    fn put_file(&self, key: &str, mut file: Staged) -> Result<(), StoreError> {
        let size =
            file.opened().metadata().map_err(|why| self.failed("look at what becomes", key, &why))?.len();
        if size <= self.part {
            let bytes = parts::piece(file.file(), 0, size)
                .map_err(|why| self.failed("read what becomes", key, &why))?;
            return self.put(key, bytes, PutMode::Overwrite)?.map_err(|why| self.failed("write", key, &why));
        }
        match self.send_in_parts(key, file.file(), size, true)? {
            Sent::Whole => Ok(()),
            // Somebody else sends the same, or what had been sent is gone: once more, on our own.
            Sent::InVain => match self.send_in_parts(key, file.file(), size, false)? {
                Sent::Whole => Ok(()),
                Sent::InVain => Err(StoreError::Busy { what: format!("{self}/{key}") }),
            },
        }
    }

    fn replace(&self, key: &str, bytes: &[u8], expected: Option<&Tag>) -> Result<bool, StoreError> {
        let Some(Tag(tag)) = expected else { return self.put_new(key, bytes) };
        let version = UpdateVersion { e_tag: Some(tag.clone()), version: None };
        match self.put(key, bytes.to_vec(), PutMode::Update(version))? {
            Ok(()) => Ok(true),
            Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => Ok(false),
            Err(why) => Err(self.failed("write", key, &why)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let path = self.path(prefix)?;
        let found = self.runtime.block_on(self.objects.list(Some(&path)).try_collect::<Vec<ObjectMeta>>());
        let found = found.map_err(|why| self.failed("list", prefix, &why))?;
        let begin = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let listed = |meta: ObjectMeta| {
            let key = meta.location.as_ref().get(begin..)?.to_owned();
            let at = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
            Some(Listed { key, size: meta.size, at })
        };
        let mut listed: Vec<Listed> = found.into_iter().filter_map(listed).collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.abort_upload_of(key)?;
        let path = self.path(key)?;
        match self.runtime.block_on(self.objects.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(why) => Err(self.failed("remove", key, &why)),
        }
    }

    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }
}

/// Bytes that come over the network while they are read.
struct Coming {
    runtime: Handle,
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    here: Cursor<Vec<u8>>,
}

impl Read for Coming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.here.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(bytes)) => self.here = Cursor::new(bytes.to_vec()),
                Some(Err(failed)) => return Err(io::Error::other(failed)),
            }
        }
    }
}
