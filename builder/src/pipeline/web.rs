//! Addresses, paths and headers of a web server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    problems::quoted,
    values::{Understood, complaint},
};

/// Where a proxy listens: an address of this machine, not a name that could mean several.
pub(super) fn listen(text: &str) -> Understood<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return complaint(
            "is not an address and a port",
            format!("{} is neither", quoted(text)),
            listen_hint(text),
        );
    };
    let ip = address.ip();
    if ip.is_unspecified() {
        return complaint(
            "names no address",
            "this would open the port on every network that the machine is in",
            format!(
                "write \"127.0.0.1:{}\" to be reached from this machine only, or the address of the network to serve",
                address.port()
            ),
        );
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return complaint("can't be listened on", "this address means many machines", LISTEN_EXAMPLE);
    }
    if address.port() == 0 {
        return complaint("has no port", "port 0 would be another one each time", LISTEN_EXAMPLE);
    }
    Ok(address)
}

const LISTEN_EXAMPLE: &str = "write an IP address and a port, for example \"127.0.0.1:8080\"";

fn listen_hint(text: &str) -> String {
    let port = text.rsplit(':').next().unwrap_or_default();
    let local = text.starts_with("localhost:")
        || text.starts_with(':')
        || text.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if local => format!("write \"127.0.0.1:{port}\" to be reached from this machine only"),
        _ => LISTEN_EXAMPLE.to_owned(),
    }
}

/// A path of a URL.
pub(super) fn url_path(text: &str) -> Understood<String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    if text.starts_with('/') && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a path",
        format!("{} is no path of a web address", quoted(text)),
        "write a path that starts with `/`, for example \"/healthz\", without spaces and without `http://...`",
    )
}

/// The name of an HTTP header.
pub(super) fn header(text: &str) -> Understood<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a header's name",
        format!("{} can't name an HTTP header", quoted(text)),
        "write only the name, for example \"x-staith-release\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_explicit() {
        for good in ["127.0.0.1:80", "[::1]:8080", "192.0.2.7:65535"] {
            assert!(listen(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "8080",
            ":8080",
            "localhost:80",
            "0.0.0.0:80",
            "[::]:80",
            "127.0.0.1:0",
            "224.0.0.1:80",
            "1.2.3.4",
        ] {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_and_headers() {
        for (path, good) in
            [("/", true), ("/a?b=c", true), ("a", false), ("", false), ("/a b", false), ("/a#b", false)]
        {
            assert_eq!(url_path(path).is_ok(), good, "{path}");
        }
        for (name, good) in [("x-release", true), ("", false), ("x: y", false), ("ä", false), ("a\n", false)]
        {
            assert_eq!(header(name).is_ok(), good, "{name}");
        }
    }
}
