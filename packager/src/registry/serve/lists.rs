//! What there is: the tags of a package, and what was said about one of its manifests.

use axum::{
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use staith_model::{Digest, Name};

use super::{Answer, Code, Refusal, Registry, header_value, query, value};
use crate::registry::{manifest, names::Tag};

/// Referrers in one answer. Each has its annotations with it, so this bounds memory as the largest manifest does.
const MOST_REFERRERS: usize = 100;

impl Registry {
    pub(super) async fn list_tags(&self, name: &Name, parts: &Parts) -> Answer {
        let query = query(parts)?;
        let most = value(&query, "n")
            .map(str::parse::<usize>)
            .transpose()
            .map_err(|_| Refusal::bad(Code::Unsupported, "`n` is how many tags are wanted, as a number"))?;
        let last = value(&query, "last").unwrap_or_default();
        let its_name = name.clone();
        let tags = self.ask(move |shelf| shelf.tags(&its_name)).await?;
        let mut tags =
            tags.ok_or_else(|| Refusal::not_found(Code::NameUnknown, format!("there is no package {name}")))?;
        tags.sort_unstable();
        tags.retain(|tag| tag.as_str() > last);
        let more = most.is_some_and(|most| most < tags.len());
        tags.truncate(most.unwrap_or(tags.len()));
        let words: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        let mut response = listed("application/json", &json!({ "name": name.as_str(), "tags": words }));
        if let (true, Some(most), Some(last)) = (more, most, tags.last()) {
            let next = format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\"");
            response.headers_mut().insert(header::LINK, header_value(&next));
        }
        Ok(response)
    }

    pub(super) async fn list_referrers(&self, name: &Name, subject: &Digest, parts: &Parts) -> Answer {
        let query = query(parts)?;
        let kind = value(&query, "artifactType");
        let after = value(&query, "after").map(crate::registry::names::digest).transpose()?;
        let (its_name, its_subject) = (name.clone(), *subject);
        let mut found = self.ask(move |shelf| shelf.referrers(&its_name, &its_subject)).await?;
        found.sort_unstable_by_key(|manifest| manifest.digest);
        found.retain(|manifest| after.is_none_or(|after| manifest.digest > after));
        let more = found.len() > MOST_REFERRERS;
        found.truncate(MOST_REFERRERS);
        let mut response = listed(manifest::INDEX, &manifest::referrers(&found, kind));
        let headers = response.headers_mut();
        if kind.is_some() {
            headers.insert("oci-filters-applied", header_value("artifactType"));
        }
        if let (true, Some(last)) = (more, found.last()) {
            let filter = kind.map(|kind| format!("&artifactType={}", encoded(kind))).unwrap_or_default();
            let next =
                format!("</v2/{name}/referrers/{subject}?after={}{filter}>; rel=\"next\"", last.digest);
            headers.insert(header::LINK, header_value(&next));
        }
        Ok(response)
    }
}

fn listed(kind: &'static str, list: &Value) -> Response {
    ([(header::CONTENT_TYPE, kind)], list.to_string()).into_response()
}

/// A value of a query, so that it can't be more than a value, nor more than one header.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            all.push(char::from(byte));
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
        all
    })
}
