//! Units for systemd: how a text stands in one, and how one comes to be in its place.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::Path,
};

use staith_model::Exit;

use crate::output::Problem;

/// A path or a name as systemd takes it in a unit.
///
/// # Errors
/// It has control characters, which would begin another line.
pub(super) fn quoted(text: &str) -> Result<String, Problem> {
    if text.chars().any(char::is_control) {
        return Err(Problem::new(Exit::Usage, "a unit can't have control characters in a path or a name"));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
}

/// The program of a unit, as `ExecStart` takes it.
///
/// # Errors
/// As [`quoted`] and [`path`].
pub(super) fn program(program: &Path) -> Result<String, Problem> {
    Ok(quoted(path(program)?)?.replace('$', "$$"))
}

/// A path in a unit.
///
/// # Errors
/// It is no UTF-8 text.
pub(super) fn path(path: &Path) -> Result<&str, Problem> {
    path.to_str().ok_or_else(|| {
        Problem::new(Exit::Usage, format!("{} is no UTF-8 text, which units are", path.display()))
    })
}

/// Writes a unit where none is.
///
/// # Errors
/// One is there, or the system refuses.
pub(super) fn write(to: &Path, unit: &str) -> Result<(), Problem> {
    let written = OpenOptions::new().write(true).create_new(true).open(to);
    written.and_then(|mut file| file.write_all(unit.as_bytes())).map_err(|refused| {
        Problem::new(Exit::Usage, format!("{} is not written", to.display()))
            .with_why(refused.to_string())
            .with_remedy(
                "name a file that is not there, in a directory that is; /etc/systemd/system needs root",
            )
    })
}

/// Writes a unit, unless exactly this one is there.
///
/// # Errors
/// Another one is there, or the system refuses.
pub(super) fn ensure(to: &Path, unit: &str) -> Result<(), Problem> {
    match fs::read(to) {
        Ok(there) if there == unit.as_bytes() => Ok(()),
        Ok(_) => {
            Err(Problem::new(Exit::Usage, format!("{} is there, and says something else", to.display()))
                .with_why("somebody changed it, or it is of another home or another program")
                .with_remedy("remove it if it is not wanted any more, and give the command again"))
        }
        Err(missing) if missing.kind() == ErrorKind::NotFound => write(to, unit),
        Err(refused) => Err(Problem::new(Exit::Environment, format!("{} can't be read", to.display()))
            .with_why(refused.to_string())),
    }
}
