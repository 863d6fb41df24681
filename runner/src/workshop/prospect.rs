//! What a run would do, as far as the stores know. Nothing is run or fetched to find out.

use std::collections::{BTreeMap, BTreeSet};

use staith_builder::{
    cache::{Attempted, Beside, Change, Sight, changes, inputs_of, of_service, what_is_seen},
    engine::{Image, ImageSpec},
    outlook::{Outlook, Standing, outlook},
    source::Resolved,
};
use staith_model::{Digest, Name, Plan, ServicePlan, StepPlan};

use super::Workshop;

/// What a run of a plan would do.
pub(crate) struct Prospect {
    /// With each step, in the order of the plan.
    pub(crate) steps: Vec<Outlook>,
    /// What keeps this host from saying it of all steps, a sentence each.
    pub(crate) unclear: Vec<String>,
    images: BTreeMap<Option<String>, Image>,
}

impl Prospect {
    /// What it would do with a step of the plan.
    pub(crate) fn of(&self, step: &Name) -> Option<&Outlook> {
        self.steps.iter().find(|one| one.step == *step)
    }
}

/// Why a run would do with a step what it would do.
pub(crate) struct Why {
    /// The last attempt at the step, if there was one.
    pub(crate) last: Option<Attempted>,
    /// What the step would see otherwise than it did then.
    pub(crate) changes: Vec<Change>,
}

impl Workshop {
    /// What a run of the plan would do.
    pub(crate) async fn prospect(&self, plan: &Plan) -> Prospect {
        let (mut images, mut unclear) = (BTreeMap::new(), Vec::new());
        let of_services = plan.services.iter().map(|service| &service.image);
        let references: BTreeSet<&Option<String>> =
            plan.steps.iter().map(|step| &step.image).chain(of_services).collect();
        for reference in references {
            let tools = if reference.is_none() { plan.tools.clone() } else { Vec::new() };
            match self.engine.known_image(&ImageSpec { reference: reference.clone(), tools }).await {
                Ok(Some(image)) => drop(images.insert(reference.clone(), image)),
                Ok(None) => {}
                Err(error) => {
                    let sentences = [Some(error.to_string()), error.remedy().map(str::to_owned)];
                    unclear.push(sentences.into_iter().flatten().collect::<Vec<_>>().join(": "));
                }
            }
        }
        let image = |reference: &Option<String>| images.get(reference);
        Prospect { steps: outlook(plan, &self.cache, &self.layers, &image), unclear, images }
    }

    /// Why a run would do what it would do with a step of the plan.
    pub(crate) fn why(&self, plan: &Plan, step: &StepPlan, source: &Resolved, prospect: &Prospect) -> Why {
        let Some(last) = self.cache.last(&plan.project, &step.name) else {
            return Why { last: None, changes: Vec::new() };
        };
        let now = prospect.of(&step.name);
        let layers = now.map(|now| now.layers.clone()).unwrap_or_default();
        let digests: Vec<Digest> = layers.iter().map(|(_, layer)| *layer).collect();
        let image = prospect.images.get(&step.image).map(|image| image.digest);
        let unknown_image = Digest::of(b"");
        let image_of = |service: &ServicePlan| prospect.images.get(&service.image);
        let of_service = |service: &ServicePlan| Some(of_service(service, image_of(service)?));
        let services = plan.services_of(step);
        let beside: Vec<Beside<'_>> =
            services.iter().map(|service| (*service, of_service(service).unwrap_or(unknown_image))).collect();
        let mut seen = what_is_seen(step, image.unwrap_or(unknown_image), &digests, &beside);
        // Nobody can say that an image has changed that is not known.
        if image.is_none() {
            seen["image"] = last.seen["image"].clone();
        }
        for service in services.iter().filter(|service| of_service(service).is_none()) {
            let name = service.name.as_str();
            seen["services"][name]["image"] = last.seen["services"][name]["image"].clone();
        }
        let was_tree = last.seen["input_tree"].as_str().and_then(|text| text.parse::<Digest>().ok());
        let was_inputs = was_tree.and_then(|tree| self.cache.inputs(&tree));
        let inputs = inputs_of(source, &step.inputs).ok();
        let unknown = match now.map(|now| &now.standing) {
            Some(Standing::After(steps)) => steps.clone(),
            _ => Vec::new(),
        };
        let changes = changes(
            Sight { seen: &last.seen, layers: &last.layers, inputs: was_inputs.as_ref() },
            Sight { seen: &seen, layers: &layers, inputs: inputs.as_ref() },
            &unknown,
            &|layer| self.layers.manifest(layer).ok(),
        );
        Why { last: Some(last), changes }
    }
}
