//! A Windows machine through PowerShell over OpenSSH. **Not verified on a real Windows machine.** In reading order:
//!
//! 1. `program`: what runs there, in PowerShell, and the command line that starts it. Nothing of it is stored there.
//! 2. `words`: requests and replies, as JSON in lines. `session`: a conversation in them.
//! 3. `names`: which names and lengths Windows takes, and how arguments are quoted for it. Pure.
//! 4. `send`: a release's files on their way; `package`: the same as one Web Deploy package, for `msdeploy.exe`.
//! 5. `probe`: asks the release how it is. `meaning`: what refusals mean and what to do about them.
//! 6. [`PowerShell`]: how PowerShell is started there; [`OverSsh`] by ssh.

mod meaning;
mod names;
mod over_ssh;
mod package;
mod probe;
mod program;
mod send;
mod session;
mod words;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use staith_model::{Blame, Digest, Hook, WindowsRelease, WindowsWay};
use tokio_util::sync::CancellationToken;

use super::{
    machine::{Facts, HookOutcome, Load, Machine, MachineError, MachineState, Order, Question},
    wire::Wire,
};
use crate::{
    health::Health,
    host::{Done, PackageFiles, Patience, Progress, Staged},
};
use meaning::Errand;
pub use over_ssh::OverSsh;
use session::Session;
use words::{Reply, Request};

/// Starts programs on a Windows machine.
#[async_trait]
pub trait PowerShell: Send + Sync {
    /// Starts a command line, which has no letter that `cmd.exe` or PowerShell would read as anything else. Dropping the wire ends
    /// what was started. Cancel-safe.
    ///
    /// # Errors
    /// The machine can't be reached.
    async fn start(&self, target: &str, command: &str) -> Result<Wire, MachineError>;
}

/// A Windows machine: an IIS site, a Windows service, or both.
///
/// One request at a time: a second caller waits. Dropping a method's future closes the streams; the machine ends what it does at a safe
/// point, and the next call opens new ones.
pub struct WindowsMachine {
    target: String,
    folder: String,
    gets: WindowsRelease,
    by: Arc<dyn PowerShell>,
    session: tokio::sync::Mutex<Option<Session>>,
}

impl std::fmt::Debug for WindowsMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowsMachine").field("target", &self.target).field("gets", &self.gets).finish()
    }
}

impl WindowsMachine {
    /// The machine that people call `target`. `folder` is the environment's: a folder of Linux means the same on the drive `C:`.
    pub fn new(
        target: impl Into<String>,
        folder: &str,
        gets: WindowsRelease,
        by: impl PowerShell + 'static,
    ) -> Self {
        let (target, folder) = (target.into(), WindowsRelease::folder(folder));
        Self { target, folder, gets, by: Arc::new(by), session: tokio::sync::Mutex::new(None) }
    }

    /// The conversation, kept from before or new. Whoever takes it gives it back when it is in order again.
    async fn take(&self, errand: Errand, kept: &mut Option<Session>) -> Result<Session, MachineError> {
        match kept.take() {
            Some(session) => Ok(session),
            None => {
                let begin = Request::begin(&self.folder, &self.gets);
                Session::begin(&*self.by, &self.target, errand, &begin).await
            }
        }
    }

    /// Asks one thing and waits for its end.
    async fn ask(&self, errand: Errand, request: &Request<'_>) -> Result<Reply, MachineError> {
        let mut kept = self.session.lock().await;
        let was_kept = kept.is_some();
        let mut session = self.take(errand, &mut kept).await?;
        let mut answer = session.ask(&self.target, errand, request).await;
        // A stream that was kept may have broken long ago; looking a second time does no harm.
        if errand.reads_only && was_kept && answer.as_ref().is_err_and(MachineError::is_lost) {
            session = self.take(errand, &mut kept).await?;
            answer = session.ask(&self.target, errand, request).await;
        }
        let reply = answer?;
        *kept = Some(session);
        match reply {
            Reply::Not(why) => Err(errand.refused(&self.target, why)),
            reply => Ok(reply),
        }
    }

