//! `staith doctor`.

mod surroundings;

use clap::Args;
use staith_builder::sandbox::{BuiltInSandbox, Health};
use staith_model::Exit;

use crate::{
    home::Home,
    inner,
    output::{self, OutputMode, Problem},
};

/// Say what this host can isolate, and what to do about what it can't
///
/// Makes a sandbox and looks at each mechanism in it; then at what steps and commands may need around it. Exit code 0 if the
/// built-in sandbox works, whatever else is missing, and 30 if it does not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        home.make().map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                .with_why(refused.to_string())
                .with_remedy("set STAITH_HOME to a directory of your own")
        })?;
        let sandbox = BuiltInSandbox::new(inner::sandbox_command(), home.sandbox());
        let mut findings = sandbox.diagnose().await;
        let works = findings.first().is_some_and(|whole| whole.health == Health::Ok);
        findings.extend(surroundings::of(&home, &sandbox).await);
        output::diagnosis(&findings, works, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(if works { Exit::Passed } else { Exit::Environment })
    }
}
