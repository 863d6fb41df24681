//! Builds the program that is put on machines, as a static one, so that it can be embedded.
//!
//! See docs/decisions/018-a-static-program-for-machines.md.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::{
    env,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest as _, Sha256};

/// What the outer cargo was told about this build; the nested one would take it for itself.
const NOT_OURS: &[&str] = &[
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CARGO_UNSTABLE_BUILD_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = here.parent().ok_or("the crate lies in no workspace")?;
    for path in [
        "machine/src",
        "machine/Cargo.toml",
        "../model/src",
        "../model/Cargo.toml",
        "../Cargo.toml",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let program = fs::read(build(root, &out)?)?;
    // Packed once here and not with each upload.
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&program)?;
    fs::write(out.join("staith-machine.digest"), Sha256::digest(&program))?;
    fs::write(out.join("staith-machine.length"), (program.len() as u64).to_le_bytes())?;
    fs::write(out.join("staith-machine.deflate"), packer.finish()?)?;
    Ok(())
}

/// Builds the program and says where it is.
fn build(root: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = env::var("TARGET")?;
    // Beside the folders of the profiles (target/debug/build/CRATE/out), so that all of them share it. A folder of its own,
    // because the outer cargo holds the lock of the other.
    let folder = out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?.join("machine");
    let offline = cargo(root, &folder, &target, &["--offline"])?;
    if !offline.status.success() {
        let online = cargo(root, &folder, &target, &[])?;
        if !online.status.success() {
            let said = String::from_utf8_lossy(&online.stderr).into_owned();
            return Err(format!("the program for machines can't be built as a static program for {target}; it needs the C library's static part (Debian: libc6-dev):\n{said}").into());
        }
    }
    Ok(folder.join(&target).join("machine").join("staith-machine"))
}

fn cargo(root: &Path, folder: &Path, target: &str, more: &[&str]) -> Result<Output, Box<dyn Error>> {
    let mut command = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?);
    command
        .current_dir(root)
        .args(["build", "--locked", "--package", "staith-machine", "--bin", "staith-machine"])
        // Named even where it is the host's own: else the flags would be those of build scripts and macros, too, which can't be
        // static.
        .args(["--profile", "machine", "--target", target])
        .arg("--target-dir")
        .arg(folder)
        .args(more);
    for name in NOT_OURS {
        command.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        // Profiles that were changed by variables, for all or for one target.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PROFILE_")
            || (text.starts_with("CARGO_TARGET_") && text.ends_with("_RUSTFLAGS"))
        {
            command.env_remove(&name);
        }
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    Ok(command.output()?)
}
