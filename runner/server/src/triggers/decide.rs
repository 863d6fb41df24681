//! From what a happening comes to, to a run: how far it is trusted, what it may have, what it keeps apart from. Pure.

use std::collections::BTreeSet;

use staith_model::{
    ArrivalId, JobCut, Name, Plan, RunId, StepPlan,
    service::{Arrival, Concurrency, Happening, JobSpec, Priority, Project, RunGroup, Trust},
};

use super::{
    glob,
    planner::{Lineage, Planned, Unplanned},
};
use crate::store::{Actor, NewJob, NewRun};

/// What a runner needs beside the steps' own time: fetching source and images, packing.
const BESIDE_THE_STEPS_MILLIS: u64 = 30 * 60 * 1000;
/// No job takes longer, whatever its steps allow.
const LONGEST_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// How far a run is trusted, and why. What somebody claims counts only as far as the repository shows the same.
pub(super) fn trust(project: &Project, happening: &Happening, lineage: &Lineage) -> (Trust, String) {
    if let Happening::PullRequest { fork: true, number, .. } = happening {
        return (Trust::Fork, format!("the request {number} comes from a fork"));
    }
    let settings = &project.settings;
    let is_request = matches!(happening, Happening::PullRequest { .. });
    let (kind, name, protected) = match lineage {
        Lineage::Nowhere => {
            return (Trust::Fork, "the commit is on no branch and no tag of the repository".to_owned());
        }
        Lineage::Some => return (Trust::Branch, "the commit is on a branch of the repository".to_owned()),
        Lineage::Branch(name) => ("branch", name, &settings.protected_branches),
        Lineage::Tag(name) => ("tag", name, &settings.protected_tags),
    };
    if is_request {
        return (
            Trust::Branch,
            format!("the request comes from the {kind} `{name}` of the repository itself"),
        );
    }
    match glob::first(protected, name) {
        Some(pattern) => (Trust::Protected, format!("the {kind} `{name}` is protected by `{pattern}`")),
        None => (Trust::Branch, format!("the {kind} `{name}` is not protected")),
    }
}

/// The run that comes of an arrival.
pub(super) fn run(project: &Project, arrival: &Arrival, planned: Planned, id: RunId) -> NewRun {
    let (trust, _) = trust(project, &arrival.happening, &planned.lineage);
    let (concurrency, supersedes) = apart(project.settings.concurrency, &arrival.happening, &planned);
    let job = |cut: &JobCut| {
        let own = cut.part.as_ref().map_or_else(|| planned.plan.clone(), |part| planned.plan.slice(part));
        let spec = JobSpec {
            run: id.clone(),
            number: 0,
            project: project.name.clone(),
            name: cut.name.clone(),
            timeout_millis: timeout(&own),
            plan: planned.plan.clone(),
            plan_digest: planned.digest,
            part: cut.part.clone(),
            trust,
            secrets: if trust == Trust::Fork { BTreeSet::new() } else { secrets(&own) },
        };
        NewJob {
            spec,
            pool: cut.placement.pool.clone().unwrap_or_else(|| project.settings.pool.clone()),
            labels: cut.placement.labels.clone(),
            needs: cut.needs.clone(),
        }
    };
    let jobs = planned.jobs.iter().map(job).collect();
    let priority = priority(project, &arrival.happening).get();
    let (arrival_id, by): (ArrivalId, Actor) = (arrival.id.clone(), actor(arrival));
    NewRun { id: id.clone(), arrival: Some(arrival_id), by, concurrency, supersedes, priority, jobs }
}

/// A pool that the pipeline names and the project may not use. Who may change a pipeline would otherwise choose on whose hosts it runs.
pub(super) fn refused_pool(project: &Project, jobs: &[JobCut]) -> Option<Unplanned> {
    let settings = &project.settings;
    let may = |pool: &&Name| **pool == settings.pool || settings.pools.contains(pool);
    let pool = jobs.iter().filter_map(|job| job.placement.pool.as_ref()).find(|pool| !may(pool))?;
    let pools: BTreeSet<&Name> = settings.pools.iter().chain([pool]).collect();
    let list = pools.iter().map(|pool| format!("\"{pool}\"")).collect::<Vec<_>>().join(",");
    Some(Unplanned::Refused {
        what: format!("the pipeline asks for runners of the pool `{pool}`, which the project may not use"),
        why: None,
        remedy: Some(format!(
            "an administrator allows it: `staith project set {} 'pools=[{list}]'`",
            project.name
        )),
    })
}

