//! Which of the environments on this machine is meant.

use std::{fs, path::PathBuf};

use clap::Args;
use staith_model::{Exit, Name};

use crate::{home::Home, output::Problem, workshop::PIPELINE_FILE};

/// How a command line names an environment. Naming nothing is enough where there is no doubt.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The project; if not given, that of the current directory, or the only one that was ever released here
    project: Option<Name>,
    /// The environment, where the project has several
    #[arg(long, short, value_name = "NAME")]
    environment: Option<Name>,
}

/// An environment that something was released to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) project: Name,
    pub(super) environment: Name,
    pub(super) directory: PathBuf,
}

/// All environments on this machine, by project and name.
pub(super) fn all(home: &Home) -> Vec<Known> {
    let mut all: Vec<Known> = names(home.environments())
        .into_iter()
        .flat_map(|(project, directory)| {
            names(directory).into_iter().map(move |(environment, directory)| Known {
                project: project.clone(),
                environment,
                directory,
            })
        })
        .collect();
    all.sort_by(|a, b| (&a.project, &a.environment).cmp(&(&b.project, &b.environment)));
    all
}

fn names(directory: PathBuf) -> Vec<(Name, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect()
}

impl Place {
    /// The environments that are meant: all where nothing is named.
    pub(super) fn some_of(&self, home: &Home) -> Vec<Known> {
        let named = |known: &Known| {
            self.project.as_ref().is_none_or(|project| *project == known.project)
                && self.environment.as_ref().is_none_or(|environment| *environment == known.environment)
        };
        all(home).into_iter().filter(named).collect()
    }

    /// The one environment that is meant.
    pub(super) fn one_of(&self, home: &Home) -> Result<Known, Problem> {
        let mut candidates = self.some_of(home);
        if self.project.is_none()
            && let Some(here) = project_here()
            && candidates.iter().any(|known| known.project == here)
        {
            candidates.retain(|known| known.project == here);
        }
        match candidates.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(self.nothing(home)),
            several => Err(Problem::new(Exit::Usage, "it is not clear which environment is meant")
                .with_why(format!("there are {}", in_words(several)))
                .with_remedy("name the project, and the environment with --environment")),
        }
    }

    fn nothing(&self, home: &Home) -> Problem {
        let all = all(home);
        let meant = self.project.clone().or_else(project_here);
        let what = match &meant {
            Some(project) => format!("nothing of project `{project}` has been released on this machine"),
            None => "nothing has been released on this machine".to_owned(),
        };
        let problem = Problem::new(Exit::Configuration, what)
            .with_remedy("`staith run --release local` in a project's directory releases it");
        if all.is_empty() {
            problem
        } else {
            problem.with_why(format!("what has been is {}", in_words(&all)))
        }
    }
}

fn in_words(several: &[Known]) -> String {
    let words: Vec<String> =
        several.iter().map(|known| format!("{} ({})", known.project, known.environment)).collect();
    words.join(", ")
}

/// The project of the current directory; a pipeline with mistakes may still have a name.
fn project_here() -> Option<Name> {
    let text = fs::read_to_string(PIPELINE_FILE).ok()?;
    let line =
        text.lines().take_while(|line| !line.starts_with('[')).find(|line| line.starts_with("name"))?;
    line.split('"').nth(1)?.parse().ok()
}
