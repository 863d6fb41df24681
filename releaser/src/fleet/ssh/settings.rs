//! What OpenSSH's configuration says of a machine, as `ssh -G` prints it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{destination::Destination, error::SshError};

/// What the configuration says of a machine, with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name or address to connect to.
    pub host_name: String,
    /// The port to connect to.
    pub port: u16,
    /// Who is to be let in.
    pub user: String,
    /// Private keys, in order. They need not be there.
    pub identity_files: Vec<PathBuf>,
    /// Certificates named beside them.
    pub certificate_files: Vec<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Whether the agent's other keys stay out of it.
    pub identities_only: bool,
    /// The hops on the way, the first one first; `None` where none are configured.
    pub jumps: Vec<Destination>,
    /// The program to connect through, with everything filled in.
    pub proxy_command: Option<String>,
    /// Files of known hosts: the user's, then the machine's.
    pub known_hosts: Vec<PathBuf>,
    /// The name under which the host's key is looked up.
    pub host_key_alias: Option<String>,
    /// Names of algorithms in order of preference; empty leaves it to us.
    pub algorithms: Algorithms,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// After how much silence the machine is asked whether it is there.
    pub alive_interval: Option<Duration>,
    /// How often it may leave that unanswered.
    pub alive_count: usize,
    /// Whether only addresses of IPv4 (4) or IPv6 (6) are to be used.
    pub family: Option<u8>,
}

/// Names of algorithms, in order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// Key exchange.
    pub kex: Vec<String>,
    /// Ciphers.
    pub ciphers: Vec<String>,
    /// Message authentication.
    pub macs: Vec<String>,
    /// Host keys.
    pub host_keys: Vec<String>,
}

/// What the configuration's values may refer to.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The home directory.
    pub home: PathBuf,
    /// Who runs this.
    pub user: String,
    /// Its number.
    pub uid: u32,
    /// This machine's name.
    pub machine: String,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
}

impl Settings {
    /// Reads what `ssh -G` printed for a destination.
    ///
    /// # Errors
    /// A value can't be understood, or refers to what is not there.
    pub fn parse(printed: &str, asked: &Destination, around: &Surroundings) -> Result<Self, SshError> {
        let lines = Lines::of(printed);
        let wrong = |why: String| SshError::Configuration {
            host: asked.host.clone(),
            why,
            remedy: format!("`ssh -G {}` prints what OpenSSH makes of its configuration.", asked.host),
        };
        let host_name = lines.one("hostname").unwrap_or(&asked.host).to_owned();
        let user = lines.one("user").unwrap_or(&around.user).to_owned();
        let port = lines.number("port").map_err(wrong)?.unwrap_or(22);
        let port = u16::try_from(port).map_err(|_| wrong(format!("there is no port {port}")))?;
        let jumps = lines.one("proxyjump").map(hops).transpose()?.unwrap_or_default();
        let tokens = Tokens { asked, host_name: &host_name, user: &user, port, around };
        let files = |key| lines.all(key).map(|text| tokens.path(text)).collect::<Result<Vec<_>, _>>();
        let known = |key| match lines.one(key) {
            None | Some("none") => Ok(Vec::new()),
            Some(text) => {
                text.split_whitespace().map(|text| tokens.path(text)).collect::<Result<Vec<_>, _>>()
            }
        };
        let mut known_hosts = known("userknownhostsfile").map_err(wrong)?;
        known_hosts.extend(known("globalknownhostsfile").map_err(wrong)?);
        let proxy_command = lines.one("proxycommand").filter(|text| *text != "none");
        // Variables in a command are its shell's.
        let proxy_command = proxy_command.map(|text| tokens.fill(text, false)).transpose().map_err(wrong)?;
        Ok(Self {
            identity_files: files("identityfile").map_err(wrong)?,
            certificate_files: files("certificatefile").map_err(wrong)?,
            agent: agent(&lines, &tokens).map_err(wrong)?,
            identities_only: lines.one("identitiesonly") == Some("yes"),
            jumps,
            proxy_command,
            known_hosts,
            host_key_alias: lines.one("hostkeyalias").map(Into::into),
            algorithms: Algorithms {
                kex: lines.names("kexalgorithms"),
                ciphers: lines.names("ciphers"),
                macs: lines.names("macs"),
                host_keys: lines.names("hostkeyalgorithms"),
            },
            connect_timeout: lines.number("connecttimeout").map_err(wrong)?.map(Duration::from_secs),
            alive_interval: lines
                .number("serveraliveinterval")
                .map_err(wrong)?
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            alive_count: lines
                .number("serveralivecountmax")
                .map_err(wrong)?
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(3),
            family: match lines.one("addressfamily") {
                Some("inet") => Some(4),
                Some("inet6") => Some(6),
                _ => None,
            },
            host_name,
            user,
            port,
        })
    }

