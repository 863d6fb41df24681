//! The configuration file of a proxy.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use staith_model::Name;

use super::{
    super::{check::Check, serve::Limits},
    orders::{HEAVIEST, is_address},
};

/// What a proxy is to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The control socket.
    pub control: PathBuf,
    /// Where the proxy keeps who gets requests.
    pub folder: PathBuf,
    /// Its backends.
    pub backends: BTreeMap<Name, BackendSettings>,
}

/// What a backend is to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BackendSettings {
    /// Where clients come in without TLS.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Where clients come in with TLS.
    pub tls: Option<TlsSettings>,
    /// How members are checked.
    #[serde(default)]
    pub check: CheckSettings,
    /// Members that are always known. Others are told by deployments.
    #[serde(default)]
    pub members: BTreeMap<Name, MemberSettings>,
    /// What clients may take up.
    #[serde(default)]
    pub limits: LimitSettings,
}

/// Where clients come in with TLS, and what is shown to them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsSettings {
    /// Addresses.
    pub listen: Vec<SocketAddr>,
    /// The certificate and those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// How members are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CheckSettings {
    path: Option<String>,
    host: Option<String>,
    #[serde(deserialize_with = "duration")]
    interval: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    within: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
}

/// A member that is always known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MemberSettings {
    /// `HOST:PORT`.
    pub address: String,
    /// 1 to 256, relative to the others.
    #[serde(default = "usual_weight")]
    pub weight: u32,
    /// Whether it gets requests as long as no deployment has ever said who does.
    #[serde(default)]
    pub serves: bool,
}

/// What clients may take up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitSettings {
    connections: Option<usize>,
    header_bytes: Option<usize>,
    #[serde(deserialize_with = "duration")]
    idle: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    body: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    answer: Option<Duration>,
    held: Option<usize>,
    #[serde(deserialize_with = "duration")]
    hold: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    ending: Option<Duration>,
}

const fn usual_weight() -> u32 {
    100
}

impl Settings {
    /// Reads a configuration; the error is for people and names the place.
    ///
    /// # Errors
    /// It can't work.
    pub fn read(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let absolute = |what: &str, path: &Path| match path.is_absolute() {
            true => Ok(()),
            false => Err(format!("`{what}` is {}, and has to begin with /", path.display())),
        };
        absolute("control", &settings.control)?;
        absolute("folder", &settings.folder)?;
        if settings.backends.is_empty() {
            return Err("there is no backend: write [backends.NAME] with `listen`".into());
        }
        for (name, backend) in &settings.backends {
            backend.complaint().map_or(Ok(()), |why| Err(format!("backend {name}: {why}")))?;
        }
        Ok(settings)
    }
}

impl BackendSettings {
    fn complaint(&self) -> Option<String> {
        let entrances = self.listen.len() + self.tls.as_ref().map_or(0, |tls| tls.listen.len());
        if entrances == 0 {
            return Some("it listens nowhere: write `listen = [\"0.0.0.0:80\"]` or a table `tls`".into());
        }
        for (name, member) in &self.members {
            if !is_address(&member.address) {
                return Some(format!(
                    "the address of {name} is {:?}, and has to be HOST:PORT",
                    member.address
                ));
            }
            if !(1..=HEAVIEST).contains(&member.weight) {
                return Some(format!(
                    "the weight of {name} is {}, and there are 1 to {HEAVIEST}",
                    member.weight
                ));
            }
        }
        let (check, limits) = (self.check(), self.limits());
        let path = check.path.as_deref().unwrap_or("/");
        if !path.starts_with('/') || !path.chars().all(|c| c.is_ascii_graphic()) {
            return Some(format!("`check.path` is {path:?}, and has to begin with / and hold no spaces"));
        }
        let host = check.host.as_deref().unwrap_or("a");
        if host.is_empty() || !host.chars().all(|c| c.is_ascii_graphic()) {
            return Some(format!("`check.host` is {host:?}, which is no name of a host"));
        }
        let zero = check.rise == 0 || check.fall == 0 || check.interval.is_zero() || check.within.is_zero();
        if zero || limits.connections == 0 || limits.header_time.is_zero() {
            return Some(
                "`rise`, `fall`, `interval`, `within`, `connections` and `idle` are at least 1".into(),
            );
        }
        // What the parser needs for itself, and what it takes at most.
        if !(8192..=1 << 20).contains(&limits.header_bytes) {
            return Some("`limits.header-bytes` is between 8192 and 1048576".into());
        }
        None
    }

