//! Credentials that git's own helpers know.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use staith_model::Secret;

use super::address::Web;

/// Asks git's credential helpers, which the user has configured, for `user:password`. Nobody is asked on a terminal or by
/// a window, and no repository's configuration is looked at. `None` where none of them knows, or there is no git.
pub(super) fn from_helpers(at: &Web) -> Option<Secret> {
    let mut git = Command::new("git")
        .args(["credential", "fill"])
        .current_dir("/")
        .env("GIT_TERMINAL_PROMPT", "0")
        // Set and empty: git then does not look for another program to ask with.
        .env("GIT_ASKPASS", "")
        .env_remove("GIT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let scheme = if at.secure { "https" } else { "http" };
    let path = at.path.trim_start_matches('/');
    let question = format!("protocol={scheme}\nhost={}\npath={path}\n\n", at.host.shown());
    // A helper that does not read is one that does not know.
    let _ = git.stdin.take()?.write_all(question.as_bytes());
    let answer = git.wait_with_output().ok()?;
    let text = String::from_utf8(answer.stdout).ok().filter(|_| answer.status.success())?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Some(Secret::new(format!("{}:{}", field("username")?, field("password")?)))
}
