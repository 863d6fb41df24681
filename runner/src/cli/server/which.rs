//! Which server is meant, where one may be asked by the API or in its directory.

use std::path::PathBuf;

use clap::Args;
use staith_model::Exit;
use staith_server::{
    site::Site,
    store::{Sqlite, StoreError},
};

use super::place::{self, Place};
use crate::{
    client::people::{MaybeServer, People, in_environment},
    output::Problem,
};

/// A server elsewhere, or the directory of one on this machine.
#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    server: MaybeServer,
}

/// How a server is asked.
pub(super) enum Entrance {
    /// By its API, with a token.
    Api(People),
    /// By what is in its directory.
    Directory(PathBuf),
}

/// A server in a directory.
pub(super) enum Lives {
    /// It runs, and is asked there.
    Runs(PathBuf),
    /// It does not, and its database is read and written by this process.
    Rests(Box<Site>),
}

impl Which {
    /// The directory where `--data` names it, else the server that `--server` or `STAITH_SERVER` names, else the usual directory.
    ///
    /// # Errors
    /// Both are named (64), or what is named can't be used.
    pub(super) fn entrance(&self) -> Result<Entrance, Problem> {
        if self.place.is_named() {
            if self.server.named()?.is_some() {
                return Err(Problem::new(Exit::Usage, "--server and --data name two servers")
                    .with_remedy("leave out --data to ask by the API, or --server to ask on this machine"));
            }
            return Ok(Entrance::Directory(self.place.known()?));
        }
        match self.server.named_or(in_environment())? {
            Some(server) => Ok(Entrance::Api(server.open()?)),
            None => Ok(Entrance::Directory(self.place.known()?)),
        }
    }

    /// The directory, for what can be done in it alone.
    ///
    /// # Errors
    /// A server is named (64), or there is no such directory.
    pub(super) fn directory(&self, why: &str) -> Result<PathBuf, Problem> {
        if self.server.named()?.is_some() {
            return Err(
                Problem::new(Exit::Usage, why).with_remedy("give the command on the server's machine")
            );
        }
        self.place.known()
    }
}

impl Lives {
    /// Whether the server in a directory runs.
    ///
    /// # Errors
    /// Its database can't be opened.
    pub(super) fn of(data: PathBuf) -> Result<Self, Problem> {
        match Sqlite::open(&place::database(&data)) {
            Ok(store) => Ok(Self::Rests(Box::new(place::site(store.into(), data)))),
            Err(StoreError::InUse(_)) => Ok(Self::Runs(data)),
            Err(error) => Err(place::refused(&error, &data)),
        }
    }
}