    /// The name under which the host's key is looked up, as known hosts write it: `host`, or `[host]:port`.
    pub(super) fn key_name(&self) -> String {
        match &self.host_key_alias {
            Some(alias) => alias.to_lowercase(),
            None if self.port == 22 => self.host_name.to_lowercase(),
            None => format!("[{}]:{}", self.host_name.to_lowercase(), self.port),
        }
    }
}

/// Where the agent is: what the configuration says, or else the environment.
fn agent(lines: &Lines<'_>, tokens: &Tokens<'_>) -> Result<Option<PathBuf>, String> {
    let named = match lines.one("identityagent") {
        Some("none") => return Ok(None),
        None | Some("SSH_AUTH_SOCK") => {
            return Ok(tokens
                .around
                .variables
                .get("SSH_AUTH_SOCK")
                .filter(|path| !path.is_empty())
                .map(Into::into));
        }
        Some(text) => text,
    };
    match named.strip_prefix('$').filter(|name| !name.starts_with('{')) {
        Some(variable) => Ok(tokens.around.variables.get(variable).map(Into::into)),
        None => tokens.path(named).map(Some),
    }
}

fn hops(text: &str) -> Result<Vec<Destination>, SshError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    text.split(',').map(|hop| Destination::parse(hop.trim())).collect()
}

/// Lines of `key value`, in order.
struct Lines<'a>(Vec<(String, &'a str)>);

impl<'a> Lines<'a> {
    fn of(printed: &'a str) -> Self {
        let pairs = printed.lines().filter_map(|line| line.trim().split_once(' '));
        Self(pairs.map(|(key, value)| (key.to_ascii_lowercase(), value.trim())).collect())
    }

    fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The first one counts, as everywhere in OpenSSH's configuration. `none` is left to those who ask.
    fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).next().filter(|value| !value.is_empty())
    }

    fn number(&self, key: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.one(key).filter(|text| *text != "none") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("`{key} {text}` is no number"))
    }

    fn names(&self, key: &str) -> Vec<String> {
        self.one(key).map(|text| text.split(',').map(Into::into).collect()).unwrap_or_default()
    }
}

/// What `%` and `${...}` in values stand for.
struct Tokens<'a> {
    asked: &'a Destination,
    host_name: &'a str,
    user: &'a str,
    port: u16,
    around: &'a Surroundings,
}

impl Tokens<'_> {
    /// A path with everything filled in; `~` is the home directory.
    fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = text.trim_matches('"');
        let filled = self.fill(text, true)?;
        Ok(match filled.strip_prefix("~/") {
            Some(rest) => self.around.home.join(rest),
            None if filled == "~" => self.around.home.clone(),
            None => Path::new(&filled).to_path_buf(),
        })
    }

    fn fill(&self, text: &str, variables: bool) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(inner) = rest.strip_prefix("${").filter(|_| variables) {
                let Some((name, after)) = inner.split_once('}') else {
                    return Err(format!("`{text}` has `${{` without its end"));
                };
                let value = self.around.variables.get(name);
                filled.push_str(value.ok_or_else(|| format!("`{text}` names ${name}, which is not set"))?);
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('%') {
                let letter = inner.chars().next().unwrap_or(' ');
                filled.push_str(&self.token(letter).ok_or_else(|| {
                    format!(
                        "`{text}` has `%{letter}`, which is not understood here; write out what it stands for"
                    )
                })?);
                rest = &inner[letter.len_utf8().min(inner.len())..];
            } else {
                filled.push('$');
                rest = &rest[1..];
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn token(&self, letter: char) -> Option<String> {
        let around = self.around;
        Some(match letter {
            '%' => "%".into(),
            'd' => around.home.display().to_string(),
            'h' => self.host_name.into(),
            'i' => around.uid.to_string(),
            'k' | 'n' => self.asked.host.clone(),
            'L' => around.machine.split('.').next().unwrap_or_default().into(),
            'l' => around.machine.clone(),
            'p' => self.port.to_string(),
            'r' => self.user.into(),
            'u' => around.user.clone(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
