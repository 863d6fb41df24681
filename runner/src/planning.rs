//! What happened at a project of a server becomes a plan: the same that `staith plan` makes of the same commit and event.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use staith_builder::{
    plan::Occasion,
    source::{Origin, Place, Resolved, Selection, SourceError},
};
use staith_model::{
    Digest, Exit, FleetEnvironment, Inventory, Name, RelPath, Trigger, TriggerKind, Uncuttable,
    service::Happening,
};
use staith_releaser::fleet::record::notes::Found;
use staith_server::{
    store::Seen,
    triggers::{
        planner::{Lineage, Outcome, OwnSchedule, Planned, Planner, Unplanned, Wanted},
        schedules::OWN,
    },
};

use crate::{fleet::as_told, home::Home, output::Problem, source_supply::KeptSources, workshop::Workshop};

/// The longest file that names machines, in bytes. It is kept with every release.
const LONGEST_INVENTORY: u64 = 1 << 20;

/// Plans with the stores of this machine.
pub(crate) struct Planning {
    workshop: Arc<Workshop>,
    kept: KeptSources,
}

impl fmt::Debug for Planning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planning")
    }
}

impl Planning {
    /// Opens the stores of a home; the sources of what is planned are kept below `data`.
    ///
    /// # Errors
    /// They can't be opened.
    pub(crate) fn open(home: &Home, data: &Path) -> Result<Self, Problem> {
        let workshop = Arc::new(Workshop::open(home)?);
        Ok(Self { kept: KeptSources::below(data, Arc::clone(&workshop)), workshop })
    }

    /// The sources of what was planned, for the attempts that build them.
    pub(crate) fn sources(&self) -> KeptSources {
        self.kept.clone()
    }

    /// Reading repositories blocks; a fetch may take minutes. One that nobody waits for any more goes on in the background, and what it
    /// brought is there the next time.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workshop) -> Result<T, Unplanned> + Send + 'static,
    ) -> Result<T, Unplanned> {
        let workshop = Arc::clone(&self.workshop);
        let done = tokio::task::spawn_blocking(move || work(&workshop)).await;
        done.unwrap_or_else(|panicked| {
            Err(Unplanned::Refused {
                what: "planning ended with a bug in Staith".to_owned(),
                why: Some(panicked.to_string()),
                remedy: Some("please report this".to_owned()),
            })
        })
    }
}

#[async_trait]
impl Planner for Planning {
    async fn references(&self, origin: &str) -> Result<Vec<Seen>, Unplanned> {
        let origin = origin.to_owned();
        self.aside(move |workshop| {
            let origin = parsed(&origin)?;
            let found = workshop.references(&origin).map_err(unreached)?;
            Ok(found.into_iter().map(|one| Seen { reference: one.name, commit: one.commit }).collect())
        })
        .await
    }

    async fn plan(&self, wanted: &Wanted) -> Result<Outcome, Unplanned> {
        let (wanted, kept) = (wanted.clone(), self.kept.clone());
        self.aside(move |workshop| {
            let reading = Reading::of(workshop, &wanted)?;
            let outcome = reading.outcome()?;
            if matches!(outcome, Outcome::Starts(_)) {
                // Before there is a run: its attempts ask for it.
                kept.keep(&wanted.project, &reading.source).map_err(refused)?;
            }
            Ok(outcome)
        })
        .await
    }

    async fn own_schedule(&self, origin: &str) -> Result<Option<OwnSchedule>, Unplanned> {
        let origin = origin.to_owned();
        self.aside(move |workshop| own_schedule(workshop, &origin)).await
    }

    async fn pipeline(&self, origin: &str, commit: &str) -> Result<String, Unplanned> {
        let (origin, commit) = (origin.to_owned(), commit.to_owned());
        self.aside(move |workshop| {
            let source = workshop.source(&parsed(&origin)?, &Selection::Reference(commit));
            workshop.pipeline_text(&source.map_err(unreached)?, &origin).map_err(refused)
        })
        .await
    }

    async fn inventories(&self, origin: &str, commit: &str) -> Result<BTreeMap<String, String>, Unplanned> {
        let (origin, commit) = (origin.to_owned(), commit.to_owned());
        self.aside(move |workshop| {
            let source = workshop.source(&parsed(&origin)?, &Selection::Reference(commit));
            inventories(workshop, &source.map_err(unreached)?, &origin)
        })
        .await
    }

