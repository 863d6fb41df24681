//! `staith why`.

use clap::Args;
use staith_model::{Exit, UnknownStep};

use super::{
    offered, steps,
    subject::{Found, Subject},
};
use crate::{
    clock,
    home::Home,
    interrupt,
    output::{self, Because, OutputMode, Problem},
};

/// Say why a run would run a step again, or why not
///
/// Compares what the step would see now with what it saw the last time: its files, command, environment, image, and what the
/// steps that it needs have left. Runs nothing.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The step; one with a matrix stands for all of its variants
    #[arg(add = offered::steps())]
    step: String,
    #[command(flatten)]
    subject: Subject,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (stop, home) = (interrupt::listen()?, Home::find()?);
        let Found { workshop, source, pipeline, occasion, .. } =
            self.subject.find(&home, &stop, mode).await?;
        let plan = workshop.plan(&pipeline, &source, &occasion)?;
        let named = steps::name(&pipeline, &plan, &self.step)?;
        let because = match steps::meant(&pipeline, &plan, std::slice::from_ref(&named)) {
            Ok(meant) => {
                let prospect = workshop.prospect(&plan).await;
                let steps = plan.steps.iter().filter(|step| meant.contains(&step.name));
                let planned = |step| {
                    let why = workshop.why(&plan, step, &source, &prospect);
                    Because::planned(step, &prospect, why)
                };
                steps.map(planned).collect()
            }
            Err(UnknownStep { step, left_out: Some(why), .. }) => vec![Because::LeftOut { step, why }],
            Err(unknown) => return Err(unknown.into()),
        };
        output::why(&because, mode.is_json(), clock::unix_millis())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
