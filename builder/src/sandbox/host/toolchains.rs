//! The toolchains that Staith knows how to find: by asking the programs on the caller's `PATH` where they live.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::{
    Found, TOOLS,
    memory::{Key, Memory, Stamp},
    packages, programs,
};
use crate::{
    engine::{Bind, EngineError, WORKSPACE},
    sandbox::HOME,
};

fn missing(tool: &str, why: impl ToString, remedy: &str) -> EngineError {
    EngineError::ToolMissing { tool: tool.to_owned(), why: why.to_string(), remedy: remedy.to_owned() }
}

/// `cargo` and `rustc`: the toolchain that `rustc` on the caller's `PATH` stands for. A rustup proxy chooses by
/// `RUSTUP_TOOLCHAIN` and then by its default; files of the project do not choose.
pub(super) fn rust(memory: &Memory) -> Result<Found, EngineError> {
    const REMEDY: &str =
        "install Rust from https://rustup.rs, or with the system's package manager (`apt-get install cargo`)";
    let rustc =
        programs::find("rustc").ok_or_else(|| missing("rust", "there is no `rustc` in PATH", REMEDY))?;
    let failed = |error: io::Error| missing("rust", error, REMEDY);
    let mut stamps = programs::stamps(&rustc);
    stamps.extend(
        programs::directory("RUSTUP_HOME", ".rustup").map(|home| Stamp::of(home.join("settings.toml"))),
    );
    let texts = ["RUSTUP_TOOLCHAIN", "RUSTUP_HOME"].map(programs::variable).to_vec();
    let sysroot: PathBuf = memory
        .recall("rust-sysroot", Key { stamps, texts }, || {
            programs::ask(&rustc, &["--print", "sysroot"]).map(|said| PathBuf::from(said.trim()))
        })
        .map_err(failed)?;
    let components = sysroot.join("lib/rustlib/components");
    let manifest = sysroot.join("lib/rustlib/multirust-channel-manifest.toml");
    let real_rustc = sysroot.join("bin/rustc");
    let stamps = [&real_rustc, &components, &manifest].map(|file| Stamp::of(file.clone())).to_vec();
    let identity: String = memory
        .recall("rust-identity", Key { stamps, texts: vec![] }, || {
            let version = programs::ask(&real_rustc, &["-vV"])?;
            let installed = Digest::of(&fs::read(&components).unwrap_or_default());
            Ok(format!("{version}components {installed}\n"))
        })
        .map_err(failed)?;
    let env = BTreeMap::from([("CARGO_HOME".to_owned(), format!("{HOME}/.cargo"))]);
    Ok(Found { env, ..shown("rust", identity, &sysroot, false) })
}

#[derive(Serialize, Deserialize)]
struct Interpreter {
    prefix: PathBuf,
    version: String,
}

/// `python3`: the base installation of the interpreter on the caller's `PATH` (of a virtual environment: what it was made
/// from). It is shown at its own place too, because its scripts (`pip`) and its extension modules name that place.
pub(super) fn python(memory: &Memory) -> Result<Found, EngineError> {
    const REMEDY: &str = "install Python with the system's package manager (`apt-get install python3 python3-venv`), \
                          or with pyenv or uv";
    let program = programs::find("python3")
        .ok_or_else(|| missing("python", "there is no `python3` in PATH", REMEDY))?;
    let mut stamps = programs::stamps(&program);
    stamps.extend(programs::directory("PYENV_ROOT", ".pyenv").map(|root| Stamp::of(root.join("version"))));
    let texts = ["PYENV_VERSION", "PYENV_ROOT", "VIRTUAL_ENV"].map(programs::variable).to_vec();
    let question = "import sys; print(sys.base_prefix); print(sys.version.replace(chr(10), ' '))";
    let interpreter: Interpreter = memory
        .recall("python", Key { stamps, texts }, || {
            let said = programs::ask(&program, &["-I", "-c", question])?;
            let (prefix, version) = said
                .trim()
                .split_once('\n')
                .ok_or_else(|| io::Error::other(format!("python3 said {said:?}")))?;
            Ok(Interpreter { prefix: PathBuf::from(prefix), version: version.to_owned() })
        })
        .map_err(|error: io::Error| missing("python", error, REMEDY))?;
    let identity = with_packages(&interpreter, "lib", |name| name.starts_with("python3"), "site-packages");
    Ok(shown("python", identity, &interpreter.prefix, true))
}

