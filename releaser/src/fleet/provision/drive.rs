//! Plans, and carries a plan out. What is about to be done is in the ledger before it is done; so whoever comes after a kill is told
//! what may be there.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use staith_model::{
    Blame, Digest, FleetEvent, Name, Provision, ProvisionEvent, ProvisionPlan, ProvisionState, ProvisionTool,
    Provisioning, Reason, Secret, Standing, Target,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::drive::{Clock, Log},
    ProvisionError, Voice, files,
    place::{Marker, Place},
    program::Circumstances,
    ready::{Reach, await_machine},
    tool::Hands,
    user_data,
};
use crate::{
    drive::lock::{self, Lock},
    host::durable,
};

/// Makes the machines of one environment, and takes them down.
pub struct Provisioner {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// What is kept of it.
    pub place: Place,
    /// The lock of whoever deploys there: machines are not changed under a deployment.
    pub driver_lock: PathBuf,
    /// The environment's log.
    pub log: Log,
    /// The time.
    pub clock: Clock,
    /// Who wants it, for the log.
    pub by: String,
    /// Which process this is, for people.
    pub process: String,
    /// Secrets by their names, as far as they are set here.
    pub secrets: BTreeMap<String, Secret>,
    /// The same secrets' versions: another value is another version, which tells nothing of it.
    pub versions: BTreeMap<String, String>,
    /// Who hears what programs write.
    pub voice: Arc<dyn Voice>,
    /// Asks programs for an end.
    pub cancel: CancellationToken,
    /// Ends them.
    pub kill: CancellationToken,
}

/// The right to make and take down the machines of an environment; given up when dropped, and when the programs that were started
/// have ended.
pub struct Session<'a> {
    of: &'a Provisioner,
    lock: Lock,
}

/// A plan that waits to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// What would be done.
    pub plan: ProvisionPlan,
    /// Its digest.
    pub digest: Digest,
    /// What people are shown, without secrets.
    pub text: String,
    /// Whether it was planned before, so that what people said of it counts.
    pub again: bool,
}

impl Provisioner {
    /// What the ledger says.
    ///
    /// # Errors
    /// It can't be read.
    pub fn state(&self) -> Result<ProvisionState, ProvisionError> {
        let entries = self.log.since(0)?;
        Ok(ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// Takes the right to change something. Waits for nobody.
    ///
    /// # Errors
    /// [`ProvisionError::Busy`] where another process has it, or a program that one had started.
    pub async fn begin(&self) -> Result<Session<'_>, ProvisionError> {
        self.place.make()?;
        let lock = lock::take(&self.place.lock(), Duration::ZERO).await.map_err(ProvisionError::Busy)?;
        Ok(Session { of: self, lock })
    }

    async fn record(&self, event: ProvisionEvent) -> Result<(), ProvisionError> {
        self.log.append(FleetEvent::Provision { provision: Box::new(event) }).await?;
        Ok(())
    }
}

impl Session<'_> {
    /// Whether what is described is there: made from the same description, ready, and not past its time. Asks no tool.
    ///
    /// # Errors
    /// The ledger or the project's folder can't be read.
    pub async fn is_there(&self, provision: &Provision, project: &Path) -> Result<bool, ProvisionError> {
        let state = self.of.state()?;
        let definition = self.definition(provision, project).await?;
        let is_in_time = state.due.is_none_or(|due| due > self.of.clock.now());
        Ok(match state.standing {
            Standing::Stands { definition: made, ready, .. } => {
                let is_ready = match &provision.cloud_init {
                    Some(said) if said.wait_seconds.is_some() => matches!(ready, Some(Ok(()))),
                    _ => true,
                };
                made == definition && is_ready && is_in_time
            }
            _ => false,
        })
    }

    /// Brings the project's files here, and says what all of it comes to.
    async fn definition(&self, provision: &Provision, project: &Path) -> Result<Digest, ProvisionError> {
        let (place, project, folder) = (self.of.place.clone(), project.to_owned(), provision.folder.clone());
        let brought = tokio::task::spawn_blocking(move || files::bring(&place, &project, &folder)).await;
        let files = brought.map_err(|gone| ProvisionError::Kept {
            doing: "can't bring files to",
            path: self.of.place.work(),
            source: std::io::Error::other(gone),
        })??;
        Ok(provision.definition(&files, &self.versions(provision)))
    }

