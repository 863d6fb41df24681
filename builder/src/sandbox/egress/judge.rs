//! Which addresses a step may reach through the proxy.
//!
//! Never this host, whichever of its addresses is used, and never what only machines on the same link or in the same
//! cloud should reach: such services (metadata above all) trust whoever can speak to them. Private networks (RFC 1918,
//! unique local) are allowed, because that is where a company keeps its package mirrors; a step with outbound network is
//! trusted as much as a developer at a desk there.

use std::{fmt, io, net::IpAddr};

use crate::addresses::{Caution, special, undress};

/// Says what may be reached.
pub(super) trait Judge: fmt::Debug + Send + Sync + 'static {
    /// By how a host is written; why not.
    fn name(&self, host: &str, port: u16) -> Result<(), String>;

    /// The address to connect to for a host; why not.
    fn address(&self, host: &str, port: u16, address: IpAddr) -> Result<IpAddr, String>;

    /// Whether a connection may end at this host.
    fn may_lead_back(&self) -> bool;
}

/// For what steps ask for.
#[derive(Debug, Clone)]
pub(super) struct OfSteps {
    /// A parameter, because tests can't take the list of addresses away.
    pub(super) own: fn() -> io::Result<Vec<IpAddr>>,
}

impl Default for OfSteps {
    fn default() -> Self {
        Self { own: own_addresses }
    }
}

impl Judge for OfSteps {
    fn name(&self, host: &str, port: u16) -> Result<(), String> {
        // Nothing that the person allows commits to name is for steps: those can't reach the host.
        Caution::default().judge_name(host, port).map_err(|refused| refused.of_a_step())?;
        let is_own_name = nix::unistd::gethostname().is_ok_and(|own| own.eq_ignore_ascii_case(host));
        if is_own_name {
            return Err(format!("{host} is this host; steps can't reach the host"));
        }
        Ok(())
    }

    fn address(&self, host: &str, _: u16, address: IpAddr) -> Result<IpAddr, String> {
        // Without knowing them nothing can be judged, so nothing is reached.
        let own = (self.own)().map_err(|error| {
            format!("this host's own addresses can't be listed, so nothing may be reached: {error}")
        })?;
        judge(address, &own).map_err(|why| format!("{host} is {address}, {why}"))
    }

    fn may_lead_back(&self) -> bool {
        false
    }
}

/// For what Staith itself asks because a commit names it.
#[derive(Debug, Clone)]
pub(super) struct OfCommits(pub(super) Caution);

impl Judge for OfCommits {
    fn name(&self, host: &str, port: u16) -> Result<(), String> {
        self.0.judge_name(host, port).map_err(|refused| format!("{refused}. {}", refused.remedy()))
    }

    fn address(&self, host: &str, port: u16, address: IpAddr) -> Result<IpAddr, String> {
        let judged = self.0.judge_address(host, port, address);
        judged.map(|()| undress(address)).map_err(|refused| format!("{refused}. {}", refused.remedy()))
    }

    fn may_lead_back(&self) -> bool {
        true
    }
}

/// Looked up anew for each connection: a laptop changes its addresses.
pub(super) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    Ok(interfaces.filter_map(address).collect())
}

/// The address to connect to, with an IPv4 address in IPv6 clothes undressed; or why not.
fn judge(address: IpAddr, own: &[IpAddr]) -> Result<IpAddr, &'static str> {
    let address = undress(address);
    match special(address) {
        Some(why) => Err(why),
        None if own.iter().any(|own| undress(*own) == address) => {
            Err("an address of this host; steps can't reach the host")
        }
        None => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use proptest::prelude::*;

    fn allowed(text: &str) -> bool {
        let own = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        judge(text.parse().unwrap(), &own).is_ok()
    }

    #[test]
    fn the_table() {
        for refused in [
            "127.0.0.1",
            "127.255.1.1",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.2.7",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2:7::1",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "2001:db8::7",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:192.0.2.7",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "::ffff:0:7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "64:ff9b:1::7f00:1",
        ] {
            assert!(!allowed(refused), "{refused}");
        }
        for fine in [
            "1.1.1.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.8",
            "100.64.0.1",
            "2606:4700::1",
            "fd12::1",
            "fd00:42::43",
            "2001:db8::8",
            "::ffff:1.1.1.1",
        ] {
            assert!(allowed(fine), "{fine}");
        }
    }

    proptest! {
        #[test]
        fn own_addresses_are_never_reached(bytes: [u8; 16]) {
            let own = IpAddr::V6(Ipv6Addr::from(bytes));
            prop_assert!(judge(own, &[own]).is_err());
        }
    }
}