    fn unexpected(&self, errand: Errand, reply: &Reply) -> MachineError {
        errand.unexpected(&self.target, &format!("{reply:?}"))
    }
}

#[async_trait]
impl Machine for WindowsMachine {
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
        names::check(&load.manifest, &self.folder).map_err(|flaw| MachineError::Refused {
            target: self.target.clone(),
            what: ERRAND.what,
            why: flaw.to_string(),
            remedy: flaw.remedy().into(),
            blame: Blame::Project,
        })?;
        if cancel.is_cancelled() {
            return Err(MachineError::Cancelled);
        }
        let mut kept = self.session.lock().await;
        let mut session = self.take(ERRAND, &mut kept).await?;
        let site = self.gets.site.as_deref().filter(|_| self.gets.way == WindowsWay::Msdeploy);
        let delivery = send::Delivery { target: &self.target, errand: ERRAND, load, files, progress, cancel };
        let staged = delivery.attempt(&mut session, order, site).await;
        // After a refusal the machine has read all that was sent.
        if session.settled && !staged.as_ref().is_err_and(MachineError::is_lost) {
            *kept = Some(session);
        }
        staged
    }

    async fn switch(&self, order: &Order, to: Option<&Digest>) -> Result<Done, MachineError> {
        const ERRAND: Errand = Errand::new("switch to another release");
        let (epoch, operation) = (order.epoch, order.operation.hex());
        let request = Request::Switch { epoch, operation, to: to.map(Digest::hex) };
        match self.ask(ERRAND, &request).await? {
            Reply::Switched { already } => Ok(Done { already }),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn hook(&self, order: &Order, release: &Digest, hook: &Hook) -> Result<HookOutcome, MachineError> {
        const ERRAND: Errand = Errand::new("run a hook");
        let program = names::program(&hook.command).map_err(|why| MachineError::Refused {
            target: self.target.clone(),
            what: ERRAND.what,
            why: format!("the hook `{}` {why}", hook.name),
            remedy: "correct the hook's command in runner.toml".into(),
            blame: Blame::Project,
        })?;
        let request = Request::Hook {
            epoch: order.epoch,
            operation: order.operation.hex(),
            release: release.hex(),
            name: hook.name.as_str(),
            program: &program.name,
            inside: program.inside,
            arguments: &program.arguments,
            seconds: hook.timeout_seconds,
            repeatable: hook.repeatable,
        };
        let reply = self.ask(ERRAND, &request).await.map_err(|error| match error {
            MachineError::Undecided { target, .. } => {
                MachineError::Undecided { target, hook: hook.name.to_string() }
            }
            other => other,
        });
        match reply? {
            Reply::Ran(ran) => meaning::outcome(ran).map_err(|why| ERRAND.unexpected(&self.target, &why)),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }

    async fn probe(&self, question: &Question, patience: Patience) -> Result<Health, MachineError> {
        const ERRAND: Errand = Errand::reading("ask the release how it is");
        let mut asking = probe::Asking::begin(question, patience, Instant::now());
        loop {
            let request = asking.request(Instant::now());
            let answer = match self.ask(ERRAND, &request).await? {
                Reply::Seen(seen) => probe::judge(question, asking.patience(), &seen),
                other => return Err(self.unexpected(ERRAND, &other)),
            };
            match asking.take(answer, Instant::now()) {
                probe::Then::Over(health) => return Ok(*health),
                probe::Then::AskAgain(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    async fn retain(&self, order: &Order, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, MachineError> {
        const ERRAND: Errand = Errand::new("remove releases that are not needed any more");
        let keep = keep.iter().map(Digest::hex).collect();
        match self.ask(ERRAND, &Request::Retain { epoch: order.epoch, keep }).await? {
            Reply::Removed { releases } => Ok(releases.into_iter().map(|hex| hex.0).collect()),
            other => Err(self.unexpected(ERRAND, &other)),
        }
    }
}

/// How long the first word of a machine is waited for: PowerShell takes seconds to start on a busy one.
const FIRST_WORD: Duration = Duration::from_secs(60);
