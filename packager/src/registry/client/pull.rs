//! Blobs into files, gone on with where a connection broke.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Method, Response, StatusCode, header::CONTENT_RANGE, header::RANGE};
use staith_model::{Digest, DigestStream, Name};

use super::{ClientError, Heard, Remote};
use crate::{hashing::Hashing, registry::manifest::Descriptor};

/// How often a blob is asked for; what has come already is not asked for again.
const ATTEMPTS: u32 = 5;
pub(super) const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);

/// A blob that is here.
#[derive(Debug)]
pub struct Fetched {
    /// The file, at its start: what was verified.
    pub file: File,
    /// Bytes that were here from an earlier attempt.
    pub resumed: u64,
}

impl Remote {
    /// Lets a blob come into the file at `path`, and holds it against its digest. What is there already counts as its beginning, so
    /// that a pull that was ended goes on. The file is synced; whoever asked gives it its name.
    ///
    /// # Errors
    /// [`ClientError::Unsound`] if other bytes come; the file is then empty.
    pub fn fetch(
        &self,
        name: &Name,
        blob: &Descriptor,
        path: &Path,
        heard: &Heard<'_>,
    ) -> Result<Fetched, ClientError> {
        let repository = self.repository(name)?;
        self.wait(self.fetch_into(&repository, blob, path, heard))
    }

    async fn fetch_into(
        &self,
        repository: &str,
        blob: &Descriptor,
        path: &Path,
        heard: &Heard<'_>,
    ) -> Result<Fetched, ClientError> {
        let mut growing = Growing::open(path)?;
        let mut resumed = growing.bytes;
        let mut attempt = 1;
        loop {
            heard(growing.bytes, blob.size);
            let failed = match self.more(repository, blob, &mut growing, heard).await {
                Ok(()) => match growing.hash.clone().finish() {
                    found if found == blob.digest => return growing.done(resumed),
                    found => {
                        let was_resumed = resumed > 0;
                        growing.restart()?;
                        resumed = 0;
                        let wrong = self.unsound(format!("the blob {} has the digest {found}", blob.digest));
                        // What was here from before may have been the fault; what came whole and is wrong stays wrong.
                        if !was_resumed {
                            return Err(wrong);
                        }
                        wrong
                    }
                },
                Err(failed @ ClientError::Away { .. }) => failed,
                Err(failed) => return Err(failed),
            };
            if attempt == ATTEMPTS {
                return Err(failed);
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS * attempt).await;
            attempt += 1;
        }
    }

    /// Asks for what is not here yet.
    async fn more(
        &self,
        repository: &str,
        blob: &Descriptor,
        growing: &mut Growing,
        heard: &Heard<'_>,
    ) -> Result<(), ClientError> {
        if growing.bytes > blob.size {
            growing.restart()?;
        }
        if growing.bytes == blob.size {
            return Ok(());
        }
        let url = self.http.url(&format!("/v2/{repository}/blobs/{}", blob.digest));
        let from = growing.bytes;
        let fill = |request: reqwest::RequestBuilder| {
            if from == 0 { request } else { request.header(RANGE, format!("bytes={from}-")) }
        };
        let mut response = self.http.ask(Method::GET, &url, repository, fill).await?;
        match response.status() {
            StatusCode::OK => growing.restart()?,
            StatusCode::PARTIAL_CONTENT if begins_at(&response, from) => {}
            StatusCode::NOT_FOUND => {
                return Err(ClientError::Missing {
                    registry: self.place(),
                    what: format!("blob {}", blob.digest),
                });
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                growing.restart()?;
                let why = format!("it gave another part of the blob {} than was asked for", blob.digest);
                return Err(ClientError::Away { registry: self.place(), why });
            }
            _ => return Err(self.http.refusal(response).await),
        }
        while let Some(piece) = response.chunk().await.map_err(|error| self.http.away(&error))? {
            if growing.bytes + piece.len() as u64 > blob.size {
                growing.restart()?;
                return Err(
                    self.unsound(format!("the blob {} has more than {} bytes", blob.digest, blob.size))
                );
            }
            growing.add(&piece)?;
            heard(growing.bytes, blob.size);
        }
        if growing.bytes < blob.size {
            let why =
                format!("it ended the blob {} after {} of {} bytes", blob.digest, growing.bytes, blob.size);
            return Err(ClientError::Away { registry: self.place(), why });
        }
        Ok(())
    }
}

fn begins_at(response: &Response, from: u64) -> bool {
    let range =
        response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok()) == Some(from)
}

/// A blob that has come in part.
struct Growing {
    path: PathBuf,
    file: File,
    hash: DigestStream,
    bytes: u64,
}

impl Growing {
    /// With what is there already, which is read for its digest.
    fn open(path: &Path) -> Result<Self, ClientError> {
        let mut options = OpenOptions::new();
        let no_links = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        options.create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(no_links);
        let mut file = options.open(path).map_err(at("open", path))?;
        let mut read = Hashing::only();
        io::copy(&mut BufReader::with_capacity(1 << 17, &mut file), &mut read).map_err(at("read", path))?;
        let (hash, bytes) = read.stream();
        Ok(Self { path: path.to_owned(), file, hash, bytes })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.file.write_all(bytes).map_err(at("write", &self.path))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), ClientError> {
        if self.bytes > 0 {
            self.file
                .set_len(0)
                .and_then(|()| self.file.seek(SeekFrom::Start(0)))
                .map_err(at("empty", &self.path))?;
            (self.hash, self.bytes) = (DigestStream::new(), 0);
        }
        Ok(())
    }

    fn done(mut self, resumed: u64) -> Result<Fetched, ClientError> {
        self.file.sync_all().and_then(|()| self.file.rewind()).map_err(at("sync", &self.path))?;
        Ok(Fetched { file: self.file, resumed })
    }
}

pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    let path = path.to_owned();
    move |source| ClientError::Io { what, path, source }
}

/// A name for the note of an upload.
pub(super) fn note_name(place: &str, repository: &str, digest: &Digest) -> String {
    Digest::of(format!("{place}\n{repository}\n{digest}").as_bytes()).hex()
}
