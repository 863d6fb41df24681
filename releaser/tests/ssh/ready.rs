//! New machines are awaited over ssh until cloud-init is done there.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use staith_model::{CloudInit, Name, Provision, ProvisionTool};
use staith_releaser::fleet::{
    drive::{Clock, Log},
    provision::{Ear, Place, ProvisionError, Provisioner, Reach, Voice},
};
use tokio_util::sync::CancellationToken;

use crate::server::World;

struct Nobody;

impl Voice for Nobody {
    fn begins(&self, _: &str) {}
    fn ear(&self, _: bool) -> Box<dyn Ear> {
        Box::new(Self)
    }
    fn masked(&self, text: &str) -> String {
        text.to_owned()
    }
}

impl Ear for Nobody {
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }
    fn ends(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

fn provisioner(world: &World) -> Provisioner {
    let directory = world.path("environment");
    fs::create_dir_all(&directory).unwrap();
    Provisioner {
        project: "shop".parse().unwrap(),
        environment: "preview".parse().unwrap(),
        place: Place::of(&directory),
        driver_lock: directory.join("driver.lock"),
        log: Log::in_memory(Clock::system()),
        clock: Clock::system(),
        by: "anna".into(),
        process: "test".into(),
        secrets: BTreeMap::new(),
        versions: BTreeMap::new(),
        voice: Arc::new(Nobody),
        cancel: CancellationToken::new(),
        kill: CancellationToken::new(),
    }
}

fn provision() -> Provision {
    let program = || vec!["true".to_owned()];
    Provision {
        folder: "infra".into(),
        tool: ProvisionTool::Command { plan: None, apply: program(), outputs: None, destroy: program() },
        time_to_live_seconds: None,
        variables: BTreeMap::new(),
        secrets: BTreeMap::new(),
        cloud_init: Some(CloudInit { template: None, machines: Vec::new(), wait_seconds: Some(60) }),
        timeout_seconds: 60,
    }
}

/// What comes of waiting for a machine whose cloud-init is this script.
async fn awaited(script: Option<&str>) -> Result<(), ProvisionError> {
    let world = World::new();
    let bin = world.path("bin");
    fs::create_dir(&bin).unwrap();
    if let Some(script) = script {
        let program = bin.join("cloud-init");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (_server, way) = world.simple(&format!("SetEnv PATH={}:/usr/bin:/bin", bin.display()));
    fs::create_dir_all(world.path("project/infra")).unwrap();
    let provisioner = provisioner(&world);
    let session = provisioner.begin().await.unwrap();
    let proposal = session.propose(&provision(), &world.path("project"), "").await.unwrap();
    session.carry_out(&proposal).await.unwrap();
    let machine: Name = "web1".parse().unwrap();
    let reach = Reach::Ssh(way.client.clone(), way.destination.clone());
    let waited = session.await_ready(&proposal, vec![(machine, reach)]).await;
    let is_there = session.is_there(&provision(), &world.path("project")).await.unwrap();
    assert_eq!(is_there, waited.is_ok(), "what is not ready is waited for again");
    waited
}

#[tokio::test]
async fn a_machine_is_ready_when_its_cloud_init_is_done() {
    awaited(Some(r#"[ "$*" = "status --wait --format json" ] && echo '{"status": "done", "errors": []}'"#))
        .await
        .unwrap();
    awaited(None).await.unwrap();
    let failed = r#"echo '{"status": "error", "errors": ["no such package"]}'; exit 1"#;
    let told = awaited(Some(failed)).await.unwrap_err().to_string();
    assert!(told.contains("web1") && told.contains("no such package"), "{told}");
}
