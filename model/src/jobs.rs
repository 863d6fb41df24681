//! A plan cut into jobs: which runner does which part of it. Pure, so that `staith plan` shows what a server will do.
//!
//! Steps that say the same of where they run are one job, as far as jobs that wait for each other allow: a step that needs one which runs
//! elsewhere comes after it, in a later job. A plan that says nothing is one job.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Name, Placement, Plan, StepPlan};

/// A part of a plan that one runner does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCut {
    /// Its name in the run: that of its first step; `run` where it is the whole plan.
    pub name: Name,
    /// Which runners may take it.
    pub placement: Placement,
    /// Jobs that must have passed.
    pub needs: BTreeSet<Name>,
    /// What it does; none where it is the whole plan.
    pub part: Option<Part>,
}

/// Which part of a plan it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The steps that are run, in the order of the plan.
    pub steps: Vec<Name>,
    /// Steps of other jobs whose outputs these steps see, or that are packed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// Steps of which other jobs take what they left.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<Name>,
    /// Whether the plan's packages are made here, after everything else has passed.
    #[serde(default)]
    pub packs: bool,
}

/// A step of another job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Taken {
    /// Which.
    pub step: Name,
    /// Whether it may be run here as well, should what it left not be there any more: whoever has this job's labels has its.
    pub again: bool,
}

/// A plan that can't be cut as it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the steps `{step}` and `{other}` would run in two jobs, and {why}")]
pub struct Uncuttable {
    /// The step.
    pub step: Name,
    /// The step that it belongs to.
    pub other: Name,
    /// Why they can't.
    pub why: &'static str,
}

impl Uncuttable {
    /// What to do, in a sentence for people.
    pub fn remedy(&self) -> String {
        format!("give `{}` and `{}` the same `runner`, and what is between them too", self.step, self.other)
    }
}

/// What the only job of a run is called.
const WHOLE: &str = "run";
/// What the job is called that does nothing but pack.
const PACKING: &str = "package";

impl Plan {
    /// The jobs of a run of this plan, each after those that it needs.
    ///
    /// # Errors
    /// A step whose condition asks what became of others, or that may fail, is needed across jobs: a job begins only when all that it
    /// needs have passed.
    pub fn jobs(&self) -> Result<Vec<JobCut>, Uncuttable> {
        let groups = Groups::of(self);
        if groups.all.len() <= 1 {
            let placement = self.steps.first().map(|step| step.runner.clone()).unwrap_or_default();
            let whole = JobCut { name: named(WHOLE), placement, needs: BTreeSet::new(), part: None };
            return Ok(vec![whole]);
        }
        groups.check(self)?;
        let mut jobs: Vec<JobCut> = groups.all.iter().map(|group| self.job(group, &groups)).collect();
        if !self.packages.is_empty() {
            self.add_packing(&mut jobs);
        }
        let taken: BTreeSet<Name> = jobs
            .iter()
            .flat_map(|job| &job.part)
            .flat_map(|part| &part.taken)
            .map(|taken| taken.step.clone())
            .collect();
        for part in jobs.iter_mut().filter_map(|job| job.part.as_mut()) {
            part.given = part.steps.iter().filter(|step| taken.contains(*step)).cloned().collect();
        }
        Ok(jobs)
    }

    fn job(&self, group: &Group<'_>, groups: &Groups<'_>) -> JobCut {
        let needs = group.steps.iter().flat_map(|step| &step.needs).filter_map(|need| groups.job_of(need));
        let name = group.name();
        let part = Part {
            steps: group.steps.iter().map(|step| step.name.clone()).collect(),
            taken: self.taken(
                group.placement,
                &group.steps,
                group.steps.iter().flat_map(|step| &step.layers),
            ),
            ..Part::default()
        };
        JobCut {
            needs: needs.filter(|need| **need != name).cloned().collect(),
            name,
            placement: group.placement.clone(),
            part: Some(part),
        }
    }

