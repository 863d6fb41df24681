//! What a run of a plan would do, as far as that is known before it: which steps are known already. Nothing is run.

use std::collections::BTreeMap;

use staith_model::{Digest, Name, Plan};

use crate::{
    cache::{Beside, StepCache, StepRecord, of_service, step_key},
    engine::Image,
    layers::LayerStore,
};

/// What a run would do with one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The step.
    pub step: Name,
    /// The steps whose outputs it sees, lowest first, and what they left, as far as that is known.
    pub layers: Vec<(Name, Digest)>,
    /// Its key, if all that it sees is known.
    pub key: Option<Digest>,
    /// What a run would do.
    pub standing: Standing,
}

/// What a run would do with a step, unless an earlier one fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Use what is known.
    Known(StepRecord),
    /// Run it.
    Runs,
    /// That depends on what these steps leave, which will run first.
    After(Vec<Name>),
    /// That depends on its image, or that of a service beside it, which is not here.
    NoImage,
}

/// What a run of `plan` would do, in the order of the plan. `image` gives a root file system by the name that the plan has for
/// it (none is the host's), if that is known here.
pub fn outlook<'i>(
    plan: &Plan,
    cache: &StepCache,
    store: &LayerStore,
    image: &dyn Fn(&Option<String>) -> Option<&'i Image>,
) -> Vec<Outlook> {
    let known = |key: &Digest| {
        cache.find(key).filter(|found| found.layer.is_none_or(|layer| store.path(&layer).is_some()))
    };
    foresee(plan, &known, image)
}

fn foresee<'i>(
    plan: &Plan,
    known: &dyn Fn(&Digest) -> Option<StepRecord>,
    image: &dyn Fn(&Option<String>) -> Option<&'i Image>,
) -> Vec<Outlook> {
    // What each step before leaves: a layer, nothing, or what is not known yet.
    let mut left: BTreeMap<&Name, Option<Option<Digest>>> = BTreeMap::new();
    let mut all = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let of = |name: &&Name| left.get(*name).copied().flatten();
        let unclear: Vec<Name> = step.layers.iter().filter(|name| of(name).is_none()).cloned().collect();
        let layers: Vec<(Name, Digest)> =
            step.layers.iter().filter_map(|name| Some((name.clone(), of(&name)??))).collect();
        let digests: Vec<Digest> = layers.iter().map(|(_, layer)| *layer).collect();
        let of = |service| Some((service, of_service(service, image(&service.image)?)));
        let beside: Option<Vec<Beside<'_>>> = plan.services_of(step).into_iter().map(of).collect();
        let images = image(&step.image).zip(beside).filter(|_| unclear.is_empty());
        let key = images.map(|(image, beside)| step_key(step, image.digest, &digests, &beside));
        // What runs because of what became of others is never known before.
        let may_be_known = key.filter(|_| step.when.is_none());
        let standing = match (key, may_be_known.and_then(|key| known(&key))) {
            (Some(_), Some(record)) => Standing::Known(record),
            (Some(_), None) => Standing::Runs,
            (None, _) if !unclear.is_empty() => Standing::After(unclear),
            (None, _) => Standing::NoImage,
        };
        let leaves = match &standing {
            Standing::Known(record) => Some(record.layer),
            // Without outputs it leaves nothing, whether it runs or not.
            _ => step.outputs.is_empty().then_some(None),
        };
        left.insert(&step.name, leaves);
        all.push(Outlook { step: step.name.clone(), layers, key, standing });
    }
    all
}

#[cfg(test)]
mod tests {
    use staith_model::{Command, Limits, Readiness, ServicePlan, Source, StepPlan, StepResults, Trigger};

    use super::*;
    use crate::engine::Root;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn step(text: &str, layers: &[&str], outputs: &[&str]) -> StepPlan {
        StepPlan {
            layers: layers.iter().map(|layer| name(layer)).collect(),
            needs: layers.iter().map(|layer| name(layer)).collect(),
            outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
            ..StepPlan::new(name(text), Command::Shell(text.to_owned()), Digest::of(b"tree"))
        }
    }

    fn image_of(files: &[u8]) -> Image {
        Image {
            digest: Digest::of(files),
            root: Root::Host,
            binds: vec![],
            path: vec![],
            env: BTreeMap::new(),
            command: vec![],
            workdir: None,
        }
    }

    fn plan(steps: Vec<StepPlan>) -> Plan {
        Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps,
            left_out: vec![],
            services: vec![],
            packages: vec![],
        }
    }

    #[test]
    fn a_step_is_known_only_if_all_below_it_is() {
        let here = image_of(b"image");
        let image = here.digest;
        let plan = plan(vec![
            step("lint", &[], &[]),
            step("restore", &[], &["deps"]),
            step("build", &["restore"], &["out"]),
            step("test", &["lint", "restore", "build"], &[]),
        ]);
        let layer = Digest::of(b"deps");
        let record = |layer| StepRecord { layer, results: StepResults::default(), millis: 1, made: None };
        let mut known: BTreeMap<Digest, StepRecord> = BTreeMap::new();
        let see = |known: &BTreeMap<Digest, StepRecord>| {
            foresee(&plan, &|key| known.get(key).cloned(), &|_| Some(&here))
                .into_iter()
                .map(|one| one.standing)
                .collect::<Vec<_>>()
        };
        let after = |names: &[&str]| Standing::After(names.iter().map(|step| name(step)).collect());
        let nothing_known =
            [Standing::Runs, Standing::Runs, after(&["restore"]), after(&["restore", "build"])];
        assert_eq!(see(&known), nothing_known);
        known.insert(step_key(&plan.steps[1], image, &[], &[]), record(Some(layer)));
        let restored =
            [Standing::Runs, Standing::Known(record(Some(layer))), Standing::Runs, after(&["build"])];
        assert_eq!(see(&known), restored);
        known.insert(step_key(&plan.steps[2], image, &[layer], &[]), record(Some(Digest::of(b"out"))));
        assert_eq!(see(&known)[3], Standing::Runs, "a step without outputs is not waited for");
        // A step is known with its services, and of one whose image is not here nothing can be said.
        let db = ServicePlan {
            name: name("db"),
            image: Some("db:1".into()),
            command: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ready: Readiness::Port(1),
            ready_seconds: 1,
            ports: vec![1],
            limits: Limits::default(),
        };
        let lint = StepPlan { services: vec![name("db")], ..step("lint", &[], &[]) };
        let served = Plan { services: vec![db.clone()], ..self::plan(vec![lint]) };
        let beside = [(&db, of_service(&db, &here))];
        known.insert(step_key(&served.steps[0], image, &[], &beside), record(None));
        // What the step and its service run in.
        let look = |own: Option<&Image>, services: Option<&Image>| {
            let of = |named: &Option<String>| if named.is_none() { own } else { services };
            foresee(&served, &|key| known.get(key).cloned(), &of).remove(0).standing
        };
        assert_eq!(look(Some(&here), Some(&here)), Standing::Known(record(None)));
        assert_eq!(look(Some(&here), Some(&image_of(b"other"))), Standing::Runs);
        let runs_otherwise = Image { command: vec!["serve".into()], ..here.clone() };
        assert_eq!(look(Some(&here), Some(&runs_otherwise)), Standing::Runs);
        assert_eq!(look(Some(&runs_otherwise), Some(&here)), Standing::Known(record(None)));
        assert_eq!(look(Some(&here), None), Standing::NoImage);
        let blind = foresee(&plan, &|_| None, &|_| None);
        assert_eq!(blind[0].standing, Standing::NoImage);
    }
}
