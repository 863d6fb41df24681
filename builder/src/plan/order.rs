//! In which order steps run, and which layers a step stands on.

use std::collections::BTreeSet;

use staith_model::Name;

use crate::pipeline::Step;

/// The steps of a pipeline, each after all that it needs; where several could come next, the one that the file has first.
pub(super) struct Order<'p>(Vec<&'p Step>);

impl<'p> Order<'p> {
    pub(super) fn of(steps: impl IntoIterator<Item = &'p Step>) -> Self {
        let mut waiting: Vec<&Step> = steps.into_iter().collect();
        let mut done: BTreeSet<&Name> = BTreeSet::new();
        let mut ordered = Vec::with_capacity(waiting.len());
        // A parsed pipeline has no circle, so there is always a next one; the `while let` ends when none is left.
        while let Some(next) =
            waiting.iter().position(|step| step.needs.iter().all(|need| done.contains(need)))
        {
            let step = waiting.remove(next);
            done.insert(&step.name);
            ordered.push(step);
        }
        Self(ordered)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &'p Step> {
        self.0.iter().copied()
    }

    /// `needs`, their needs, and so on, lowest layer first: the order in which they run.
    pub(super) fn below(&self, needs: &[Name]) -> Vec<Name> {
        let mut wanted: BTreeSet<&Name> = needs.iter().collect();
        // Backwards, a step's own needs are met after it.
        for step in self.0.iter().rev() {
            if wanted.contains(&step.name) {
                wanted.extend(&step.needs);
            }
        }
        self.steps().filter(|step| wanted.contains(&step.name)).map(|step| step.name.clone()).collect()
    }
}
