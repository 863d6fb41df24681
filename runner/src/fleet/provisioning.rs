//! How the machines of an environment are made and taken down, put together from the project, the home and this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use staith_builder::{
    execute::Stop,
    pipeline::closest,
    source::{Origin as Source, Selection},
};
use staith_model::{Digest, Exit, Name, Provision, Provisioning};
use staith_releaser::{
    fleet::{
        drive::Clock,
        gate::{GateState, GateVerdict, Ruling, ask::Asker},
        provision::{
            Origin, Overdue, Place, Proposal, ProvisionError, Provisioner, Rules, Session, Swept, sweep,
            user_data,
        },
    },
    ledger::Who,
};

use super::{
    reach,
    site::{Site, log_of, masker, secrets_named, version_key},
};
use crate::{
    home::Home,
    output::{OutputMode, Problem, ProvisionVoice},
    workshop::Workshop,
};

/// How often the gates of a plan that waits are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is wanted of an environment's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That they are as runner.toml says.
    There,
    /// That they are gone.
    Gone,
}

/// How it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    /// Why.
    pub(crate) reason: &'a str,
    /// The only plan that is wanted.
    pub(crate) expected: Option<Digest>,
    /// Whether people are waited for.
    pub(crate) waits: bool,
    /// Whether the plan is only shown.
    pub(crate) only_shows: bool,
    /// The command that goes on once people have said yes.
    pub(crate) again: &'a str,
}

/// What came of it.
pub(crate) enum Done {
    /// The environment with the machines that it has now.
    Site(Box<Site>),
    /// There is nothing to do.
    Nothing,
    /// It ends here: the plan was shown, or waits.
    Stopped(Exit),
}

impl From<ProvisionError> for Problem {
    fn from(error: ProvisionError) -> Self {
        Self::new(error.exit(), error.to_string()).with_remedy(error.remedy())
    }
}

