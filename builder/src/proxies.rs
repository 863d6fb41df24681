//! How this machine reaches others: the proxies that the environment names. Pure, but for the environment.
//!
//! One reading of the variables for everything that Staith asks and for what steps ask through it, because programs disagree on
//! them: `HTTPS_PROXY` for encrypted connections and tunnels, `HTTP_PROXY` for plain requests, `ALL_PROXY` for both where
//! those are not set, each also in small letters, which win. `NO_PROXY` lists what is reached without: hosts with all that is below
//! them, addresses, networks (`10.0.0.0/8`), `*` for everything; each may have a port.

use std::{env, net::IpAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use staith_model::Secret;

use crate::{addresses::host_and_port, source::percent_decoded};

/// The proxies of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    https: Option<Setting>,
    http: Option<Setting>,
    none_for: Vec<String>,
}

/// What a variable says.
type Setting = Result<HostProxy, BadProxy>;

/// A proxy that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostProxy {
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `user:password`, decoded.
    credentials: Option<Secret>,
}

/// A variable names a proxy that can't be used. What it says is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} names {what}; set it to a proxy that speaks HTTP, as `http://proxy.example.org:3128`")]
pub(crate) struct BadProxy {
    variable: String,
    what: String,
}

impl Proxies {
    /// As the environment of this process says.
    pub(crate) fn from_environment() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    pub(crate) fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let both = |name: &str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| Some((value(&name).filter(|text| !text.trim().is_empty())?, name)))
        };
        let one = |name: &str| {
            let (text, name) = both(name).or_else(|| both("ALL_PROXY"))?;
            Some(HostProxy::parse(text.trim()).map_err(|what| BadProxy { variable: name, what }))
        };
        let none_for = both("NO_PROXY").map(|(text, _)| text).unwrap_or_default();
        let none_for = none_for.split([',', ' ']).map(|one| one.trim().to_ascii_lowercase());
        Self {
            https: one("HTTPS_PROXY"),
            http: one("HTTP_PROXY"),
            none_for: none_for.filter(|one| !one.is_empty()).collect(),
        }
    }

    /// The proxy for a connection to this host; `None` where it is reached without. Loopback is never reached through a proxy,
    /// which would see itself there.
    ///
    /// # Errors
    /// One is set for it and can't be used. It is not passed over: who sets a proxy does not want to do without.
    pub(crate) fn for_host(
        &self,
        is_tunnel: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&HostProxy>, BadProxy> {
        let setting = if is_tunnel { &self.https } else { &self.http };
        let Some(setting) = setting else { return Ok(None) };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_loopback = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if is_loopback || self.none_for.iter().any(|entry| matches(entry, &host, port)) {
            return Ok(None);
        }
        setting.as_ref().map(Some).map_err(Clone::clone)
    }

    /// What is reached without a proxy, as it is listed.
    pub(crate) fn none_for(&self) -> impl Iterator<Item = &str> {
        self.none_for.iter().map(String::as_str)
    }

    /// Every proxy that is set, for people: the variable's meaning and where it is, or why it can't be used.
    pub(crate) fn described(&self) -> Vec<Result<String, BadProxy>> {
        let mut all: Vec<Result<String, BadProxy>> = Vec::new();
        for setting in [&self.https, &self.http].into_iter().flatten() {
            let described = setting.as_ref().map(HostProxy::place).map_err(Clone::clone);
            if !all.contains(&described) {
                all.push(described);
            }
        }
        all
    }
}

impl HostProxy {
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err("a proxy that is itself reached by https".to_owned()),
            scheme if scheme.starts_with("socks") => return Err("a SOCKS proxy".to_owned()),
            _ => return Err("a proxy of a kind that is not known".to_owned()),
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let is_host = !host.is_empty() && host.bytes().all(is_of_a_host);
        if !is_host || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err()) {
            return Err("no host and port".to_owned());
        }
        let credentials = user.map(|user| percent_decoded(user).map(Secret::new));
        let credentials = credentials
            .map(|user| user.ok_or("credentials that are not percent-encoded text"))
            .transpose()?;
        // Curl's default and Squid's differ; the scheme's own is what the standard says.
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(80), credentials })
    }

    /// Where it is, without credentials.
    pub(crate) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The value of `Proxy-Authorization`, if it wants one.
    pub(crate) fn authorization(&self) -> Option<Secret> {
        let basic = |text: &str| BASE64_STANDARD.encode(text);
        self.credentials.as_ref().map(|secret| Secret::new(format!("Basic {}", secret.expose_to(basic))))
    }

    /// User and password, where it wants them.
    pub(crate) fn user_and_password(&self) -> Option<(String, Secret)> {
        let split = |text: &str| {
            let (user, password) = text.split_once(':').unwrap_or((text, ""));
            (user.to_owned(), Secret::new(password.to_owned()))
        };
        self.credentials.as_ref().map(|secret| secret.expose_to(split))
    }
}

