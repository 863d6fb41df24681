//! Runs the tests of a test program a second time as a user without privileges.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

/// Nobody's id: no account, no files.
pub const ORDINARY_ID: u32 = 64_321;

/// Starts this test program again as an ordinary user, with copies of the programs that it needs in a directory that this
/// user may enter. Does nothing unless it runs as root. `skip` names the test that calls this.
pub fn run_again(skip: &str) {
    run_again_with(skip, &[]);
}

/// As above, with these variables in its environment.
pub fn run_again_with(skip: &str, variables: &[(&str, &std::ffi::OsStr)]) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = place.path().join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    };
    let program = copy(&std::env::current_exe().unwrap(), "tests");
    let helper = copy(Path::new(env!("CARGO_BIN_EXE_staith-sandbox")), "helper");
    let scratch = place.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    std::os::unix::fs::chown(&scratch, Some(ORDINARY_ID), Some(ORDINARY_ID)).unwrap();
    let output = Command::new(program)
        .args(["--skip", skip])
        .env_clear()
        .envs([("PATH", "/usr/local/bin:/usr/bin:/bin")])
        .env("STAITH_TEST_HELPER", helper)
        .env("TMPDIR", &scratch)
        .env("HOME", &scratch)
        .envs(variables.iter().copied())
        .current_dir("/")
        .uid(ORDINARY_ID)
        .gid(ORDINARY_ID)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "as an ordinary user:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("running 0 tests"), "{said}");
}