    fn versions(&self, provision: &Provision) -> BTreeMap<String, String> {
        let named = provision.secrets.values();
        named.filter_map(|name| Some((name.clone(), self.of.versions.get(name)?.clone()))).collect()
    }

    /// Plans to make what is described, or gives the plan that waits already.
    ///
    /// # Errors
    /// See [`ProvisionError`]. Nothing was made then.
    pub async fn propose(
        &self,
        provision: &Provision,
        project: &Path,
        reason: &str,
    ) -> Result<Proposal, ProvisionError> {
        let definition = self.definition(provision, project).await?;
        if let Some(waiting) = self.waiting(Provisioning::Apply, &definition).await? {
            return Ok(waiting);
        }
        self.render_user_data(provision)?;
        self.plan(Provisioning::Apply, provision.clone(), definition, reason).await
    }

    /// Plans to take down what was made, by the description from which it was made.
    ///
    /// # Errors
    /// See [`ProvisionError`]; [`ProvisionError::NothingThere`].
    pub async fn propose_end(&self, reason: &str) -> Result<Proposal, ProvisionError> {
        let made_from = self.of.state()?.made_from.ok_or(ProvisionError::NothingThere)?;
        let definition = made_from.definition(&Digest::of(b""), &BTreeMap::new());
        if let Some(waiting) = self.waiting(Provisioning::Destroy, &definition).await? {
            return Ok(waiting);
        }
        self.plan(Provisioning::Destroy, made_from, definition, reason).await
    }

    /// The plan that waits, if it still is for this.
    async fn waiting(
        &self,
        direction: Provisioning,
        definition: &Digest,
    ) -> Result<Option<Proposal>, ProvisionError> {
        let Some(waiting) = self.of.state()?.waiting else { return Ok(None) };
        let plan = waiting.plan;
        if plan.direction != direction || plan.definition != *definition {
            return Ok(None);
        }
        let digest = plan.digest();
        let kept = self.kept_text(&plan).and_then(|text| match &plan.file {
            Some(file) => self.of.place.check_plan(file).map(|_| text),
            None => Ok(text),
        });
        match kept {
            Ok(text) => Ok(Some(Proposal { plan, digest, text, again: true })),
            Err(error) => Err(self.withdrawn(digest, error).await),
        }
    }

    fn kept_text(&self, plan: &ProvisionPlan) -> Result<String, ProvisionError> {
        let changed = |why: &str| ProvisionError::Changed { why: why.to_owned() };
        let text = fs::read_to_string(self.of.place.text()).map_err(|_| changed("its text is gone"))?;
        if Digest::of(text.as_bytes()) != plan.text {
            return Err(changed("its text has other bytes than when it was made"));
        }
        Ok(text)
    }

    /// A plan that is not to be carried out does not wait any more. Gives the error back.
    async fn withdrawn(&self, plan: Digest, error: ProvisionError) -> ProvisionError {
        let why = error.to_string();
        match self.of.record(ProvisionEvent::Withdrawn { plan, why }).await {
            Ok(()) => error,
            Err(unrecorded) => unrecorded,
        }
    }

    /// Says that a plan that waits is not carried out.
    ///
    /// # Errors
    /// The ledger can't be written.
    pub async fn withdraw(&self, proposal: &Proposal, why: &str) -> Result<(), ProvisionError> {
        self.of.record(ProvisionEvent::Withdrawn { plan: proposal.digest, why: why.to_owned() }).await
    }

