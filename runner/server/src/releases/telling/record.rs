//! What came of deployments, as the copies of the ledgers tell it.

use std::collections::BTreeMap;

use staith_model::{
    Digest, Name, Version,
    service::{LedgerEntry, ReleaseSeen},
};
use staith_releaser::fleet::record::{
    DeploymentFact,
    entries::{KnownRelease, facts},
};

use crate::{api::Problem, site::Site};

/// The project's releases by their digests.
pub(super) async fn releases_of(
    site: &Site,
    project: &Name,
) -> Result<BTreeMap<Digest, KnownRelease>, Problem> {
    let kept = site.store.releases(project).await?.into_iter();
    Ok(kept.filter_map(|kept| kept.seen.digest.map(|digest| (digest, as_known(kept.seen)))).collect())
}

fn as_known(seen: ReleaseSeen) -> KnownRelease {
    KnownRelease {
        package: (seen.package, seen.version),
        commit: seen.source.commit,
        committed_at: seen.source.committed_at,
        run: Some(seen.run),
    }
}

/// What the copy of a ledger says. Of a release that was deployed before its project was removed and added again, only that is known: what
/// it stands with here as its package is none.
pub(super) fn facts_of(
    entries: &[LedgerEntry],
    known: &BTreeMap<Digest, KnownRelease>,
    project: &Name,
) -> Result<Vec<DeploymentFact>, Problem> {
    let mut known = known.clone();
    loop {
        let missing = match facts(entries.iter().map(|entry| (entry.at, &entry.event)), &known) {
            Ok(facts) => return Ok(facts),
            Err(missing) => missing,
        };
        let version: Version = "0.0.0"
            .parse()
            .map_err(|bad: staith_model::NotAVersion| Problem::new(500, "internal", bad.to_string()))?;
        let package = (project.clone(), version);
        known.insert(missing, KnownRelease { package, commit: None, committed_at: None, run: None });
    }
}
