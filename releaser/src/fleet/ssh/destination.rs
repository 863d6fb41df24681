//! Which machine is meant, as the project says it.

use staith_model::Access;

use super::error::SshError;

/// A machine, as the project names it; OpenSSH's configuration decides the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Host name, address, or alias in the configuration.
    pub host: String,
    /// `None` leaves it to the configuration.
    pub user: Option<String>,
    /// `None` leaves it to the configuration.
    pub port: Option<u16>,
    /// The host's key, pinned: `ssh-ed25519 AAAA...` or `SHA256:...`.
    pub host_key: Option<String>,
}

impl Destination {
    /// A host with everything left to the configuration.
    pub fn of(host: impl Into<String>) -> Self {
        Self { host: host.into(), user: None, port: None, host_key: None }
    }

    /// What a target says, where it is reached by ssh.
    pub fn of_access(access: &Access) -> Option<Self> {
        match access {
            Access::Ssh { host, user, port, host_key, .. }
            | Access::Windows { host, user, port, host_key, .. } => {
                Some(Self { host: host.clone(), user: user.clone(), port: *port, host_key: host_key.clone() })
            }
            Access::Local | Access::Pull => None,
        }
    }

    /// Reads `[USER@]HOST[:PORT]`, as jump hosts are written; `ssh://` in front is fine, and `[::1]:22` is an address and a port.
    ///
    /// # Errors
    /// The port is no number, or a name could be taken for something else.
    pub fn parse(text: &str) -> Result<Self, SshError> {
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None if rest.matches(':').count() > 1 => (rest, None),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.filter(|port| !port.is_empty()).map(str::parse).transpose().map_err(|_| {
            SshError::Name { what: "port", text: text.into(), why: "it is no number up to 65535" }
        })?;
        let found = Self { host: host.into(), user, port, host_key: None };
        found.check()?;
        Ok(found)
    }

    /// Refuses names that `ssh` or the shell of a ProxyCommand could take for something else: OpenSSH's own rules.
    pub(super) fn check(&self) -> Result<(), SshError> {
        plain("host name", &self.host, "'\"`$\\;&<>|(){}")?;
        self.user.as_deref().map_or(Ok(()), |user| plain("user", user, "'\"`;&<>|(){}"))
    }

    /// For people: `deploy@web-1:2222`.
    pub fn describe(&self) -> String {
        let user = self.user.as_deref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{user}{}{port}", self.host)
    }
}

fn plain(what: &'static str, text: &str, forbidden: &str) -> Result<(), SshError> {
    let refused = |why| Err(SshError::Name { what, text: text.escape_debug().to_string(), why });
    if text.is_empty() {
        return refused("it is empty");
    }
    if text.starts_with('-') {
        return refused("it begins with a dash, as options do");
    }
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || forbidden.contains(letter))
    {
        return refused("it has a character that means something to a shell");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read_as_openssh_writes_them() {
        let of = |user: Option<&str>, host: &str, port| Destination {
            host: host.into(),
            user: user.map(Into::into),
            port,
            host_key: None,
        };
        for (text, expected) in [
            ("bastion", of(None, "bastion", None)),
            ("me@bastion:2222", of(Some("me"), "bastion", Some(2222))),
            ("ssh://me@bastion:2222", of(Some("me"), "bastion", Some(2222))),
            ("[::1]:22", of(None, "::1", Some(22))),
            ("fe80::1", of(None, "fe80::1", None)),
            ("me@corp@bastion", of(Some("me@corp"), "bastion", None)),
        ] {
            assert_eq!(Destination::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_refused() {
        for text in [
            "-oProxyCommand=x",
            "",
            "a b",
            "a;b",
            "$(a)",
            "`a`",
            "a@",
            "-l@host",
            "a\nb",
            "host:70000",
            "x'@h",
        ] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }
}
