//! Decides a condition as far as it can be decided when a plan is made.

use std::collections::BTreeMap;

use staith_model::{Condition, Ending, Name, RelPath, Trigger, TriggerKind};

use super::{Fact, Truth, When};
use crate::pipeline::patterns;

/// What is known when a plan is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'f> {
    pub(crate) trigger: &'f Trigger,
    /// Paths that changed; `None` counts as all.
    pub(crate) changed: Option<&'f [RelPath]>,
    /// A value for each parameter of the pipeline.
    pub(crate) parameters: &'f BTreeMap<String, String>,
    /// A value for each dimension of the step's matrix.
    pub(crate) matrix: &'f BTreeMap<String, String>,
}

/// What is decided about a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is not part of the plan; the sentence says why.
    LeftOut(String),
    /// It is, and this is left to decide once its needs have ended; `None` is that all of them succeeded.
    Planned(Option<Condition>),
}

impl When {
    /// Decides what `facts` decide, for a step that needs `needs`. `variants` says which steps of the plan stand behind a name
    /// of the file; where there are none, that step is left out, which is to be skipped.
    pub(crate) fn decide(
        &self,
        facts: &Facts<'_>,
        needs: &[Name],
        variants: &dyn Fn(&str) -> Vec<Name>,
    ) -> Decision {
        match fold(&self.truth, facts, &Before { needs, variants }) {
            Condition::Literal(false) => Decision::LeftOut(self.explain(facts)),
            // That it needs its needs to have succeeded goes without saying, unless it says something about it.
            _ if !self.asks_outcomes => Decision::Planned(None),
            rest => Decision::Planned(Some(rest)),
        }
    }

    /// Whether it says itself what its needs have to come to. Otherwise all of them have to succeed.
    pub(crate) const fn asks_outcomes(&self) -> bool {
        self.asks_outcomes
    }

    /// Whether it never holds in a run that `kind` set off, whatever else is the case.
    pub(in crate::pipeline) fn never_holds_at(&self, kind: TriggerKind) -> bool {
        at_event(&self.truth, kind) == Some(false)
    }
}

/// The steps that come before one, as far as the plan has them.
struct Before<'b> {
    needs: &'b [Name],
    variants: &'b dyn Fn(&str) -> Vec<Name>,
}

impl Before<'_> {
    /// All that the step needs came to this. What is left out was skipped; of a failure, only what runs can tell.
    fn needs(&self, ending: Ending) -> Condition {
        let is_left_out = |need: &Name| (self.variants)(need.as_str()).is_empty();
        if ending == Ending::Failed || !self.needs.iter().any(is_left_out) {
            return Condition::Needs(ending);
        }
        all(self.needs.iter().map(|need| self.step(need.as_str(), ending)).collect())
    }

    fn step(&self, step: &str, is: Ending) -> Condition {
        let variant = |step: Name| Condition::Step { step, is };
        let variants: Vec<_> = (self.variants)(step).into_iter().map(variant).collect();
        if variants.is_empty() {
            return Condition::Literal(matches!(is, Ending::Skipped | Ending::Ended));
        }
        if is == Ending::Failed { any(variants) } else { all(variants) }
    }
}

fn fold(truth: &Truth, facts: &Facts<'_>, before: &Before<'_>) -> Condition {
    let each = |parts: &[Truth]| parts.iter().map(|part| fold(part, facts, before)).collect::<Vec<_>>();
    match truth {
        Truth::Literal(value) => Condition::Literal(*value),
        Truth::Not(inner) => match fold(inner, facts, before) {
            Condition::Literal(value) => Condition::Literal(!value),
            Condition::Not(inner) => *inner,
            inner => Condition::Not(Box::new(inner)),
        },
        Truth::All(parts) => all(each(parts)),
        Truth::Any(parts) => any(each(parts)),
        Truth::Is { fact, one_of, as_globs } => {
            let value = facts.value(fact);
            let is = |one: &String| value.is_some_and(|value| matches(one, value, *as_globs));
            Condition::Literal(one_of.iter().any(is))
        }
        Truth::Present(fact) => Condition::Literal(facts.value(fact).is_some()),
        Truth::Flag(name) => {
            Condition::Literal(facts.parameters.get(name).is_some_and(|value| value == "true"))
        }
        Truth::Changed(globs) => Condition::Literal(facts.has_changed(globs)),
        Truth::Needs(ending) => before.needs(*ending),
        Truth::Step { step, is } => before.step(step, *is),
    }
}

fn matches(one: &str, value: &str, as_glob: bool) -> bool {
    if as_glob { patterns::matches(one, value) } else { one == value }
}

/// All of them, without what is decided; one alone stands for itself.
fn all(parts: Vec<Condition>) -> Condition {
    if parts.contains(&Condition::Literal(false)) {
        return Condition::Literal(false);
    }
    joined(parts, &Condition::Literal(true), Condition::All)
}

fn any(parts: Vec<Condition>) -> Condition {
    if parts.contains(&Condition::Literal(true)) {
        return Condition::Literal(true);
    }
    joined(parts, &Condition::Literal(false), Condition::Any)
}

fn joined(
    mut parts: Vec<Condition>,
    without_effect: &Condition,
    form: fn(Vec<Condition>) -> Condition,
) -> Condition {
    parts.retain(|part| part != without_effect);
    match parts.len() {
        0 => without_effect.clone(),
        1 => parts.swap_remove(0),
        _ => form(parts),
    }
}

/// The condition where only the event is known.
fn at_event(truth: &Truth, kind: TriggerKind) -> Option<bool> {
    match truth {
        Truth::Literal(value) => Some(*value),
        Truth::Not(inner) => at_event(inner, kind).map(|value| !value),
        Truth::All(parts) => decided(parts, kind, false),
        Truth::Any(parts) => decided(parts, kind, true),
        Truth::Is { fact: Fact::Event, one_of, .. } => Some(one_of.iter().any(|one| one == kind.as_str())),
        Truth::Is { .. }
        | Truth::Present(_)
        | Truth::Flag(_)
        | Truth::Changed(_)
        | Truth::Needs(_)
        | Truth::Step { .. } => None,
    }
}

/// What parts come to of which one that is `deciding` decides.
fn decided(parts: &[Truth], kind: TriggerKind, deciding: bool) -> Option<bool> {
    let parts: Vec<_> = parts.iter().map(|part| at_event(part, kind)).collect();
    if parts.contains(&Some(deciding)) {
        Some(deciding)
    } else {
        parts.iter().all(Option::is_some).then_some(!deciding)
    }
}

impl<'f> Facts<'f> {
    pub(super) fn value(&self, fact: &Fact) -> Option<&'f str> {
        match fact {
            Fact::Event => Some(self.trigger.kind.as_str()),
            Fact::Branch => self.trigger.branch.as_deref(),
            Fact::Target => self.trigger.target.as_deref(),
            Fact::Tag => self.trigger.tag.as_deref(),
            Fact::Parameter(name) => self.parameters.get(name).map(String::as_str),
            Fact::Matrix(name) => self.matrix.get(name).map(String::as_str),
        }
    }

    pub(super) fn has_changed(&self, globs: &[String]) -> bool {
        self.changed.is_none_or(|changed| patterns::any_path(globs, changed))
    }
}
