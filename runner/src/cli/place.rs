//! Which of the environments on this machine is meant.

use std::{fs, path::PathBuf};

use clap::Args;
use staith_model::{Exit, Name};
use toml::de::DeTable;

use super::offered;
use crate::{home::Home, output::Problem, workshop::PIPELINE_FILE};

/// The releaser writes it with the first deployment. A directory without it is what a run left that never came so far.
const SOMETHING_WAS_RELEASED: &str = "environment.json";

/// How a command line names an environment. Naming nothing is enough where there is no doubt.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The project; if not given, that of the current directory, or the only one that was ever released here
    #[arg(add = offered::projects())]
    pub(super) project: Option<Name>,
    /// The environment, where the project has several
    #[arg(long, short, value_name = "NAME", add = offered::released())]
    pub(super) environment: Option<Name>,
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
    all_below(home.environments(), SOMETHING_WAS_RELEASED)
}

/// All environments on this machine that have a file of this name, by project and name.
pub(super) fn all_with(home: &Home, file: &str) -> Vec<Known> {
    all_below(home.environments(), file)
}

fn all_below(environments: PathBuf, file: &str) -> Vec<Known> {
    let mut all: Vec<Known> = names(environments)
        .into_iter()
        .flat_map(|(project, directory)| {
            names(directory).into_iter().map(move |(environment, directory)| Known {
                project: project.clone(),
                environment,
                directory,
            })
        })
        // One that can't be looked into is told of, with the reason, by whoever wants to know what is in it.
        .filter(|known| known.directory.join(file).try_exists().unwrap_or(true))
        .collect();
    all.sort_by(|a, b| (&a.project, &a.environment).cmp(&(&b.project, &b.environment)));
    all
}

fn names(directory: PathBuf) -> Vec<(Name, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect()
}

impl Place {
    /// The environments that are meant: all where nothing is named, which may be none.
    ///
    /// # Errors
    /// What is named is not on this machine.
    pub(super) fn some_of(&self, home: &Home) -> Result<Vec<Known>, Problem> {
        self.some_among(all(home))
    }

    /// Those of `all` that are meant.
    ///
    /// # Errors
    /// As [`Place::some_of`].
    pub(super) fn some_among(&self, all: Vec<Known>) -> Result<Vec<Known>, Problem> {
        let named: Vec<Known> = all.iter().filter(|known| self.names(known)).cloned().collect();
        let names_something = self.project.is_some() || self.environment.is_some();
        if named.is_empty() && names_something { Err(self.nothing(&all)) } else { Ok(named) }
    }

    fn names(&self, known: &Known) -> bool {
        self.project.as_ref().is_none_or(|project| *project == known.project)
            && self.environment.as_ref().is_none_or(|environment| *environment == known.environment)
    }

    /// The one environment that is meant.
    ///
    /// # Errors
    /// There is none, or it is not clear which.
    pub(super) fn one_of(&self, home: &Home) -> Result<Known, Problem> {
        self.one_among(all(home))
    }

    /// The one of `all` that is meant.
    ///
    /// # Errors
    /// As [`Place::one_of`].
    pub(super) fn one_among(&self, all: Vec<Known>) -> Result<Known, Problem> {
        let mut candidates = self.some_among(all.clone())?;
        if self.project.is_none()
            && let Some(here) = project_here()
            && candidates.iter().any(|known| known.project == here)
        {
            candidates.retain(|known| known.project == here);
        }
        match candidates.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(self.nothing(&all)),
            several => Err(Problem::new(Exit::Usage, "it is not clear which environment is meant")
                .with_why(format!("there are {}", in_words(several)))
                .with_remedy("name the project, and the environment with --environment")),
        }
    }

    /// A name that is nobody's is a mistake on the command line; a project that was never released is not.
    fn nothing(&self, all: &[Known]) -> Problem {
        let project = self.project.clone().or_else(project_here).map(|name| format!(" of project `{name}`"));
        let environment = self.environment.as_ref().map(|name| format!(" to environment `{name}`"));
        let what = format!(
            "nothing{} has been released{} on this machine",
            project.unwrap_or_default(),
            environment.unwrap_or_default()
        );
        let is_named = self.project.is_some() || self.environment.is_some();
        let exit = if is_named { Exit::Usage } else { Exit::Configuration };
        if all.is_empty() {
            Problem::new(exit, what)
                .with_remedy("`staith run --release ENVIRONMENT` in a project's directory releases it")
        } else {
            Problem::new(exit, what)
                .with_why(format!("what has been is {}", in_words(all)))
                .with_remedy("name one of these, or release it with `staith run --release ENVIRONMENT`")
        }
    }
}

