//! Why another machine did not give what was asked for.

use std::{io, time::Duration};

use crate::addresses::Refused;

/// Why a fetch failed. Texts that come from the other side are shortened, and control characters in them are escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// No such host.
    #[error("the host `{0}` is not known")]
    UnknownHost(String),
    /// Nobody answers.
    #[error("no connection to `{host}`: {why}")]
    NoConnection {
        /// The host.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The certificate is not that of the host.
    #[error("`{host}` does not prove who it is: {why}")]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// This machine knows no authorities, so no certificate can be checked.
    #[error("no certificates of authorities were found, so `{0}` can't prove who it is")]
    NoAuthorities(String),
    /// 401, 403 or 404: servers do not tell strangers which repositories there are.
    #[error("repository not found, or no permission to read it (status {status})")]
    Denied {
        /// The status.
        status: u16,
        /// Whether credentials were sent.
        known: bool,
    },
    /// Another status than those.
    #[error("`{host}` answered with status {status}")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// Something answers that is no git server.
    #[error("`{0}` answered, but not as a git server does")]
    NotGit(String),
    /// A redirect that is not followed.
    #[error("`{host}` redirects in a way that is not followed: {why}")]
    Redirect {
        /// The host.
        host: String,
        /// Why not.
        why: String,
    },
    /// A commit or a server named an address that is not for them to name.
    #[error(transparent)]
    NotAllowed(#[from] Refused),
    /// This machine's own proxy can't be used.
    #[error("{0}")]
    Proxy(String),
    /// Nothing came for a long time.
    #[error("nothing came from `{host}` for {} seconds", .after.as_secs())]
    Stalled {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
    },
    /// Ssh, or git at its other end, failed.
    #[error("ssh to `{host}` failed: {said}")]
    Ssh {
        /// The host.
        host: String,
        /// The last that it said.
        said: String,
    },
    /// What came was no proper answer of a git server.
    #[error("what came was not understood: {0}")]
    NotUnderstood(String),
}

impl FetchFailure {
    /// What to do about it, in a sentence for people.
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownHost(_) => "Check the address's spelling and this machine's name server.",
            Self::NoConnection { .. } => "Check the network, the port, and HTTPS_PROXY if you use a proxy.",
            Self::Certificate { .. } => {
                "If the certificate is one of your own, name its authority's file in SSL_CERT_FILE; otherwise do not \
                 trust this network."
            }
            Self::NoAuthorities(_) => {
                "Install the package ca-certificates, or name a file of certificates in SSL_CERT_FILE."
            }
            Self::Denied { known: false, .. } => {
                "Check the address. A private repository needs credentials: git's credential helper, \
                 https://user:token@host/path, or ssh."
            }
            Self::Denied { known: true, .. } => "Check the address, and what the token may read.",
            Self::Status { .. } | Self::Stalled { .. } => "Try again later.",
            Self::NotAllowed(refused) => return refused.remedy(),
            Self::Proxy(_) => "Correct the variable, or list the host in NO_PROXY if it is reached without a proxy.",
            Self::NotGit(_) => "Check the address: `git ls-remote` with it must work.",
            Self::Redirect { .. } => "Use the address that the repository has now.",
            Self::Ssh { said, .. } if said.contains("Host key verification failed") => {
                "Connect once with ssh by hand, check the host's key and accept it."
            }
            Self::Ssh { said, .. } if said.contains("Permission denied") => {
                "Load your key into ssh-agent, or name it in ~/.ssh/config; passwords can't be asked for here."
            }
            Self::Ssh { .. } => "Check that `git ls-remote` with this address works.",
            Self::NotUnderstood(_) => "Try again; if it stays, check that `git clone` of it works.",
        }
        .to_owned()
    }

    /// From what the system says about a connection.
    pub(super) fn of_connection(host: &str, error: &io::Error, limit: Duration) -> Self {
        let host = host.to_owned();
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Stalled { host, after: limit },
            _ => Self::NoConnection { host, why: error.to_string() },
        }
    }
}

/// What the other side said, in one line that does nothing to a terminal.
pub(super) fn tamed(said: &str) -> String {
    const MOST: usize = 600;
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(4)..].join("; ");
    let plain: String =
        last.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MOST).collect();
    if plain.is_empty() { "it said nothing".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_side_says_can_not_move_a_cursor() {
        assert_eq!(tamed("a\nb\n\nc\x1b[2J\r\nd\ne\n"), "b; c\u{fffd}[2J; d; e");
        assert_eq!(tamed(" \n"), "it said nothing");
        assert!(tamed(&"x".repeat(9999)).len() < 700);
    }
}
