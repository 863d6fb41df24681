//! Blobs, on their way in: at once or in chunks, gone on with after a broken connection or a restart.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use staith_model::{Digest, Name};

use super::{
    Answer, Asked, Code, Refusal, Registry, Verdict, Wish,
    bodies::{self, Bounds, Taken},
    header_value, query, text, value,
};
use crate::registry::{
    names::{self, UploadId},
    range,
};

impl Registry {
    /// Begins an upload; or does all of one, where the blob is in another repository or comes along.
    pub(super) async fn begin(&self, name: &Name, parts: &Parts, body: Body) -> Answer {
        let query = query(parts)?;
        if let Some(other) = value(&query, "digest-algorithm").filter(|other| *other != "sha256") {
            return Err(Refusal::bad(Code::DigestInvalid, format!("only sha256 is known, not {other}")));
        }
        if let Some(digest) = value(&query, "mount") {
            let digest = names::digest(digest)?;
            if self.mount(name, digest, value(&query, "from"), &parts.headers).await? {
                return Ok(made(name, &digest));
            }
        }
        let digest = value(&query, "digest").map(names::digest).transpose()?;
        let its_name = name.clone();
        let upload = self.ask(move |shelf| shelf.begin(&its_name)).await?;
        match digest {
            None => Ok(at(StatusCode::ACCEPTED, name, &upload, 0)),
            Some(digest) => {
                let done = self.complete(name, &upload, &digest, parts, body).await;
                if done.is_err() {
                    // Nobody was told its id, so nobody can go on with it.
                    let _ = self.cancel(name, &upload).await;
                }
                done
            }
        }
    }

    /// Whoever may not pull from the other repository gets no blob of it, and is not told whether it is there.
    async fn mount(
        &self,
        name: &Name,
        digest: Digest,
        from: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<bool, Refusal> {
        let from = match from.map(names::repository).transpose() {
            Ok(from) => from,
            Err(_) => return Ok(false),
        };
        if let Some(from) = &from
            && self.access.judge(&Asked { headers, name: Some(from), wish: Wish::Pull }) != Verdict::Granted
        {
            return Ok(false);
        }
        let name = name.clone();
        self.ask(move |shelf| shelf.mount(&name, &digest, from.as_ref())).await
    }

    pub(super) async fn tell_upload(&self, name: &Name, upload: &UploadId) -> Answer {
        let here = self.uploaded(name, upload).await?;
        Ok(at(StatusCode::NO_CONTENT, name, upload, here))
    }

    async fn uploaded(&self, name: &Name, upload: &UploadId) -> Result<u64, Refusal> {
        let (its_name, which) = (name.clone(), upload.clone());
        let here = self.ask(move |shelf| shelf.uploaded(&its_name, &which)).await?;
        here.ok_or_else(|| no_upload(upload))
    }

    pub(super) async fn take_chunk(
        &self,
        name: &Name,
        upload: &UploadId,
        parts: &Parts,
        body: Body,
    ) -> Answer {
        let here = self.take(name, upload, &parts.headers, body).await?;
        Ok(at(StatusCode::ACCEPTED, name, upload, here))
    }

    /// Takes the last chunk, if there is one, and closes the upload.
    pub(super) async fn finish(&self, name: &Name, upload: &UploadId, parts: &Parts, body: Body) -> Answer {
        let query = query(parts)?;
        let digest = value(&query, "digest").ok_or_else(|| {
            Refusal::bad(Code::DigestInvalid, "the query has to say the blob's digest: ?digest=sha256:...")
        })?;
        let digest = names::digest(digest)?;
        self.complete(name, upload, &digest, parts, body).await
    }

    async fn complete(
        &self,
        name: &Name,
        upload: &UploadId,
        digest: &Digest,
        parts: &Parts,
        body: Body,
    ) -> Answer {
        self.take(name, upload, &parts.headers, body).await?;
        let (its_name, which, its_digest) = (name.clone(), upload.clone(), *digest);
        self.ask(move |shelf| shelf.finish(&its_name, &which, &its_digest)).await?;
        Ok(made(name, digest))
    }

    async fn take(
        &self,
        name: &Name,
        upload: &UploadId,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<u64, Refusal> {
        let (first, said) = announced(headers)?;
        let bounds = Bounds { largest: self.options.largest_blob, said, patience: self.options.patience };
        let taken = bodies::taken(&self.shelf, (name, upload), first, body, bounds).await;
        match taken? {
            Taken::All(here) => Ok(here),
            Taken::Elsewhere(here) => Err(out_of_order(name, upload, here)),
        }
    }

    pub(super) async fn cancel(&self, name: &Name, upload: &UploadId) -> Answer {
        let (its_name, which) = (name.clone(), upload.clone());
        if self.ask(move |shelf| shelf.cancel(&its_name, &which)).await? {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Err(no_upload(upload))
    }
}

/// Where the body is to begin, and how many bytes it has, as far as that is said.
fn announced(headers: &HeaderMap) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let length = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let Some(chunk) = headers.get(header::CONTENT_RANGE) else { return Ok((None, length)) };
    let chunk = chunk.to_str().ok().and_then(range::of_chunk).ok_or_else(|| {
        Refusal::bad(
            Code::BlobUploadInvalid,
            "Content-Range of a chunk is its first and its last byte, as 0-1023",
        )
    })?;
    let said = (chunk.end() - chunk.start()).saturating_add(1);
    if length.is_some_and(|length| length != said) {
        return Err(Refusal::bad(Code::SizeInvalid, "Content-Range and Content-Length don't agree"));
    }
    Ok((Some(*chunk.start()), Some(said)))
}

fn made(name: &Name, digest: &Digest) -> Response {
    let headers =
        [("location", format!("/v2/{name}/blobs/{digest}")), ("docker-content-digest", digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

fn place(name: &Name, upload: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{upload}")
}

fn at(status: StatusCode, name: &Name, upload: &UploadId, here: u64) -> Response {
    let headers = [
        ("location", place(name, upload)),
        ("range", range::uploaded(here)),
        ("docker-upload-uuid", upload.to_string()),
    ];
    (status, headers).into_response()
}

fn no_upload(upload: &UploadId) -> Refusal {
    let message =
        format!("there is no upload {upload}: it was finished, cancelled, or is too old; begin again");
    Refusal::not_found(Code::BlobUploadUnknown, message)
}

fn out_of_order(name: &Name, upload: &UploadId, here: u64) -> Refusal {
    let message = format!("{here} bytes are here, and the chunk does not begin there");
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message)
        .with(header::LOCATION, header_value(&place(name, upload)))
        .with(header::RANGE, header_value(&range::uploaded(here)))
}
