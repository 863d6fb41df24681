//! Manifests and blobs, on their way out.

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use staith_model::{Digest, Name};

use super::{Answer, Code, Refusal, Registry, bodies, header_value, text};
use crate::registry::{
    names::Reference,
    range::{Wanted, wanted},
};

impl Registry {
    pub(super) async fn give_manifest(&self, name: &Name, wanted: &Reference, headers: &HeaderMap) -> Answer {
        let (its_name, which) = (name.clone(), wanted.clone());
        let found = self.ask(move |shelf| shelf.manifest(&its_name, &which)).await?;
        let Some(manifest) = found else { return Err(self.no_manifest(name, wanted).await?) };
        if is_known(headers, &manifest.digest) {
            return Ok(not_modified(&manifest.digest));
        }
        let mut response = Response::new(Body::from(manifest.bytes));
        describe(&mut response, &manifest.digest);
        response.headers_mut().insert(header::CONTENT_TYPE, header_value(&manifest.media_type));
        Ok(response)
    }

    async fn no_manifest(&self, name: &Name, wanted: &Reference) -> Result<Refusal, Refusal> {
        let its_name = name.clone();
        if self.ask(move |shelf| shelf.knows(&its_name)).await? {
            let message = format!("the package {name} has no version, channel or manifest {wanted}");
            return Ok(Refusal::not_found(Code::ManifestUnknown, message));
        }
        Ok(Refusal::not_found(Code::NameUnknown, format!("there is no package {name}")))
    }

    pub(super) async fn give_blob(
        &self,
        name: &Name,
        digest: &Digest,
        headers: &HeaderMap,
        head: bool,
    ) -> Answer {
        let (its_name, which) = (name.clone(), *digest);
        let size = self.ask(move |shelf| shelf.blob_size(&its_name, &which)).await?;
        let size = size.ok_or_else(|| no_blob(name, digest))?;
        if is_known(headers, digest) {
            return Ok(not_modified(digest));
        }
        let range = text(headers, header::RANGE).filter(|_| continues(headers, digest));
        let (status, first, length) = match wanted(range, size) {
            Wanted::All => (StatusCode::OK, 0, size),
            Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, *part.start(), part.end() - part.start() + 1),
            Wanted::Nothing => return Err(out_of(size)),
        };
        let body = if head {
            Body::empty()
        } else {
            let (its_name, which) = (name.clone(), *digest);
            let open = self.ask(move |shelf| shelf.blob(&its_name, &which, first)).await?;
            let open = open.ok_or_else(|| no_blob(name, digest))?;
            if open.size != size {
                return Err(Refusal::from(crate::registry::shelf::ShelfError::Damaged(format!(
                    "the blob {digest} was {size} bytes long a moment ago, and is {} now",
                    open.size
                ))));
            }
            bodies::sent(open, length)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        describe(&mut response, digest);
        let answer = response.headers_mut();
        answer.insert(header::CONTENT_TYPE, header_value("application/octet-stream"));
        answer.insert(header::ACCEPT_RANGES, header_value("bytes"));
        answer.insert(header::CONTENT_LENGTH, length.into());
        if status == StatusCode::PARTIAL_CONTENT {
            let part = format!("bytes {first}-{}/{size}", first + length - 1);
            answer.insert(header::CONTENT_RANGE, header_value(&part));
        }
        Ok(response)
    }
}

pub(super) fn no_blob(name: &Name, digest: &Digest) -> Refusal {
    Refusal::not_found(Code::BlobUnknown, format!("the package {name} has no blob {digest}"))
}

fn out_of(size: u64) -> Refusal {
    Refusal::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        Code::SizeInvalid,
        format!("the blob is {size} bytes long, and has nothing there"),
    )
    .with(header::CONTENT_RANGE, header_value(&format!("bytes */{size}")))
}

fn describe(response: &mut Response, digest: &Digest) {
    let headers = response.headers_mut();
    headers.insert("docker-content-digest", header_value(&digest.to_string()));
    headers.insert(header::ETAG, header_value(&format!("\"{digest}\"")));
}

fn not_modified(digest: &Digest) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    describe(&mut response, digest);
    response
}

/// Whether the client has it already.
fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let tag = format!("\"{digest}\"");
    let known = text(headers, header::IF_NONE_MATCH).unwrap_or_default();
    known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

/// Whether the part that is wanted is of this; a client says so when it goes on with what it began.
fn continues(headers: &HeaderMap, digest: &Digest) -> bool {
    text(headers, header::IF_RANGE).is_none_or(|of| of == format!("\"{digest}\""))
}
