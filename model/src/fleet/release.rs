//! What is deployed to machines: packages and, for each environment, the configuration by value.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Access, Schema, Target};
use crate::{Digest, HealthCheck, Name, Package, service::Trust};

/// A release: frozen when it is made, never edited, moved from environment to environment as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRelease {
    /// The project.
    pub project: Name,
    /// What travels.
    pub package: Package,
    /// Where it came from.
    pub source: SourceOfRelease,
    /// For each environment, how it runs there: all values resolved, secrets by reference and version.
    pub settings: BTreeMap<Name, ReleaseSetting>,
}

/// Where a release came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOfRelease {
    /// Commit, where there is one.
    pub commit: Option<String>,
    /// Branch, where it is known.
    pub branch: Option<String>,
    /// Whether the tree had changes that no commit has.
    pub dirty: bool,
    /// When the commit was made, in milliseconds since 1970, where the repository was at hand to tell. Not part of a release's
    /// identity: the commit's own id says it already, and the same inputs make the same release wherever that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<u64>,
    /// Whose code a server's runner built the package of, where somebody who is trusted has signed that. A server knows it by itself,
    /// and says nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// How a release runs in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSetting {
    /// The folder on a machine that holds releases, `current` and Staith's own state for this application.
    pub folder: String,
    /// How it is started and stopped there.
    pub service: Service,
    /// How a machine proves that it serves this release.
    pub health: Option<HealthCheck>,
    /// The port that the application listens on; what health is asked of.
    pub port: Option<u16>,
    /// Seconds for which a machine must be healthy without a break before it counts.
    pub min_healthy_seconds: u64,
    /// Values of variables and of the package's parameters, by name.
    pub variables: BTreeMap<String, String>,
    /// The same for machines of a role; they win over those for all.
    pub role_variables: BTreeMap<Name, BTreeMap<String, String>>,
    /// Variables whose values are secrets: which secret, and which version of it.
    pub secrets: BTreeMap<String, SecretVersion>,
    /// Files of the package in which variables are put: JSON and XML by their paths, XDT transforms by convention, and
    /// `#{NAME}#` tokens.
    pub rendered: Vec<String>,
    /// Programs that run around the switch.
    pub hooks: Vec<Hook>,
    /// What it does to the schema of its data, where it says something of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
}

/// Which secret, and which value of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// Its name.
    pub name: String,
    /// A keyed digest of its value when the release was made: another value is another version. Tells nothing of the value.
    /// Empty in what a pipeline says, where no value is known yet.
    pub version: String,
}

/// How a release is started and stopped on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Service {
    /// A systemd unit that Staith writes. The program is started from the resolved folder of its release.
    Systemd {
        /// The unit's name without `.service`.
        unit: String,
        /// Program and arguments; one with a `/` is looked up in the release's folder.
        command: Vec<String>,
        /// Environment.
        env: BTreeMap<String, String>,
        /// The account that it runs as; `None` is that of the deployer.
        user: Option<String>,
        /// Seconds between asking it to end and ending it.
        stop_seconds: u64,
    },
    /// A program that Staith's own program on the machine keeps running: neither systemd nor the superuser is needed.
    Supervised {
        /// Program and arguments; one with a `/` is looked up in the release's folder.
        command: Vec<String>,
        /// Environment.
        env: BTreeMap<String, String>,
        /// The account that it runs as; `None` is that of the deployer.
        user: Option<String>,
        /// Seconds between asking it to end and ending it.
        stop_seconds: u64,
    },
    /// A systemd unit that is on the machine already; it is restarted.
    Unit {
        /// The unit's name.
        unit: String,
    },
    /// A program on the machine that restarts whatever has to be. Run in the release's folder, with `STAITH_RELEASE` and
    /// `STAITH_FOLDER`.
    Command {
        /// Program and arguments.
        restart: Vec<String>,
        /// What stops it, for machines that get no release any more.
        stop: Option<Vec<String>>,
    },
    /// Nothing runs: files that something else serves from `current`.
    Files,
}

