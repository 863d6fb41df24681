//! Where the server goes of its own accord, because somebody set an address. Who may set one must not reach by it what only the server
//! reaches: itself, its neighbours on the link, and what clouds tell their machines.
//!
//! A name is resolved once, what is forbidden is taken out, and the connection is made to what is left: there is no second look-up that
//! could answer otherwise. Redirections are not followed.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

/// A forge that has not answered after so long is tried again later.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why something is not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("`{0}` is no address")]
    NoAddress(String),
    #[error(
        "`{0}` is on this machine, beside it, or a cloud's own, and the server's administrator has not allowed it"
    )]
    Forbidden(String),
    #[error("`{0}` is not https, and the server's administrator has not allowed its host")]
    Plain(String),
    #[error("no client can be made: {0}")]
    Client(String),
}

/// Goes only where it may.
#[derive(Debug, Clone)]
pub(super) struct Egress {
    client: Client,
    allowed: Arc<BTreeSet<String>>,
}

impl Egress {
    /// `allowed` are hosts that may be anywhere, and may be spoken to without TLS.
    pub(super) fn new(allowed: Arc<BTreeSet<String>>) -> Result<Self, Refused> {
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            .redirect(Policy::none())
            // A proxy would resolve names itself.
            .no_proxy()
            .dns_resolver(Arc::new(Sieve { allowed: Arc::clone(&allowed) }))
            .build()
            .map_err(|error| Refused::Client(staith_model::causes(&error)))?;
        Ok(Self { client, allowed })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// An address that may be gone to, as far as it says itself: what its name stands for is judged when it is resolved.
    pub(super) fn address(&self, text: &str) -> Result<Url, Refused> {
        let url = Url::parse(text).map_err(|_| Refused::NoAddress(text.to_owned()))?;
        let host = url.host_str().ok_or_else(|| Refused::NoAddress(text.to_owned()))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if self.allowed.contains(bare) {
            return Ok(url);
        }
        if url.scheme() != "https" {
            return Err(Refused::Plain(text.to_owned()));
        }
        match bare.parse() {
            Ok(address) if is_forbidden(address) => Err(Refused::Forbidden(bare.to_owned())),
            _ => Ok(url),
        }
    }
}

struct Sieve {
    allowed: Arc<BTreeSet<String>>,
}

impl Resolve for Sieve {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, is_allowed) = (name.as_str().to_owned(), self.allowed.contains(name.as_str()));
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let may_be = |address: &SocketAddr| is_allowed || !is_forbidden(address.ip());
            let left: Vec<SocketAddr> = found.into_iter().filter(may_be).collect();
            if left.is_empty() {
                return Err(Refused::Forbidden(host).into());
            }
            let left: Addrs = Box::new(left.into_iter());
            Ok(left)
        })
    }
}

/// Addresses of this machine, of the link, and those at which clouds tell their machines what they are. Private networks are not among
/// them: that is where people have forges of their own.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| is_forbidden_v6(address), is_forbidden_v4),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    /// Where Alibaba's and Azure's clouds answer their machines; the others do so on the link.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
    address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.octets()[0] == 0
        || address.octets()[0] >= 240
        || METADATA.contains(&address)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    /// Amazon's.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address == METADATA
}

/// The address of version 4 that one of version 6 stands for: mapped, compatible, by NAT64, by 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = address.segments();
    let last = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match words {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(last()),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => Some(last()),
        [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allowed: &[&str]) -> Egress {
        Egress::new(Arc::new(allowed.iter().map(|host| (*host).to_owned()).collect())).unwrap()
    }

    #[test]
    fn what_only_the_server_reaches_is_refused_however_it_is_written() {
        let egress = egress(&[]);
        for bad in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://0.0.0.0/",
            "https://169.254.169.254/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://168.63.129.16/",
            "https://100.100.100.200/",
            "https://224.0.0.1/",
            "https://[ff02::1]/",
            "http://forge.example.org/",
            "ftp://forge.example.org/",
            "not an address",
        ] {
            assert!(egress.address(bad).is_err(), "{bad}");
        }
        for good in [
            "https://api.github.com/",
            "https://10.0.0.5:3000/",
            "https://[2606:4700::1111]/",
            "https://192.168.1.2/",
        ] {
            assert!(egress.address(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn an_administrator_may_allow_a_host() {
        let egress = egress(&["127.0.0.1", "::1", "forge"]);
        for good in ["http://127.0.0.1:3000/", "https://[::1]/", "http://forge:3000/api"] {
            assert!(egress.address(good).is_ok(), "{good}");
        }
        assert!(egress.address("http://127.0.0.2/").is_err());
    }

    #[tokio::test]
    async fn a_name_that_stands_for_this_machine_is_refused_when_it_is_resolved() {
        let egress = egress(&[]);
        let url = egress.address("https://localhost:1/").unwrap();
        let error = egress.client().get(url).send().await.unwrap_err();
        assert!(staith_model::causes(&error).contains("has not allowed it"), "{error:?}");
    }
}
