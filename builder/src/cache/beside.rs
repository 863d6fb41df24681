//! What a step sees of the services beside it.

use std::{collections::BTreeMap, os::unix::ffi::OsStrExt as _};

use serde::Serialize;
use staith_model::{Command, Digest, Name, Readiness, ServicePlan};

use crate::engine::Image;

/// A service and the digest of [what it runs in](of_service).
pub type Beside<'a> = (&'a ServicePlan, Digest);

/// What decides how a service answers, as far as its image does: the image's digest, and what the image says that is run, where
/// the service does not say it.
pub fn of_service(service: &ServicePlan, image: &Image) -> Digest {
    match &service.command {
        Some(_) => image.digest,
        None => {
            let words: Vec<&[u8]> = image.command.iter().map(|word| word.as_bytes()).collect();
            let workdir = image.workdir.as_ref().map(|at| at.as_os_str().as_bytes());
            Digest::of_value("staith.service-image.v1", &(image.digest, words, workdir))
        }
    }
}

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
