//! Files into blobs: in chunks, gone on with where a connection or a process ended, and not at all where they are already.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use axum::body::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE},
};
use serde_json::Value;
use staith_model::{Digest, Name};

use super::{
    ClientError, Heard, Remote,
    pull::{BETWEEN_ATTEMPTS, at, note_name},
    referrers_tag,
};
use crate::registry::{
    manifest::{self, INDEX, Manifest},
    names::Reference,
    shelf::StoredManifest,
};

/// Bytes that are sent at once, and are in memory meanwhile. Registries are known that take no more.
const CHUNK: u64 = 4 << 20;
/// The largest chunk that a registry may insist on.
const LARGEST_CHUNK: u64 = 64 << 20;
/// How often in a row nothing may get through.
const ATTEMPTS: u32 = 5;

/// Where a blob's bytes come from: opened from a place in it, as often as it takes.
pub type Source<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'a;

/// What became of a blob that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    Known,
    /// It was sent; of that, so many bytes had got through earlier.
    All {
        /// Bytes that an earlier process had sent.
        resumed: u64,
    },
}

/// An upload that is under way.
struct Session {
    place: String,
    here: u64,
    chunk: u64,
}

impl Remote {
    /// Brings a blob into a package's repository.
    ///
    /// # Errors
    /// See [`ClientError`]. What got through is kept by the registry, and the next call goes on there.
    pub fn send(
        &self,
        name: &Name,
        (digest, size): (&Digest, u64),
        source: &Source<'_>,
        heard: &Heard<'_>,
    ) -> Result<Sent, ClientError> {
        let repository = self.repository(name)?;
        let note = self.note(&repository, digest);
        let sent = self.wait(self.send_to(&repository, (digest, size), source, note.as_ref(), heard));
        if sent.is_ok() {
            // A note that stays leads to an upload that is no more; then another is begun.
            let _ = note.map(fs::remove_file);
        }
        sent
    }

    /// Keeps a manifest, whose blobs are there, under a tag or by its digest. Where a registry does not know of what speaks of a
    /// manifest, the list of that is kept for it, as the specification has it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn send_manifest(
        &self,
        name: &Name,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<(), ClientError> {
        let repository = self.repository(name)?;
        self.wait(async {
            let knows_subjects = self.put_manifest(&repository, reference, manifest).await?;
            let (told, _) =
                Manifest::parse(&manifest.bytes, Some(&manifest.media_type)).map_err(ClientError::Source)?;
            match told.subject {
                Some(subject) if !knows_subjects => self.list(&repository, &subject.digest, manifest).await,
                _ => Ok(()),
            }
        })
    }

