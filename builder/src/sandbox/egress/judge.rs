//! Which addresses a step may reach through the proxy.
//!
//! Never this host, whichever of its addresses is used, and never what only machines on the same link or in the same
//! cloud should reach: such services (metadata above all) trust whoever can speak to them. Private networks (RFC 1918,
//! unique local) are allowed, because that is where a company keeps its package mirrors; a step with outbound network is
//! trusted as much as a developer at a desk there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address to connect to, with an IPv4 address in IPv6 clothes undressed; or why not.
pub(super) fn judge(address: IpAddr, own: &[IpAddr]) -> Result<IpAddr, &'static str> {
    let address = undress(address);
    let refused = match address {
        IpAddr::V4(v4) => refuse_v4(v4),
        IpAddr::V6(v6) => refuse_v6(v6),
    };
    match refused {
        Some(why) => Err(why),
        None if own.iter().any(|own| undress(*own) == address) => {
            Err("an address of this host; steps can't reach the host")
        }
        None => Ok(address),
    }
}

/// Whether an entry of a list of hosts means this host: itself, or with `*.` in front all below it. Names are told apart as
/// DNS does it: without regard to case, and to a dot at the end.
pub(super) fn names(allowed: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match allowed.to_ascii_lowercase().strip_prefix("*.") {
        Some(domain) => {
            host.strip_suffix(domain).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }
        None => host.eq_ignore_ascii_case(allowed),
    }
}

/// IPv4 addresses within IPv6 ones: mapped, compatible, and those of translators, which would reach the IPv4 address.
fn undress(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let [one, two] = high.to_be_bytes();
    let [three, four] = low.to_be_bytes();
    let inner = Ipv4Addr::new(one, two, three, four);
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => IpAddr::V4(inner),
        [0, 0, 0, 0, 0, 0] if u32::from(inner) > 1 => IpAddr::V4(inner),
        _ => address,
    }
}

fn refuse_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address; steps can't reach the host"),
        [0, ..] => Some("an unspecified address; steps can't reach the host"),
        [169, 254, ..] => Some("a link-local address; cloud metadata lives there"),
        // Azure's and Alibaba's metadata, Oracle's, and what else is for protocols.
        [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, _] => Some("an address of cloud metadata"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved or broadcast address"),
        _ => None,
    }
}

fn refuse_v6(address: Ipv6Addr) -> Option<&'static str> {
    /// Amazon's, Google's and Oracle's are somewhere in these, as /32.
    const METADATA: [(u16, u16); 3] = [(0xfd00, 0x0ec2), (0xfd20, 0x00ce), (0xfd00, 0x00c1)];
    const SCALEWAY_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42);
    let [first, second, ..] = address.segments();
    if address.is_loopback() || address.is_unspecified() {
        Some("a loopback or unspecified address; steps can't reach the host")
    } else if first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0 {
        Some("a link-local address")
    } else if first & 0xff00 == 0xff00 {
        Some("a multicast address")
    } else if METADATA.contains(&(first, second)) || address == SCALEWAY_METADATA {
        Some("an address of cloud metadata")
    } else if first == 0x2002 || (first == 0x2001 && second == 0) || first == 0x64 {
        // 6to4, Teredo and local translators carry an IPv4 address inside that would have to be judged too.
        Some("an address of a tunnel to IPv4; use the IPv4 address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed(text: &str) -> bool {
        let own = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        judge(text.parse().unwrap(), &own).is_ok()
    }

    #[test]
    fn a_name_is_allowed_as_it_is_or_by_what_it_is_below() {
        for host in ["example.org", "EXAMPLE.org", "example.org."] {
            assert!(names("example.org", host), "{host}");
        }
        assert!(names("*.example.org", "a.b.Example.org"));
        for (allowed, host) in [
            ("example.org", "a.example.org"),
            ("example.org", "notexample.org"),
            ("*.example.org", "example.org"),
            ("*.example.org", "notexample.org"),
            ("*.example.org", ".example.org"),
            ("example.org", "example.org.evil.net"),
        ] {
            assert!(!names(allowed, host), "{allowed} {host}");
        }
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
        fn clothes_change_nothing(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(judge(v4.into(), &[]), judge(v4.to_ipv6_mapped().into(), &[]));
        }

        #[test]
        fn own_addresses_are_never_reached(bytes: [u8; 16]) {
            let own = IpAddr::V6(Ipv6Addr::from(bytes));
            prop_assert!(judge(own, &[own]).is_err());
        }
    }
}