/// How soon a run has its turn: as somebody asked who may, or as an administrator said of a clock. Nothing that happens at a repository
/// says anything of it, or whoever may push would go first.
fn priority(project: &Project, happening: &Happening) -> Priority {
    match happening {
        Happening::Asked { priority, .. } => *priority,
        Happening::Schedule { name, .. } => {
            let known = project.settings.schedules.iter().find(|schedule| schedule.name.as_str() == name);
            known.map_or_else(Priority::default, |schedule| schedule.priority)
        }
        _ => Priority::default(),
    }
}

/// On whose behalf a run is.
fn actor(arrival: &Arrival) -> Actor {
    let who = match &arrival.happening {
        Happening::Asked { by, .. } => by.clone(),
        _ => format!("{}:{}", arrival.source, arrival.project),
    };
    Actor { who, from: None }
}

/// The group of all runs of a request.
pub(super) fn group_of_request(number: u64) -> String {
    format!("pull-request/{number}")
}

/// What runs keep apart from each other, and whether a newer one ends an older one. The store keeps groups of the same name apart by
/// trust, so that what a pipeline says here matters only to runs that are trusted as far as its own.
pub(super) fn apart(
    concurrency: Concurrency,
    happening: &Happening,
    planned: &Planned,
) -> (Option<String>, bool) {
    if let Happening::PullRequest { number, .. } = happening {
        return (Some(group_of_request(*number)), true);
    }
    if let Some(RunGroup { name, newest }) = &planned.group {
        return (Some(format!("named/{name}")), *newest);
    }
    match concurrency {
        Concurrency::Free => (None, false),
        Concurrency::Wait => (built(happening, &planned.lineage), false),
        Concurrency::Newest => (built(happening, &planned.lineage), true),
    }
}

/// The group of the branch or tag that is built; none where only a commit was asked for, which is nobody's.
fn built(happening: &Happening, lineage: &Lineage) -> Option<String> {
    let of_branch = |name: &String| format!("branch/{name}");
    let of_tag = |name: &String| format!("tag/{name}");
    match happening {
        Happening::Push { branch, .. } | Happening::Schedule { branch, .. } => Some(of_branch(branch)),
        Happening::Tag { tag, .. } => Some(of_tag(tag)),
        _ => match lineage {
            Lineage::Branch(name) => Some(of_branch(name)),
            Lineage::Tag(name) => Some(of_tag(name)),
            Lineage::Some | Lineage::Nowhere => None,
        },
    }
}

/// The secrets that steps and services name. Names that are no names of secrets are none that the server could have.
fn secrets(plan: &Plan) -> BTreeSet<Name> {
    let of_steps = plan.steps.iter().flat_map(|step| step.secrets.values());
    let of_services = plan.services.iter().flat_map(|service| service.secrets.values());
    of_steps.chain(of_services).filter_map(|name| name.parse().ok()).collect()
}

/// The time that all steps may take one after the other, and some more.
fn timeout(plan: &Plan) -> u64 {
    let of = |step: &StepPlan| {
        let attempts = step.retry.as_ref().map_or(1, |retry| u64::from(retry.attempts.max(1)));
        step.timeout_seconds.saturating_mul(1000).saturating_mul(attempts)
    };
    let steps = plan.steps.iter().map(of).fold(0_u64, u64::saturating_add);
    steps.saturating_add(BESIDE_THE_STEPS_MILLIS).min(LONGEST_MILLIS)
}

#[cfg(test)]
mod tests {
    use staith_model::{Source, Trigger, service::ProjectSettings};

    use super::*;

    fn project() -> Project {
        let settings = ProjectSettings { protected_tags: vec!["v*".into()], ..ProjectSettings::default() };
        Project { name: "shop".parse().unwrap(), origin: "/srv/shop.git".into(), settings, created: 0 }
    }

