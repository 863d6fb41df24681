//! Manifests, on their way in and away.

use axum::{
    body::Body,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use staith_model::{Digest, Name};

use super::{Answer, Code, Refusal, Registry, bodies, header_value, query, text};
use crate::registry::{
    manifest::Manifest,
    names::{BadWord, Reference, Tag},
    shelf::{Shelf, ShelfError, StoredManifest},
};

/// Tags that one request may give a manifest.
const MOST_TAGS: usize = 32;

impl Registry {
    pub(super) async fn take_manifest(
        &self,
        name: &Name,
        to: &Reference,
        parts: &Parts,
        body: Body,
    ) -> Answer {
        let more = more_tags(&query(parts)?)?;
        let bytes = bodies::whole(body, self.options.largest_manifest, self.options.patience).await?;
        let said = text(&parts.headers, header::CONTENT_TYPE);
        let (manifest, media_type) =
            Manifest::parse(&bytes, said).map_err(|why| Refusal::bad(Code::ManifestInvalid, why))?;
        let digest = Digest::of(&bytes);
        let tags = match to {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(wanted) if *wanted != digest => {
                let message = format!("the manifest has the digest {digest}, not {wanted}");
                return Err(Refusal::bad(Code::DigestInvalid, message));
            }
            Reference::Digest(_) => more.clone(),
        };
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        let stored = StoredManifest { digest, media_type, bytes };
        let its_name = name.clone();
        let missing = self.ask(move |shelf| {
            let missing = missing(shelf, &its_name, &manifest)?;
            if missing.is_none() {
                shelf.put_manifest(&its_name, &stored, &tags)?;
            }
            Ok(missing)
        });
        if let Some(missing) = missing.await? {
            return Err(Refusal::bad(Code::ManifestBlobUnknown, missing));
        }
        Ok(made(name, &digest, subject, &more))
    }

    pub(super) async fn remove(&self, name: &Name, which: &Reference) -> Answer {
        let (its_name, reference) = (name.clone(), which.clone());
        if self.ask(move |shelf| shelf.remove(&its_name, &reference)).await? {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        Err(Refusal::not_found(Code::ManifestUnknown, format!("the package {name} has no {which}")))
    }
}

/// The first part that a manifest names and the repository does not have as it says. A subject need not be there: whoever pushes may
/// do so in either order.
fn missing(shelf: &dyn Shelf, name: &Name, manifest: &Manifest) -> Result<Option<String>, ShelfError> {
    for blob in manifest.blobs() {
        match shelf.blob_size(name, &blob.digest)? {
            None => {
                return Ok(Some(format!("the package {name} has no blob {}; push it first", blob.digest)));
            }
            Some(size) if size != blob.size => {
                return Ok(Some(format!("the blob {} is {size} bytes long, not {}", blob.digest, blob.size)));
            }
            Some(_) => {}
        }
    }
    for listed in manifest.manifests.iter().flatten() {
        if shelf.manifest(name, &Reference::Digest(listed.digest))?.is_none() {
            return Ok(Some(format!("the package {name} has no manifest {}; push it first", listed.digest)));
        }
    }
    Ok(None)
}

/// The tags that a manifest that is pushed by its digest is to get as well.
fn more_tags(query: &[(String, String)]) -> Result<Vec<Tag>, Refusal> {
    let tags = query.iter().filter(|(key, _)| key == "tag").map(|(_, tag)| tag.parse());
    let tags = tags.collect::<Result<Vec<Tag>, BadWord>>()?;
    if tags.len() > MOST_TAGS {
        let message = format!("a request may name {MOST_TAGS} tags at most");
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, Code::ManifestInvalid, message));
    }
    Ok(tags)
}

fn made(name: &Name, digest: &Digest, subject: Option<Digest>, tags: &[Tag]) -> Response {
    let headers = [
        ("location", format!("/v2/{name}/manifests/{digest}")),
        ("docker-content-digest", digest.to_string()),
    ];
    let mut response = (StatusCode::CREATED, headers).into_response();
    if let Some(subject) = subject {
        response.headers_mut().insert("oci-subject", header_value(&subject.to_string()));
    }
    for tag in tags {
        response.headers_mut().append("oci-tag", header_value(tag.as_str()));
    }
    response
}