    pub(super) fn check(&self) -> Check {
        let (usual, given) = (Check::default(), self.check.clone());
        Check {
            path: given.path,
            host: given.host,
            interval: given.interval.unwrap_or(usual.interval),
            within: given.within.unwrap_or(usual.within),
            rise: given.rise.unwrap_or(usual.rise),
            fall: given.fall.unwrap_or(usual.fall),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let (usual, given) = (Limits::default(), &self.limits);
        Limits {
            connections: given.connections.unwrap_or(usual.connections),
            header_bytes: given.header_bytes.unwrap_or(usual.header_bytes),
            header_time: given.idle.unwrap_or(usual.header_time),
            body_time: given.body.unwrap_or(usual.body_time),
            answer_time: given.answer.unwrap_or(usual.answer_time),
            held: given.held.unwrap_or(1000),
            hold: given.hold.unwrap_or(Duration::from_secs(30)),
            first_hold: Duration::ZERO,
            ending: given.ending.unwrap_or(Duration::from_secs(30)),
        }
    }
}

/// `"250ms"`, `"30s"` or `"5m"`.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let parsed = [("ms", 1), ("s", 1000), ("m", 60_000)].into_iter().find_map(|(unit, millis)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(millis).filter(|millis| *millis <= 86_400_000).map(Duration::from_millis)
    });
    let wrong = || {
        D::Error::custom(format!(
            "{text:?} is no duration: write \"250ms\", \"30s\" or \"5m\", a day at most"
        ))
    };
    parsed.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
control = "/run/staith-proxy/control.sock"
folder = "/var/lib/staith-proxy"

[backends.shop]
listen = ["0.0.0.0:80", "[::]:80"]
tls = { listen = ["0.0.0.0:443"], certificate = "/etc/shop.pem", key = "/etc/shop.key" }
check = { path = "/healthz", host = "shop.example", interval = "500ms", within = "1s", rise = 1, fall = 2 }
members.web1 = { address = "10.0.0.1:8080", serves = true }
members.web2 = { address = "web2.example:8080", weight = 50 }
limits = { connections = 100, header-bytes = 16384, idle = "1m", body = "5s", answer = "2m", held = 7, hold = "3s", ending = "4s" }
"#;

    #[test]
    fn every_key_arrives() {
        let settings = Settings::read(WHOLE).unwrap();
        let shop = settings.backends.values().next().unwrap();
        assert_eq!((shop.listen.len(), shop.tls.as_ref().unwrap().listen.len()), (2, 1));
        let members: Vec<_> =
            shop.members.values().map(|m| (m.address.as_str(), m.weight, m.serves)).collect();
        assert_eq!(members, [("10.0.0.1:8080", 100, true), ("web2.example:8080", 50, false)]);
        let (check, limits) = (shop.check(), shop.limits());
        assert_eq!((check.path.as_deref(), check.host.as_deref()), (Some("/healthz"), Some("shop.example")));
        assert_eq!((check.interval.as_millis(), check.within.as_millis()), (500, 1000));
        assert_eq!((check.rise, check.fall, limits.connections, limits.held), (1, 2, 100, 7));
        let seconds = [limits.header_time, limits.body_time, limits.answer_time, limits.hold, limits.ending];
        assert_eq!(seconds.map(|time| time.as_secs()), [60, 5, 120, 3, 4]);
        assert_eq!(limits.header_bytes, 16384);
    }

    #[test]
    fn what_can_not_work_is_told() {
        for (from, to, why) in [
            ("control = \"/run", "control = \"run", "has to begin with /"),
            ("folder", "folders", "folders"),
            ("\"500ms\"", "\"half\"", "no duration"),
            ("10.0.0.1:8080", "10.0.0.1", "HOST:PORT"),
            ("weight = 50", "weight = 0", "1 to 256"),
            ("rise = 1", "rise = 0", "at least 1"),
            ("path = \"/healthz\"", "path = \"healthz\"", "begin with /"),
            ("header-bytes = 16384", "header-bytes = 16", "header-bytes"),
            ("[backends.shop]", "[other.shop]", "other"),
            ("0.0.0.0:80", "example:80", "socket address"),
        ] {
            let said = Settings::read(&WHOLE.replace(from, to)).unwrap_err();
            assert!(said.contains(why), "{from} -> {to}: {said}");
        }
        let nowhere = "control = \"/c\"\nfolder = \"/f\"\n[backends.shop]\n";
        assert!(Settings::read(nowhere).unwrap_err().contains("listens nowhere"));
    }
}
