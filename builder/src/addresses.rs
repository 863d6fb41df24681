//! Which addresses Staith itself asks when somebody else than the person who runs it names them. Pure, but for the environment
//! that is read once.
//!
//! A commit names addresses: of submodules, of images, of the server that has its large files. Servers name more, in redirects
//! and answers. Behind some addresses are services that trust whoever can reach them: those of this machine, those of the same
//! link, the metadata of a cloud. So such an address is asked only when it is where the repository itself came from, or when the
//! person has allowed it. What the person names is never judged here.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// In Staith's own environment, never in a pipeline's: hosts that commits may name although they are special, with commas between
/// them: `localhost:5000`, `registry.test`, `*.lan`.
pub const ALLOW_VARIABLE: &str = "STAITH_ALLOW_HOSTS";

/// Why an address that a commit or a server names is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` is {what}, which nobody but the person who runs Staith may name")]
pub struct Refused {
    host: String,
    what: String,
    allow: String,
}

impl Refused {
    /// What to do about it, in a sentence for people.
    pub fn remedy(&self) -> String {
        format!("If it is meant, start Staith with {ALLOW_VARIABLE}={}.", self.allow)
    }

    /// The same for what a step asks for, which nobody can allow.
    pub(crate) fn of_a_step(&self) -> String {
        format!("{} is {}; steps can't reach the host, its link or metadata", self.host, self.what)
    }
}

/// What may be asked although it is special. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caution {
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    /// A host, or with `*.` in front all hosts below it.
    host: String,
    port: Option<u16>,
    /// By the person, and not because a repository came from there.
    by_person: bool,
}

impl Caution {
    /// As the environment of this process says.
    pub fn from_environment() -> Self {
        let value = env::var(ALLOW_VARIABLE).unwrap_or_default();
        Self::allowing(value.split([',', ' ']))
    }

    /// Allows these hosts: `name`, `name:port`, `*.name`, or addresses. What is empty means nothing.
    pub fn allowing<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let allowed = hosts.into_iter().map(str::trim).filter(|host| !host.is_empty()).map(|text| {
            let (host, port) = host_and_port(text);
            Allowed { host: plain(host), port, by_person: true }
        });
        Self { allowed: allowed.collect() }
    }

    /// The same, and what a repository that came from this host may name: the same host again, at the same port unless that is
    /// left open.
    #[must_use]
    pub fn with_origin(&self, host: &str, port: Option<u16>) -> Self {
        let mut more = self.clone();
        more.allowed.push(Allowed { host: plain(host), port, by_person: false });
        more
    }

    /// Whether the person has named this host. Then it is trusted like one on the command line.
    pub fn trusts(&self, host: &str, port: u16) -> bool {
        self.allows(host, port, true)
    }

    /// Judges a host as it is written, before anybody is asked for its address.
    ///
    /// # Errors
    /// It is special and not allowed.
    pub fn judge_name(&self, host: &str, port: u16) -> Result<(), Refused> {
        if self.allows(host, port, false) {
            return Ok(());
        }
        let name = plain(host);
        let special = match written_address(&name) {
            Some(address) => special(address),
            None => special_name(&name),
        };
        special.map_or(Ok(()), |what| Err(refused(host, port, what)))
    }

    /// Judges what a host's name turned out to mean.
    ///
    /// # Errors
    /// It is special and not allowed.
    pub fn judge_address(&self, host: &str, port: u16, address: IpAddr) -> Result<(), Refused> {
        match special(address) {
            Some(what) if !self.allows(host, port, false) => {
                Err(refused(host, port, &format!("at {address}, {what}")))
            }
            _ => Ok(()),
        }
    }

    fn allows(&self, host: &str, port: u16, person_only: bool) -> bool {
        let host = plain(host);
        self.allowed.iter().any(|allowed| {
            (allowed.by_person || !person_only)
                && allowed.port.is_none_or(|allowed| allowed == port)
                && names(&allowed.host, &host)
        })
    }
}

fn refused(host: &str, port: u16, what: &str) -> Refused {
    let host = plain(host);
    let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Refused { host, what: what.to_owned(), allow: format!("{shown}:{port}") }
}

/// In lower case, without brackets and without a dot at the end.
fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// `host:port`, `[v6]:port`, or either without a port.
pub(crate) fn host_and_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse().map_or((text, None), |port| (host, Some(port)))
        }
        _ => (text, None),
    }
}

/// Whether an entry of a list of hosts means this host: itself, or with `*.` in front all below it. Names are told apart as
/// DNS does it: without regard to case, and to a dot at the end.
pub(crate) fn names(allowed: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match allowed.to_ascii_lowercase().strip_prefix("*.") {
        Some(domain) => {
            host.strip_suffix(domain).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }
        None => host.eq_ignore_ascii_case(allowed),
    }
}

/// Names that mean the same everywhere, also where no name server knows them.
fn special_name(name: &str) -> Option<&'static str> {
    match name {
        "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback" => {
            Some("a name of a loopback address")
        }
        "metadata" | "metadata.google.internal" => Some("a name of cloud metadata"),
        "host.docker.internal" | "host.containers.internal" => {
            Some("a name of the machine around containers")
        }
        name => name.ends_with(".localhost").then_some("a name of a loopback address"),
    }
}

/// The address that a host is, also in the spellings that old resolvers understand: `127.1`, `0x7f000001`, `017700000001`.
fn written_address(host: &str) -> Option<IpAddr> {
    host.parse().ok().or_else(|| old_spelling(host).map(IpAddr::V4))
}