    async fn plan(
        &self,
        direction: Provisioning,
        provision: Provision,
        definition: Digest,
        reason: &str,
    ) -> Result<Proposal, ProvisionError> {
        let drawn = self.hands(&provision)?.plan(direction).await?;
        let text = self.of.voice.masked(&drawn.text);
        let kept = self.of.place.text();
        durable::write(&kept, text.as_bytes()).map_err(ProvisionError::kept("can't write", &kept))?;
        let file = match drawn.is_saved {
            true => {
                let saved = self.of.place.plan();
                Some(Digest::of(&fs::read(&saved).map_err(ProvisionError::kept("can't read", &saved))?))
            }
            false => None,
        };
        let text_digest = Digest::of(text.as_bytes());
        let nothing = drawn.nothing;
        let plan = ProvisionPlan { direction, definition, provision, text: text_digest, file, nothing };
        let planned = ProvisionEvent::Planned {
            plan: Box::new(plan.clone()),
            by: self.of.by.clone(),
            reason: reason.to_owned(),
        };
        self.of.record(planned).await?;
        Ok(Proposal { digest: plan.digest(), plan, text, again: false })
    }

    fn render_user_data(&self, provision: &Provision) -> Result<(), ProvisionError> {
        let Some(said) = &provision.cloud_init else { return Ok(()) };
        let Some(template) = &said.template else { return Ok(()) };
        let folder = self.of.place.user_data();
        durable::create_folder(&folder).map_err(ProvisionError::kept("can't make", &folder))?;
        let at = self.of.place.work().join(template);
        let text = fs::read_to_string(&at).map_err(|error| ProvisionError::UserData {
            template: template.clone(),
            why: format!("it can't be read: {error}"),
        })?;
        for machine in &said.machines {
            let told = user_data(
                template,
                &text,
                provision,
                (&self.of.project, &self.of.environment, machine),
                &self.of.secrets,
            )?;
            let to = folder.join(machine.as_str());
            durable::write(&to, told.as_bytes()).map_err(ProvisionError::kept("can't write", &to))?;
        }
        Ok(())
    }

    fn hands<'p>(&'p self, provision: &'p Provision) -> Result<Hands<'p>, ProvisionError> {
        let of = self.of;
        let mut plain: Vec<(String, OsString)> =
            vec![("STAITH_USER_DATA".into(), of.place.user_data().into())];
        let mut secrets = Vec::new();
        let is_terraform = matches!(provision.tool, ProvisionTool::Terraform { .. });
        if is_terraform {
            plain.push(("TF_VAR_staith_user_data".into(), of.place.user_data().into()));
        }
        // Terraform's own variables by their names, and those of its providers, which read the environment.
        let names = |name: &str| match is_terraform && !name.starts_with("TF_") {
            true => vec![name.to_owned(), format!("TF_VAR_{name}")],
            false => vec![name.to_owned()],
        };
        for (name, value) in &provision.variables {
            plain.extend(names(name).into_iter().map(|name| (name, value.into())));
        }
        for (variable, secret) in &provision.secrets {
            let value = of.secrets.get(secret).ok_or_else(|| ProvisionError::NoSecret {
                variable: variable.clone(),
                secret: secret.clone(),
            })?;
            secrets.extend(names(variable).into_iter().map(|name| (name, value.clone())));
        }
        let with = Circumstances {
            folder: of.place.work(),
            plain,
            secrets,
            patience: Duration::from_secs(provision.timeout_seconds),
            lock: &self.lock,
            voice: Arc::clone(&of.voice),
            cancel: of.cancel.clone(),
            kill: of.kill.clone(),
        };
        Ok(Hands { provision, place: &of.place, project: &of.project, environment: &of.environment, with })
    }