    /// Which of `seen` come from other jobs, in the order of the plan; with what would be needed to run them again.
    fn taken<'a>(
        &self,
        placement: &Placement,
        own: &[&StepPlan],
        seen: impl Iterator<Item = &'a Name>,
    ) -> Vec<Taken> {
        let mut wanted: BTreeSet<&Name> = seen.collect();
        let may_be_run_again =
            |step: &&StepPlan| wanted.contains(&step.name) && placement.covers(&step.runner);
        let below: Vec<&Name> =
            self.steps.iter().filter(may_be_run_again).flat_map(|step| &step.layers).collect();
        wanted.extend(below);
        let is_taken = |step: &&StepPlan| {
            wanted.contains(&step.name)
                && !step.outputs.is_empty()
                && !own.iter().any(|one| one.name == step.name)
        };
        let taken =
            |step: &StepPlan| Taken { step: step.name.clone(), again: placement.covers(&step.runner) };
        self.steps.iter().filter(is_taken).map(taken).collect()
    }

    /// Packages are made when everything has passed: by the job that comes after all others, if there is one, or by one that is added.
    fn add_packing(&self, jobs: &mut Vec<JobCut>) {
        let packed: Vec<&Name> = self.packages.iter().flat_map(|package| &package.layers).collect();
        let names: BTreeSet<Name> = jobs.iter().map(|job| job.name.clone()).collect();
        let last = jobs.iter().position(|job| before(job, jobs).len() + 1 == jobs.len());
        let at = last.unwrap_or_else(|| {
            // Where what is packed was made.
            let step = self.steps.iter().rfind(|step| packed.contains(&&step.name));
            let placement = step.map(|step| step.runner.clone()).unwrap_or_default();
            let mut name = PACKING.to_owned();
            while names.contains(&named(&name)) {
                name.push_str("-all");
            }
            let part = Some(Part::default());
            jobs.push(JobCut { name: named(&name), placement, needs: names.clone(), part });
            jobs.len() - 1
        });
        let Some(part) = jobs[at].part.clone() else { return };
        let own: Vec<&StepPlan> = part.steps.iter().filter_map(|name| self.step(name)).collect();
        let seen = own.iter().flat_map(|step| &step.layers).chain(packed);
        let taken = self.taken(&jobs[at].placement, &own, seen);
        jobs[at].part = Some(Part { taken, packs: true, ..part });
    }

    /// The plan of a part: what its job executes. Steps of other jobs that may not be run here keep their place and nothing of what they
    /// would need.
    pub fn slice(&self, part: &Part) -> Self {
        let taken: BTreeMap<&Name, bool> =
            part.taken.iter().map(|taken| (&taken.step, taken.again)).collect();
        let is_kept = |name: &Name| part.steps.contains(name) || taken.contains_key(name);
        let mut slice = self.clone();
        slice.steps.retain(|step| is_kept(&step.name));
        for step in &mut slice.steps {
            step.needs.retain(is_kept);
            step.layers.retain(is_kept);
            if taken.get(&step.name) == Some(&false) {
                *step =
                    StepPlan { image: None, services: Vec::new(), secrets: BTreeMap::new(), ..step.clone() };
            }
        }
        let named = |service: &Name| slice.steps.iter().any(|step| step.services.contains(service));
        slice.services = self.services.iter().filter(|service| named(&service.name)).cloned().collect();
        if !part.packs {
            slice.packages = Vec::new();
        }
        slice
    }
}

/// All jobs that come before a job.
fn before(job: &JobCut, jobs: &[JobCut]) -> BTreeSet<Name> {
    let (mut found, mut open) = (BTreeSet::new(), job.needs.iter().collect::<Vec<_>>());
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(jobs.iter().filter(|job| job.name == *name).flat_map(|job| &job.needs));
        }
    }
    found
}

/// Steps of one job.
struct Group<'p> {
    placement: &'p Placement,
    steps: Vec<&'p StepPlan>,
}

