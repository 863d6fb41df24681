//! The contract of the seam to a machine, over the embedded program as a child process; as root and as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use machine_support::{Here, contract::contract};

#[tokio::test]
async fn a_child_process_is_a_machine() {
    contract(|| async {
        let here = Here::new();
        (here.machine(), here)
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
