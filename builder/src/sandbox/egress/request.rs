//! The head of a request to the proxy. Pure; strict, because what two parsers understand differently is how requests
//! are smuggled.

/// No head is longer, in bytes.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Name or address, without brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// What is to be passed on; `None` is a tunnel, whose bytes are passed on as they are.
    pub(super) forwarded: Option<Forwarded>,
    /// What the client says to prove that it may use this proxy.
    pub(super) authorization: Option<String>,
}

/// A request for one exchange: a next one on the same connection could be for another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forwarded {
    method: String,
    /// The host and port as the client wrote them.
    named: String,
    path: String,
    version: String,
    /// Whole lines.
    headers: String,
}

impl Head {
    /// Whether it asks for a tunnel.
    pub(super) const fn is_tunnel(&self) -> bool {
        self.forwarded.is_none()
    }

    /// The host and port as they are written in an address.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Forwarded {
    /// The head that the server itself gets.
    pub(super) fn to_server(&self) -> String {
        let Self { method, named, path, version, headers } = self;
        format!("{method} {path} {version}\r\nhost: {named}\r\nconnection: close\r\n{headers}\r\n")
    }

    /// The head that another proxy gets, with what that one is to be told of who asks.
    pub(super) fn to_proxy(&self, authorization: &str) -> String {
        let Self { method, named, path, version, headers } = self;
        format!(
            "{method} http://{named}{path} {version}\r\nhost: {named}\r\nconnection: close\r\n{authorization}{headers}\r\n"
        )
    }
}

/// The head at the beginning of `bytes` and its length; none while it is incomplete.
///
/// # Errors
/// Why it is no request that a proxy can serve.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
    let Some(end) = bytes.windows(4).take(MAX_HEAD).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "the request's head is not text")?;
    if text.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return Err("a line of the head holds a bare line break");
    }
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the request line is not `METHOD target version`");
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("only HTTP/1.1 and HTTP/1.0 are understood");
    }
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err("the method is not a word");
    }
    if text.bytes().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t')) {
        return Err("the request's head holds control characters");
    }
    let authorization = text.split("\r\n").skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    let head = if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        Head { host, port, forwarded: None, authorization }
    } else {
        Head { authorization, ..forward(method, target, version, lines)? }
    };
    Ok(Some((head, end + 4)))
}

/// A request for `http://host/path` becomes one for `/path` at that host.
fn forward<'a>(
    method: &str,
    target: &str,
    version: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Head, &'static str> {
    let rest = match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => &target[7..],
        _ => return Err("the target is not an absolute http:// address; this is a proxy, not a server"),
    };
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(split);
    let (host, port) = authority(named, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    // The address decides, whatever the client's own `Host` says.
    let mut headers = String::new();
    for line in lines {
        let (name, _) = line.split_once(':').ok_or("a header has no colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a header's name is not a word");
        }
        let for_this_hop =
            ["host", "connection", "proxy-connection", "proxy-authorization", "keep-alive", "upgrade", "te"];
        if !for_this_hop.iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
            headers.push_str(line);
            headers.push_str("\r\n");
        }
    }
    let forwarded = Forwarded {
        method: method.to_owned(),
        named: named.to_owned(),
        path: format!("{slash}{path}"),
        version: version.to_owned(),
        headers,
    };
    Ok(Head { host, port, forwarded: Some(forwarded), authorization: None })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `host:port`, or `[v6]:port`.
fn authority(text: &str, default_port: Option<u16>) -> Result<(String, u16), &'static str> {
    const WRONG: &str = "the target does not name a host and a port";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(WRONG)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| WRONG)?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(WRONG)?) })
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
            return Err(WRONG);
        }
        (host, port)
    };
    let port = match (port, default_port) {
        (Some(port), _) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_| WRONG)?
        }
        (None, Some(default)) => default,
        _ => return Err(WRONG),
    };
    if port == 0 { Err(WRONG) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Head, &'static str> {
        parse(text.as_bytes()).map(|head| head.expect("complete").0)
    }

    #[test]
    fn a_tunnel_names_its_end() {
        let head = parsed("CONNECT boxes.org:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n").unwrap();
        assert_eq!((head.host.as_str(), head.port, head.is_tunnel()), ("boxes.org", 443, true));
        let head = parsed("CONNECT [::1]:443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((head.host.as_str(), head.port, head.place().as_str()), ("::1", 443, "[::1]:443"));
    }

    #[test]
    fn a_request_is_forwarded_without_what_is_for_the_proxy() {
        let head = parsed(
            "GET http://a.example/x?y HTTP/1.1\r\nHost: b\r\nProxy-Authorization: secret\r\nAccept: */*\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.host.as_str(), head.port), ("a.example", 80));
        let expected = "GET /x?y HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\nAccept: */*\r\n\r\n";
        assert_eq!(head.authorization.as_deref(), Some("secret"));
        let forwarded = head.forwarded.unwrap();
        assert_eq!(forwarded.to_server(), expected);
        let expected = "GET http://a.example/x?y HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\
                        Proxy-Authorization: ours\r\nAccept: */*\r\n\r\n";
        assert_eq!(forwarded.to_proxy("Proxy-Authorization: ours\r\n"), expected);
    }

    #[test]
    fn what_is_not_for_a_proxy_is_refused() {
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET https://a/ HTTP/1.1\r\n\r\n",
            "GET http:///x HTTP/1.1\r\n\r\n",
            "GET http://a:0/ HTTP/1.1\r\n\r\n",
            "GET http://user@a/ HTTP/1.1\r\n\r\n",
            "CONNECT a HTTP/1.1\r\n\r\n",
            "CONNECT a:65536 HTTP/1.1\r\n\r\n",
            "CONNECT a:+1 HTTP/1.1\r\n\r\n",
            "CONNECT [a]:1 HTTP/1.1\r\n\r\n",
            "CONNECT a:1 HTTP/2\r\n\r\n",
            "GET  http://a/ HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nno colon\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nX : y\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
            "GET http://a/x\nHost:b HTTP/1.1\r\n\r\n",
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_head_is_found_however_much_follows(rest: Vec<u8>, port in 1u16..) {
            let head = format!("CONNECT host:{port} HTTP/1.1\r\n\r\n");
            let whole = [head.as_bytes(), &rest].concat();
            let (parsed, length) = parse(&whole).unwrap().unwrap();
            prop_assert_eq!((parsed.port, length), (port, head.len()));
        }

        #[test]
        fn what_is_forwarded_has_one_line_per_header(value in "[ -~\r\n]{0,40}") {
            let text = format!("GET http://a/ HTTP/1.1\r\nX-Y: {value}\r\n\r\n");
            if let Ok(Some((head, length))) = parse(text.as_bytes()) {
                let forwarded = head.forwarded.unwrap();
                for forwarded in [forwarded.to_server(), forwarded.to_proxy("")] {
                    prop_assert_eq!(forwarded.matches("\r\n\r\n").count(), 1);
                    prop_assert_eq!(forwarded.matches('\n').count(), forwarded.matches("\r\n").count());
                }
                prop_assert!(length <= text.len());
            }
        }
    }
}
