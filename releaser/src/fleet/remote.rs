//! A machine through the program on it. In reading order:
//!
//! 1. `connection`: frames over the streams, and what a lost stream means.
//! 2. `send`: manifests and contents on their way.
//! 3. `meaning`: the program's words in this crate's.

mod connection;
mod meaning;
mod send;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use staith_machine::protocol::{Asked, Hidden, Inspected, ManifestBy, Reply, Request, Stage};
use staith_model::{Digest, Hook, Manifest};
use tokio_util::sync::CancellationToken;

use super::{
    machine::{Facts, HookOutcome, Inspection, Load, Machine, MachineError, MachineState, Order, Question},
    way::Open,
};
use crate::{
    health::Health,
    host::{Done, Files, PackageFiles, Patience, Progress, Staged},
};
use connection::Connection;
use meaning::{Errand, order_of};

/// A machine through the program on it, over streams that are opened when they are needed, and kept.
///
/// One request at a time: a second caller waits. Dropping a method's future closes the streams: the program notices, ends what it
/// does at a safe point, and the next call opens new ones.
pub struct RemoteMachine {
    target: String,
    way: Arc<dyn Open>,
    folder: String,
    connection: tokio::sync::Mutex<Option<Connection>>,
    manifests: Mutex<BTreeMap<Digest, Arc<Manifest>>>,
}

impl std::fmt::Debug for RemoteMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteMachine").field("target", &self.target).field("folder", &self.folder).finish()
    }
}

/// Manifests that are remembered to send the next as a difference.
const MOST_MANIFESTS: usize = 4;

impl RemoteMachine {
    /// The machine that people call `target`, with the application in `folder` on it.
    pub fn new(target: impl Into<String>, way: impl Open + 'static, folder: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            way: Arc::new(way),
            folder: folder.into(),
            connection: tokio::sync::Mutex::new(None),
            manifests: Mutex::new(BTreeMap::new()),
        }
    }

    /// Tells of a manifest that the machine may have, from an earlier deployment: one that differs little from it travels as
    /// the difference.
    pub fn know(&self, manifest: Arc<Manifest>) {
        self.remember(manifest.digest(), manifest);
    }

    fn remember(&self, digest: Digest, manifest: Arc<Manifest>) {
        let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if manifests.len() >= MOST_MANIFESTS && !manifests.contains_key(&digest) {
            manifests.pop_first();
        }
        manifests.insert(digest, manifest);
    }

    /// The streams, kept from before or new. Whoever takes them gives them back when the conversation is in order again.
    async fn take(&self, errand: Errand, kept: &mut Option<Connection>) -> Result<Connection, MachineError> {
        match kept.take() {
            Some(connection) => Ok(connection),
            None => {
                let wire = self.way.open(&self.target, &self.folder).await?;
                Connection::begin(wire, &self.target, errand).await
            }
        }
    }

    /// Asks one thing and waits for its end.
    async fn ask(&self, errand: Errand, request: &Request) -> Result<Reply, MachineError> {
        let mut kept = self.connection.lock().await;
        let was_kept = kept.is_some();
        let mut connection = self.take(errand, &mut kept).await?;
        let mut answer = connection.ask(&self.target, errand, request).await;
        // A stream that was kept may have broken long ago; looking a second time does no harm.
        if errand.reads_only && was_kept && answer.as_ref().is_err_and(MachineError::is_lost) {
            connection = self.take(errand, &mut kept).await?;
            answer = connection.ask(&self.target, errand, request).await;
        }
        let reply = answer?;
        *kept = Some(connection);
        self.understand(errand, reply)
    }

    fn understand(&self, errand: Errand, reply: Reply) -> Result<Reply, MachineError> {
        match reply {
            Reply::Not(why) => Err(errand.refused(&self.target, why)),
            reply => Ok(reply),
        }
    }

    fn unexpected(&self, errand: Errand, reply: &Reply) -> MachineError {
        errand.unexpected(&self.target, &format!("{reply:?}"))
    }

    /// How the manifest goes to the machine with the fewest bytes.
    fn manifest_by(
        &self,
        connection: &Connection,
        load: &Load,
        digest: Digest,
    ) -> (ManifestBy, Option<Arc<Manifest>>) {
        if connection
            .releases
            .iter()
            .any(|(release, manifest)| (*release, *manifest) == (load.release, digest))
        {
            return (ManifestBy::Digest, None);
        }
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let known = connection
            .releases
            .iter()
            .rev()
            .find_map(|(_, manifest)| Some((*manifest, manifests.get(manifest)?)));
        match known {
            Some((base, manifest)) => (ManifestBy::Delta(base), Some(manifest.clone())),
            None => (ManifestBy::Whole, None),
        }
    }
}

