//! The contract of the seam to a machine, over the embedded program as a child process; as root and as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
    sync::Arc,
};

use async_trait::async_trait;
use machine_support::{Here, contract::contract};
use staith_model::{Digest, Hook};
use staith_releaser::{
    fleet::{
        machine::{Facts, HookOutcome, Load, Machine, MachineError, MachineState, Order, Question},
        remote::RemoteMachine,
    },
    health::Health,
    host::{Done, PackageFiles, Patience, Progress, Staged},
};
use tokio_util::sync::CancellationToken;

/// A machine with the folder that it lives in.
struct Kept(RemoteMachine, #[allow(dead_code, reason = "removes the folder when it is dropped")] Here);

#[async_trait]
impl Machine for Kept {
    async fn reach(&self) -> Result<Facts, MachineError> {
        self.0.reach().await
    }
    async fn observe(&self) -> Result<MachineState, MachineError> {
        self.0.observe().await
    }
    async fn stage(
        &self,
        order: &Order,
        load: &Load,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Staged, MachineError> {
        self.0.stage(order, load, files, progress, cancel).await
    }
    async fn switch(&self, order: &Order, to: Option<&Digest>) -> Result<Done, MachineError> {
        self.0.switch(order, to).await
    }
    async fn hook(&self, order: &Order, release: &Digest, hook: &Hook) -> Result<HookOutcome, MachineError> {
        self.0.hook(order, release, hook).await
    }
    async fn probe(&self, question: &Question, patience: Patience) -> Result<Health, MachineError> {
        self.0.probe(question, patience).await
    }
    async fn retain(
        &self,
        order: &Order,
        keep: &std::collections::BTreeSet<Digest>,
    ) -> Result<std::collections::BTreeSet<Digest>, MachineError> {
        self.0.retain(order, keep).await
    }
}

#[tokio::test]
async fn a_child_process_is_a_machine() {
    contract(|| async {
        let here = Here::new();
        Kept(here.machine(), here)
    })
    .await;
}

#[tokio::test]
async fn a_conversation_for_each_request_is_as_good_as_one_for_all() {
    let here = Here::new();
    let tree = machine_support::Tree::of(&[("a", b"1")]);
    let staged =
        machine_support::stage(&here.machine(), &machine_support::order(1), &tree.load("a"), &tree).await;
    assert!(!staged.unwrap().already);
    let again =
        machine_support::stage(&here.machine(), &machine_support::order(1), &tree.load("a"), &tree).await;
    assert!(again.unwrap().already);
}

/// Nobody's id: no account, no files.
const ORDINARY_ID: u32 = 64_321;

#[test]
fn all_of_it_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let scratch = place.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    std::os::unix::fs::chown(&scratch, Some(ORDINARY_ID), Some(ORDINARY_ID)).unwrap();
    let output = Command::new(program)
        .args(["--skip", "all_of_it_as_an_ordinary_user"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("TMPDIR", &scratch)
        .env("HOME", &scratch)
        .current_dir(Path::new("/"))
        .uid(ORDINARY_ID)
        .gid(ORDINARY_ID)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("running 0 tests"), "{said}");
}
