//! What the tests of deployments share: packages in memory, and the fold that every log of events must pass.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it, as a module of its own")]

pub mod fakes;

use std::{collections::BTreeMap, io::Write, sync::Arc};

use staith_model::{
    DeploymentState, Digest, EVENT_VERSION, Entry, Event, EventKind, HealthCheck, LocalEnvironment, Manifest,
    Package, Plan, Process, RelPath, RunId, RunOutcome, RunState, Source, Trigger,
};
use staith_releaser::host::PackageFiles;

/// A package in memory.
#[derive(Clone)]
pub struct Tree {
    manifest: Manifest,
    contents: BTreeMap<RelPath, Vec<u8>>,
}

impl Tree {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let mut tree = Self { manifest: Manifest::default(), contents: BTreeMap::new() };
        for (path, bytes) in files {
            let path: RelPath = (*path).try_into().unwrap();
            let entry = Entry::File { mode: 0o644, size: bytes.len() as u64, digest: Digest::of(bytes) };
            tree.manifest.entries.insert(path.clone(), entry);
            tree.contents.insert(path, bytes.to_vec());
        }
        tree
    }

    pub fn package(&self, version: &str) -> Package {
        Package {
            name: "demo".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
            content: self.manifest.digest(),
            size: self.manifest.bytes(),
        }
    }

    pub fn shared(&self) -> Arc<dyn PackageFiles> {
        Arc::new(self.clone())
    }
}

impl PackageFiles for Tree {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        to.write_all(self.contents.get(path).ok_or("no such file")?)?;
        Ok(())
    }
}

pub fn environment(command: &[&str]) -> LocalEnvironment {
    LocalEnvironment {
        name: "staging".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        process: Process {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            stop_seconds: 10,
        },
        health: HealthCheck {
            path: "/health".into(),
            release_header: None,
            release_file: None,
            deadline_seconds: 60,
            successes: 2,
        },
        drain_seconds: 30,
        keep_releases: 1,
    }
}

/// Folds a deployment's events behind a run that passed; every event must be possible where it comes.
pub fn fold(events: &[EventKind]) -> DeploymentState {
    let plan = Plan {
        project: "demo".parse().unwrap(),
        version: "1".into(),
        source: Source { tree: "0".repeat(40), commit: None, dirty: false },
        trigger: Trigger::default(),
        tools: Vec::new(),
        steps: Vec::new(),
        left_out: Vec::new(),
        services: Vec::new(),
        packages: vec![],
    };
    let start = EventKind::RunStarted {
        run: RunId::new(1, [0; 10]),
        plan_digest: plan.digest(),
        plan: Box::new(plan),
    };
    let end = EventKind::RunFinished { outcome: RunOutcome::Passed, millis: 1 };
    let log: Vec<Event> = [start, end]
        .into_iter()
        .chain(events.iter().cloned())
        .enumerate()
        .map(|(seq, what)| Event { v: EVENT_VERSION, seq: seq as u64, at: 0, what })
        .collect();
    RunState::replay(&log).unwrap().deployment.unwrap()
}

/// The operations that were done, with whether they were found done.
pub fn operations(events: &[EventKind]) -> Vec<(String, bool)> {
    let done = |event: &EventKind| match event {
        EventKind::DeploymentOperation { operation, already, .. } => Some((operation.clone(), *already)),
        _ => None,
    };
    events.iter().filter_map(done).collect()
}