impl Group<'_> {
    fn name(&self) -> Name {
        self.steps[0].name.clone()
    }
}

/// The groups of a plan, each after those that it needs, and where each step is.
struct Groups<'p> {
    all: Vec<Group<'p>>,
    of: BTreeMap<&'p Name, usize>,
    names: Vec<Name>,
}

impl<'p> Groups<'p> {
    /// A step is as deep as what it needs, and one deeper than that where it runs elsewhere. Steps of one place and depth are a group: what
    /// a group needs is less deep, or the group itself, so there are no circles.
    fn of(plan: &'p Plan) -> Self {
        let mut depths: BTreeMap<&Name, (usize, &Placement)> = BTreeMap::new();
        let mut places: BTreeMap<(usize, &Placement), Vec<&StepPlan>> = BTreeMap::new();
        for step in &plan.steps {
            let beyond = |need: &Name| {
                let (depth, placement) = depths.get(need)?;
                Some(depth + usize::from(**placement != step.runner))
            };
            let depth = step.needs.iter().filter_map(beyond).max().unwrap_or_default();
            depths.insert(&step.name, (depth, &step.runner));
            places.entry((depth, &step.runner)).or_default().push(step);
        }
        let all: Vec<Group<'p>> =
            places.into_iter().map(|((_, placement), steps)| Group { placement, steps }).collect();
        let numbered = all.iter().enumerate();
        let of =
            numbered.flat_map(|(at, group)| group.steps.iter().map(move |step| (&step.name, at))).collect();
        let names = all.iter().map(Group::name).collect();
        Self { all, of, names }
    }

    fn job_of(&self, step: &Name) -> Option<&Name> {
        self.of.get(step).and_then(|at| self.names.get(*at))
    }

    /// A job waits for others to pass. So what may end otherwise and still be gone on from stays in one job with all that asks about it.
    fn check(&self, plan: &Plan) -> Result<(), Uncuttable> {
        for step in &plan.steps {
            let elsewhere = |other: &&Name| self.job_of(other) != self.job_of(&step.name);
            let refused =
                |other: &Name, why| Uncuttable { step: step.name.clone(), other: other.clone(), why };
            if step.when.is_some()
                && let Some(other) = plan.before(step).iter().find(elsewhere)
            {
                return Err(refused(other, "the condition of the first asks what became of the second"));
            }
            for need in step.needs.iter().filter(elsewhere) {
                let needed = plan.step(need);
                if needed.is_some_and(|needed| needed.when.is_some()) {
                    return Err(refused(need, "whether the second is run is known only when it comes to it"));
                }
                if needed.is_some_and(|needed| needed.may_fail) {
                    return Err(refused(need, "the second may fail (`continue-on-failure`)"));
                }
            }
        }
        Ok(())
    }
}