/// A program that runs on machines around the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What people call it.
    pub name: Name,
    /// When.
    pub at: HookPoint,
    /// Program and arguments, run in the release's folder.
    pub command: Vec<String>,
    /// Whether running it a second time is harmless. If not, and a machine died while it ran, a person decides.
    pub repeatable: bool,
    /// On the first machine only, rather than on each: a migration of a database.
    pub once: bool,
    /// Machines of these roles only; all if empty.
    pub roles: BTreeSet<Name>,
    /// Seconds after which it is ended and has failed.
    pub timeout_seconds: u64,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookPoint {
    /// After all machines are staged, before any switches.
    BeforeSwitch,
    /// On a machine out of traffic, before its `current` changes.
    BeforeRestart,
    /// On a machine that is healthy, before it gets traffic.
    AfterRestart,
    /// After the last machine switched: the smoke test. A failure goes back.
    AfterSwitch,
}

impl Service {
    /// The environment that a program gets which Staith starts.
    pub const fn env(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Systemd { env, .. } | Self::Supervised { env, .. } => Some(env),
            Self::Unit { .. } | Self::Command { .. } | Self::Files => None,
        }
    }

    /// The same, to be changed.
    pub const fn env_mut(&mut self) -> Option<&mut BTreeMap<String, String>> {
        match self {
            Self::Systemd { env, .. } | Self::Supervised { env, .. } => Some(env),
            Self::Unit { .. } | Self::Command { .. } | Self::Files => None,
        }
    }
}

impl ReleaseSetting {
    /// The port on which the application listens on a machine. Several targets that are one machine differ in it: there it is the
    /// one at which a target is reached, where it says one. Where files are all there is, whoever listens there is not the release's.
    pub fn port_on(&self, target: &Target) -> Option<u16> {
        let own = match (&target.access, &target.serves_at) {
            (Access::Local, Some(at)) if self.service != Service::Files => {
                at.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
            }
            _ => None,
        };
        own.and_then(|(_, port)| port.parse().ok()).or(self.port)
    }

    /// Whether a variable may be called so: `LOG_LEVEL`, `ConnectionStrings.Default`, `Service Url`. Letters, digits, `_`, `.`, `:`,
    /// `-` and spaces, first a letter, a digit or `_`, 200 at most; what starts with `STAITH_` is Staith's own.
    pub fn can_name_variable(text: &str) -> bool {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:- ".contains(c);
        starts_well
            && text.len() <= 200
            && text.chars().all(fits)
            && !text.ends_with(' ')
            && !text.starts_with("STAITH_")
    }

    /// Whether a variable can be one of a process's environment.
    pub fn is_environment_variable(text: &str) -> bool {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }
}

impl FleetRelease {
    /// The identity of the release.
    pub fn digest(&self) -> Digest {
        const DOMAIN: &str = "staith.fleet-release.v1";
        match self.source.committed_at {
            None => Digest::of_value(DOMAIN, self),
            Some(_) => {
                let mut identity = self.clone();
                identity.source.committed_at = None;
                Digest::of_value(DOMAIN, &identity)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_commit_was_made_makes_no_other_release() {
        let source = |committed_at| SourceOfRelease {
            commit: Some("c0ffee".into()),
            branch: None,
            dirty: false,
            committed_at,
            trust: None,
        };
        let release = |source| FleetRelease {
            project: "shop".parse().unwrap(),
            package: Package {
                name: "shop".parse().unwrap(),
                version: "1.0.0".to_owned().try_into().unwrap(),
                digest: Digest::of(b"package"),
                content: Digest::of(b"content"),
                size: 1,
            },
            source,
            settings: BTreeMap::new(),
        };
        let unknown = release(source(None));
        assert_eq!(release(source(Some(1))).digest(), unknown.digest());
        // What was written before the time was known is read, and means the same.
        let written = serde_json::to_string(&unknown).unwrap();
        assert!(!written.contains("committed_at"), "{written}");
        assert_eq!(serde_json::from_str::<FleetRelease>(&written).unwrap(), unknown);
        let mut other = source(None);
        other.commit = None;
        assert_ne!(release(other).digest(), unknown.digest());
    }
}
