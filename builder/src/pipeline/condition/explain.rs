//! Why a condition does not hold, for people.

use super::{Fact, Facts, Truth, When};
use crate::pipeline::suggest::listed;

impl When {
    /// A sentence for a condition that does not hold: what it asks, and what is the case.
    pub(super) fn explain(&self, facts: &Facts<'_>) -> String {
        let mut cases = Vec::new();
        collect(&self.truth, facts, &mut cases);
        let shown = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if cases.is_empty() {
            return format!("`{shown}` does not hold");
        }
        format!("`{shown}` does not hold: {}", cases.join(", "))
    }
}

fn collect(truth: &Truth, facts: &Facts<'_>, cases: &mut Vec<String>) {
    let case = match truth {
        Truth::Not(inner) => return collect(inner, facts, cases),
        Truth::All(parts) | Truth::Any(parts) => {
            return parts.iter().for_each(|part| collect(part, facts, cases));
        }
        Truth::Is { fact, .. } | Truth::Present(fact) => value(fact, facts),
        Truth::Flag(name) => value(&Fact::Parameter(name.clone()), facts),
        Truth::Changed(globs) => changed(globs, facts),
        Truth::Literal(_) | Truth::Needs(_) | Truth::Step { .. } => return,
    };
    if !cases.contains(&case) {
        cases.push(case);
    }
}

fn value(fact: &Fact, facts: &Facts<'_>) -> String {
    match (fact, facts.value(fact)) {
        (_, Some(value)) => format!("{} is `{value}`", fact.word()),
        (_, None) => format!("there is no {}", fact.word()),
    }
}

fn changed(globs: &[String], facts: &Facts<'_>) -> String {
    match facts.changed {
        None => "what changed is not known, so everything counts as changed".into(),
        Some(_) if facts.has_changed(globs) => format!("something changed that {} matches", listed(globs)),
        Some(_) => format!("nothing changed that {} matches", listed(globs)),
    }
}
