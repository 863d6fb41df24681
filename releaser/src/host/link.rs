//! How the local host and the built-in traffic reach the keeper, and what its errors mean to them.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use crate::keeper::{Keeper, KeeperError, KeeperStatus};

/// The keeper of an environment's folder: found if it runs, started if it must.
#[derive(Debug, Clone)]
pub struct KeeperLink {
    /// The environment's folder.
    pub dir: PathBuf,
    /// The program and first arguments that become the keeper.
    pub launcher: Vec<OsString>,
    /// Where its proxy shall listen.
    pub listen: SocketAddr,
}

impl KeeperLink {
    /// What the keeper does; `None` if none runs. Starts nothing.
    pub(crate) async fn status(&self) -> Result<Option<KeeperStatus>, KeeperError> {
        let Some(keeper) = Keeper::connect(&self.dir).await? else { return Ok(None) };
        match keeper.status().await {
            Ok(status) => Ok(Some(status)),
            // It ended between the two: as good as none, if a second look agrees.
            Err(error @ KeeperError::Lost { .. }) => match Keeper::connect(&self.dir).await? {
                None => Ok(None),
                Some(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The keeper, started if none runs.
    pub(crate) async fn keeper(&self) -> Result<Keeper, KeeperError> {
        Keeper::ensure(&self.dir, &self.launcher, self.listen).await
    }
}

/// What a keeper's error means to whoever deploys.
pub(crate) enum Meaning {
    /// Somebody else is in charge now.
    Fenced,
    /// It may or may not have been done.
    Lost,
    /// It was not done.
    Refused,
}

pub(crate) fn meaning(error: &KeeperError) -> Meaning {
    match error {
        KeeperError::Superseded { .. } => Meaning::Fenced,
        KeeperError::Lost { .. } | KeeperError::TooSlow { .. } => Meaning::Lost,
        _ => Meaning::Refused,
    }
}
