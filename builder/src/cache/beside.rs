//! What a step sees of the services beside it.

use std::collections::BTreeMap;

use serde::Serialize;
use staith_model::{Command, Digest, Name, Readiness, ServicePlan};

/// A service and the digest of its image.
pub type Beside<'a> = (&'a ServicePlan, Digest);

/// What of a service decides how it answers. Not its limits and its time to become ready: those decide whether it answers at
/// all, as those of a step decide whether it ends.
#[derive(Serialize)]
pub(super) struct SeenService<'a> {
    image: Digest,
    command: &'a Option<Command>,
    env: &'a BTreeMap<String, String>,
    secrets: &'a BTreeMap<String, String>,
    ready: &'a Readiness,
    ports: &'a [u16],
}

/// The services, by the name under which the step reaches each.
pub(super) fn seen<'a>(services: &[Beside<'a>]) -> BTreeMap<&'a Name, SeenService<'a>> {
    let one = |(service, image): &Beside<'a>| {
        let ServicePlan { name, command, env, secrets, ready, ports, .. } = service;
        (name, SeenService { image: *image, command, env, secrets, ready, ports })
    };
    services.iter().map(one).collect()
}
