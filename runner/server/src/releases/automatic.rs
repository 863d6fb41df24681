//! Runs that are released by themselves, where an administrator said so: the newest that passed, of protected code.

use std::time::Duration;

use staith_model::{
    DeploymentId, Digest,
    service::{Order, ReleaseStanding},
};
use tokio_util::sync::CancellationToken;

use super::{making::release_of, wishes::release_for};
use crate::{
    api::Problem,
    site::Site,
    store::{Actor, Due, NewOrder},
};

/// How often it is looked at least.
const LOOK: Duration = Duration::from_secs(10);
/// Who asks for it, in ledgers.
const WHO: &str = "server";

pub(super) async fn run(site: &Site, stop: &CancellationToken) {
    let (mut jobs, mut said) = (site.bells.jobs.listen(), site.bells.deployments.listen());
    while !stop.is_cancelled() {
        if let Err(problem) = look(site).await {
            tracing::warn!(why = problem.details().title, "what is to be released by itself can't be told");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = jobs.heard() => {}
            () = said.heard() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(site: &Site) -> Result<(), Problem> {
    for due in site.store.due(None).await? {
        match release(site, &due).await {
            Ok(false) => continue,
            Ok(true) => {}
            // The server's own trouble passes; what was made stays as it is.
            Err(problem) if problem.details().status >= 500 => {
                tracing::warn!(run = %due.run, why = problem.details().title, "not released yet");
                continue;
            }
            Err(problem) => {
                tracing::warn!(run = %due.run, why = problem.details().title, "not released by itself");
            }
        }
        site.store.due(Some(due)).await?;
    }
    Ok(())
}

/// Makes the release, then asks for its deployment. `false` while it is being made.
async fn release(site: &Site, due: &Due) -> Result<bool, Problem> {
    let made = site.store.run_made(&due.run).await?;
    let kept = site.store.releases(&due.project).await?;
    let known = kept.into_iter().find(|one| one.seen.run == due.run);
    let seen = match known {
        Some(known) => known.seen,
        None => release_of(site, &due.run, made, None, Actor::server()).await?.0,
    };
    match seen.state {
        ReleaseStanding::Making => return Ok(false),
        ReleaseStanding::Refused => {
            return Err(Problem::new(
                409,
                "not-made",
                seen.why.unwrap_or_else(|| "it can't be made".to_owned()),
            ));
        }
        ReleaseStanding::Made => {}
    }
    let Due { project, environment, run } = due.clone();
    let deployment = deployment(due, seen.created);
    let (release, digest) = release_for(site, &project, &environment, &seen.number.to_string()).await?;
    let order = Order::Deploy {
        environment,
        deployment,
        release: digest,
        trust: release.seen.trust,
        pipeline: release.material.pipeline,
        inventories: release.material.inventories,
        plan: None,
        reason: format!("run {run} passed"),
        by_itself: true,
        repair: false,
        override_floor: None,
    };
    let new = NewOrder { project, what: "deployment-asked", order, who: WHO.to_owned() };
    site.store.add_order(new, Actor::server(), site.clock.unix_millis()).await?;
    site.bells.orders.ring();
    Ok(true)
}

/// The deployment of a run to an environment: the same whenever it is asked for, so that it happens once though the server may have been
/// killed in between.
fn deployment(due: &Due, at: u64) -> DeploymentId {
    let what = (due.project.as_str(), due.environment.as_str(), due.run.as_str());
    let digest = Digest::of_value("staith.released-by-itself.v1", &what);
    let mut chance = [0; 10];
    for (to, from) in chance.iter_mut().zip(digest.hex().as_bytes().chunks(2)) {
        let text = std::str::from_utf8(from).unwrap_or_default();
        *to = u8::from_str_radix(text, 16).unwrap_or_default();
    }
    DeploymentId::new(at, chance)
}
