//! `allow`: the hosts that a step may reach.

use std::net::IpAddr;

use staith_model::Network;

use super::{
    problems::{Problem, quoted},
    values::{Understood, complaint, texts},
    walk::{Placed, Table},
};

/// `allow` of a step whose network is `network`, be it the step's own or inherited.
pub(super) fn allow(table: &Table<'_>, network: Network) -> Vec<String> {
    let hosts = table.filled_list("allow", host);
    if let Some(entry) = table.entry("allow").filter(|_| network != Network::Outbound) {
        table.problems().add(Problem::at(
            entry.key_place,
            "`allow` lists hosts, but the step has no network that leads to them",
            "this allows nothing",
            "add `network = \"outbound\"`, or remove `allow`",
        ));
    }
    texts(without_repetitions(table, hosts.unwrap_or_default()))
}

fn without_repetitions(table: &Table<'_>, hosts: Vec<Placed<String>>) -> Vec<Placed<String>> {
    let mut once: Vec<Placed<String>> = Vec::new();
    for host in hosts {
        match once.iter().find(|other| other.value == host.value) {
            Some(first) => {
                let message = format!("`allow` names `{}` twice", host.value);
                let problem = Problem::at(host.place, message, "here again", "name it once");
                table.problems().add(problem.and_at(first.place.clone(), "here first"));
            }
            None => once.push(host),
        }
    }
    once
}

/// A host's name, or `*.` and the name of all below; in lower case.
fn host(text: &str) -> Understood<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() {
        return complaint(
            "holds an address",
            "hosts are allowed by name: what is at an address changes",
            "write the host's name",
        );
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    // All of a top-level domain is as good as everything, and surely a slip.
    let whole_domain = text.starts_with("*.") && !name.contains('.');
    if name.len() <= 253 && name.split('.').all(label) && !whole_domain {
        return Ok(text.to_ascii_lowercase());
    }
    complaint(
        "is not a host's name",
        format!("{} can't be a host", quoted(text)),
        match host_of(text) {
            Some(host) => format!("write \"{host}\": a name alone, without scheme, port and path"),
            None => {
                "write a name such as \"registry.repos.org\", or \"*.example.org\" for all hosts below it"
                    .to_owned()
            }
        },
    )
}

/// The host of what a person wrote as a URL.
fn host_of(text: &str) -> Option<&str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(['/', ':', '?', '#']).next()?;
    (host != text && host.contains('.') && self::host(host).is_ok()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names() {
        for (good, meant) in
            [("repo.org", "repo.org"), ("*.Example.org", "*.example.org"), ("mirror", "mirror")]
        {
            assert_eq!(host(good).as_deref(), Ok(meant));
        }
        for bad in [
            "",
            "*",
            "*.org",
            "a..b",
            "https://repo.org/simple",
            "repo.org:443",
            "1.2.3.4",
            "::1",
            "-a.b",
            "a b",
            "ä.de",
            "*.*.a.b",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
        assert!(host("https://repo.org/simple").unwrap_err().help.contains("\"repo.org\""));
    }
}