/// Whether an entry of `NO_PROXY` means this host.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    let (entry, of_port) = match entry.parse::<IpAddr>() {
        Ok(_) => (entry, None),
        Err(_) => host_and_port(entry),
    };
    if entry == "*" {
        return true;
    }
    if of_port.is_some_and(|of| of != port) {
        return false;
    }
    let entry = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    if let Ok(address) = host.parse::<IpAddr>() {
        return entry.parse::<IpAddr>().is_ok_and(|entry| entry == address) || in_network(entry, address);
    }
    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
    !domain.is_empty()
        && (host == domain || host.strip_suffix(domain).is_some_and(|below| below.ends_with('.')))
}

fn in_network(entry: &str, address: IpAddr) -> bool {
    let Some((network, length)) = entry.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::from_variables(find)
    }

    fn place(proxies: &Proxies, is_tunnel: bool, host: &str) -> Option<String> {
        proxies.for_host(is_tunnel, host, 443).unwrap().map(HostProxy::place)
    }

    #[test]
    fn each_kind_of_connection_has_its_variable() {
        let all = of(&[("HTTPS_PROXY", "http://one:1"), ("http_proxy", "two:2/"), ("ALL_PROXY", "three:3")]);
        assert_eq!(place(&all, true, "example.org").unwrap(), "one:1");
        assert_eq!(place(&all, false, "example.org").unwrap(), "two:2");
        let fallback = of(&[("all_proxy", "HTTP://[::1]:3"), ("HTTPS_PROXY", " ")]);
        assert_eq!(place(&fallback, true, "example.org").unwrap(), "[::1]:3");
        assert_eq!(place(&fallback, false, "example.org").unwrap(), "[::1]:3");
        let small = of(&[("https_proxy", "small:1"), ("HTTPS_PROXY", "large:1")]);
        assert_eq!(place(&small, true, "example.org").unwrap(), "small:1");
        assert_eq!(place(&small, false, "example.org"), None);
        assert_eq!(place(&of(&[]), true, "example.org"), None);
    }

    #[test]
    fn what_needs_no_proxy_gets_none() {
        let entries =
            "example.org,.corp.example,*.lan,10.0.0.0/8,fd00::/8,192.0.2.1,[2001:db8::1],only.test:8443";
        let proxies = of(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", entries)]);
        for host in [
            "example.org",
            "a.Example.org.",
            "x.corp.example",
            "corp.example",
            "git.lan",
            "10.9.8.7",
            "fd00::1",
            "192.0.2.1",
            "2001:db8::1",
            "localhost",
            "127.0.0.5",
            "::1",
        ] {
            assert_eq!(place(&proxies, true, host), None, "{host}");
        }
        for host in ["notexample.org", "11.0.0.1", "192.0.2.2", "example.org.evil.test", "only.test"] {
            assert!(place(&proxies, true, host).is_some(), "{host}");
        }
        assert_eq!(proxies.for_host(true, "only.test", 8443).unwrap(), None);
        assert_eq!(place(&of(&[("HTTPS_PROXY", "p:1"), ("no_proxy", "*")]), true, "example.org"), None);
    }

    #[test]
    fn what_can_not_be_used_says_so_and_shows_no_password() {
        for bad in ["socks5://me:hunter2@p:1", "https://me:hunter2@p:1", "ftp://p", "http://", "http://a b:1"]
        {
            let proxies = of(&[("HTTPS_PROXY", bad)]);
            let refusal = proxies.for_host(true, "example.org", 443).unwrap_err().to_string();
            assert!(refusal.contains("HTTPS_PROXY") && !refusal.contains("hunter2"), "{refusal}");
            assert!(!format!("{proxies:?}").contains("hunter2"));
            assert_eq!(proxies.for_host(true, "127.0.0.1", 443), Ok(None));
        }
        let good = of(&[("HTTPS_PROXY", "http://me:hunter%402@p:1")]);
        let proxy = good.for_host(true, "example.org", 443).unwrap().unwrap();
        assert_eq!(proxy.authorization(), Some(Secret::new("Basic bWU6aHVudGVyQDI=")));
        assert_eq!(proxy.user_and_password(), Some(("me".to_owned(), Secret::new("hunter@2"))));
        assert!(!format!("{good:?} {:?}", good.described()).contains("hunter"));
    }

    proptest! {
        #[test]
        fn any_variables_are_taken_or_refused(proxy in "[ -~]{0,30}", none in "[ -~]{0,30}", host in "[a-z0-9.:]{0,20}") {
            let proxies = of(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", &none)]);
            let _ = proxies.for_host(true, &host, 443);
        }
    }
}