    /// Whether the registry says that it knows of what the manifest speaks.
    async fn put_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<bool, ClientError> {
        let url = self.http.url(&format!("/v2/{repository}/manifests/{reference}"));
        let fill = |request: reqwest::RequestBuilder| {
            request.header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone())
        };
        let response = self.http.ask(Method::PUT, &url, repository, fill).await?;
        if !response.status().is_success() {
            return Err(self.http.refusal(response).await);
        }
        Ok(response.headers().contains_key("oci-subject"))
    }

    /// Adds a manifest to the list of those that speak of another, which has a tag of its own.
    async fn list(
        &self,
        repository: &str,
        subject: &Digest,
        manifest: &StoredManifest,
    ) -> Result<(), ClientError> {
        let reference = referrers_tag(subject);
        let there = self.manifest_in(repository, &reference).await?.map(|(manifest, _)| manifest);
        let unsound = |why| self.unsound(format!("the list {reference}: {why}"));
        let mut index: Value = match &there {
            Some(there) if there.media_type == INDEX => {
                serde_json::from_slice(&there.bytes).map_err(|why| unsound(why.to_string()))?
            }
            Some(there) => return Err(unsound(format!("it is {}", there.media_type))),
            None => manifest::referrers(&[], None),
        };
        let mut more = manifest::referrers(std::slice::from_ref(manifest), None);
        let digest = Value::String(manifest.digest.to_string());
        let listed =
            index["manifests"].as_array_mut().ok_or_else(|| unsound("it lists nothing".to_owned()))?;
        if listed.iter().any(|entry| entry["digest"] == digest) {
            return Ok(());
        }
        listed.extend(more["manifests"].as_array_mut().map(std::mem::take).unwrap_or_default());
        let bytes = index.to_string().into_bytes();
        let list = StoredManifest { digest: Digest::of(&bytes), media_type: INDEX.to_owned(), bytes };
        self.put_manifest(repository, &reference, &list).await.map(drop)
    }

    fn note(&self, repository: &str, digest: &Digest) -> Option<PathBuf> {
        let notes = self.settings.notes.as_ref()?;
        Some(notes.join(note_name(&self.place(), repository, digest)))
    }

    async fn send_to(
        &self,
        repository: &str,
        (digest, size): (&Digest, u64),
        source: &Source<'_>,
        note: Option<&PathBuf>,
        heard: &Heard<'_>,
    ) -> Result<Sent, ClientError> {
        heard(0, size);
        if self.has(repository, digest, size).await? {
            heard(size, size);
            return Ok(Sent::Known);
        }
        let noted = note.and_then(|note| fs::read_to_string(note).ok());
        let mut session = match noted {
            Some(place) => self.look(repository, &place, CHUNK).await.ok().flatten(),
            None => None,
        };
        let resumed = session.as_ref().map_or(0, |session| session.here);
        let mut failures = 0;
        loop {
            let mut open = match session.take() {
                Some(open) if open.here <= size => open,
                _ => self.begin(repository).await?,
            };
            let before = open.here;
            let sent = self.rest(repository, (digest, size), source, &mut open, note, heard).await;
            let failed = match sent {
                Ok(()) => return Ok(Sent::All { resumed }),
                Err(failed @ ClientError::Away { .. }) => failed,
                Err(failed) => return Err(failed),
            };
            failures = if open.here > before { 1 } else { failures + 1 };
            if failures >= ATTEMPTS {
                return Err(failed);
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS * failures).await;
            // The answer may have been lost, and not the bytes.
            if self.has(repository, digest, size).await.unwrap_or(false) {
                return Ok(Sent::All { resumed });
            }
            session = match self.look(repository, &open.place, open.chunk).await {
                Ok(found) => found,
                Err(_) => Some(open),
            };
        }
    }

    async fn has(&self, repository: &str, digest: &Digest, size: u64) -> Result<bool, ClientError> {
        let url = self.http.url(&format!("/v2/{repository}/blobs/{digest}"));
        let response = self.http.ask(Method::HEAD, &url, repository, |request| request).await?;
        match response.status() {
            // Some registries say nothing of the length.
            StatusCode::OK => {
                Ok(response.content_length().is_none_or(|length| length == size || length == 0))
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.http.refusal(response).await),
        }
    }

    async fn begin(&self, repository: &str) -> Result<Session, ClientError> {
        let url = self.http.url(&format!("/v2/{repository}/blobs/uploads/"));
        let fill = |request: reqwest::RequestBuilder| request.header(CONTENT_LENGTH, 0);
        let response = self.http.ask(Method::POST, &url, repository, fill).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.http.refusal(response).await);
        }
        let least = text(&response, HeaderName::from_static("oci-chunk-min-length"));
        let least = least.and_then(|least| least.parse().ok()).unwrap_or(0).min(LARGEST_CHUNK);
        Ok(Session { place: self.location(&response)?, here: 0, chunk: CHUNK.max(least) })
    }

    /// Where an upload stands; `None` if there is none any more.
    async fn look(&self, repository: &str, place: &str, chunk: u64) -> Result<Option<Session>, ClientError> {
        let response = self.http.ask(Method::GET, place, repository, |request| request).await?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::ACCEPTED => {
                let here = uploaded(&response);
                // A registry may leave the place out where it has not changed.
                let place = self.location(&response).unwrap_or_else(|_| place.to_owned());
                Ok(Some(Session { place, here, chunk }))
            }
            status if status.is_server_error() => Err(self.http.refusal(response).await),
            _ => Ok(None),
        }
    }

    /// Sends what is not there yet, and closes the upload.
    async fn rest(
        &self,
        repository: &str,
        (digest, size): (&Digest, u64),
        source: &Source<'_>,
        session: &mut Session,
        note: Option<&PathBuf>,
        heard: &Heard<'_>,
    ) -> Result<(), ClientError> {
        let unreadable = |error: io::Error| ClientError::Source(error.to_string());
        let mut bytes = source(session.here).map_err(unreadable)?;
        while session.here < size {
            let length = session.chunk.min(size - session.here);
            let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
            bytes.read_exact(&mut chunk).map_err(unreadable)?;
            if session.here == 0 && length == size {
                // All of it at once: one request, and no registry needs to know chunks for it.
                self.close(repository, digest, session, chunk.into()).await?;
                heard(size, size);
                return Ok(());
            }
            let before = session.here;
            self.one(repository, session, chunk.into()).await?;
            keep(note, &session.place)?;
            heard(session.here, size);
            if session.here != before + length {
                // It took another part of the chunk than all.
                bytes = source(session.here).map_err(unreadable)?;
            }
        }
        self.close(repository, digest, session, Bytes::new()).await
    }

    async fn one(&self, repository: &str, session: &mut Session, chunk: Bytes) -> Result<(), ClientError> {
        let (length, last) = (chunk.len() as u64, session.here + chunk.len() as u64 - 1);
        let fill = |request: reqwest::RequestBuilder| {
            request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_RANGE, format!("{}-{last}", session.here))
                .header(CONTENT_LENGTH, length)
                .body(chunk.clone())
        };
        let response = self.http.ask(Method::PATCH, &session.place, repository, fill).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                let here = uploaded(&response);
                session.here = if here == 0 { last + 1 } else { here };
                session.place = self.location(&response)?;
                Ok(())
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let why = "it has other bytes than we thought".to_owned();
                Err(ClientError::Away { registry: self.place(), why })
            }
            StatusCode::NOT_FOUND => {
                let why = "it has forgotten the upload".to_owned();
                Err(ClientError::Away { registry: self.place(), why })
            }
            _ => Err(self.http.refusal(response).await),
        }
    }

    async fn close(
        &self,
        repository: &str,
        digest: &Digest,
        session: &Session,
        body: Bytes,
    ) -> Result<(), ClientError> {
        let separator = if session.place.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}digest={digest}", session.place);
        let fill = |request: reqwest::RequestBuilder| {
            request
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, body.len())
                .body(body.clone())
        };
        let response = self.http.ask(Method::PUT, &url, repository, fill).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.http.refusal(response).await) }
    }

    fn location(&self, response: &Response) -> Result<String, ClientError> {
        let place =
            text(response, LOCATION).filter(|place| place.starts_with('/') || place.starts_with("http"));
        let place = place.ok_or_else(|| self.unsound("no place to upload to"))?;
        Ok(self.http.url(place))
    }
}

/// How many bytes of an upload are there. One byte and none are said in the same words; no chunk of ours has one byte.
fn uploaded(response: &Response) -> u64 {
    let last = text(response, RANGE).and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
    last.filter(|last| *last > 0).map_or(0, |last| last + 1)
}

fn text(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

fn keep(note: Option<&PathBuf>, place: &str) -> Result<(), ClientError> {
    let Some(note) = note else { return Ok(()) };
    let directory = crate::durable::parent(note);
    fs::create_dir_all(directory).map_err(at("make", directory))?;
    fs::write(note, place).map_err(at("write", note))
}
