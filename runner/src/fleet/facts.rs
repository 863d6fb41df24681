//! What the ledgers of a project's environments here say of their deployments; the folds are in `releaser::fleet::record`.

use std::{collections::BTreeMap, path::Path};

use staith_builder::source::committed_at;
use staith_model::{Digest, Exit, FleetEvent, Name, WorkResult};
use staith_packager::store::Store;
use staith_releaser::fleet::{
    drive::{FleetDriveError, Stamped},
    freeze::FleetShelf,
    record::{
        DeploymentFact,
        entries::{KnownRelease, facts},
    },
};

use super::Site;
use crate::{home::Home, output::Problem};

/// The deployments to these environments of one project, of each environment in the order in which they were asked for.
///
/// # Errors
/// A ledger can't be read, or a release that was deployed is not among the project's.
pub(crate) fn facts_of_all(home: &Home, sites: &[Site]) -> Result<Vec<DeploymentFact>, Problem> {
    let Some(first) = sites.first() else { return Ok(Vec::new()) };
    let known = known_releases(home, &first.shelf())?;
    let mut all = Vec::new();
    for site in sites {
        let entries = site.log().since(0).map_err(FleetDriveError::from)?;
        all.extend(facts(entries.iter().map(|entry| (entry.at, &entry.event)), &known).map_err(
            |missing| {
                let name = &site.environment.name;
                Problem::new(
                    Exit::Environment,
                    format!("release {} was deployed to `{name}`, and is not here", missing.short()),
                )
                .with_remedy("ask on the machine where it was made, or bring its releases directory back")
            },
        )?);
    }
    Ok(all)
}

/// When each machine was last heard of, in milliseconds since 1970, as these entries tell it.
pub(crate) fn contacts(entries: &[Stamped]) -> BTreeMap<Name, u64> {
    let mut heard = BTreeMap::new();
    for entry in entries {
        if let FleetEvent::Outcome {
            work, result: WorkResult::Done { .. } | WorkResult::Failed { .. }, ..
        } = &entry.event
            && let Some(target) = work.target()
        {
            heard.insert(target.clone(), entry.at);
        }
    }
    heard
}

/// The same facts; of releases that were made before their commits' times were written down, the repository of the project in `folder`
/// is asked. Where it does not know, nothing is known.
pub(crate) fn with_commit_times(mut facts: Vec<DeploymentFact>, folder: &Path) -> Vec<DeploymentFact> {
    let mut known: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for fact in facts.iter_mut().filter(|fact| fact.committed_at.is_none()) {
        let Some(commit) = &fact.commit else { continue };
        let asked = || committed_at(folder, commit).ok().flatten();
        fact.committed_at = *known.entry(commit.clone()).or_insert_with(asked);
    }
    facts
}

/// All releases of a project by their digests.
fn known_releases(home: &Home, shelf: &FleetShelf) -> Result<BTreeMap<Digest, KnownRelease>, Problem> {
    // Looking makes no store.
    let store = if home.packages().is_dir() { Some(Store::open(&home.packages())?) } else { None };
    let mut known = BTreeMap::new();
    for release in shelf.all()? {
        let package = &release.package;
        let published = match &store {
            Some(store) => store.find(&package.name, &package.version)?,
            None => None,
        };
        // Another package that took this version's name was made by another run.
        let same = published.filter(|published| published.package.digest == package.digest);
        let run = same.and_then(|published| published.origin).map(|origin| origin.run);
        known.insert(release.digest(), KnownRelease::of(&release, run));
    }
    Ok(known)
}
