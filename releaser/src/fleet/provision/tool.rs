//! What a tool does, whichever it is: plan, apply exactly that, say which machines there are, destroy.

use std::path::{Path, PathBuf};

use staith_model::{Name, Provision, ProvisionTool, Provisioning, Target};

use super::{ProvisionError, bicep, command, outputs, place::Place, program::Circumstances, terraform};

/// A tool at its work.
pub(super) struct Hands<'a> {
    pub(super) provision: &'a Provision,
    pub(super) place: &'a Place,
    pub(super) project: &'a Name,
    pub(super) environment: &'a Name,
    pub(super) with: Circumstances<'a>,
}

/// What a tool would do.
pub(super) struct Drawn {
    /// As it says it, not masked yet.
    pub(super) text: String,
    /// Whether it has left a saved plan at [`Place::plan`].
    pub(super) is_saved: bool,
    /// Whether nothing has to be done.
    pub(super) nothing: bool,
}

impl Hands<'_> {
    /// What would be done. Changes nothing that it describes.
    pub(super) async fn plan(&self, direction: Provisioning) -> Result<Drawn, ProvisionError> {
        self.place.tidy();
        match &self.provision.tool {
            ProvisionTool::Command { .. } => command::plan(self, direction).await,
            ProvisionTool::Terraform { program } => terraform::plan(self, program, direction).await,
            ProvisionTool::Bicep { .. } => bicep::Azure::of(self)?.plan(direction).await,
        }
    }

    /// What was planned is still what would be done, for tools whose saved plans do not see to that themselves.
    pub(super) async fn confirm(
        &self,
        direction: Provisioning,
        saved: Option<&Path>,
    ) -> Result<(), ProvisionError> {
        match (&self.provision.tool, direction) {
            (ProvisionTool::Bicep { .. }, Provisioning::Apply) => {
                bicep::Azure::of(self)?.confirm(saved).await
            }
            _ => Ok(()),
        }
    }

    /// Does exactly what was planned; `saved` is the plan's file, whose bytes were checked.
    pub(super) async fn carry_out(
        &self,
        direction: Provisioning,
        saved: Option<PathBuf>,
    ) -> Result<(), ProvisionError> {
        match &self.provision.tool {
            ProvisionTool::Command { .. } => command::carry_out(self, direction, saved).await,
            ProvisionTool::Terraform { program } => terraform::apply(self, program, saved).await,
            ProvisionTool::Bicep { .. } => bicep::Azure::of(self)?.carry_out(direction).await,
        }
    }

    /// The machines that there are now.
    pub(super) async fn targets(&self) -> Result<Vec<Target>, ProvisionError> {
        let (text, from, local) = match &self.provision.tool {
            ProvisionTool::Command { outputs: None, .. } => return Ok(Vec::new()),
            ProvisionTool::Command { outputs: Some(outputs), .. } => {
                // Such a program runs on this machine as its user already, and says nothing that it could not do by itself.
                (command::outputs(self, outputs).await?, "outputs", true)
            }
            ProvisionTool::Terraform { program } => {
                (terraform::outputs(self, program).await?, "terraform output", false)
            }
            ProvisionTool::Bicep { .. } => {
                (bicep::Azure::of(self)?.outputs().await?, "the deployment's outputs", false)
            }
        };
        Ok(outputs::targets(&text, from, local)?)
    }
}

/// What is read as JSON from a tool.
pub(super) fn json(text: &[u8], command: &str) -> Result<serde_json::Value, ProvisionError> {
    serde_json::from_slice(text).map_err(|error| ProvisionError::NotUnderstood {
        command: command.to_owned(),
        why: format!("no JSON: {error}"),
    })
}

/// A path as an argument.
pub(super) fn argument(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}