fn old_spelling(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| {
        let (digits, radix) = match text.strip_prefix("0x") {
            Some(hex) => (hex, 16),
            None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
            None => (text, 10),
        };
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, radix).ok().filter(|_| is_plain)
    };
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    let room = 8 * u32::try_from(4_usize.checked_sub(first.len())?).ok()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) || u64::from(*last) >> room != 0 {
        return None;
    }
    let above = first.iter().fold(0, |sum, part| (sum << 8) | part);
    Some(Ipv4Addr::from(above.checked_shl(room).unwrap_or(0) | last))
}

/// What is special about an address, whatever clothes it wears; `None` for all that anybody may name.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match undress(address) {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// IPv4 addresses within IPv6 ones: mapped, compatible, and those of translators, which would reach the IPv4 address.
pub(crate) fn undress(address: IpAddr) -> IpAddr {
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

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [0, ..] => Some("an unspecified address"),
        [169, 254, ..] => Some("a link-local address; cloud metadata lives there"),
        // Azure's and Alibaba's metadata, Oracle's, and what else is for protocols.
        [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, _] => Some("an address of cloud metadata"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved or broadcast address"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    /// Amazon's, Google's and Oracle's are somewhere in these, as /32.
    const METADATA: [(u16, u16); 3] = [(0xfd00, 0x0ec2), (0xfd20, 0x00ce), (0xfd00, 0x00c1)];
    const SCALEWAY_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42);
    let [first, second, ..] = address.segments();
    if address.is_loopback() || address.is_unspecified() {
        Some("a loopback or unspecified address")
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

    #[test]
    fn special_hosts_are_refused_however_they_are_written() {
        let caution = Caution::default();
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "localhost.localdomain",
            "ip6-localhost",
            "metadata.google.internal",
            "host.docker.internal",
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7F.1",
            "017700000001",
            "0177.0.0.1",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "0xA9FEA9FE",
            "2852039166",
            "169.254.43518",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "[::1]",
            "::",
            "::ffff:127.0.0.1",
            "[::ffff:169.254.169.254]",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            let refusal = caution.judge_name(host, 80).expect_err(host);
            assert!(refusal.remedy().contains(ALLOW_VARIABLE), "{host}: {}", refusal.remedy());
        }
        for host in [
            "example.org",
            "localhost.example.org",
            "notlocalhost",
            "10.0.0.1",
            "192.168.1.1",
            "1.1",
            "3232235777",
            "256.1.1.1",
            "1.2.3.4.5",
            "0x",
            "fd12::1",
            "2606:4700::1",
            "a-b.c",
        ] {
            assert_eq!(caution.judge_name(host, 80), Ok(()), "{host}");
        }
    }

    #[test]
    fn names_are_judged_again_by_what_they_mean() {
        let caution = Caution::default();
        let at = |address: &str| caution.judge_address("example.org", 443, address.parse().unwrap());
        assert!(at("93.184.216.34").is_ok() && at("10.1.2.3").is_ok());
        for bad in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"] {
            let text = at(bad).unwrap_err().to_string();
            assert!(text.contains("example.org") && text.contains(bad), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_by_host_and_port() {
        let caution = Caution::allowing(["localhost:5000", " *.lan ", "", "[::1]:8080", "127.0.0.2"]);
        for (host, port) in [("localhost", 5000), ("LocalHost", 5000), ("::1", 8080), ("127.0.0.2", 1)] {
            assert!(caution.judge_name(host, port).is_ok() && caution.trusts(host, port), "{host}:{port}");
        }
        for (host, port) in [("localhost", 2375), ("127.0.0.1", 5000), ("::1", 80)] {
            assert!(caution.judge_name(host, port).is_err(), "{host}:{port}");
        }
        assert!(caution.judge_address("git.lan", 443, Ipv4Addr::LOCALHOST.into()).is_ok());
        assert!(caution.judge_address("git.wan", 443, Ipv4Addr::LOCALHOST.into()).is_err());
        let remedy = Caution::default().judge_name("[::1]", 8080).unwrap_err().remedy();
        assert!(remedy.contains("[::1]:8080"), "{remedy}");
    }

    #[test]
    fn where_a_repository_came_from_may_be_named_again() {
        let strict = Caution::default().with_origin("localhost", Some(3000));
        assert!(strict.judge_name("localhost", 3000).is_ok() && !strict.trusts("localhost", 3000));
        assert!(strict.judge_name("localhost", 2375).is_err());
        assert!(strict.judge_name("127.0.0.1", 3000).is_err());
        let open = Caution::default().with_origin("localhost", None);
        assert!(open.judge_name("localhost", 2375).is_ok());
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

    proptest! {
        #[test]
        fn clothes_and_spellings_change_nothing(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(special(v4.into()), special(v4.to_ipv6_mapped().into()));
            let number = u32::from(v4);
            let spellings = [number.to_string(), format!("{number:#x}"), format!("0{number:o}"), v4.to_string()];
            for spelling in spellings {
                prop_assert_eq!(written_address(&spelling), Some(IpAddr::V4(v4)), "{}", spelling);
            }
        }

        #[test]
        fn any_text_is_judged(host in "[ -~]{0,40}", port: u16) {
            let _ = Caution::allowing([host.as_str()]).judge_name(&host, port);
        }
    }
}
