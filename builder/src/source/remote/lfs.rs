//! Servers of git-lfs, which have the objects of which a repository has pointers. A map, in reading order:
//!
//! 1. `place`: which server, and what it may be told. `by_ssh`: where ssh says that it is.
//! 2. `protocol`: what is said. `client`: one question, or one download.
//! 3. [`LargeFiles`]: a hundred objects at a time, several at once, each again where that helps.

mod by_ssh;
mod client;
mod failure;
mod place;
mod protocol;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

pub use self::failure::LfsFailure;
use self::{
    client::{Client, Server},
    place::Place,
    protocol::{AT_ONCE, Told},
};
use super::{
    Reach, RemoteRepository,
    address::{Way, Web},
};

/// Downloads at once: more would not be faster, and servers count them.
const DOWNLOADS: usize = 4;
/// How often an object is asked for.
const ATTEMPTS: u32 = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);

/// A server that was named beside the repository's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::source) enum Named {
    /// In the configuration of a clone on this machine.
    ByPerson(String),
    /// In a commit's .lfsconfig.
    ByCommit(String),
}

impl Named {
    /// Without credentials, which are never sent because of an address like this.
    pub(in crate::source) fn plain(self) -> Self {
        let plain = |url: String| {
            Web::parse(&url).map_or_else(|_| super::without_credentials(&url), |web| web.shown())
        };
        match self {
            Self::ByPerson(url) => Self::ByPerson(plain(url)),
            Self::ByCommit(url) => Self::ByCommit(plain(url)),
        }
    }
}

/// An object that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct WantedObject {
    pub(in crate::source) oid: Digest,
    pub(in crate::source) size: u64,
}

/// The server that has the objects of a repository.
pub(in crate::source) struct LargeFiles {
    client: Client,
    server: Server,
}

/// Takes the bytes of a wanted object, by its position; whether they were the right ones.
type Keep<'a> = dyn Fn(usize, &mut dyn io::Read) -> io::Result<bool> + Sync + 'a;
/// Hears of objects and bytes that have come.
type Hear<'a> = dyn Fn(usize, usize) + Sync + 'a;

impl LargeFiles {
    /// Finds the server. Only ssh is asked, where the repository is reached by it.
    pub(in crate::source) fn of(
        remote: &RemoteRepository,
        named: Option<&Named>,
        reach: &Reach,
    ) -> Result<Self, LfsFailure> {
        let caution = remote.judge(&reach.caution)?;
        let server = match place::place_of(remote, named, &reach.caution)? {
            Place::Web(asked) => Server::of(asked),
            Place::BySsh => {
                let Way::Ssh { user, host, path } = &remote.way else { return Err(LfsFailure::NoServer) };
                let action = by_ssh::ask(reach, user.as_deref(), host, path)?;
                let not_understood =
                    |why: &str| LfsFailure::NotUnderstood { host: host.shown(), why: why.to_owned() };
                let at = action.href.expose_to(Web::parse).map_err(not_understood)?;
                place::encrypted_or_here(&at).map_err(not_understood)?;
                let (name, port) = at.host_and_port();
                caution.judge_name(name, port)?;
                Server::with_header(Web { credentials: None, ..at }, action.header)
            }
        };
        Ok(Self { client: Client::new(reach.clone(), caution), server })
    }

    /// Fetches all, in any order. The first that can't be had ends it; which one that is, is said.
    pub(in crate::source) fn fetch(
        &self,
        wanted: &[WantedObject],
        keep: &Keep<'_>,
        hear: &Hear<'_>,
    ) -> Result<(), (usize, LfsFailure)> {
        let numbered: Vec<(usize, WantedObject)> = wanted.iter().copied().enumerate().collect();
        for some in numbered.chunks(AT_ONCE) {
            let first = some.first().map_or(0, |(index, _)| *index);
            let objects: Vec<(Digest, u64)> = some.iter().map(|(_, one)| (one.oid, one.size)).collect();
            let told = again(|| self.client.batch(&self.server, &objects)).map_err(|why| (first, why))?;
            self.fetch_some(some, &told, keep, hear)?;
        }
        Ok(())
    }

    fn fetch_some(
        &self,
        some: &[(usize, WantedObject)],
        told: &BTreeMap<Digest, Told>,
        keep: &Keep<'_>,
        hear: &Hear<'_>,
    ) -> Result<(), (usize, LfsFailure)> {
        let (next, failed, is_over) = (AtomicUsize::new(0), Mutex::new(None), AtomicBool::new(false));
        let work = || {
            while !is_over.load(Ordering::Relaxed)
                && let Some((index, one)) = some.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let kept = |from: &mut dyn io::Read| keep(*index, from);
                if let Err(why) = self.fetch_one(one, told.get(&one.oid), &kept, hear) {
                    is_over.store(true, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((*index, why));
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..DOWNLOADS.min(some.len()) {
                scope.spawn(work);
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Fetches one, at the place that the server named. Such places grow old, so for another attempt it is asked anew.
    fn fetch_one(
        &self,
        one: &WantedObject,
        told: Option<&Told>,
        keep: &dyn Fn(&mut dyn io::Read) -> io::Result<bool>,
        hear: &Hear<'_>,
    ) -> Result<(), LfsFailure> {
        let mut told = told.cloned();
        let mut attempt = 1;
        loop {
            let fetched = match told.take() {
                Some(Told::At(action)) => self.client.download(&self.server, &action, one.size, keep, hear),
                other => Err(self.server.missing(other)),
            };
            let failed = match fetched {
                Ok(()) => {
                    hear(1, 0);
                    return Ok(());
                }
                Err(failed) => failed,
            };
            let may_be_old = matches!(failed, LfsFailure::Denied { .. }) && attempt == 1;
            if attempt == ATTEMPTS || !(failed.may_pass() || may_be_old) {
                return Err(failed);
            }
            tracing::debug!(%failed, attempt, "an object of git-lfs is asked for again");
            thread::sleep(BETWEEN_ATTEMPTS * attempt);
            attempt += 1;
            told = again(|| self.client.batch(&self.server, &[(one.oid, one.size)]))?.remove(&one.oid);
        }
    }
}

/// Does something again where that may help.
fn again<T>(act: impl Fn() -> Result<T, LfsFailure>) -> Result<T, LfsFailure> {
    let mut attempt = 1;
    loop {
        match act() {
            Err(failed) if attempt < ATTEMPTS && failed.may_pass() => {
                thread::sleep(BETWEEN_ATTEMPTS * attempt);
                attempt += 1;
            }
            done => return done,
        }
    }
}
