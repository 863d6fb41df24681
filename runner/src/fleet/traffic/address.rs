//! The one address at which others reach a target.

use std::{collections::BTreeSet, net::IpAddr};

use staith_model::{Exit, Target};
use staith_releaser::fleet::ssh::{Destination, SshClient};
use tokio::net::lookup_host;

use crate::output::Problem;

/// Address and, where it is said, port: of `serves-at`, or else of the host as OpenSSH's configuration knows it.
pub(super) async fn of(target: &Target, ssh: &SshClient) -> Result<(IpAddr, Option<u16>), Problem> {
    if let Some(place) = &target.serves_at {
        let (host, port) = split(place);
        return Ok((resolved(target, host).await?, port));
    }
    let Some(destination) = Destination::of_access(&target.access) else {
        let what = format!("target `{}` has no address that a name could have", target.name);
        return Err(Problem::new(Exit::Configuration, what)
            .with_remedy("write where others reach it: `serves-at = \"ADDRESS:PORT\"`"));
    };
    let settings = ssh.settings(&destination).await.map_err(|error| {
        Problem::new(Exit::Configuration, format!("target `{}`: {error}", target.name))
            .with_remedy(error.remedy())
    })?;
    Ok((resolved(target, &settings.host_name).await?, None))
}

/// Host and port of `host`, `host:port`, `::1` or `[::1]:port`.
fn split(place: &str) -> (&str, Option<u16>) {
    if place.parse::<IpAddr>().is_ok() {
        return (place, None);
    }
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    (host, port.and_then(|port| port.parse().ok()))
}

async fn resolved(target: &Target, host: &str) -> Result<IpAddr, Problem> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let wrong = |why: String| {
        Problem::new(Exit::Configuration, format!("target `{}` has no one address: {why}", target.name))
            .with_remedy("write the address that the name shall have: `serves-at = \"ADDRESS:PORT\"`")
    };
    let found = lookup_host((host, 0)).await.map_err(|error| wrong(format!("`{host}`: {error}")))?;
    let found: BTreeSet<IpAddr> = found.map(|place| place.ip()).collect();
    match found.first() {
        Some(one) if found.len() == 1 => Ok(*one),
        Some(_) => {
            let all: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(wrong(format!("`{host}` is {}", all.join(" and "))))
        }
        None => Err(wrong(format!("`{host}` is none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (place, expected) in [
            ("10.0.0.1", ("10.0.0.1", None)),
            ("10.0.0.1:80", ("10.0.0.1", Some(80))),
            ("web1.example.net:80", ("web1.example.net", Some(80))),
            ("::1", ("::1", None)),
            ("[::1]:80", ("::1", Some(80))),
        ] {
            assert_eq!(split(place), expected, "{place}");
        }
    }
}
