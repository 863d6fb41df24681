//! `staith why`.

use clap::Args;
use staith_builder::pipeline::closest;
use staith_model::{Exit, Plan};

use super::subject::{Found, Subject};
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
    /// The step
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
        let because = match plan.steps.iter().find(|step| step.name.as_str() == self.step) {
            Some(step) => {
                let prospect = workshop.prospect(&plan).await;
                let why = workshop.why(&plan, step, &source, &prospect);
                Because::planned(step, &prospect, why)
            }
            None => Because::left_out(&plan, &self.step).ok_or_else(|| unknown(&self.step, &plan))?,
        };
        output::why(&because, mode.is_json(), clock::unix_millis())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

fn unknown(step: &str, plan: &Plan) -> Problem {
    let names = || {
        let left_out = plan.left_out.iter().map(|left| left.step.as_str());
        plan.steps.iter().map(|step| step.name.as_str()).chain(left_out)
    };
    let all: Vec<&str> = names().collect();
    let problem = Problem::new(Exit::Usage, format!("{} has no step `{step}`", plan.project))
        .with_why(format!("it has {}", all.join(", ")));
    match closest(step, names()) {
        Some(meant) => problem.with_remedy(format!("did you mean `{meant}`?")),
        None => problem.with_remedy("name one of these"),
    }
}
