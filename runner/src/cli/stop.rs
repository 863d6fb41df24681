//! `staith stop`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::drive;

use super::place::{self, Known, Place};
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
};

/// End what was released on this machine: the applications and the proxy before them
///
/// Nothing is removed. The next release or rollback starts from what is there.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Every environment of every project
    #[arg(long, conflicts_with_all = ["project", "environment"])]
    all: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let meant = if self.all { place::all(&home) } else { vec![self.place.one_of(&home)?] };
        let (mut refused, mut told) = (Vec::new(), Ok(()));
        let many = meant.len();
        for known in meant {
            match drive::stop(&known.directory).await {
                Ok(ran) => {
                    let shown =
                        output::stopped(known.project.as_str(), known.environment.as_str(), ran, mode);
                    told = told.and(shown);
                }
                // The others are to be stopped all the same.
                Err(error) => refused.push((known, Problem::from(error))),
            }
        }
        if let Some(problem) = all_told(refused, many) {
            return Err(problem);
        }
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Everything that went wrong as one problem, with the worst exit code.
fn all_told(mut refused: Vec<(Known, Problem)>, many: usize) -> Option<Problem> {
    let exit = refused.iter().map(|(_, problem)| problem.exit).max_by_key(|exit| exit.code())?;
    if many == 1 {
        return refused.pop().map(|(_, problem)| problem);
    }
    let what = match refused.len() {
        all if all == many => format!("none of the {many} environments could be stopped"),
        some => format!("{some} of {many} environments could not be stopped; the others are"),
    };
    let line = |(known, problem): &(Known, Problem)| {
        let why = problem.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {}: {}{why}", known.project, known.environment, problem.what)
    };
    let why: Vec<String> = refused.iter().map(line).collect();
    let mut remedies: Vec<String> = refused.into_iter().filter_map(|(_, problem)| problem.remedy).collect();
    remedies.dedup();
    let problem = Problem::new(exit, what).with_why(why.join("\n"));
    Some(if remedies.is_empty() { problem } else { problem.with_remedy(remedies.join("\n")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(environment: &str, exit: Exit, what: &str) -> (Known, Problem) {
        let (project, environment) = ("shop".parse().unwrap(), environment.parse().unwrap());
        (Known { project, environment, directory: "/x".into() }, Problem::new(exit, what))
    }

    #[test]
    fn every_failure_is_told_with_the_worst_exit() {
        let told = all_told(
            vec![refused("a", Exit::Environment, "no disk"), refused("b", Exit::NeedsDecision, "who knows")],
            3,
        )
        .unwrap();
        assert_eq!(told.what, "2 of 3 environments could not be stopped; the others are");
        assert_eq!(told.why.as_deref(), Some("shop a: no disk\nshop b: who knows"));
        assert_eq!((told.exit, told.remedy), (Exit::NeedsDecision, None));
    }

    #[test]
    fn one_failure_of_one_is_told_as_it_is() {
        let told = all_told(vec![refused("a", Exit::Environment, "no disk")], 1).unwrap();
        assert_eq!((told.what.as_str(), told.exit), ("no disk", Exit::Environment));
        assert_eq!(all_told(Vec::new(), 2), None);
    }
}
