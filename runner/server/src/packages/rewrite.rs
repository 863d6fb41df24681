//! Between the addresses of the server, `/v2/PROJECT/NAME/…`, and those of one project's store, `/v2/NAME/…`.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Uri, header, uri::PathAndQuery},
};
use staith_model::Name;

/// A request as the project's store gets it.
pub(super) fn inwards(project: &Name, rest: &str, request: Request) -> Request {
    let query = request.uri().query().map(|query| without_project(project, query)).unwrap_or_default();
    let raw = request.uri().path().strip_prefix("/v2/").and_then(|path| path.split_once('/'));
    // As it was written: what is escaped stays so.
    let rest = raw.map_or(rest, |(_, rest)| rest);
    let mark = if query.is_empty() { "" } else { "?" };
    let rest = format!("{rest}{mark}{query}");
    to(&rest, request)
}

/// The same request about something else: what follows `/v2/`.
pub(super) fn to(rest: &str, mut request: Request) -> Request {
    // It was part of an address before, or is made of names.
    if let Ok(inner) = PathAndQuery::try_from(format!("/v2/{rest}")) {
        *request.uri_mut() = Uri::from(inner);
    }
    request
}

/// A blob may come from another package of the same project; one of another project is not there for anybody.
fn without_project(project: &Name, query: &str) -> String {
    let parts = query.split('&').filter_map(|part| match part.strip_prefix("from=") {
        None => Some(part.to_owned()),
        Some(from) => {
            let from = from.replace("%2F", "/").replace("%2f", "/");
            let own = from.strip_prefix(project.as_str()).and_then(|rest| rest.strip_prefix('/'));
            own.map(|name| format!("from={name}"))
        }
    });
    parts.collect::<Vec<_>>().join("&")
}

/// Addresses in an answer as the client knows them.
pub(super) fn outwards(project: &Name, headers: &mut HeaderMap) {
    for name in [header::LOCATION, header::LINK] {
        let Some(value) = headers.get(&name).and_then(|value| value.to_str().ok()) else { continue };
        let told = value.replacen("/v2/", &format!("/v2/{project}/"), 1);
        if let Ok(told) = HeaderValue::from_str(&told) {
            headers.insert(name, told);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn inner(address: &str) -> String {
        let request = Request::post(address).body(Body::empty()).unwrap();
        inwards(&"shop".parse().unwrap(), "", request).uri().to_string()
    }

    #[test]
    fn the_project_goes_and_comes_back() {
        for (address, expected) in [
            ("/v2/shop/app/tags/list", "/v2/app/tags/list"),
            (
                "/v2/shop/app/blobs/uploads/?mount=sha256:0&from=shop/base",
                "/v2/app/blobs/uploads/?mount=sha256:0&from=base",
            ),
            (
                "/v2/shop/app/blobs/uploads/?from=shop%2Fbase&mount=x",
                "/v2/app/blobs/uploads/?from=base&mount=x",
            ),
            ("/v2/shop/app/blobs/uploads/?mount=x&from=blog/app", "/v2/app/blobs/uploads/?mount=x"),
            ("/v2/shop/app/manifests/%2e%2e", "/v2/app/manifests/%2e%2e"),
        ] {
            assert_eq!(inner(address), expected);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("/v2/app/blobs/uploads/1"));
        headers
            .insert(header::LINK, HeaderValue::from_static("</v2/app/tags/list?n=1&last=2>; rel=\"next\""));
        outwards(&"shop".parse().unwrap(), &mut headers);
        assert_eq!(headers[header::LOCATION], "/v2/shop/app/blobs/uploads/1");
        assert_eq!(headers[header::LINK], "</v2/shop/app/tags/list?n=1&last=2>; rel=\"next\"");
    }
}