#[async_trait]
impl Machine for RemoteMachine {
    async fn reach(&self) -> Result<Facts, MachineError> {
        const ERRAND: Errand = Errand::reading("say what it is");
        match self.ask(ERRAND, &Request::Reach).await? {
            Reply::Reached(system) => Ok(meaning::facts(system)),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn observe(&self) -> Result<MachineState, MachineError> {
        const ERRAND: Errand = Errand::reading("say what is there");
        match self.ask(ERRAND, &Request::Observe).await? {
            Reply::Observed(state) => Ok(meaning::state(state)),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn stage(
        &self,
        order: &Order,
        load: &Load,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Staged, MachineError> {
        const ERRAND: Errand = Errand::new("put a release's files in place");
        let mut kept = self.connection.lock().await;
        let mut connection = self.take(ERRAND, &mut kept).await?;
        let manifest = load.manifest.clone();
        let digest = off_thread(move || manifest.digest())
            .await
            .map_err(|why| ERRAND.unexpected(&self.target, &why))?;
        let (by, mut base) = self.manifest_by(&connection, load, digest);
        let mut stage = Stage {
            order: order_of(order),
            release: load.release,
            manifest: digest,
            by,
            service: load.service.clone(),
            secrets: load
                .secrets
                .iter()
                .map(|(name, secret)| (name.clone(), Hidden(secret.clone())))
                .collect(),
            private: load.private.clone(),
        };
        let delivery = send::Delivery { target: &self.target, errand: ERRAND, load, files, progress, cancel };
        let mut reply = delivery.attempt(&mut connection, &stage, base.as_deref()).await?;
        if matches!(reply, Reply::NoManifest) {
            // It had it a moment ago; somebody removed the release.
            (stage.by, base) = (ManifestBy::Whole, None);
            reply = delivery.attempt(&mut connection, &stage, base.as_deref()).await?;
        }
        if matches!(reply, Reply::Staged { .. }) {
            connection.releases.retain(|(release, _)| *release != load.release);
            connection.releases.push((load.release, digest));
            self.remember(digest, load.manifest.clone());
        }
        *kept = Some(connection);
        match self.understand(ERRAND, reply)? {
            Reply::Staged { already, files, bytes } => Ok(Staged { already, files, bytes }),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn switch(&self, order: &Order, to: Option<&Digest>) -> Result<Done, MachineError> {
        const ERRAND: Errand = Errand::new("switch to another release");
        match self.ask(ERRAND, &Request::Switch { order: order_of(order), to: to.copied() }).await? {
            Reply::Switched { already } => Ok(Done { already }),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn hook(&self, order: &Order, release: &Digest, hook: &Hook) -> Result<HookOutcome, MachineError> {
        const ERRAND: Errand = Errand::new("run a hook");
        let request = Request::Hook { order: order_of(order), release: *release, hook: hook.clone() };
        let reply = self.ask(ERRAND, &request).await.map_err(|error| match error {
            MachineError::Undecided { target, .. } => {
                MachineError::Undecided { target, hook: hook.name.to_string() }
            }
            other => other,
        });
        match reply? {
            Reply::Ran(ran) => Ok(meaning::outcome(ran)),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn probe(&self, question: &Question, patience: Patience) -> Result<Health, MachineError> {
        const ERRAND: Errand = Errand::reading("ask the release how it is");
        let request = Request::Probe(meaning::question(question, patience));
        let mut kept = self.connection.lock().await;
        let mut connection = self.take(ERRAND, &mut kept).await?;
        connection.tell(&self.target, ERRAND, &request).await?;
        let mut seen = Vec::new();
        let end = loop {
            match connection.hear(&self.target, ERRAND).await? {
                Reply::Seen(answer) => meaning::add(&mut seen, answer),
                other => break other,
            }
        };
        *kept = Some(connection);
        match self.understand(ERRAND, end)? {
            Reply::Probed { verdict, url, took_millis, needed } => {
                Ok(meaning::health(verdict, url, took_millis, needed, seen))
            }
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn inspect(&self, release: &Digest, how: Inspection) -> Result<Files, MachineError> {
        const ERRAND: Errand = Errand::reading("look at a release's files");
        let request = Request::Inspect { release: *release, every_byte: how == Inspection::EveryByte };
        match self.ask(ERRAND, &request).await? {
            Reply::Inspected(Inspected::Absent) => Ok(Files::Absent),
            Reply::Inspected(Inspected::Damaged(what)) => Ok(Files::Damaged(what)),
            Reply::Inspected(Inspected::Whole) => Ok(Files::Complete),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn retain(&self, order: &Order, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, MachineError> {
        const ERRAND: Errand = Errand::new("remove releases that are not needed any more");
        match self.ask(ERRAND, &Request::Retain { order: order_of(order), keep: keep.clone() }).await? {
            Reply::Removed(removed) => {
                if let Some(connection) = self.connection.lock().await.as_mut() {
                    connection.releases.retain(|(release, _)| !removed.contains(release));
                }
                Ok(removed)
            }
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }
}

/// Work that would keep other machines waiting, where it keeps nobody.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// What was asked was given up.
fn is_cancelled(reply: &Reply) -> bool {
    matches!(reply, Reply::Not(Asked::Cancelled))
}
