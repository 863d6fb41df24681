//! How far back an environment may go: data outlive releases, and a release may have changed them for good.
//!
//! Versions are compared as semantic versions are. A release whose version is not known here counts as below every floor: nobody can
//! say that it works.

use std::collections::BTreeSet;

use staith_model::{Digest, Floor, PaceKind, SchemaChange, TargetAction, TargetPlan, Version};
use staith_packager::store::compare_versions;

use super::Situation;

/// The floor that holds for a plan; `None` where no release ever said something of it.
pub(super) fn floor(situation: &Situation<'_>, kind: &PaceKind, targets: &[TargetPlan]) -> Option<Floor> {
    let schema = situation.setting.schema.as_ref();
    let change = schema.map_or(SchemaChange::None, |schema| schema.change);
    let own = schema.and_then(|schema| schema.rollback_floor.as_ref()).map(|own| (own, situation.release));
    let standing = situation.floors.iter().map(|(version, by)| (version, *by));
    let standing = standing.max_by(|a, b| compare_versions(a.0, b.0));
    let highest = match (standing, own) {
        (Some(standing), Some(own)) if compare_versions(own.0, standing.0).is_gt() => Some(own),
        (standing, own) => standing.or(own),
    };
    let (version, by) = highest?;
    let below = |release: &Digest, floor: &Version| -> Option<String> {
        let known = situation.versions.get(release);
        let is_below = known.is_none_or(|known| compare_versions(known, floor).is_lt());
        is_below.then(|| called(release, known))
    };
    let serving = serving(situation, kind, targets);
    let serves_below = |floor: &Version| serving.iter().find_map(|release| below(release, floor));
    let leads_below = standing.and_then(|(floor, by)| {
        let release = below(&situation.release, floor)?;
        Some(format!(
            "{release} is below the rollback floor {floor}, which release {} set: it may not work with the data as they are now",
            by.short()
        ))
    });
    let too_early = own.filter(|_| change == SchemaChange::Contract).and_then(|(floor, _)| {
        let release = serves_below(floor)?;
        Some(format!(
            "it contracts the schema, and {release}, which serves, may need what goes: bring {floor} or a later version first; a contract \
             step is a deployment of its own"
        ))
    });
    let undo_refused = serves_below(version).map(|release| {
        format!("{release}, which serves, is below the rollback floor {version}: it may not work with the data any more")
    });
    Some(Floor { version: version.clone(), by, change, refused: leads_below.or(too_early), undo_refused })
}

/// What would be gone back to: other releases that answer requests now.
fn serving(situation: &Situation<'_>, kind: &PaceKind, targets: &[TargetPlan]) -> BTreeSet<Digest> {
    let gets = situation.traffic.as_ref().map(|seen| seen.state.serving());
    let answers = |one: &&TargetPlan| match kind {
        PaceKind::Pools { .. } => gets.as_ref().is_some_and(|gets| gets.contains(&one.target.name)),
        PaceKind::InPlace => one.action != TargetAction::Quarantined,
    };
    let before = targets.iter().filter(answers).filter_map(|one| one.before);
    before.filter(|before| *before != situation.release).collect()
}

fn called(release: &Digest, version: Option<&Version>) -> String {
    match version {
        Some(version) => format!("release {} ({})", release.short(), version.as_str()),
        None => format!("release {}, whose version is not known here,", release.short()),
    }
}
