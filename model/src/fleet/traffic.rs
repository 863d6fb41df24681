//! What a traffic provider needs to be told beside who serves.

use serde::{Deserialize, Serialize};

use super::TrafficSpec;

/// A node of HAProxy. Each way is `unix:/run/haproxy/admin.sock`, `tcp:HOST:PORT`, or `ssh:HOST:/run/haproxy/admin.sock`, where OpenSSH's
/// configuration applies to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HaproxyNode {
    /// The way to its runtime API, of level `admin`.
    pub runtime: String,
    /// The way to its master's socket; `None` where it has none, and then workers that a reload has left behind are not seen.
    pub master: Option<String>,
    /// The file from which a reload takes who serves; `None` leaves a reload to what the configuration says.
    pub state: Option<StateFile>,
    /// The key of the host of its `ssh:` ways, pinned; `None` means that the known hosts decide.
    pub host_key: Option<String>,
}

/// The file from which HAProxy takes the state of its servers when it is reloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateFile {
    /// Its path.
    pub path: String,
    /// The machine that has it, as in `ssh:HOST:PATH`; `None` is this machine.
    pub host: Option<String>,
    /// Whether it holds all backends (`load-server-state-from-file global`) or this one alone (`local`).
    pub whole: bool,
}

/// How Azure is told who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum AzureSignIn {
    /// A token that somebody else has got: the secret of this name. Nobody renews it.
    Token {
        /// The secret's name.
        secret: String,
    },
    /// An application of a tenant and its secret, for which Azure gives tokens.
    Client {
        /// Where it is asked: `https://login.microsoftonline.com`.
        login: String,
        /// The tenant's id.
        tenant: String,
        /// The application's id.
        client: String,
        /// The name of the secret that is the application's.
        secret: String,
    },
}

impl TrafficSpec {
    /// Names of the secrets whose values the provider needs.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let name = match self {
            Self::Haproxy { .. } | Self::BuiltIn { .. } => None,
            Self::Dns { secret, .. } => Some(secret.as_str()),
            Self::TrafficManager { sign_in, .. } => match sign_in {
                AzureSignIn::Token { secret } | AzureSignIn::Client { secret, .. } => Some(secret.as_str()),
            },
        };
        name.into_iter()
    }
}