/// Makes the machines of an environment before something is released to them, if it has a `provision` and they are not there as it
/// describes them.
///
/// # Errors
/// See [`ProvisionError`].
pub(crate) async fn made_ready(
    site: &Site,
    (reason, again): (&str, &str),
    waits: bool,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Done, Problem> {
    let Some(said) = &site.provision else { return Ok(Done::Nothing) };
    let work = Work::of_site(site, said, stop, mode).await?;
    let session = work.provisioner.begin().await?;
    if session.is_there(said, &site.folder).await? {
        return Ok(Done::Nothing);
    }
    let asked = Asked { reason, expected: None, waits, only_shows: false, again };
    work.make(site, said, &session, &asked, stop).await
}

/// Makes the machines of an environment, or takes them down.
///
/// # Errors
/// The environment has no `provision` (20); else see [`ProvisionError`].
pub(crate) async fn provision(
    site: &Site,
    wish: Wish,
    asked: &Asked<'_>,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Done, Problem> {
    let said = site.provision.as_ref().ok_or_else(|| no_provision(site))?;
    let work = Work::of_site(site, said, stop, mode).await?;
    let session = work.provisioner.begin().await?;
    match wish {
        Wish::There => work.make(site, said, &session, asked, stop).await,
        Wish::Gone => {
            let proposal = session.propose_end(asked.reason).await?;
            let end = work.see_through(site, &session, &proposal, asked, stop).await?;
            Ok(Done::Stopped(end.unwrap_or(Exit::Passed)))
        }
    }
}

fn no_provision(site: &Site) -> Problem {
    let what = format!("environment `{}` has no `provision`", site.environment.name);
    Problem::new(Exit::Configuration, what).with_remedy("docs/provision.md shows how to describe one")
}

/// What the making of machines needs, and who shows it.
struct Work {
    provisioner: Provisioner,
    voice: Arc<ProvisionVoice>,
}

impl Work {
    async fn of_site(site: &Site, said: &Provision, stop: &Stop, mode: OutputMode) -> Result<Self, Problem> {
        site.make_directory()?;
        // What was made is taken down with the secrets that it was made with.
        let made_from = log_of(&site.home, site.project(), &site.environment.name);
        let mut names: BTreeSet<String> = said.secrets.values().cloned().collect();
        let entries = made_from.since(0).map_err(ProvisionError::from)?;
        let state = staith_model::ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
        names.extend(state.made_from.into_iter().flat_map(|made| made.secrets.into_values()));
        Self::new(&site.home, (site.project(), &site.environment.name), &site.directory, names, stop, mode)
            .await
    }

    async fn new(
        home: &Home,
        (project, environment): (&Name, &Name),
        directory: &Path,
        secrets: BTreeSet<String>,
        stop: &Stop,
        mode: OutputMode,
    ) -> Result<Self, Problem> {
        let secrets = secrets_named(home, secrets).await?;
        let voice = Arc::new(ProvisionVoice::new(masker(&secrets)?, mode));
        let key = version_key(home)?;
        let versions: BTreeMap<String, String> =
            secrets.iter().map(|(name, value)| (name.clone(), key.version(name, value))).collect();
        let who = Who::of_this_process();
        let provisioner = Provisioner {
            project: project.clone(),
            environment: environment.clone(),
            place: Place::of(directory),
            driver_lock: directory.join("driver.lock"),
            log: log_of(home, project, environment),
            clock: Clock::system(),
            by: who.user.clone(),
            process: format!("{who}, process {}", std::process::id()),
            secrets,
            versions,
            voice: Arc::<ProvisionVoice>::clone(&voice),
            cancel: stop.cancel.clone(),
            kill: stop.kill.clone(),
        };
        Ok(Self { provisioner, voice })
    }

    async fn make(
        &self,
        site: &Site,
        said: &Provision,
        session: &Session<'_>,
        asked: &Asked<'_>,
        stop: &Stop,
    ) -> Result<Done, Problem> {
        self.voice.found(&self.provisioner.state()?);
        let proposal = session.propose(said, &site.folder, asked.reason).await?;
        if let Some(exit) = self.see_through(site, session, &proposal, asked, stop).await? {
            return Ok(Done::Stopped(exit));
        }
        // Of the pipeline at hand: the file may say something else by now.
        let made = site.again()?;
        session.await_ready(&proposal, reach::asked(&made.environment.targets)).await?;
        self.voice.made(&made.environment.name, &made.environment.targets, self.provisioner.state()?.due);
        Ok(Done::Site(Box::new(made)))
    }

    /// Shows a plan, sees to its gates, and carries it out; an exit where it ends before that.
    async fn see_through(
        &self,
        site: &Site,
        session: &Session<'_>,
        proposal: &Proposal,
        asked: &Asked<'_>,
        stop: &Stop,
    ) -> Result<Option<Exit>, Problem> {
        self.voice.plan(proposal);
        if let Some(expected) = asked.expected.filter(|expected| *expected != proposal.digest) {
            let why = format!("it is {} now", proposal.digest);
            return Err(Problem::new(
                Exit::NeedsDecision,
                format!("the plan is not {} any more", expected.short()),
            )
            .with_why(why)
            .with_remedy("look at it, and say yes to that one"));
        }
        if asked.only_shows {
            return Ok(Some(Exit::Passed));
        }
        if !proposal.plan.nothing && !self.pass_gates(site, session, proposal, asked, stop).await? {
            return Ok(Some(Exit::NeedsDecision));
        }
        session.carry_out(proposal).await?;
        if proposal.plan.direction == Provisioning::Destroy {
            self.voice.gone(&site.environment.name);
        }
        Ok(None)
    }

    /// Whether the plan may be carried out; not if its gates are not open and nobody is waited for.
    async fn pass_gates(
        &self,
        site: &Site,
        session: &Session<'_>,
        proposal: &Proposal,
        asked: &Asked<'_>,
        stop: &Stop,
    ) -> Result<bool, Problem> {
        let rules = rules(site).await?;
        let mut told = Vec::new();
        loop {
            let waiting = self.provisioner.state()?.waiting;
            let waiting = waiting
                .filter(|waiting| waiting.plan.digest() == proposal.digest)
                .ok_or_else(|| ProvisionError::Changed { why: "another plan has taken its place".into() })?;
            let verdict = rules.verdict(&waiting, self.provisioner.clock.now()).await;
            let what = waited_for(&verdict);
            let refused = match verdict.ruling {
                Ruling::Go => return Ok(true),
                Ruling::Wait => None,
                Ruling::Rejected { by, comment } => Some(format!("{by} rejected the plan: {comment}")),
                Ruling::Refused => Some(format!("the plan can't be carried out: {}", what.join("; "))),
                Ruling::Expired => Some(format!("the plan has waited too long for {}", what.join("; "))),
            };
            if let Some(why) = refused {
                session.withdraw(proposal, &why).await?;
                return Err(ProvisionError::Refused { why }.into());
            }
            if what != told {
                self.voice.waits(&site.environment.name, &what);
                told = what;
            }
            if !asked.waits {
                self.voice.goes_on(&site.environment.name, asked.again);
                return Ok(false);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancel.cancelled() => return Err(ProvisionError::Interrupted.into()),
            }
        }
    }
}

fn waited_for(verdict: &GateVerdict) -> Vec<String> {
    let told = |state: &GateState| match state {
        GateState::Waiting { what, .. } => Some(what.clone()),
        GateState::Refused { why } => Some(why.clone()),
        GateState::Green { .. } | GateState::ByDefault { .. } | GateState::Overridden { .. } => None,
    };
    verdict.gates.iter().filter_map(|gate| Some(format!("{}: {}", gate.name, told(&gate.state)?))).collect()
}

async fn rules(site: &Site) -> Result<Rules, Problem> {
    let protection = site.protection()?;
    let asker = Asker::new().map_err(|no| Problem::new(Exit::Environment, no.to_string()))?;
    let origin = match protection.branches.is_empty() {
        true => Origin::default(),
        false => origin_of(site).await?,
    };
    Ok(Rules::new(protection, asker, origin))
}

/// The branch that is checked out, and whether there are changes beside its commit.
async fn origin_of(site: &Site) -> Result<Origin, Problem> {
    let (home, folder) = (site.home.clone(), site.folder.clone());
    let looked = tokio::task::spawn_blocking(move || -> Result<Origin, Problem> {
        let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
        let source = Source::parse(&folder.display().to_string(), &here)?;
        let workshop = Workshop::open(&home)?;
        let found = workshop.find(&source, &Selection::AsItIs, &mut |_| {})?;
        let called = workshop.called(&found, &Selection::AsItIs)?;
        Ok(Origin { branch: called.branch, dirty: found.source.dirty })
    });
    looked.await.map_err(|panicked| Problem::bug(panicked.to_string()))?
}

/// Takes down the machines of an environment whose time has come.
///
/// # Errors
/// See [`ProvisionError`]; what is there stays known.
pub(crate) async fn swept(
    home: &Home,
    overdue: &Overdue,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Swept, Problem> {
    let log = log_of(home, &overdue.project, &overdue.environment);
    let entries = log.since(0).map_err(ProvisionError::from)?;
    let state = staith_model::ProvisionState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
    let secrets = state.made_from.into_iter().flat_map(|made| made.secrets.into_values()).collect();
    let of = (&overdue.project, &overdue.environment);
    let work = Work::new(home, of, &overdue.directory, secrets, stop, mode).await?;
    Ok(sweep(&work.provisioner).await?)
}

/// Once machines are made, it is known which there are. Before, any name is as good as another.
fn refuse_unknown(site: &Site, machine: &Name) -> Result<(), Problem> {
    let targets = &site.environment.targets;
    let may_be_more = site.environment.inventory.is_some() || !site.has_machines;
    if may_be_more || targets.is_empty() || targets.iter().any(|target| target.name == *machine) {
        return Ok(());
    }
    let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let what = format!("`{}` has no machine `{machine}`", site.environment.name);
    let problem = Problem::new(Exit::Usage, what).with_why(format!("there are {}", known.join(", ")));
    Err(match closest(machine.as_str(), known) {
        Some(meant) => problem.with_remedy(format!("did you mean `{meant}`?")),
        None => problem,
    })
}

/// What cloud-init is told on a machine of an environment, secrets and all.
///
/// # Errors
/// There is no template (20), or it can't be rendered.
pub(crate) async fn cloud_init(site: &Site, machine: &Name) -> Result<zeroize::Zeroizing<String>, Problem> {
    let said = site.provision.as_ref().ok_or_else(|| no_provision(site))?;
    refuse_unknown(site, machine)?;
    let template = said.cloud_init.as_ref().and_then(|cloud_init| cloud_init.template.as_ref());
    let template = template.ok_or_else(|| {
        let what = format!("the provision of `{}` has no template for cloud-init", site.environment.name);
        Problem::new(Exit::Configuration, what)
            .with_remedy("add one: `cloud-init = { template = \"user-data.yaml\" }`")
    })?;
    let path = site.folder.join(&said.folder).join(template);
    let text = std::fs::read_to_string(&path).map_err(|refused| Problem::unreadable(&path, &refused))?;
    let secrets = secrets_named(&site.home, said.secrets.values().cloned().collect()).await?;
    let of = (site.project(), &site.environment.name, machine);
    Ok(user_data(template, &text, said, of, &secrets)?)
}
