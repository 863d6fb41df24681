//! Who wants which secret, and who must not have it. Pure.

use std::collections::BTreeMap;

use staith_model::{Name, Plan, TriggerKind};

/// A secret that a step, or a service beside it, gets as a variable of its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The step or service.
    pub by: Name,
    /// Whether it is a service.
    pub is_service: bool,
    /// The variable.
    pub variable: String,
    /// The secret's name.
    pub secret: String,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_service { "service" } else { "step" };
        write!(f, "{kind} `{}` wants the secret `{}` as {}", self.by, self.secret, self.variable)
    }
}

/// All uses of secrets in a plan, in its order. Services that no step names are not run, and get nothing.
pub fn uses(plan: &Plan) -> Vec<Use> {
    let named = |by: &Name, is_service, secrets: &BTreeMap<String, String>| -> Vec<Use> {
        let one = |(variable, secret): (&String, &String)| Use {
            by: by.clone(),
            is_service,
            variable: variable.clone(),
            secret: secret.clone(),
        };
        secrets.iter().map(one).collect()
    };
    let steps = plan.steps.iter().flat_map(|step| named(&step.name, false, &step.secrets));
    let is_used = |name: &Name| plan.steps.iter().any(|step| step.services.contains(name));
    let services = plan.services.iter().filter(|service| is_used(&service.name));
    steps.chain(services.flat_map(|service| named(&service.name, true, &service.secrets))).collect()
}

/// The uses that this plan's trigger does not allow: all of a pull request's. What a pull request runs was written by
/// whoever asks for the merge, and nobody has agreed to it yet; what it is given, it can send anywhere.
pub fn withheld(plan: &Plan) -> Vec<Use> {
    if plan.trigger.kind == TriggerKind::PullRequest { uses(plan) } else { Vec::new() }
}