    /// Carries out exactly this plan; whoever calls has seen to its gates. The machines that there are then.
    ///
    /// Not cancel-safe: what was begun stays begun in the ledger, and the program is ended.
    ///
    /// # Errors
    /// [`ProvisionError::Changed`] if the saved plan is not the one that was looked at; nothing was done then. Else what was done so
    /// far stays, and the ledger says that it failed.
    pub async fn carry_out(&self, proposal: &Proposal) -> Result<Vec<Target>, ProvisionError> {
        let plan = &proposal.plan;
        let saved = match self.confirmed(plan).await {
            Ok(saved) => saved,
            Err(changed @ ProvisionError::Changed { .. }) => {
                return Err(self.withdrawn(proposal.digest, changed).await);
            }
            Err(error) => return Err(error),
        };
        let _nobody_deploys =
            lock::take(&self.of.driver_lock, Duration::ZERO).await.map_err(ProvisionError::Deploying)?;
        let due = match plan.direction {
            Provisioning::Apply => {
                let live = plan.provision.time_to_live_seconds;
                live.map(|seconds| self.of.clock.now().saturating_add(seconds.saturating_mul(1000)))
            }
            Provisioning::Destroy => self.of.state()?.due,
        };
        // First at a glance, then in the ledger, then for real: what may be there is never forgotten.
        self.of.place.mark(&Marker { due, open: true })?;
        let began = ProvisionEvent::Began { plan: Box::new(plan.clone()), due, who: self.of.process.clone() };
        self.of.record(began).await?;
        match self.make_true(plan, saved).await {
            Ok(targets) => {
                self.of.place.tidy();
                self.succeeded(proposal, due, &targets).await?;
                Ok(targets)
            }
            Err(error) => {
                let reason = Reason {
                    blame: Blame::Environment,
                    what: error.to_string(),
                    remedy: Some(error.remedy()),
                };
                self.of.record(ProvisionEvent::Failed { plan: proposal.digest, reason }).await?;
                // What was to go is tried again by the next sweep.
                self.of.place.mark(&Marker { due, open: plan.direction == Provisioning::Destroy })?;
                Err(error)
            }
        }
    }

    /// The saved plan, where it is the one that was looked at and would still do the same.
    async fn confirmed(&self, plan: &ProvisionPlan) -> Result<Option<PathBuf>, ProvisionError> {
        let saved = plan.file.as_ref().map(|file| self.of.place.check_plan(file)).transpose()?;
        if !plan.nothing {
            self.hands(&plan.provision)?.confirm(plan.direction, saved.as_deref()).await?;
        }
        Ok(saved)
    }

    async fn make_true(
        &self,
        plan: &ProvisionPlan,
        saved: Option<PathBuf>,
    ) -> Result<Vec<Target>, ProvisionError> {
        let hands = self.hands(&plan.provision)?;
        // A tool that says that nothing has to be done is not asked to do it.
        if !plan.nothing {
            hands.carry_out(plan.direction, saved).await?;
        }
        match plan.direction {
            Provisioning::Apply => hands.targets().await,
            Provisioning::Destroy => Ok(Vec::new()),
        }
    }

    async fn succeeded(
        &self,
        proposal: &Proposal,
        due: Option<u64>,
        targets: &[Target],
    ) -> Result<(), ProvisionError> {
        let plan = proposal.digest;
        match proposal.plan.direction {
            Provisioning::Apply => {
                self.of.record(ProvisionEvent::Applied { plan, targets: targets.to_vec() }).await?;
                self.of.place.mark(&Marker { due, open: false })
            }
            Provisioning::Destroy => {
                self.of.record(ProvisionEvent::Gone { plan }).await?;
                self.of.place.unmark()?;
                self.of.place.clear();
                Ok(())
            }
        }
    }

    /// Waits until all these machines answer and cloud-init is done there, where that is asked for; writes down what came of it.
    ///
    /// # Errors
    /// [`ProvisionError::NotReady`] with the end of what cloud-init wrote.
    pub async fn await_ready(
        &self,
        proposal: &Proposal,
        machines: Vec<(Name, Reach)>,
    ) -> Result<(), ProvisionError> {
        let said = proposal.plan.provision.cloud_init.as_ref();
        let Some(seconds) = said.and_then(|said| said.wait_seconds) else { return Ok(()) };
        let patience = Duration::from_secs(seconds);
        let waits =
            machines.iter().map(|(name, reach)| await_machine(name, reach, patience, self.of.voice.as_ref()));
        let all = futures_util::future::try_join_all(waits);
        let waited = tokio::select! {
            waited = all => waited.map(drop),
            () = self.of.cancel.cancelled() => Err(ProvisionError::Interrupted),
        };
        let failed = waited.as_ref().err().map(|error| Reason {
            blame: Blame::Environment,
            what: error.to_string(),
            remedy: Some(error.remedy()),
        });
        self.of.record(ProvisionEvent::Waited { plan: proposal.digest, failed }).await?;
        waited
    }
}
