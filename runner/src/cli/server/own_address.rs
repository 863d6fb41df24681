//! By which address the server's own processes ask it: on this machine, whatever it listens on, and by a name that its certificate has.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use reqwest::Url;
use staith_model::Exit;
use staith_server::serve::{NoTls, name_of_certificate};

use crate::{client::Address, output::Problem};

/// The address of a server that listens there. With a certificate it is asked by the name that others know it by, by where it listens, or
/// by any name that the certificate has, and wherever that name leads to for others.
///
/// # Errors
/// The certificate can't be read, or is good for no name.
pub(super) fn of(
    listening: SocketAddr,
    certificate: Option<&Path>,
    public_url: Option<&str>,
) -> Result<Address, Problem> {
    let at = here(listening);
    let Some(certificate) = certificate else {
        return Address::of_own_server(&format!("http://{at}"), None, at);
    };
    let public = public_url.and_then(|url| Some(bare(Url::parse(url).ok()?.host_str()?)));
    let wished: Vec<String> =
        public.into_iter().chain([at.ip().to_string(), "localhost".to_owned()]).collect();
    let name = name_of_certificate(certificate, &wished).map_err(|bad| no_tls(&bad))?;
    let host = match name.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => name,
    };
    Address::of_own_server(&format!("https://{host}:{}", at.port()), Some(certificate), at)
}

pub(super) fn no_tls(bad: &NoTls) -> Problem {
    let problem = Problem::new(Exit::Configuration, "the server has no TLS").with_why(bad.to_string());
    match bad {
        NoTls::Nameless(_) => problem.with_remedy(
            "let it be issued for the name that runners and people know the server by, as a subject alternative name",
        ),
        _ => problem,
    }
}

/// Whoever listens everywhere listens here, too.
fn here(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(listening: &str, certificate: Option<&Path>, public_url: Option<&str>) -> String {
        let address = of(listening.parse().unwrap(), certificate, public_url).unwrap();
        format!("{} at {}", address.as_str(), address.at().unwrap())
    }

    #[test]
    fn without_a_certificate_it_is_asked_where_it_listens() {
        assert_eq!(asked("127.0.0.1:8765", None, None), "http://127.0.0.1:8765 at 127.0.0.1:8765");
        assert_eq!(asked("10.1.2.3:80", None, Some("https://ci.example")), "http://10.1.2.3 at 10.1.2.3:80");
        assert_eq!(asked("0.0.0.0:8765", None, None), "http://127.0.0.1:8765 at 127.0.0.1:8765");
        assert_eq!(asked("[::]:8765", None, None), "http://[::1]:8765 at [::1]:8765");
    }

    #[test]
    fn with_one_it_is_asked_by_a_name_of_that() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.pem");
        let certified = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            std::fs::write(&file, rcgen::generate_simple_self_signed(names).unwrap().cert.pem()).unwrap();
        };
        certified(&["ci.example", "127.0.0.1", "::1"]);
        let by_ip = asked("127.0.0.1:8765", Some(&file), None);
        assert_eq!(by_ip, "https://127.0.0.1:8765 at 127.0.0.1:8765");
        assert_eq!(asked("[::1]:8765", Some(&file), None), "https://[::1]:8765 at [::1]:8765");
        let public = Some("https://ci.example/");
        assert_eq!(asked("0.0.0.0:8765", Some(&file), public), "https://ci.example:8765 at 127.0.0.1:8765");
        certified(&["ci.example"]);
        let other = asked("0.0.0.0:8765", Some(&file), Some("https://proxied.example"));
        assert_eq!(other, "https://ci.example:8765 at 127.0.0.1:8765");
        certified(&["10.0.0.7"]);
        let refused = of("127.0.0.1:1".parse().unwrap(), Some(&file), None).unwrap_err();
        assert!(refused.why.unwrap().contains("no name of a host"));
    }
}