/// `node` and `npm`.
pub(super) fn node(memory: &Memory) -> Result<Found, EngineError> {
    const REMEDY: &str = "install Node.js from https://nodejs.org, or with the system's package manager \
                          (`apt-get install nodejs npm`)";
    let program =
        programs::find("node").ok_or_else(|| missing("node", "there is no `node` in PATH", REMEDY))?;
    let texts = ["NODENV_VERSION", "ASDF_NODEJS_VERSION", "VOLTA_HOME"].map(programs::variable).to_vec();
    let key = Key { stamps: programs::stamps(&program), texts };
    let interpreter: Interpreter = memory
        .recall("node", key, || {
            let said = programs::ask(&program, &["-p", "process.execPath + '\\n' + process.version"])?;
            let (path, version) = said
                .trim()
                .split_once('\n')
                .ok_or_else(|| io::Error::other(format!("node said {said:?}")))?;
            // PREFIX/bin/node
            let real = fs::canonicalize(path)?;
            let prefix = real.ancestors().nth(2).unwrap_or(&real).to_path_buf();
            Ok(Interpreter { prefix, version: version.to_owned() })
        })
        .map_err(|error: io::Error| missing("node", error, REMEDY))?;
    let identity = with_packages(&interpreter, "lib", |name| name == "node_modules", "");
    Ok(shown("node", identity, &interpreter.prefix, false))
}

/// The version, and what people installed into the interpreter itself: the names and times of its packages.
fn with_packages(
    interpreter: &Interpreter,
    library: &str,
    holds_packages: impl Fn(&str) -> bool,
    below: &str,
) -> String {
    let mut lines = Vec::new();
    // The system's own is told by the package manager.
    if !is_of_system(&interpreter.prefix)
        && let Ok(entries) = fs::read_dir(interpreter.prefix.join(library))
    {
        for entry in entries.flatten().filter(|entry| holds_packages(&entry.file_name().to_string_lossy())) {
            packages::list(&entry.path().join(below), 1, &mut lines);
        }
    }
    lines.sort_unstable();
    format!("{}\n{}\n{}\n", interpreter.prefix.display(), interpreter.version, lines.join("\n"))
}

fn is_of_system(prefix: &Path) -> bool {
    prefix.starts_with("/usr") || prefix == Path::new("/")
}

/// How a toolchain is shown: not at all when the host image has it, else below `/opt/tools`.
fn shown(name: &str, identity: String, prefix: &Path, also_at_home: bool) -> Found {
    let (mut binds, mut path) = (Vec::new(), Vec::new());
    if !is_of_system(prefix) {
        let inside = Path::new(TOOLS).join(name);
        path.push(inside.join("bin"));
        binds.push(Bind { host: prefix.to_path_buf(), inside });
        if also_at_home && !is_ours(prefix) {
            binds.push(Bind { host: prefix.to_path_buf(), inside: prefix.to_path_buf() });
        }
    }
    Found { identity, binds, path, env: BTreeMap::new() }
}

/// Places in the sandbox that mean something else there.
fn is_ours(place: &Path) -> bool {
    [WORKSPACE, HOME, TOOLS, "/tmp", "/run", "/var/tmp", "/dev", "/proc", "/etc", "/bin", "/sbin", "/lib"]
        .iter()
        .any(|ours| place.starts_with(ours) || Path::new(ours).starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_has_is_not_bound() {
        let found = shown("python", "x".to_owned(), Path::new("/usr"), true);
        assert!(found.binds.is_empty() && found.path.is_empty());
    }

    #[test]
    fn an_interpreter_keeps_its_own_place_unless_that_is_ours() {
        let inside = |prefix: &str| -> Vec<PathBuf> {
            let found = shown("python", "x".to_owned(), Path::new(prefix), true);
            found.binds.into_iter().map(|bind| bind.inside).collect()
        };
        let below = Path::new("/opt/tools/python");
        assert_eq!(inside("/srv/python/3.12"), [below, Path::new("/srv/python/3.12")]);
        assert_eq!(inside("/tmp/python"), [below]);
        assert_eq!(inside("/opt"), [below]);
    }

    #[test]
    fn rust_is_found_where_these_tests_were_built() {
        let state = tempfile::tempdir().unwrap();
        let memory = Memory::below(state.path());
        let found = rust(&memory).unwrap();
        assert!(found.identity.contains("release: "), "{}", found.identity);
        assert_eq!(rust(&memory).unwrap(), found);
    }
}
