//! Programs on the caller's `PATH`, and what they say of themselves.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::memory::Stamp;

/// The first program of this name on the caller's `PATH`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|program| {
            let found = fs::metadata(program);
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

/// What the program prints. It runs in `/`, so that no file of the project chooses another version: what a project may
/// choose stands in its `runner.toml`.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).current_dir("/").stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().last().unwrap_or("nothing").to_owned();
        return Err(io::Error::other(format!(
            "{} ended with {} and said: {said}",
            program.display(),
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// Stamps of the program itself and, where its name is a link, of what it leads to.
pub(super) fn stamps(program: &Path) -> Vec<Stamp> {
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_path_buf());
    vec![Stamp::of(program), Stamp::of(real)]
}

/// A variable of the caller's that decides which version a program is.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// A directory that a variable names, or one below the home directory.
pub(super) fn directory(variable_name: &str, below_home: &str) -> Option<PathBuf> {
    let named = env::var_os(variable_name).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(below_home)))
}
