//! Repositories on other machines: fetched into a mirror, which is then read as any repository on this machine. A map, in
//! reading order:
//!
//! 1. [`RemoteRepository`] in `address`: what may be named, in its one spelling and without credentials.
//! 2. `mirror`: a bare repository in the store for each, fetched by git's library, by one process at a time; `first`: what
//!    a new one lacks, which is everything, received on all cores.
//! 3. `bridge`: the library knows neither TLS nor ssh, so it is pointed at a door on loopback. Behind the door:
//! 4. `web` with `tls` and `credentials`, or `pipe`, which runs ssh.
//! 5. `lfs`: the objects that git-lfs keeps beside a repository.
//! 6. [`FetchFailure`]: why it did not work, and what to do.

mod address;
mod bridge;
mod credentials;
mod failure;
mod first;
mod lfs;
mod mirror;
mod pipe;
mod tls;
mod web;

use std::{env, path::PathBuf, sync::Mutex, time::Duration};

use crate::addresses::Caution;

pub(crate) use self::address::percent_decoded;
pub(super) use self::lfs::{LargeFiles, Named, WantedObject};
pub use self::{address::RemoteRepository, failure::FetchFailure, lfs::LfsFailure};
use self::{
    address::Way,
    bridge::FarSide,
    pipe::{Pipe, Piped},
    web::WebServer,
};
pub(super) use self::{address::without_credentials, mirror::Mirror};

/// Servers that work send something at least every few seconds: git says "still counting" meanwhile.
const STALL: Duration = Duration::from_secs(60);

/// How other machines are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What to run instead of `ssh`, for a shell, as `GIT_SSH_COMMAND` says it.
    pub ssh_command: Option<String>,
    /// A file with the certificates of the authorities to trust, instead of the system's. Those are the ones that
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name, if they do.
    pub certificates: Option<PathBuf>,
    /// A fetch is given up when nothing comes for so long.
    pub stall: Duration,
    /// Which special addresses commits and servers may name.
    pub caution: Caution,
}

impl Default for Reach {
    fn default() -> Self {
        Self { ssh_command: None, certificates: None, stall: STALL, caution: Caution::default() }
    }
}

impl Reach {
    /// As the environment of this process says.
    pub fn from_environment() -> Self {
        let ssh_command = env::var("GIT_SSH_COMMAND").ok().filter(|command| !command.trim().is_empty());
        Self { ssh_command, caution: Caution::from_environment(), ..Self::default() }
    }

    fn to(&self, remote: &RemoteRepository) -> Result<Box<dyn FarSide>, FetchFailure> {
        let caution = remote.judge(&self.caution)?;
        let pipe = match &remote.way {
            Way::Web(web) => return Ok(Box::new(WebServer::new(web, self, caution)?)),
            Way::Ssh { user, host, path } => {
                Pipe::Ssh { user: user.clone(), host: host.clone(), path: path.clone() }
            }
            Way::Plain { host, path } => Pipe::Plain { host: host.clone(), path: path.clone() },
        };
        Ok(Box::new(Piped { pipe, reach: self.clone(), running: Mutex::default() }))
    }
}
