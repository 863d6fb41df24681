//! What a proxy changes about a message. Pure.
//!
//! * Headers that are about one connection (RFC 9110, section 7.6.1) end here, in both directions.
//! * `X-Forwarded-For`, `-Proto` and `-Host` say what this proxy saw. What a client claims in them, in `Forwarded` and in
//!   `X-Real-IP` is taken away: this proxy is the first, and a program that trusts those headers trusts the proxy.
//! * Many programs read `x_forwarded_for` as `x-forwarded-for` (CGI, WSGI, PHP), so what is claimed under such a name is taken away, too.
//! * `Host` is passed on as the client sent it; in absolute form the target's authority is the host, as RFC 9112 says.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method, StatusCode, Uri, Version,
    body::Body,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    },
    http::{request, uri::PathAndQuery},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a client could use to lie about where a request comes from.
const CLAIMS: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
];

/// Headers about one connection, beside those that `Connection` names.
const ONE_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Who connected.
    pub(super) client: IpAddr,
    /// Whether that was through TLS.
    pub(super) secure: bool,
}

/// Why a request is answered here instead of being passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unacceptable {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

const fn unacceptable(status: StatusCode, why: &'static str) -> Unacceptable {
    Unacceptable { status, why }
}

/// Turns what a client sent into what a program is sent; returns the protocol that the client wants to change to.
pub(super) fn prepare_request<B: Body>(
    head: &mut request::Parts,
    body: &B,
    Origin { client, secure }: Origin,
) -> Result<Option<HeaderValue>, Unacceptable> {
    if head.method == Method::CONNECT {
        let why = "this is a reverse proxy: it does not make tunnels";
        return Err(unacceptable(StatusCode::NOT_IMPLEMENTED, why));
    }
    refuse_other_codings(&head.headers)?;
    remove_lookalikes(&mut head.headers);
    let host = host(head)?;
    let upgrade = wanted_upgrade(head);
    let length = head.headers.get(CONTENT_LENGTH).cloned();
    remove_one_hop(&mut head.headers);
    for claim in CLAIMS {
        head.headers.remove(claim);
    }
    let via = match head.version {
        Version::HTTP_10 => "1.0 staith",
        Version::HTTP_2 => "2.0 staith",
        _ => "1.1 staith",
    };
    head.headers.append(VIA, HeaderValue::from_static(via));
    if let Ok(client) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        head.headers.insert(FORWARDED_FOR, client);
    }
    head.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
    join_cookies(&mut head.headers);
    head.headers.insert(FORWARDED_HOST, host.clone());
    head.headers.insert(HOST, host);
    frame(head, body, length);
    origin_form(head);
    head.version = Version::HTTP_11;
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    Ok(upgrade)
}

/// Turns what a program answered into what a client is sent.
pub(super) fn prepare_response(headers: &mut HeaderMap) {
    remove_one_hop(headers);
}

/// HTTP/2 may send cookies in pieces; a program that speaks HTTP/1.1 expects one header (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

/// The length of a body is what the parser found, whatever `Connection` names; one of unknown length is sent in chunks
/// even where that is unusual, because the alternative is to lose it.
fn frame<B: Body>(head: &mut request::Parts, body: &B, length: Option<HeaderValue>) {
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, length);
    } else if !body.is_end_stream() && body.size_hint().exact().is_none() {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The parser takes `chunked` off a body and nothing else, so a body in any other coding would arrive unlabelled.
fn refuse_other_codings(headers: &HeaderMap) -> Result<(), Unacceptable> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    let why = "the only transfer coding that is understood is `chunked`";
    if only_chunked { Ok(()) } else { Err(unacceptable(StatusCode::NOT_IMPLEMENTED, why)) }
}

