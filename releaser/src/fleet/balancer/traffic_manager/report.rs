//! What a profile says of itself and its endpoints.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::Name;

/// A profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) enabled: bool,
    /// `Weighted`, `Priority`, ...
    pub(super) routing: String,
    pub(super) weighted: bool,
    /// Seconds.
    pub(super) ttl: u32,
    /// Seconds between two probes.
    pub(super) interval: u32,
    /// Failures before an endpoint counts as down.
    pub(super) tolerated: u32,
    /// By the targets' names.
    pub(super) endpoints: BTreeMap<Name, Endpoint>,
    /// Enabled endpoints whose names no target can have.
    pub(super) strangers: Vec<String>,
}

/// An endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// As Azure writes it.
    pub(super) name: String,
    /// `externalEndpoints`, `azureEndpoints` or `nestedEndpoints`.
    pub(super) kind: String,
    pub(super) enabled: bool,
    pub(super) weight: u32,
    /// `Online`, `Degraded`, `CheckingEndpoint`, ...
    pub(super) monitored: String,
    /// Whether it is answered with whatever its probes say.
    pub(super) always: bool,
}

impl Endpoint {
    /// Whether requests may be left to it.
    pub(super) fn is_up(&self) -> bool {
        self.always || matches!(self.monitored.as_str(), "Online" | "Unmonitored")
    }

    /// Whether Traffic Manager finds it up; `None` where it does not look, or has not looked yet.
    pub(super) fn found_up(&self) -> Option<bool> {
        match self.monitored.as_str() {
            "Online" => Some(true),
            _ if self.always || !self.enabled => None,
            "Degraded" | "Inactive" | "Stopped" => Some(false),
            _ => None,
        }
    }
}

const KINDS: [&str; 3] = ["externalEndpoints", "azureEndpoints", "nestedEndpoints"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileSaid {
    name: String,
    properties: ProfileProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileProperties {
    profile_status: String,
    traffic_routing_method: String,
    dns_config: DnsConfig,
    #[serde(default)]
    monitor_config: MonitorConfig,
    #[serde(default)]
    endpoints: Vec<EndpointSaid>,
}

#[derive(Deserialize)]
struct DnsConfig {
    ttl: u32,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct MonitorConfig {
    interval_in_seconds: Option<u32>,
    tolerated_number_of_failures: Option<u32>,
}

#[derive(Deserialize)]
struct EndpointSaid {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    properties: EndpointProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointProperties {
    endpoint_status: String,
    endpoint_monitor_status: Option<String>,
    weight: Option<u32>,
    always_serve: Option<String>,
}

/// Reads a profile.
///
/// # Errors
/// It is none; says what is wrong.
pub(super) fn profile(text: &[u8]) -> Result<Profile, String> {
    let said: ProfileSaid =
        serde_json::from_slice(text).map_err(|error| format!("the answer is no profile: {error}"))?;
    let properties = said.properties;
    let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
    let mut endpoints = BTreeMap::new();
    let mut strangers = Vec::new();
    for one in properties.endpoints {
        let last = one.kind.rsplit('/').next().unwrap_or_default();
        let kind = KINDS.into_iter().find(|kind| is(kind, last));
        let kind =
            kind.ok_or_else(|| format!("the endpoint `{}` is of the unknown kind `{last}`", one.name))?;
        let endpoint = Endpoint {
            name: one.name.clone(),
            kind: kind.to_owned(),
            enabled: is(&one.properties.endpoint_status, "Enabled"),
            weight: one.properties.weight.unwrap_or(1),
            monitored: one.properties.endpoint_monitor_status.unwrap_or_default(),
            always: one.properties.always_serve.is_some_and(|always| is(&always, "Enabled")),
        };
        // Azure's names are the same in any case.
        match one.name.to_ascii_lowercase().parse::<Name>() {
            Ok(name) => drop(endpoints.insert(name, endpoint)),
            Err(_) if endpoint.enabled => strangers.push(one.name),
            Err(_) => {}
        }
    }
    Ok(Profile {
        name: said.name,
        enabled: is(&properties.profile_status, "Enabled"),
        weighted: is(&properties.traffic_routing_method, "Weighted"),
        routing: properties.traffic_routing_method,
        ttl: properties.dns_config.ttl,
        interval: properties.monitor_config.interval_in_seconds.unwrap_or(30),
        tolerated: properties.monitor_config.tolerated_number_of_failures.unwrap_or(3),
        endpoints,
        strangers,
    })
}
