//! Programs of one's own.

use std::path::PathBuf;

use staith_model::{ProvisionTool, Provisioning};

use super::{
    ProvisionError,
    program::Call,
    tool::{Drawn, Hands},
};

/// What is said in place of the commands.
struct Commands<'a> {
    plan: Option<&'a [String]>,
    apply: &'a [String],
    destroy: &'a [String],
}

impl<'a> Commands<'a> {
    fn of(hands: &Hands<'a>) -> Self {
        match &hands.provision.tool {
            ProvisionTool::Command { plan, apply, destroy, .. } => {
                Self { plan: plan.as_deref(), apply, destroy }
            }
            _ => Self { plan: None, apply: &[], destroy: &[] },
        }
    }

    const fn of_direction(&self, direction: Provisioning) -> &'a [String] {
        match direction {
            Provisioning::Apply => self.apply,
            Provisioning::Destroy => self.destroy,
        }
    }
}

/// What the plan command prints; without one, what would be run.
pub(super) async fn plan(hands: &Hands<'_>, direction: Provisioning) -> Result<Drawn, ProvisionError> {
    let commands = Commands::of(hands);
    let Some(plan) = commands.plan.filter(|_| direction == Provisioning::Apply) else {
        return Ok(Drawn {
            text: in_words(hands, commands.of_direction(direction)),
            is_saved: false,
            nothing: false,
        });
    };
    let said = hands.with.run(call(hands, plan, direction, Some(hands.place.plan())).quietly()).await?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let nothing = text.trim().is_empty();
    let is_saved = hands.place.plan().is_file();
    Ok(Drawn { text, is_saved, nothing })
}

fn in_words(hands: &Hands<'_>, command: &[String]) -> String {
    let quoted = command.iter().map(|word| format!("{word:?}"));
    let mut text = format!("runs {} in {}\n", quoted.collect::<Vec<_>>().join(" "), hands.provision.folder);
    for (name, value) in &hands.provision.variables {
        text.push_str(&format!("  {name} = {value:?}\n"));
    }
    for (name, secret) in &hands.provision.secrets {
        text.push_str(&format!("  {name} = the secret `{secret}`\n"));
    }
    text
}

pub(super) async fn carry_out(
    hands: &Hands<'_>,
    direction: Provisioning,
    saved: Option<PathBuf>,
) -> Result<(), ProvisionError> {
    let commands = Commands::of(hands);
    hands.with.run(call(hands, commands.of_direction(direction), direction, saved)).await.map(drop)
}

pub(super) async fn outputs(hands: &Hands<'_>, outputs: &[String]) -> Result<Vec<u8>, ProvisionError> {
    hands.with.run(call(hands, outputs, Provisioning::Apply, None).quietly()).await
}

fn call<'a>(
    hands: &Hands<'_>,
    command: &'a [String],
    direction: Provisioning,
    plan: Option<PathBuf>,
) -> Call<'a> {
    let operation = match direction {
        Provisioning::Apply => "apply",
        Provisioning::Destroy => "destroy",
    };
    let call = Call::of(command)
        .with("STAITH_PROJECT", hands.project.as_str())
        .with("STAITH_ENVIRONMENT", hands.environment.as_str())
        .with("STAITH_OPERATION", operation)
        .with("STAITH_STATE", hands.place.state());
    match plan {
        Some(plan) => call.with("STAITH_PLAN", plan),
        None => call,
    }
}
