//! One connection from its first byte until the machine has let us in.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{Preferred, cipher, client, kex, keys::Algorithm, mac};
use tokio_util::sync::CancellationToken;

use super::{
    auth,
    connection::{Connection, Endpoint, Seen, Watcher},
    error::SshError,
    host_key::Trust,
    settings::Settings,
    transport::{Duplex, Proxy, Severable, Words, tcp},
};

/// How long a handshake may take once there are bytes to the machine and back. Agents that ask their owner are within it.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// After how much silence a machine is asked whether it is there, where the configuration does not say. A machine that is gone
/// is then noticed within a minute, and a firewall that forgets idle connections does not.
const ALIVE: Duration = Duration::from_secs(15);

/// What a server's side of a handshake is made of.
struct Attempt {
    seen: Arc<Mutex<Seen>>,
    first: Arc<Mutex<Vec<u8>>>,
    proxy: Option<Arc<Words>>,
}

/// Connects once, without trying again. `through` is the connection to the hop before. Cancel-safe: what was begun is ended.
///
/// # Errors
/// See [`SshError`].
pub(super) async fn dial(
    host: &str,
    pinned: Option<&str>,
    settings: &Settings,
    through: Option<&Arc<Connection>>,
) -> Result<Arc<Connection>, SshError> {
    let trust = Trust::of(pinned, settings)?;
    // A host has keys of several kinds, and a pinned fingerprint does not say of which: each is asked for in turn.
    let (mut without, mut first): (Vec<Algorithm>, _) = (Vec::new(), None);
    loop {
        let mut attempt = Attempt { seen: Arc::default(), first: Arc::default(), proxy: None };
        let stream = attempt.stream(settings, through).await?;
        let config = Arc::new(config(&trust, settings, &without)?);
        let shaking = attempt.shake(host, settings, &trust, config, stream);
        match tokio::time::timeout(HANDSHAKE, shaking).await {
            Ok(Err(error @ SshError::ChangedKey { .. })) if trust.may_fit_another_kind() => {
                let shown = attempt.seen.lock().unwrap_or_else(PoisonError::into_inner).shown.clone();
                match shown.filter(|shown| !without.contains(shown)) {
                    Some(shown) => without.push(shown),
                    None => return Err(first.unwrap_or(error)),
                }
                first.get_or_insert(error);
            }
            // It has no key of any other kind: the first one counts.
            Ok(Err(error)) => return Err(first.unwrap_or(error)),
            Ok(Ok(connection)) => return Ok(connection),
            Err(_) => {
                let why = format!("it took longer than {} s", HANDSHAKE.as_secs());
                return Err(SshError::Handshake { host: host.into(), why, transient: false });
            }
        }
    }
}

impl Attempt {
    async fn stream(
        &mut self,
        settings: &Settings,
        through: Option<&Arc<Connection>>,
    ) -> Result<Box<dyn Duplex>, SshError> {
        if let Some(hop) = through {
            let there = Endpoint::Tcp(settings.host_name.clone(), settings.port);
            return Ok(Box::new(hop.forward(&there).await?));
        }
        if let Some(command) = &settings.proxy_command {
            let proxy = Proxy::start(command)?;
            self.proxy = Some(proxy.words());
            return Ok(Box::new(proxy));
        }
        Ok(Box::new(tcp(settings).await?))
    }

