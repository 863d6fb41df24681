//! Why a machine could not be reached by ssh, and what to do about it.

use std::path::PathBuf;

use super::MachineError;

/// Why a machine could not be reached, or what it would not do.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The name of a host or user could be taken for something else by a shell or by `ssh`.
    #[error("`{text}` can't be the {what} of a machine: {why}")]
    Name {
        /// Host name, or user.
        what: &'static str,
        /// What was given.
        text: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// OpenSSH's configuration could not be read or understood.
    #[error("OpenSSH's configuration for {host}: {why}")]
    Configuration {
        /// The machine.
        host: String,
        /// Where, and what is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// What is pinned as the host's key is no key.
    #[error("the pinned host key `{text}` can't be used: {why}")]
    Pin {
        /// What was given.
        text: String,
        /// Why not.
        why: String,
    },
    /// No connection.
    #[error("no connection to {address}: {why}")]
    Connect {
        /// Where a connection was tried.
        address: String,
        /// What came of each try.
        why: String,
        /// Whether trying again soon may help.
        transient: bool,
    },
    /// The program between here and the machine did not do its work.
    #[error("the ProxyCommand `{command}` {why}")]
    Proxy {
        /// The command with everything filled in.
        command: String,
        /// What happened.
        why: String,
    },
    /// The other side ended the connection before it let anybody in.
    #[error("{host} ended the connection during the handshake: {why}")]
    Handshake {
        /// The machine.
        host: String,
        /// What was seen of it.
        why: String,
        /// Whether trying again soon may help.
        transient: bool,
    },
    /// Nobody has said what the host's key is.
    #[error(
        "the key of {host} is not known: it shows {algorithm} {fingerprint}, and none of {looked} has it"
    )]
    UnknownKey {
        /// The name it was looked for under.
        host: String,
        /// The key's kind.
        algorithm: String,
        /// `SHA256:...`.
        fingerprint: String,
        /// The key, as it is written in files.
        line: String,
        /// Where it was looked for.
        looked: String,
    },
    /// The host's key is another one than is known.
    #[error(
        "THE KEY OF {host} HAS CHANGED: it shows {algorithm} {fingerprint}, but {place} has {expected} for it. Somebody may be \
         listening in, or the machine was set up anew"
    )]
    ChangedKey {
        /// The name it was looked for under.
        host: String,
        /// The key's kind.
        algorithm: String,
        /// `SHA256:...` of what it shows.
        fingerprint: String,
        /// `FILE:LINE`, or what the target pins.
        place: String,
        /// `SHA256:...` of what is known.
        expected: String,
    },
    /// The host's key was revoked.
    #[error("the key {fingerprint} that {host} shows is marked as revoked in {place}")]
    RevokedKey {
        /// The name it was looked for under.
        host: String,
        /// `SHA256:...`.
        fingerprint: String,
        /// `FILE:LINE`.
        place: String,
    },
    /// The host's certificate does not hold.
    #[error("the certificate that {host} shows can't be trusted: {why}")]
    HostCertificate {
        /// The name it was looked for under.
        host: String,
        /// Why not.
        why: String,
    },
    /// No key was taken.
    #[error("{host} lets `{user}` in with none of the keys: {tried}")]
    NotLetIn {
        /// The machine.
        host: String,
        /// Who wanted in.
        user: String,
        /// What was tried, key by key, and what came of it.
        tried: String,
        /// What to do.
        remedy: String,
    },
    /// A hop on the way could not be reached.
    #[error("the jump host {hop}: {source}")]
    Jump {
        /// The hop.
        hop: String,
        /// Why not.
        source: Box<Self>,
    },
    /// A connection that was there has broken.
    #[error("the connection to {host} broke: {why}")]
    Lost {
        /// The machine.
        host: String,
        /// How.
        why: String,
    },
    /// The server would not open another channel.
    #[error("{host} refuses {what}: {why}")]
    Channel {
        /// The machine.
        host: String,
        /// What was asked for.
        what: String,
        /// What it says.
        why: String,
        /// What to do.
        remedy: String,
        /// Whether nobody takes the connection, as opposed to it being forbidden: that may change from one moment to the next.
        nobody_listens: bool,
    },
    /// Within russh.
    #[error(transparent)]
    Protocol(#[from] russh::Error),
}

impl SshError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Name { .. } => "Give the machine's plain name; make an alias in ~/.ssh/config if it needs more.".into(),
            Self::Configuration { remedy, .. }
            | Self::NotLetIn { remedy, .. }
            | Self::Channel { remedy, .. } => remedy.clone(),
            Self::Pin { .. } => {
                "Write `ssh-ed25519 AAAA...` as `ssh-keyscan HOST` prints it, or `SHA256:...` as `ssh-keygen -lf` does."
                    .into()
            }
            Self::Connect { .. } => {
                "See that the machine runs, that its name and port are right, and that nothing between here and it blocks them."
                    .into()
            }
            Self::Proxy { .. } => "Run the command by hand, and see what it says.".into(),
            Self::Handshake { .. } => {
                "See what the machine's sshd says (`journalctl -u ssh`); MaxStartups there limits connections that begin at once."
                    .into()
            }
            Self::UnknownKey { host, line, .. } => format!(
                "Compare the fingerprint with what the machine itself says (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` \
                 there). If it is right, pin it: `host_key = \"{line}\"` in the target, or add the line `{host} {line}` to \
                 ~/.ssh/known_hosts (`ssh-keyscan` prints such lines)."
            ),
            Self::ChangedKey { place, .. } => format!(
                "Nothing was sent to the machine. Find out why its key changed. Only if that is as it should be, replace what \
                 {place} says (`ssh-keygen -R HOST` removes it from the known hosts)."
            ),
            Self::RevokedKey { place, .. } => {
                format!("Give the machine a new host key; the mark is at {place}.")
            }
            Self::HostCertificate { .. } => {
                "Have the machine's host certificate signed anew for this name, or pin its plain key.".into()
            }
            Self::Jump { source, .. } => source.remedy(),
            Self::Lost { .. } => "Run the command again; it goes on from what is there.".into(),
            Self::Protocol(_) => "See what the machine's sshd says (`journalctl -u ssh`).".into(),
        }
    }

    /// Whether trying again soon may help: the server turned somebody away because many came at once, or it is just starting.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { transient, .. } | Self::Handshake { transient, .. } => *transient,
            _ => false,
        }
    }

    /// As the seam to machines tells it.
    pub fn about(self, target: &str) -> MachineError {
        let remedy = self.remedy();
        MachineError::Unreachable { target: target.into(), why: self.to_string(), remedy }
    }
}

/// Files for people: `a, b`.
pub(super) fn list(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return "the known hosts files (there are none)".into();
    }
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}
