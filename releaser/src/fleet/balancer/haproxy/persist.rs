//! The same truth where the next reload finds it: HAProxy's own state file.
//!
//! A reload begins with what the configuration says, unless it has `load-server-state-from-file`: then it takes over what the file
//! says that `show servers state` said before. [`super::lint::state_file`] finds the file in a configuration.

use std::{collections::BTreeSet, fmt, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::{
    dial::Dial,
    node::told,
    talk::{Unsaid, say},
};
use crate::{host::durable, traffic::TrafficError};

/// Where a node's state is kept.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The file.
    pub place: Place,
    /// Whether it holds all backends (`load-server-state-from-file global`) or ours alone (`local`).
    pub whole: bool,
}

/// A file that a node reads when it is reloaded.
#[derive(Clone)]
pub enum Place {
    /// On this machine.
    File(PathBuf),
    /// On the node's machine, written by somebody who can.
    Through(Arc<dyn Put>),
}

/// Somebody who writes a file elsewhere.
#[async_trait]
pub trait Put: Send + Sync {
    /// What is there; empty if there is no file.
    ///
    /// # Errors
    /// It can't be told.
    async fn get(&self) -> io::Result<String>;

    /// Replaces the file, durably and so that nobody sees half of it.
    ///
    /// # Errors
    /// It was not replaced.
    async fn put(&self, text: &str) -> io::Result<()>;

    /// What people call it.
    fn name(&self) -> String;
}

/// Writes what a node says now, if the file says something else.
pub(super) async fn keep(node: &Dial, backend: &str, keep: &Keep) -> Result<(), TrafficError> {
    let what = "keep who gets requests for the next reload";
    let command =
        if keep.whole { "show servers state".to_owned() } else { format!("show servers state {backend}") };
    let now = say(node, &command).await.map_err(|error| told(error, what))?;
    if !now.starts_with("1\n") {
        return Err(told(Unsaid::Refused(super::talk::first_lines(&now)), what));
    }
    let unwritten =
        |error: io::Error| TrafficError::Refused { what, why: format!("{}: {error}", keep.place) };
    let before = keep.place.get().await.map_err(unwritten)?;
    if decisions(&before) == decisions(&now) {
        return Ok(());
    }
    keep.place.put(&format!("{}\n", now.trim_end())).await.map_err(unwritten)
}

/// What of a state is decided, and not measured: who is in which state, with which weight.
fn decisions(state: &str) -> BTreeSet<[&str; 5]> {
    let column =
        |line: &str, name: &str| line.trim_start_matches("# ").split(' ').position(|column| column == name);
    let Some(head) = state.lines().find(|line| line.starts_with("# ")) else { return BTreeSet::new() };
    let names = ["be_name", "srv_name", "srv_op_state", "srv_admin_state", "srv_uweight"];
    let places = names.map(|name| column(head, name).unwrap_or(usize::MAX));
    let rows = state.lines().filter(|line| line.contains(' ') && !line.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(' ').collect();
        places.map(|place| cells.get(place).copied().unwrap_or_default())
    })
    .collect()
}

impl Place {
    async fn get(&self) -> io::Result<String> {
        match self {
            Self::File(path) => match tokio::fs::read_to_string(path).await {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) =>
                {
                    Ok(String::new())
                }
                other => other,
            },
            Self::Through(put) => put.get().await,
        }
    }

    async fn put(&self, text: &str) -> io::Result<()> {
        match self {
            Self::File(path) => {
                let (path, text) = (path.clone(), text.to_owned());
                tokio::task::spawn_blocking(move || {
                    durable::write(&path, text.as_bytes())?;
                    // HAProxy's master reads it, which need not be who writes it; it holds no secret.
                    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                    std::fs::set_permissions(&path, readable)
                })
                .await
                .map_err(io::Error::other)?
            }
            Self::Through(put) => put.put(text).await,
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Through(put) => out.write_str(&put.name()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::decisions;

    #[test]
    fn how_long_it_has_been_so_is_no_decision() {
        let state = include_str!("samples/servers-state-2.6.txt");
        let later = state.replace(" 1 0 15 3 ", " 1 99 15 3 ");
        assert_ne!(state, later);
        assert_eq!(decisions(state), decisions(&later));
        assert_eq!(decisions(state).len(), 3);
        assert_ne!(
            decisions(state),
            decisions(&state.replace("blue 127.0.0.1 2 0 1", "blue 127.0.0.1 2 8 1"))
        );
        assert!(decisions("").is_empty() && decisions("1\n").is_empty());
    }
}
