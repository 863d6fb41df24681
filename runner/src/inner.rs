//! Staith is its own helpers: this same program, started again, is process 1 of a sandbox and the keeper of an environment.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use crate::output::Problem;

/// The hidden sub-command that becomes process 1 of a sandbox.
const SANDBOX: &str = "sandbox-init";
/// The hidden sub-command that keeps an environment. Followed by its directory and address.
const KEEPER: &str = "keeper";

/// How this program starts itself as a sandbox's helper.
pub(crate) fn sandbox_command() -> Vec<OsString> {
    // The running file itself, also when it was replaced or removed since.
    vec!["/proc/self/exe".into(), SANDBOX.into()]
}

/// How this program starts itself as a keeper.
///
/// # Errors
/// The system does not say where this program is.
pub(crate) fn keeper_command() -> Result<Vec<OsString>, Problem> {
    let here = env::current_exe().map_err(|refused| {
        Problem::bug(format!("the system does not say where this program is: {refused}"))
    })?;
    Ok(vec![here.into(), KEEPER.into()])
}

/// Does a helper's work if this process was started as one. Must be called before there is any thread.
pub(crate) fn called() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        SANDBOX => Some(staith_builder::sandbox::helper_main()),
        KEEPER => {
            let directory = PathBuf::from(arguments.next()?);
            let listen = arguments.next()?.to_str()?.parse().ok()?;
            Some(staith_releaser::keeper::keeper_main(&directory, listen))
        }
        _ => None,
    }
}