/// Headers that some programs can't tell from one that means something here.
fn remove_lookalikes(headers: &mut HeaderMap) {
    let means_something = |name: &str| {
        let about_origin = name.starts_with("x-forwarded-") || CLAIMS.iter().any(|claim| claim == name);
        let framing = [HOST, CONTENT_LENGTH].iter().chain(&ONE_HOP).any(|known| known == name);
        about_origin || framing
    };
    let lookalikes = headers.keys().filter(|name| name.as_str().contains('_'));
    let lookalikes: Vec<HeaderName> =
        lookalikes.filter(|name| means_something(&name.as_str().replace('_', "-"))).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

fn host(head: &request::Parts) -> Result<HeaderValue, Unacceptable> {
    let bad = |why| unacceptable(StatusCode::BAD_REQUEST, why);
    let mut named = head.headers.get_all(HOST).iter();
    let first = named.next();
    if named.next().is_some() {
        return Err(bad("a request has one Host header"));
    }
    if let Some(authority) = head.uri.authority() {
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
        return HeaderValue::from_str(host).map_err(|_| bad("the target's host can't be sent on"));
    }
    match (first, head.version) {
        (Some(host), _) => Ok(host.clone()),
        (None, Version::HTTP_10) => Ok(HeaderValue::from_static("localhost")),
        (None, _) => Err(bad("an HTTP/1.1 request has a Host header")),
    }
}

/// The protocol to change to, when `Connection` and `Upgrade` agree on one. HTTP/2 is none of them: a program that
/// accepted it would answer requests that this proxy never saw.
fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let asked = connection_options(&head.headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let mut protocols = head.headers.get_all(UPGRADE).iter();
    let protocol = protocols.next().filter(|_| asked && head.version == Version::HTTP_11)?;
    let is_http2 =
        protocol.to_str().is_ok_and(|protocol| protocol.trim().to_ascii_lowercase().starts_with("h2c"));
    (protocols.next().is_none() && !is_http2).then(|| protocol.clone())
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn remove_one_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            connection_options(headers).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            // The length is not the client's to hide: it says where the next message begins.
            if name != CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
    for name in ONE_HOP {
        headers.remove(name);
    }
}

fn origin_form(head: &mut request::Parts) {
    let target = head.uri.path_and_query().cloned();
    head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};
    use hyper::{Request, body::Bytes};
    use proptest::prelude::*;

    use super::*;

    const CLIENT: Origin =
        Origin { client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), secure: false };

    fn head(headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri("/path?query");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn prepared(headers: &[(&str, &str)]) -> HeaderMap {
        let mut head = head(headers);
        prepare_request(&mut head, &Empty::<Bytes>::new(), CLIENT).unwrap();
        head.headers
    }

    #[test]
    fn headers_about_one_connection_end_here() {
        let headers = prepared(&[
            ("host", "a"),
            ("connection", "keep-alive, X-Private"),
            ("connection", "Other"),
            ("x-private", "1"),
            ("other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic x"),
            ("accept", "*/*"),
        ]);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]
        );
    }

    #[test]
    fn what_a_client_claims_about_its_origin_is_replaced() {
        let headers = prepared(&[
            ("host", "shop.example:8080"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_proto", "https"),
            ("x_real_ip", "10.0.0.1"),
            ("content_length", "7"),
            ("my_own", "1"),
            ("connection", "x-forwarded-for, host"),
        ]);
        let with_underscore: Vec<_> = headers.keys().filter(|name| name.as_str().contains('_')).collect();
        assert_eq!(with_underscore, ["my_own"]);
        let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(all("x-forwarded-host"), ["shop.example:8080"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("host"), ["shop.example:8080"]);
        assert!(all("forwarded").is_empty() && all("x-real-ip").is_empty());
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let mut head = head(&[("host", "other")]);
        head.uri = "http://user@shop.example/a?b".parse().unwrap();
        prepare_request(&mut head, &Empty::<Bytes>::new(), CLIENT).unwrap();
        assert_eq!(
            (head.uri.to_string(), head.headers["host"].to_str().unwrap()),
            ("/a?b".into(), "shop.example")
        );
    }

    #[test]
    fn requests_that_could_mean_two_things_are_refused() {
        let refused = |headers: &[(&str, &str)]| {
            prepare_request(&mut head(headers), &Empty::<Bytes>::new(), CLIENT).unwrap_err().status.as_u16()
        };
        assert_eq!(refused(&[]), 400);
        assert_eq!(refused(&[("host", "a"), ("host", "b")]), 400);
        assert_eq!(refused(&[("host", "a"), ("transfer-encoding", "gzip, chunked")]), 501);
        assert_eq!(
            refused(&[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
            501
        );
    }

    #[test]
    fn a_length_can_not_be_hidden_by_naming_it() {
        let mut head = head(&[("host", "a"), ("content-length", "4"), ("connection", "content-length")]);
        prepare_request(&mut head, &Full::new(Bytes::from_static(b"body")), CLIENT).unwrap();
        assert_eq!(head.headers["content-length"], "4");
    }

    #[test]
    fn what_came_by_http2_is_sent_as_http1() {
        let mut head = head(&[("cookie", "a=1"), ("cookie", "b=2")]);
        (head.version, head.uri) = (Version::HTTP_2, "https://shop.example/a".parse().unwrap());
        prepare_request(&mut head, &Empty::<Bytes>::new(), Origin { secure: true, ..CLIENT }).unwrap();
        let one =
            |name: &str| head.headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(one("cookie"), ["a=1; b=2"]);
        assert_eq!(one("x-forwarded-proto"), ["https"]);
        assert_eq!((one("host"), one("via")), (vec!["shop.example"], vec!["2.0 staith"]));
        assert_eq!((head.version, head.uri.to_string()), (Version::HTTP_11, "/a".into()));
    }

    #[test]
    fn an_upgrade_is_passed_on_and_http2_is_not() {
        let websocket = [("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_eq!(prepared(&websocket)["upgrade"], "websocket");
        assert_eq!(prepared(&websocket)["connection"], "upgrade");
        for others in [("connection", "upgrade, http2-settings"), ("upgrade", "h2c")] {
            let headers = prepared(&[("host", "a"), ("upgrade", "h2c"), others, ("http2-settings", "x")]);
            assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"));
        }
    }

    proptest! {
        #[test]
        fn no_header_about_one_connection_gets_through(
            named in prop::collection::vec("[a-z]{1,8}(-[a-z]{1,8})?", 0..4),
            values in prop::collection::vec("[ -~]{0,20}", 4),
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_str(&named.join(" , ")).unwrap());
            for (name, value) in named.iter().zip(&values) {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
            }
            for name in ONE_HOP {
                headers.append(name, HeaderValue::from_static("x"));
            }
            prepare_response(&mut headers);
            prop_assert!(headers.is_empty(), "{headers:?}");
        }
    }
}
