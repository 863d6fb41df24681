//! A machine through the program on it. In reading order:
//!
//! 1. `connection`: frames over the streams, and what a lost stream means.
//! 2. `send`: manifests and contents on their way.
//! 3. `memory`: manifests that are known from one process to the next. `ahead`: what a machine lacks, told by them.
//! 4. `meaning`: the program's words in this crate's.

mod ahead;
mod connection;
mod meaning;
mod memory;
mod send;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use staith_machine::protocol::{Asked, Hidden, Inspected, Lacks, ManifestBy, Reply, Request, Stage, State};
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
use connection::{Connection, There};
use meaning::{Errand, order_of};
pub use memory::Memory;

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
    memory: Option<Memory>,
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
            memory: None,
        }
    }

    /// Remembers beyond this process which manifests machines have.
    #[must_use]
    pub fn remembering(mut self, memory: Memory) -> Self {
        self.memory = Some(memory);
        self
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

    /// What the program said of itself just now, where it had to be started for that.
    async fn greeting(&self, errand: Errand) -> Result<Option<State>, MachineError> {
        let mut kept = self.connection.lock().await;
        if kept.is_some() {
            return Ok(None);
        }
        let mut connection = self.take(errand, &mut kept).await?;
        let state = connection.greeting.take();
        *kept = Some(connection);
        Ok(state)
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
    async fn manifest_by(
        &self,
        there: &There,
        load: &Load,
        digest: Digest,
    ) -> (ManifestBy, Option<Arc<Manifest>>) {
        if there.releases.iter().any(|(_, manifest)| *manifest == digest) {
            return (ManifestBy::Digest, None);
        }
        // That of the release that runs differs least, as a rule.
        let mut releases = there.releases.clone();
        releases.sort_by_key(|(release, _)| (Some(*release) != there.current, *release == load.release));
        for (_, base) in releases {
            if let Some(manifest) = self.recall(base).await {
                return (ManifestBy::Delta(base), Some(manifest));
            }
        }
        (ManifestBy::Whole, None)
    }

    /// What the machine lacks, as far as can be told from here: nothing where a release is on it whose manifest is not known, or
    /// where it is so much that waiting to be asked is nothing beside it.
    async fn ahead(&self, there: &There, load: &Load) -> Lacks {
        let there = join_all(there.releases.iter().map(|(_, manifest)| self.recall(*manifest))).await;
        let Some(there) = there.into_iter().collect::<Option<Vec<_>>>().filter(|there| !there.is_empty())
        else {
            return Lacks::default();
        };
        let (manifest, private) = (load.manifest.clone(), load.private.clone());
        off_thread(move || ahead::lacking(&manifest, &private, &there)).await.unwrap_or_default()
    }

    /// A manifest from this process, or from one before it.
    async fn recall(&self, digest: Digest) -> Option<Arc<Manifest>> {
        let known = self.manifests.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if known.is_some() {
            return known;
        }
        let memory = self.memory.clone()?;
        let found = Arc::new(off_thread(move || memory.find(digest)).await.ok()??);
        self.remember(digest, found.clone());
        Some(found)
    }

    /// The manifest of the release that runs, if a new one may travel as a difference to it.
    async fn recall_current(&self, there: &There) -> Option<Arc<Manifest>> {
        let current = there.releases.iter().find(|(release, _)| Some(*release) == there.current)?;
        self.recall(current.1).await
    }

    /// Begins to keep a manifest that the machine is given, for the next time. If the machine does not take it, nothing is lost.
    fn keep(&self, digest: Digest, json: Vec<u8>) -> Option<tokio::task::JoinHandle<()>> {
        let memory = self.memory.clone()?;
        Some(tokio::task::spawn_blocking(move || memory.keep(digest, &json)))
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
        if let Some(state) = self.greeting(ERRAND).await? {
            return Ok(meaning::state(state));
        }
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
        let there = connection.there.clone();
        let manifest = load.manifest.clone();
        let written = off_thread(move || {
            let json = serde_json::to_vec(&*manifest).unwrap_or_default();
            (Manifest::digest_of_json(&json), json)
        });
        // It will be asked for in a moment; until then, another processor can look for it.
        let (written, _) = tokio::join!(written, self.recall_current(&there));
        let (digest, json) = written.map_err(|why| ERRAND.unexpected(&self.target, &why))?;
        let keeping = self.keep(digest, json);
        let (by, mut base) = self.manifest_by(&there, load, digest).await;
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
            // Of a manifest that the machine has, it has the contents.
            ahead: if by == ManifestBy::Digest { Lacks::default() } else { self.ahead(&there, load).await },
            every_byte: load.every_byte,
        };
        let delivery = send::Delivery { target: &self.target, errand: ERRAND, load, files, progress, cancel };
        let mut reply = delivery.attempt(&mut connection, &stage, base.as_deref()).await?;
        if matches!(reply, Reply::NoManifest) {
            // It had it a moment ago; somebody removed the release.
            (stage.by, stage.ahead, base) = (ManifestBy::Whole, Lacks::default(), None);
            reply = delivery.attempt(&mut connection, &stage, base.as_deref()).await?;
        }
        if matches!(reply, Reply::Staged { .. }) {
            connection.there.releases.retain(|(release, _)| *release != load.release);
            connection.there.releases.push((load.release, digest));
            self.remember(digest, load.manifest.clone());
        }
        if let Some(keeping) = keeping {
            let _ = keeping.await;
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
            Reply::Switched { already } => {
                if let Some(connection) = self.connection.lock().await.as_mut() {
                    connection.there.current = to.copied();
                }
                Ok(Done { already })
            }
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
            Reply::Probed { verdict, url, took_millis, needed, log } => {
                Ok(meaning::health(verdict, url, took_millis, needed, seen, log))
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
                    connection.there.releases.retain(|(release, _)| !removed.contains(release));
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