    fn request(fork: bool) -> Happening {
        Happening::PullRequest {
            number: 7,
            branch: "main".into(),
            head: "c".into(),
            target: "main".into(),
            fork,
            author: 1,
            reference: None,
        }
    }

    fn push(branch: &str) -> Happening {
        Happening::Push { branch: branch.into(), before: None, after: "c".into() }
    }

    #[test]
    fn what_is_claimed_counts_only_as_far_as_the_repository_shows_it() {
        let trust = |happening: &Happening, lineage: Lineage| trust(&project(), happening, &lineage).0;
        assert_eq!(trust(&push("main"), Lineage::Branch("main".into())), Trust::Protected);
        assert_eq!(trust(&push("main"), Lineage::Some), Trust::Branch, "the commit is not on main");
        assert_eq!(trust(&push("main"), Lineage::Nowhere), Trust::Fork);
        assert_eq!(trust(&push("topic"), Lineage::Branch("topic".into())), Trust::Branch);
        let tag = Happening::Tag { tag: "v1".into(), commit: "c".into() };
        assert_eq!(trust(&tag, Lineage::Tag("v1".into())), Trust::Protected);
        assert_eq!(trust(&tag, Lineage::Tag("nightly".into())), Trust::Branch);
    }

    #[test]
    fn a_request_is_never_protected_and_a_forks_gets_nothing() {
        let main = Lineage::Branch("main".into());
        assert_eq!(trust(&project(), &request(false), &main).0, Trust::Branch);
        assert_eq!(trust(&project(), &request(true), &main).0, Trust::Fork);
        assert_eq!(trust(&project(), &request(false), &Lineage::Nowhere).0, Trust::Fork);
    }

    fn planned(lineage: Lineage, group: Option<RunGroup>) -> Planned {
        let source = Source { tree: "0".into(), commit: None, dirty: false };
        let plan = Plan {
            project: "shop".parse().unwrap(),
            version: "1".into(),
            source,
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        Planned {
            digest: plan.digest(),
            plan,
            why: String::new(),
            lineage,
            pipeline: staith_model::Digest::of(b""),
            target_pipeline: None,
            jobs: Vec::new(),
            notices: Vec::new(),
            unless_built: false,
            group,
        }
    }

    #[test]
    fn runs_of_a_branch_or_tag_keep_apart_whatever_set_them_off() {
        let on = |name: &str| planned(Lineage::Branch(name.into()), None);
        let asked = Happening::Asked {
            reference: "x".into(),
            by: "person:ann".into(),
            settings: Default::default(),
            priority: Priority::default(),
        };
        let clock = Happening::Schedule { name: "nightly".into(), branch: "main".into(), due: 0 };
        let tag = Happening::Tag { tag: "v1".into(), commit: "c".into() };
        for happening in [&push("main"), &asked, &clock] {
            let group = |concurrency| apart(concurrency, happening, &on("main"));
            assert_eq!(group(Concurrency::Wait), (Some("branch/main".into()), false), "{happening:?}");
            assert_eq!(group(Concurrency::Newest), (Some("branch/main".into()), true), "{happening:?}");
            assert_eq!(group(Concurrency::Free), (None, false));
        }
        let of_tag = planned(Lineage::Tag("v1".into()), None);
        for happening in [&tag, &asked] {
            assert_eq!(apart(Concurrency::Wait, happening, &of_tag), (Some("tag/v1".into()), false));
        }
        let commit = planned(Lineage::Some, None);
        assert_eq!(apart(Concurrency::Wait, &asked, &commit), (None, false), "a commit is no branch's");
    }

    #[test]
    fn a_pipelines_own_group_is_the_projects_and_never_that_of_a_request() {
        let group = RunGroup { name: "deploy".parse().unwrap(), newest: true };
        let named = |branch: &str| planned(Lineage::Branch(branch.into()), Some(group.clone()));
        for concurrency in [Concurrency::Free, Concurrency::Wait] {
            for branch in ["main", "topic"] {
                let own = apart(concurrency, &push(branch), &named(branch));
                assert_eq!(own, (Some("named/deploy".into()), true));
            }
            let of_request = apart(concurrency, &request(true), &named("topic"));
            assert_eq!(of_request, (Some("pull-request/7".into()), true));
        }
    }
}