    async fn commits(&self, origin: &str, from: &str, to: &str) -> Result<Found, Unplanned> {
        let (origin, from, to) = (origin.to_owned(), from.to_owned(), to.to_owned());
        self.aside(move |workshop| {
            let origin = parsed(&origin)?;
            let source = workshop.source(&origin, &Selection::Reference(to.clone())).map_err(unreached)?;
            let between = workshop.sources().commits_between(&origin, &source, Some(&from), &to);
            match between {
                Err(gone @ SourceError::NoSuchCommit { .. }) => Err(lasting(gone)),
                between => Ok(as_told(between.map_err(unreached)?)),
            }
        })
        .await
    }

    async fn committed_at(
        &self,
        origin: &str,
        commits: &[String],
    ) -> Result<BTreeMap<String, u64>, Unplanned> {
        let (origin, commits) = (origin.to_owned(), commits.to_vec());
        self.aside(move |workshop| committed_at(workshop, &origin, commits)).await
    }

    async fn environment(
        &self,
        pipeline: &str,
        environment: &Name,
    ) -> Result<Option<FleetEnvironment>, Unplanned> {
        let pipeline = crate::workshop::understood_from_afar(pipeline).map_err(refused)?;
        Ok(pipeline.environment(environment.as_str()).and_then(|found| found.fleet().cloned()))
    }
}

/// When commits of a repository were made. It is fetched at most twice, whatever is asked for.
fn committed_at(
    workshop: &Workshop,
    origin: &str,
    commits: Vec<String>,
) -> Result<BTreeMap<String, u64>, Unplanned> {
    let Some(first) = commits.first() else { return Ok(BTreeMap::new()) };
    let origin = parsed(origin)?;
    let source = match workshop.source(&origin, &Selection::Reference(first.clone())) {
        Ok(source) => source,
        // That one may be gone, and others there.
        Err(_) => workshop.source(&origin, &Selection::Head).map_err(unreached)?,
    };
    let mut known = BTreeMap::new();
    for commit in commits {
        let at = workshop.sources().committed_at(&origin, &source, &commit).map_err(unreached)?;
        known.extend(at.map(|at| (commit, at)));
    }
    Ok(known)
}

/// Files of a source that name machines. One that is not there is found missing by whoever deploys to that environment.
fn inventories(
    workshop: &Workshop,
    source: &Resolved,
    origin: &str,
) -> Result<BTreeMap<String, String>, Unplanned> {
    let text = workshop.pipeline_text(source, origin).map_err(refused)?;
    let pipeline = crate::workshop::understood_from_afar(&text).map_err(refused)?;
    let fleets = pipeline.environments().filter_map(|one| one.fleet());
    let mut found = BTreeMap::new();
    for fleet in fleets {
        let Some(Inventory::File(path)) = &fleet.inventory else { continue };
        let text = workshop.text(source, path, LONGEST_INVENTORY).map_err(refused)?;
        found.extend(text.map(|text| (path.clone(), text)));
    }
    Ok(found)
}

/// What the pipeline of the default branch says of clocks.
fn own_schedule(workshop: &Workshop, origin: &str) -> Result<Option<OwnSchedule>, Unplanned> {
    let parsed = parsed(origin)?;
    let source = workshop.source(&parsed, &Selection::Head).map_err(unreached)?;
    let called = workshop.called(&source, &Selection::Head).map_err(unreached)?;
    // A repository whose HEAD is no branch has no default branch.
    let Some(branch) = called.branch else { return Ok(None) };
    let text = workshop.pipeline_text(&source, origin).map_err(refused)?;
    let pipeline = crate::workshop::understood_from_afar(&text).map_err(refused)?;
    let cron = pipeline.schedules().to_vec();
    if cron.is_empty() {
        return Ok(None);
    }
    let trigger = Trigger { kind: TriggerKind::Schedule, branch: Some(branch.clone()), ..Trigger::default() };
    let occasion = Occasion { trigger, changed: None, settings: BTreeMap::new() };
    let verdict = pipeline.triggers_on(&occasion);
    let not = (!verdict.starts).then_some(verdict.why);
    Ok(Some(OwnSchedule { branch, cron, time_zone: pipeline.schedule_zone().to_owned(), not }))
}

/// Paths are absolute: a server has no directory of anybody's.
fn parsed(origin: &str) -> Result<Origin, Unplanned> {
    Origin::parse(origin, Path::new("/")).map_err(unreached)
}

/// A planning that is under way.
struct Reading<'a> {
    workshop: &'a Workshop,
    wanted: &'a Wanted,
    origin: Origin,
    selection: Selection,
    source: Resolved,
}

