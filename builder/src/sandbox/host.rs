//! The image that steps see: this host's own system directories, and the toolchains that a project asks for.
//!
//! The image's digest stands in the key of every cached step, so it has to change whenever what a step could use
//! changes, and it has to be found in a millisecond or two, because a run in which everything is cached has no more time.
//! So answers that take long (a digest of the package database, what `rustc` says of itself) are remembered under the
//! stamps of the files that they depend on ([`memory`]).

mod directory;
mod memory;
mod packages;
mod programs;
mod toolchains;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use staith_model::{Digest, Name, Tool};

pub(crate) use self::directory::allowed_roots;
use self::memory::Memory;
pub(crate) use self::{
    directory::{reason_not_below, resolve_below},
    memory::Stamp,
    packages::stamps_below,
};
use crate::{
    engine::{Bind, EngineError, Image, Root},
    images,
};

/// Where toolchains appear in the sandbox.
const TOOLS: &str = "/opt/tools";
/// What comes after the toolchains in `PATH`.
pub(crate) const SYSTEM_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// One toolchain as found on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    /// What changes when the toolchain does.
    identity: String,
    /// What to show of it, and where. Empty when the host image has it already.
    #[serde(skip)]
    binds: Vec<Bind>,
    /// Its directories for `PATH`, in the sandbox.
    path: Vec<PathBuf>,
    /// Variables that it needs.
    env: BTreeMap<String, String>,
}

/// A folder of the host that a project names as a tool, for sandboxes with another root file system: what changes when it
/// does, what to show of it and where, its directories for `PATH`, and variables that it needs.
///
/// # Errors
/// It is missing, or must not be shown.
pub(crate) fn folder(
    name: &Name,
    path: &Path,
    state: &Path,
    roots: &[PathBuf],
) -> Result<(String, Image), EngineError> {
    let found = directory::show(name, path, state, roots)?;
    let image = Image { binds: found.binds, path: found.path, env: found.env, ..bare_image() };
    Ok((found.identity, image))
}

/// An image of the host alone; its digest says nothing.
pub(super) fn bare_image() -> Image {
    let path = SYSTEM_PATH.map(PathBuf::from).to_vec();
    let (digest, command) = (Digest::of(b""), Vec::new());
    Image { digest, root: Root::Host, binds: Vec::new(), path, env: BTreeMap::new(), command, workdir: None }
}

/// Resolves the host image with the toolchains. Folders that a project names have to be below `/opt` or one of `roots`.
///
/// # Errors
/// A toolchain is missing, or must not be shown.
pub(super) fn image(tools: &[Tool], state: &Path, roots: &[PathBuf]) -> Result<Image, EngineError> {
    let memory = Memory::below(state);
    let mut image = bare_image();
    let mut path = Vec::new();
    let mut found = Vec::new();
    for tool in tools {
        let (name, tool) = resolve(tool, &memory, state, roots)?;
        path.extend(tool.path.iter().cloned());
        image.binds.extend(tool.binds.iter().cloned());
        image.env.extend(tool.env.clone());
        found.push((name, tool));
    }
    path.append(&mut image.path);
    image.path = path;
    image.digest = Digest::of_value("staith.host-image.v1", &(packages::identity(&memory), found));
    Ok(image)
}

fn resolve(
    tool: &Tool,
    memory: &Memory,
    state: &Path,
    roots: &[PathBuf],
) -> Result<(Name, Found), EngineError> {
    match tool {
        Tool::Known(name) => {
            let found = match name.as_str() {
                "rust" => toolchains::rust(memory),
                "python" => toolchains::python(memory),
                "node" => toolchains::node(memory),
                other => Err(EngineError::ToolMissing {
                    tool: other.to_owned(),
                    why: "Staith does not know how to find it; it knows `rust`, `python` and `node`"
                        .to_owned(),
                    remedy: "name its directory: `{ name = \"...\", path = \"/...\" }`".to_owned(),
                }),
            };
            Ok((name.clone(), found?))
        }
        Tool::Directory { name, path } => {
            Ok((name.clone(), directory::show(name, Path::new(path), state, roots)?))
        }
    }
}

/// Whether a program of this name will be found on `PATH` in a sandbox with this image. Looks at the host's files and at the
/// image's, starts nothing. Of an image that only its engine can look into, everything is believed to be there.
pub fn find_program(image: &Image, name: &str) -> bool {
    match &image.root {
        Root::Host => {}
        Root::Layers(layers) => return images::has_program(layers, &image.path, name),
        Root::InEngine(_) => return true,
    }
    image.path.iter().filter_map(|directory| on_host(image, directory)).any(|directory| {
        let found = fs::metadata(directory.join(name));
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

/// Where on the host a directory of the sandbox is; none when the sandbox has no such directory.
fn on_host(image: &Image, inside: &Path) -> Option<PathBuf> {
    let bound =
        image.binds.iter().find_map(|bind| Some(bind.host.join(inside.strip_prefix(&bind.inside).ok()?)));
    let of_system = || {
        let shown = ["/usr", "/bin", "/sbin"].iter().any(|shown| inside.starts_with(shown));
        shown.then(|| inside.to_path_buf())
    };
    bound.or_else(of_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_where_the_sandbox_has_them() {
        let place = tempfile::tempdir().unwrap();
        let bin = place.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, mode) in [("tool", 0o755), ("data", 0o644)] {
            fs::write(bin.join(name), "").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut image = bare_image();
        assert!(find_program(&image, "sh"));
        assert!(!find_program(&image, "tool"));
        image.binds.push(Bind { host: place.path().to_path_buf(), inside: "/opt/tools/x".into() });
        image.path.insert(0, "/opt/tools/x/bin".into());
        assert!(find_program(&image, "tool"));
        assert!(!find_program(&image, "data"));
        // A directory of the host that the sandbox does not show.
        image.path.insert(0, bin);
        image.binds.clear();
        assert!(!find_program(&image, "tool"));
    }

    #[test]
    fn an_unknown_tool_says_what_is_known() {
        let state = tempfile::tempdir().unwrap();
        let tool = Tool::Known("cobol".parse().unwrap());
        let Err(EngineError::ToolMissing { why, .. }) = image(&[tool], state.path(), &[]) else { panic!() };
        assert!(why.contains("`rust`"));
    }
}
