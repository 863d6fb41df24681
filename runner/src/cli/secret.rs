//! `staith secret`.

use clap::{Args, Subcommand};
use staith_builder::{
    redact::Masker,
    secrets::{SecretName, SecretsFile},
};
use staith_model::{Exit, Secret};

use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    prompt::{self, Answer},
};

/// Keep secrets for steps, encrypted
///
/// A step that lists a secret under `secrets` in runner.toml gets it as a variable of its environment, and what steps write is
/// masked. A variable STAITH_SECRET_NAME of Staith's own environment comes before what is kept here.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set a secret to what standard input says; on a terminal, what is typed is not shown
    Set {
        /// The secret's name
        name: SecretName,
    },
    /// List the names of secrets, never their values
    List,
    /// Remove a secret
    Remove {
        /// The secret's name
        name: SecretName,
    },
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let kept = SecretsFile::in_directory(home.path());
        let told = match self.what {
            What::Set { name } => {
                home.make().map_err(|refused| {
                    Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                        .with_why(refused.to_string())
                        .with_remedy("set STAITH_HOME to a directory of your own")
                })?;
                let Some(secret) = ask(&name)? else {
                    return Err(Problem::new(Exit::Interrupted, "interrupted; nothing was set"));
                };
                Masker::admits(name.as_str(), &secret)?;
                kept.set(&name, secret)?;
                output::secret_set(name.as_str(), mode)
            }
            What::List => output::secret_names(&kept.names()?, mode),
            What::Remove { name } => {
                if !kept.remove(&name)? {
                    return Err(unknown(&name, &kept.names()?));
                }
                output::secret_removed(name.as_str(), mode)
            }
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// The value from standard input; `None` when a person wants no more of it.
fn ask(name: &SecretName) -> Result<Option<Secret>, Problem> {
    let answer = prompt::secret(&format!("value of {name} (not shown): ")).map_err(|refused| {
        Problem::new(Exit::Environment, "the secret could not be read from standard input")
            .with_why(refused.to_string())
    })?;
    match answer {
        Answer::Interrupted => Ok(None),
        Answer::Text(text) => match std::str::from_utf8(&text) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(_) => Err(Problem::new(Exit::Configuration, format!("the secret {name} is not UTF-8 text"))
                .with_remedy("encode it, for example in base64, and decode it in the step")),
        },
    }
}

fn unknown(name: &SecretName, names: &[String]) -> Problem {
    let problem = Problem::new(Exit::Usage, format!("there is no secret {name}"));
    match names {
        [] => problem.with_why("no secret is kept here"),
        names => problem.with_why(format!("there are {}", names.join(", "))),
    }
}