impl<'a> Reading<'a> {
    fn of(workshop: &'a Workshop, wanted: &'a Wanted) -> Result<Self, Unplanned> {
        let origin = parsed(&wanted.origin)?;
        if let Happening::PullRequest { reference: Some(reference), .. } = &wanted.happening {
            // A fork's commits are in the repository under the forge's own name for the request only; what it names is fetched with it.
            if let Err(error) = workshop.source(&origin, &Selection::Reference(reference.clone())) {
                tracing::debug!(%error, reference, "the commit may be there by itself");
            }
        }
        let selection = selection(&wanted.happening)?;
        let source =
            workshop.source(&origin, &selection).map_err(|error| not_found(&wanted.happening, error))?;
        Ok(Self { workshop, wanted, origin, selection, source })
    }

    fn outcome(&self) -> Result<Outcome, Unplanned> {
        let text = self.workshop.pipeline_text(&self.source, &self.wanted.origin).map_err(refused)?;
        let pipeline = crate::workshop::understood_from_afar(&text).map_err(refused)?;
        let occasion = self.occasion()?;
        let why = match &self.wanted.happening {
            Happening::Schedule { name, .. } if name == OWN => {
                let verdict = pipeline.triggers_on(&occasion);
                if !verdict.starts {
                    return Ok(Outcome::Not { why: verdict.why });
                }
                let when = pipeline.schedules().join("`, `");
                format!("`[on.schedule]` of runner.toml, `{when}`, came due: {}", verdict.why)
            }
            // The administrator's clock; whether anything has changed is for the server to say, which knows what was built.
            Happening::Schedule { name, .. } => format!("the project's schedule `{name}` came due"),
            Happening::Asked { by, .. } => format!("{by} asked for it"),
            _ => {
                let verdict = pipeline.triggers_on(&occasion);
                if !verdict.starts {
                    return Ok(Outcome::Not { why: verdict.why });
                }
                verdict.why
            }
        };
        let plan = self.workshop.plan(&pipeline, &self.source, &occasion).map_err(refused)?;
        Ok(Outcome::Starts(Box::new(Planned {
            digest: plan.digest(),
            why,
            lineage: self.lineage()?,
            pipeline: Digest::of(text.as_bytes()),
            target_pipeline: self.target_pipeline(),
            jobs: plan.jobs().map_err(uncuttable)?,
            notices: self.source.notices.clone(),
            group: pipeline.concurrency().cloned(),
            unless_built: self.is_by_its_own_clock() && !pipeline.runs_unchanged(),
            plan,
        })))
    }

    /// Whether the pipeline's own `[on.schedule]` came due.
    fn is_by_its_own_clock(&self) -> bool {
        matches!(&self.wanted.happening, Happening::Schedule { name, .. } if name == OWN)
    }

    fn occasion(&self) -> Result<Occasion, Unplanned> {
        let settings = match &self.wanted.happening {
            Happening::Asked { settings, .. } => settings.clone(),
            _ => BTreeMap::new(),
        };
        let changed = match &self.wanted.paths {
            Some(paths) => Some(paths.clone()),
            None => self.changed(),
        };
        Ok(Occasion { trigger: self.trigger()?, changed, settings })
    }

    /// As the command line makes it of `--event`, `--branch`, `--tag` and `--onto`.
    fn trigger(&self) -> Result<Trigger, Unplanned> {
        let plain = Trigger::default();
        Ok(match &self.wanted.happening {
            Happening::Push { branch, .. } => {
                Trigger { kind: TriggerKind::Push, branch: Some(branch.clone()), ..plain }
            }
            Happening::Tag { tag, .. } => Trigger { kind: TriggerKind::Tag, tag: Some(tag.clone()), ..plain },
            Happening::Schedule { branch, .. } => {
                Trigger { kind: TriggerKind::Schedule, branch: Some(branch.clone()), ..plain }
            }
            Happening::PullRequest { branch, target, .. } => Trigger {
                kind: TriggerKind::PullRequest,
                branch: Some(branch.clone()),
                target: Some(target.clone()),
                merged_into: Some(target.clone()),
                tag: None,
            },
            _ => {
                let called = self.workshop.called(&self.source, &self.selection).map_err(unreached)?;
                Trigger { branch: called.branch, tag: called.tag, ..plain }
            }
        })
    }

    /// What differs from what the branch had before, or from the branch that a request asks to go to. Not known, where that is not there
    /// any more; then everything counts as changed.
    fn changed(&self) -> Option<Vec<RelPath>> {
        let base = match &self.wanted.happening {
            Happening::Push { before, .. } => before.as_ref()?,
            Happening::PullRequest { target, .. } => target,
            _ => return None,
        };
        let changed = self.workshop.changed_since(&self.origin, &self.source, base);
        changed.inspect_err(|error| tracing::debug!(%error, base, "everything counts as changed")).ok()
    }