    async fn shake(
        &self,
        host: &str,
        settings: &Settings,
        trust: &Trust,
        config: Arc<client::Config>,
        stream: Box<dyn Duplex>,
    ) -> Result<Arc<Connection>, SshError> {
        let cut = CancellationToken::new();
        // From here on, leaving in any way ends the session's task.
        let severed = cut.clone().drop_guard();
        let stream = Severable::new(stream, cut, Arc::clone(&self.first));
        let ended = CancellationToken::new();
        let watcher = Watcher::new(trust.clone(), Arc::clone(&self.seen), ended.clone());
        let mut handle = match client::connect_stream(config, stream, watcher).await {
            Ok(handle) => handle,
            Err(error) => return Err(self.explain(host, settings, error).await),
        };
        match auth::let_in(&mut handle, host, settings).await {
            Ok(()) => Ok(Connection::new(handle, host.into(), Arc::clone(&self.seen), ended, severed)),
            Err(SshError::NotLetIn { host, user, tried, remedy }) => {
                let banner =
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).banner.trim().to_owned();
                let said = if banner.is_empty() { String::new() } else { format!(" (it says: {banner})") };
                Err(SshError::NotLetIn { host, user, tried: format!("{tried}{said}"), remedy })
            }
            Err(error) => Err(error),
        }
    }

    /// What went wrong before anybody could be let in.
    async fn explain(&self, host: &str, settings: &Settings, error: SshError) -> SshError {
        if let Some(refused) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused.take() {
            return refused;
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(said), Some(command), true) = (&self.proxy, &settings.proxy_command, first.is_empty()) {
            let said = said.last().await;
            let why = if said.is_empty() { "ended without a word".into() } else { format!("ended: {said}") };
            return SshError::Proxy { command: command.clone(), why };
        }
        let first = String::from_utf8_lossy(&first);
        let said = first
            .lines()
            .find(|line| !line.starts_with("SSH-"))
            .map(str::trim)
            .filter(|line| !line.is_empty());
        // A server that is asked by too many at once ends the connection before its greeting or right after it; newer ones say so.
        let ended = matches!(
            &error,
            SshError::Protocol(russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_))
        );
        let transient = ended && said.is_none_or(|said| said.contains("MaxStartups"));
        let why = match (said, first.is_empty()) {
            (Some(said), _) => format!("it says `{}`", said.chars().take(200).collect::<String>()),
            (None, true) => format!("not a word came from it ({error})"),
            (None, false) => error.to_string(),
        };
        SshError::Handshake { host: host.into(), why, transient }
    }
}

fn config(trust: &Trust, settings: &Settings, without: &[Algorithm]) -> Result<client::Config, SshError> {
    let mut preferred = Preferred::default();
    let named = &settings.algorithms;
    let none = |what: &str, names: &[String]| SshError::Configuration {
        host: settings.host_name.clone(),
        why: format!("none of the {what} that it allows is known here: {}", names.join(",")),
        remedy: "Allow one that is not obsolete; without the line, OpenSSH's own choice holds.".into(),
    };
    let kexes: Vec<_> = named.kex.iter().filter_map(|name| kex::Name::try_from(name.as_str()).ok()).collect();
    if !named.kex.is_empty() {
        if kexes.is_empty() {
            return Err(none("KexAlgorithms", &named.kex));
        }
        // Not algorithms but marks, among them the one for strict key exchange (CVE-2023-48795): these are not for the
        // configuration to leave out.
        let marks = [
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ];
        preferred.kex = Cow::Owned(kexes.into_iter().chain(marks).collect());
    }
    if !named.ciphers.is_empty() {
        let usable =
            |name: &String| cipher::Name::try_from(name.as_str()).ok().filter(|name| *name != cipher::NONE);
        let ciphers: Vec<_> = named.ciphers.iter().filter_map(usable).collect();
        if ciphers.is_empty() {
            return Err(none("Ciphers", &named.ciphers));
        }
        preferred.cipher = Cow::Owned(ciphers);
    }
    if !named.macs.is_empty() {
        let usable =
            |name: &String| mac::Name::try_from(name.as_str()).ok().filter(|name| *name != mac::NONE);
        let macs: Vec<_> = named.macs.iter().filter_map(usable).collect();
        if macs.is_empty() {
            return Err(none("MACs", &named.macs));
        }
        preferred.mac = Cow::Owned(macs);
    }
    trust.prefer(&mut preferred, &named.host_keys, without);
    if preferred.key.is_empty() {
        return Err(none("HostKeyAlgorithms", &named.host_keys));
    }
    Ok(client::Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(settings.alive_interval.unwrap_or(ALIVE)),
        keepalive_max: settings.alive_count,
        inactivity_timeout: None,
        ..client::Config::default()
    })
}
