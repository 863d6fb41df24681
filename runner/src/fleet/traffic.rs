//! How traffic providers are spoken to: one small room for each.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{Exit, FleetEnvironment, Name, Secret, Target, TrafficSpec};
use staith_releaser::{
    fleet::{balancer::Balancer, ssh::SshClient},
    traffic::TrafficError,
};

use super::reach;
use crate::output::Problem;

mod address;
mod azure;
mod built_in;
mod dns;
mod haproxy;

/// What a provider is made from.
struct Around<'a> {
    environment: &'a FleetEnvironment,
    targets: &'a [Target],
    secrets: &'a BTreeMap<String, Secret>,
    /// Nothing is connected yet.
    ssh: SshClient,
}

/// Who balances, not contacted yet; `None` where that is not Staith's concern.
///
/// # Errors
/// What the environment says of it can't be used, or a secret that it names is nowhere (20).
pub(super) async fn balancer(
    environment: &FleetEnvironment,
    targets: &[Target],
    secrets: &BTreeMap<String, Secret>,
) -> Result<Option<Arc<dyn Balancer>>, Problem> {
    let Some(traffic) = &environment.traffic else { return Ok(None) };
    let around = Around { environment, targets, secrets, ssh: SshClient::new(reach::ssh_options()) };
    let found = match traffic {
        TrafficSpec::Haproxy { nodes, backend } => haproxy::balancer(&around, nodes, backend)?,
        TrafficSpec::BuiltIn { nodes, backend } => built_in::balancer(&around, nodes, backend)?,
        TrafficSpec::Dns { .. } => dns::balancer(&around, traffic).await?,
        TrafficSpec::TrafficManager { profile, management, sign_in } => {
            azure::balancer(&around, profile, management, sign_in)?
        }
    };
    Ok(Some(found))
}

impl Around<'_> {
    /// The value of a secret.
    fn secret(&self, name: &str) -> Result<&Secret, Problem> {
        self.secrets.get(name).ok_or_else(|| {
            let environment = &self.environment.name;
            Problem::new(
                Exit::Configuration,
                format!(
                    "the secret `{name}`, which the traffic provider of `{environment}` needs, is not set"
                ),
            )
            .with_remedy(format!("set it: `staith secret set {name}`"))
        })
    }
}

/// What can't be told to a provider at all.
fn unusable(error: &TrafficError) -> Problem {
    let problem = Problem::new(Exit::Configuration, error.to_string());
    match error.remedy() {
        Some(remedy) => problem.with_remedy(remedy),
        None => problem,
    }
}

/// Names for people.
fn named(names: &[&Name]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