    fn lineage(&self) -> Result<Lineage, Unplanned> {
        let Some(commit) = &self.source.source.commit else { return Ok(Lineage::Nowhere) };
        let (name, there) = match &self.wanted.happening {
            Happening::Push { branch, .. }
            | Happening::Schedule { branch, .. }
            | Happening::PullRequest { branch, .. } => on_branch(branch),
            Happening::Tag { tag, .. } => on_tag(tag),
            _ => {
                let called = self.workshop.called(&self.source, &self.selection).map_err(unreached)?;
                match (called.branch, called.tag) {
                    (Some(branch), _) => on_branch(&branch),
                    (None, Some(tag)) => on_tag(&tag),
                    (None, None) => (None, Lineage::Some),
                }
            }
        };
        let place = self.workshop.place_of(&self.origin, commit, name.as_deref()).map_err(unreached)?;
        Ok(match place {
            Place::There => there,
            Place::Elsewhere => Lineage::Some,
            Place::Nowhere => Lineage::Nowhere,
        })
    }

    /// The digest of the pipeline of the branch that a request asks to go to; none where that has none that can be read.
    fn target_pipeline(&self) -> Option<Digest> {
        let Happening::PullRequest { target, .. } = &self.wanted.happening else { return None };
        let source = self.workshop.source(&self.origin, &Selection::Reference(target.clone())).ok()?;
        let text = self.workshop.pipeline_text(&source, &self.wanted.origin).ok()?;
        Some(Digest::of(text.as_bytes()))
    }
}

fn on_branch(branch: &str) -> (Option<String>, Lineage) {
    (Some(format!("refs/heads/{branch}")), Lineage::Branch(branch.to_owned()))
}

fn on_tag(tag: &str) -> (Option<String>, Lineage) {
    (Some(format!("refs/tags/{tag}")), Lineage::Tag(tag.to_owned()))
}

/// What is built: of a request to merge, what would come out.
fn selection(happening: &Happening) -> Result<Selection, Unplanned> {
    let name = match happening {
        Happening::PullRequest { head, target, .. } => {
            return Ok(Selection::Merge { head: head.clone(), base: target.clone() });
        }
        Happening::Push { after, .. } => after,
        Happening::Tag { commit, .. } => commit,
        Happening::Schedule { branch, .. } => branch,
        Happening::Asked { reference, .. } if reference == "HEAD" => return Ok(Selection::Head),
        Happening::Asked { reference, .. } => reference,
        Happening::Gone { .. } | Happening::PullRequestClosed { .. } | Happening::Other { .. } => {
            let what = "there is nothing to build".to_owned();
            return Err(Unplanned::Refused { what, why: None, remedy: None });
        }
    };
    Ok(Selection::Reference(name.clone()))
}

/// A commit that a forge tells of may take a moment to be there; what a person or a schedule names is there or is not.
fn not_found(happening: &Happening, error: SourceError) -> Unplanned {
    let is_named = matches!(happening, Happening::Asked { .. } | Happening::Schedule { .. });
    match error {
        SourceError::NoSuchReference { .. } | SourceError::Ambiguous { .. } | SourceError::NoCommit(_)
            if is_named =>
        {
            lasting(error)
        }
        error => unreached(error),
    }
}

fn unreached(error: SourceError) -> Unplanned {
    match error {
        SourceError::UnsupportedScheme { .. }
        | SourceError::NotADirectory(_)
        | SourceError::NotARepository(_) => lasting(error),
        error => refused(error.into()),
    }
}

fn uncuttable(refused: Uncuttable) -> Unplanned {
    let what = "the plan can't be given to several runners as it asks".to_owned();
    Unplanned::Refused { what, why: Some(refused.to_string()), remedy: Some(refused.remedy()) }
}

/// What no waiting mends.
fn lasting(error: SourceError) -> Unplanned {
    let problem = Problem::from(error);
    Unplanned::Refused { what: plain(&problem.what), why: problem.why, remedy: problem.remedy }
}

/// The disk or the network may mend; what is written in the repository does not.
fn refused(problem: Problem) -> Unplanned {
    let what = plain(&problem.what);
    let why = problem.why.as_deref().map(plain);
    match problem.exit {
        Exit::Environment => {
            let what = why.map_or_else(|| what.clone(), |why| format!("{what}: {why}"));
            Unplanned::NotNow { what, remedy: problem.remedy }
        }
        _ => Unplanned::Refused { what, why, remedy: problem.remedy },
    }
}

/// Without the colours of a terminal that the server may have been started at.
fn plain(text: &str) -> String {
    console::strip_ansi_codes(text).into_owned()
}
