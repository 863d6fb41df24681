//! Azure Traffic Manager.

use std::sync::Arc;

use staith_model::AzureSignIn;
use staith_releaser::fleet::balancer::{
    Balancer,
    traffic_manager::{SignIn, TrafficManager},
};

use super::{Around, unusable};
use crate::output::Problem;

/// The endpoints of a profile, which are the targets.
pub(super) fn balancer(
    around: &Around<'_>,
    profile: &str,
    management: &str,
    sign_in: &AzureSignIn,
) -> Result<Arc<dyn Balancer>, Problem> {
    let sign_in = match sign_in {
        AzureSignIn::Token { secret } => SignIn::Token(around.secret(secret)?.clone()),
        AzureSignIn::Client { login, tenant, client, secret } => SignIn::Client {
            login: login.clone(),
            tenant: tenant.clone(),
            client: client.clone(),
            secret: around.secret(secret)?.clone(),
        },
    };
    let manager = TrafficManager::new(management, profile, sign_in);
    manager.map(|manager| Arc::new(manager) as Arc<dyn Balancer>).map_err(|error| unusable(&error))
}
