//! One service: its sandbox, from its start to its end.

use std::{future::Future, path::PathBuf, time::Duration};

use staith_model::{Name, Network, ServicePlan};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use crate::{
    engine::{EngineError, Gatekeeper, StepExit, StepSpec},
    execute::{
        attempt::{Attempt, argv, blocking, of_layer_error},
        verdict::Verdict,
    },
};

/// A service is ended when its step has; this is what ends it if that should fail.
const BEYOND_THE_STEP: Duration = Duration::from_secs(3600);

/// A service that has ended.
#[derive(Debug)]
pub(in crate::execute) struct Ended {
    pub(super) service: Name,
    pub(super) exit: Result<StepExit, EngineError>,
    /// What it wrote last, line by line.
    pub(super) last: Vec<String>,
}

/// Runs a service to its end: that of its program, or after `end` has fired. Dropping the future ends it at once.
///
/// # Errors
/// There is no place for what it writes.
pub(super) fn run<'a>(
    attempt: &'a Attempt,
    service: &'a ServicePlan,
    lowers: &[PathBuf],
    gate: Gatekeeper,
    end: CancellationToken,
) -> Result<impl Future<Output = Ended> + Send + use<'a>, Verdict> {
    let scratch = attempt.bench.layers.scratch().map_err(|refused| of_layer_error(&refused))?;
    let spec = StepSpec {
        label: format!("{}-{}-{}", attempt.run, attempt.step.name, service.name),
        image: attempt.bench.image(&service.image).clone(),
        lowers: lowers.to_vec(),
        upper: scratch.upper(),
        work: scratch.work(),
        goes_on: false,
        workdir: None,
        argv: service.command.as_ref().map(argv).unwrap_or_default(),
        env: service.env.clone(),
        secrets: attempt.bench.secrets.variables(&service.secrets),
        // Who serves must be reachable, and needs to reach nobody.
        network: Network::Loopback,
        allow: Vec::new(),
        timeout: most(attempt, service),
        limits: service.limits.clone(),
        neighbours: Vec::new(),
        gate: Some(gate),
        terminal: None,
    };
    Ok(async move {
        let (output, chunks) = mpsc::channel(64);
        let kept = Kept::open(attempt, &service.name).await;
        let (exit, last) = tokio::join!(
            attempt.bench.engine.run(spec, output, end),
            blocking(move || kept.take_all(chunks)),
        );
        drop(scratch);
        Ended { service: service.name.clone(), exit, last: last.unwrap_or_default() }
    })
}

fn most(attempt: &Attempt, service: &ServicePlan) -> Duration {
    let others = attempt.plan.services_of(&attempt.step);
    let ready = others.iter().map(|other| other.ready_seconds).max().unwrap_or(service.ready_seconds);
    BEYOND_THE_STEP.saturating_add(Duration::from_secs(ready.saturating_add(attempt.step.timeout_seconds)))
}