fn named(text: &str) -> Name {
    #[expect(
        clippy::expect_used,
        reason = "the texts are names, and one that is made longer by a few letters is one"
    )]
    text.parse().expect("a name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Digest, PackagePlan, Source, Trigger};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// `step @label: needs`, with all that comes before as what it sees.
    fn plan(steps: &[(&str, &str, &[&str])], packed: &[&str]) -> Plan {
        let mut plan = Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        };
        for (step, label, needs) in steps {
            let labels = Some(*label).filter(|label| !label.is_empty()).map(name);
            let mut new = StepPlan {
                needs: needs.iter().map(|need| name(need)).collect(),
                outputs: vec!["out".into()],
                runner: Placement { pool: None, labels: labels.into_iter().collect() },
                ..StepPlan::new(name(step), Command::Shell("true".into()), Digest::of(b""))
            };
            new.layers = plan.before(&new);
            plan.steps.push(new);
        }
        if !packed.is_empty() {
            plan.packages.push(PackagePlan {
                name: name("p"),
                layers: packed.iter().map(|step| name(step)).collect(),
                root: None,
                include: vec![],
                exclude: vec![],
                source: vec![],
                parameters: None,
            });
        }
        plan
    }

    fn told(jobs: &[JobCut]) -> Vec<String> {
        let words =
            |names: &mut dyn Iterator<Item = &Name>| names.map(Name::as_str).collect::<Vec<_>>().join(" ");
        jobs.iter()
            .map(|job| {
                let part = job.part.clone().unwrap_or_default();
                let taken = words(&mut part.taken.iter().map(|taken| &taken.step));
                let packs = if part.packs { " packs" } else { "" };
                format!(
                    "{} = {} after {}; takes {taken}; gives {}{packs}",
                    job.name,
                    words(&mut part.steps.iter()),
                    words(&mut job.needs.iter()),
                    words(&mut part.given.iter())
                )
            })
            .collect()
    }

    #[test]
    fn a_plan_that_says_nothing_is_one_job() {
        let plan = plan(&[("a", "", &[]), ("b", "", &["a"]), ("c", "", &[])], &["b"]);
        let jobs = plan.jobs().unwrap();
        assert_eq!((jobs.len(), jobs[0].name.as_str(), &jobs[0].part), (1, "run", &None));
    }

    #[test]
    fn steps_of_one_place_are_one_job_and_come_after_what_runs_elsewhere() {
        let plan = plan(
            &[("a", "", &[]), ("b", "gpu", &["a"]), ("c", "", &["b"]), ("d", "", &["a"]), ("e", "gpu", &[])],
            &[],
        );
        let expected = [
            "a = a d after ; takes ; gives a",
            "e = e after ; takes ; gives ",
            "b = b after a; takes a; gives b",
            "c = c after b; takes a b; gives ",
        ];
        assert_eq!(told(&plan.jobs().unwrap()), expected);
    }

    #[test]
    fn packages_are_made_after_everything_else() {
        let last = plan(&[("a", "", &[]), ("b", "gpu", &["a"])], &["a"]);
        assert_eq!(
            told(&last.jobs().unwrap()),
            ["a = a after ; takes ; gives a", "b = b after a; takes a; gives  packs"]
        );
        let none_is_last = plan(&[("package", "", &[]), ("b", "gpu", &[])], &["package"]);
        assert_eq!(
            told(&none_is_last.jobs().unwrap())[2],
            "package-all =  after b package; takes package; gives  packs"
        );
    }

    #[test]
    fn what_may_end_otherwise_stays_in_one_job_with_what_asks() {
        let mut asks = plan(&[("a", "", &[]), ("b", "gpu", &["a"])], &[]);
        asks.steps[1].when = Some(crate::Condition::Needs(crate::Ending::Failed));
        let refused = asks.jobs().unwrap_err();
        assert!(refused.to_string().contains("`b` and `a`"), "{refused}");
        let mut may_fail = plan(&[("a", "", &[]), ("b", "gpu", &["a"])], &[]);
        may_fail.steps[0].may_fail = true;
        assert!(may_fail.jobs().unwrap_err().to_string().contains("continue-on-failure"));
    }

    #[test]
    fn a_slice_has_its_own_steps_whole_and_of_others_their_place() {
        let mut plan = plan(&[("a", "", &[]), ("b", "gpu", &["a"]), ("c", "", &["b"])], &["c"]);
        plan.steps[1].image = Some("cuda".into());
        let jobs = plan.jobs().unwrap();
        let slice = plan.slice(jobs[2].part.as_ref().unwrap());
        let images: Vec<_> =
            slice.steps.iter().map(|step| (step.name.as_str(), step.image.is_some())).collect();
        assert_eq!(images, [("a", false), ("b", false), ("c", false)]);
        assert_eq!(slice.steps[2], plan.steps[2]);
        assert_eq!(slice.packages, plan.packages);
        let first = plan.slice(jobs[0].part.as_ref().unwrap());
        assert!(first.packages.is_empty() && first.steps.len() == 1);
    }
}