fn in_words(several: &[Known]) -> String {
    let words: Vec<String> =
        several.iter().map(|known| format!("{} ({})", known.project, known.environment)).collect();
    words.join(", ")
}

/// The project of the current directory.
pub(super) fn project_here() -> Option<Name> {
    name_in(&fs::read_to_string(PIPELINE_FILE).ok()?)
}

/// The name that a pipeline gives its project; one with mistakes elsewhere may still have a name.
pub(super) fn name_in(pipeline: &str) -> Option<Name> {
    let (table, _) = DeTable::parse_recoverable(pipeline);
    table.get_ref().get("name")?.get_ref().as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn place(project: Option<&str>, environment: Option<&str>) -> Place {
        Place { project: project.map(name), environment: environment.map(name) }
    }

    fn known(project: &str, environment: &str) -> Known {
        Known { project: name(project), environment: name(environment), directory: PathBuf::new() }
    }

    #[test]
    fn what_was_never_released_is_no_environment() {
        let home = tempfile::tempdir().unwrap();
        for directory in ["shop/production", "shop/never", "cart/local"] {
            fs::create_dir_all(home.path().join(directory)).unwrap();
        }
        for file in ["shop/production/environment.json", "cart/local/environment.json", "shop/a-file"] {
            fs::write(home.path().join(file), "{}").unwrap();
        }
        let found: Vec<String> = all_below(home.path().to_owned(), SOMETHING_WAS_RELEASED)
            .iter()
            .map(|known| in_words(std::slice::from_ref(known)))
            .collect();
        assert_eq!(found, ["cart (local)", "shop (production)"]);
        assert_eq!(all_below(home.path().join("none"), SOMETHING_WAS_RELEASED), []);
    }

    #[test]
    fn a_name_that_is_nobodys_is_a_mistake() {
        let all = vec![known("cart", "local"), known("shop", "local"), known("shop", "production")];
        for (place, many) in [
            (place(None, None), Some(3)),
            (place(Some("shop"), None), Some(2)),
            (place(None, Some("local")), Some(2)),
            (place(Some("shop"), Some("production")), Some(1)),
            (place(Some("nope"), None), None),
            (place(Some("cart"), Some("production")), None),
        ] {
            match place.some_among(all.clone()) {
                Ok(found) => assert_eq!(Some(found.len()), many, "{place:?}"),
                Err(problem) => {
                    assert_eq!((many, problem.exit), (None, Exit::Usage), "{place:?}");
                    assert!(problem.why.unwrap().contains("shop (production)"));
                }
            }
        }
        assert_eq!(place(None, None).some_among(Vec::new()).unwrap(), []);
        let problem = place(Some("cart"), Some("production")).some_among(all).unwrap_err();
        let what = "nothing of project `cart` has been released to environment `production` on this machine";
        assert_eq!(problem.what, what);
    }

    #[test]
    fn a_pipeline_with_mistakes_may_still_have_a_name() {
        for (pipeline, found) in [
            ("name = \"shop\"\n", Some("shop")),
            ("\"name\" = 'shop' # ours\n", Some("shop")),
            ("version = 1\nnames = \"x\"\nname=\"\"\"shop\"\"\"", Some("shop")),
            ("name = \"shop\"\n[steps.build]\nrun = [\"make\"\n", Some("shop")),
            ("[steps.build]\nname = \"build\"\n", None),
            ("name = 3\n", None),
            ("name = \"Not A Name\"\n", None),
            ("", None),
        ] {
            assert_eq!(name_in(pipeline), found.map(name), "{pipeline:?}");
        }
    }
}
