//! Where a machine is, as people and programs write it. One set of rules for `runner.toml` and for inventories.

use core::net::{IpAddr, Ipv6Addr};

use super::Access;
use crate::Name;

/// Why a text does not say where a machine is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {what}", text.escape_debug())]
pub struct NotAnAddress {
    text: String,
    /// Continues a sentence that starts with the text: "has no host".
    pub what: &'static str,
    /// What to write.
    pub remedy: &'static str,
}

const FORM: &str =
    "write `host`, `user@host` or `user@host:port`; an address of IPv6 with a port is written `[::1]:22`";

pub(super) fn refuse<T>(text: &str, what: &'static str, remedy: &'static str) -> Result<T, NotAnAddress> {
    // Nobody reads more of it, and it may be somebody else's text.
    Err(NotAnAddress { text: text.chars().take(100).collect(), what, remedy })
}

impl Access {
    /// A machine behind ssh, of `host`, `user@host`, `host:port` or `user@host:port`.
    ///
    /// # Errors
    /// The text is none of them.
    pub fn ssh(text: &str) -> Result<Self, NotAnAddress> {
        if text.contains("://") {
            return refuse(text, "is a URL, and a machine is named without `ssh://`", FORM);
        }
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(Self::user(user)?), place),
            None => (None, text),
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self::Ssh { host, user, port, host_key: None, superuser: false })
    }

    /// A host's name, its address, or an alias of OpenSSH's configuration.
    ///
    /// # Errors
    /// The text is none of them. One that starts with `-` would be an option to programs.
    pub fn host(text: &str) -> Result<String, NotAnAddress> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_name =
            (1..=253).contains(&text.len()) && !text.starts_with(['-', '.']) && text.chars().all(fits);
        if is_name || text.parse::<IpAddr>().is_ok() {
            return Ok(text.to_owned());
        }
        let what = if text.is_empty() { "has no host" } else { "can't be a host" };
        refuse(text, what, FORM)
    }

    /// An account's name.
    ///
    /// # Errors
    /// The text can't be one.
    pub fn user(text: &str) -> Result<String, NotAnAddress> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\$".contains(c);
        if (1..=64).contains(&text.len()) && !text.starts_with('-') && text.chars().all(fits) {
            return Ok(text.to_owned());
        }
        refuse(text, "can't be an account", "write the account's name: letters, digits, `-`, `_` and `.`")
    }

    /// A host's key, as it is pinned: `SHA256:...` or `ssh-ed25519 AAAA...`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn host_key(text: &str) -> Result<String, NotAnAddress> {
        let base64 = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
        let is_key = match text.strip_prefix("SHA256:") {
            Some(hash) => hash.trim_end_matches('=').len() == 43 && base64(hash),
            None => text.split_once(' ').is_some_and(|(kind, key)| {
                (kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-"))
                    && key.len() >= 40
                    && base64(key)
            }),
        };
        if is_key {
            return Ok(text.to_owned());
        }
        refuse(
            text,
            "is not a host's key",
            "write `SHA256:` and the 43 characters that `ssh-keygen -lf` shows, or the key's kind and the key itself: \
             `ssh-ed25519 AAAA...`",
        )
    }

    /// Where others reach the application: `host` or `host:port`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn serves_at(text: &str) -> Result<String, NotAnAddress> {
        host_and_port(text).map(|_| text.to_owned())
    }

    /// The name that a machine gets where nobody gives it one: that of its host, without an account and a port.
    pub fn usual_name(&self) -> Option<Name> {
        let host = match self {
            Self::Ssh { host, .. } | Self::Windows { host, .. } => host.as_str(),
            Self::Local => "local",
            Self::Pull => return None,
        };
        let tidy = |c: char| if c == ':' { '-' } else { c.to_ascii_lowercase() };
        host.chars().map(tidy).collect::<String>().trim_start_matches(['-', '_', '.']).parse().ok()
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), NotAnAddress> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) if address.parse::<Ipv6Addr>().is_ok() => {
            (address, rest.strip_prefix(':'))
        }
        Some(_) => return refuse(text, "has no address of IPv6 in its brackets", FORM),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        None => None,
        Some(port) => match Some(port).filter(digits).and_then(|port| port.parse().ok()) {
            Some(port) if port > 0 => Some(port),
            _ => return refuse(text, "has a port that is none", "a port is a number from 1 to 65535"),
        },
    };
    Ok((Access::host(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ssh(host: &str, user: Option<&str>, port: Option<u16>) -> Access {
        Access::Ssh { host: host.into(), user: user.map(Into::into), port, host_key: None, superuser: false }
    }

    #[test]
    fn machines_are_written_as_for_ssh() {
        for (text, meant, name) in [
            ("web1", ssh("web1", None, None), "web1"),
            ("Web1.Example.net", ssh("Web1.Example.net", None, None), "web1.example.net"),
            ("deploy@web2:2222", ssh("web2", Some("deploy"), Some(2222)), "web2"),
            ("10.0.0.1", ssh("10.0.0.1", None, None), "10.0.0.1"),
            ("fe80::1", ssh("fe80::1", None, None), "fe80--1"),
            ("a@[::1]:22", ssh("::1", Some("a"), Some(22)), "1"),
        ] {
            assert_eq!(Access::ssh(text).unwrap(), meant, "{text}");
            assert_eq!(meant.usual_name().unwrap().as_str(), name, "{text}");
        }
        for bad in [
            "",
            "@a",
            "a@",
            "-oProxyCommand=x",
            "-l@a",
            "a:0",
            "a:",
            "a:+1",
            "a:99999",
            "a b",
            "[x]:1",
            "ssh://a",
        ] {
            assert!(Access::ssh(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_pinned_whole() {
        let hash = format!("SHA256:{}", "a".repeat(43));
        let key = format!("ssh-ed25519 {}", "A".repeat(68));
        assert!(Access::host_key(&hash).is_ok() && Access::host_key(&key).is_ok());
        for bad in ["", "SHA256:abc", "ssh-ed25519", "MD5:aa:bb", &format!("{key}\n"), &format!("rsa {key}")]
        {
            assert!(Access::host_key(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_becomes_an_option_or_holds_what_a_shell_would_read(text in "(?s).{0,30}") {
            if let Ok(Access::Ssh { host, user, .. }) = Access::ssh(&text) {
                for part in [Some(host), user].into_iter().flatten() {
                    prop_assert!(!part.starts_with('-') && !part.contains([' ', ';', '\n', '`', '\'', '"']), "{}", part);
                }
            }
        }
    }
}
