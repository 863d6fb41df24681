//! `staith secret`.

mod on_server;

use std::io;

use clap::{Args, Subcommand};
use staith_builder::{
    redact::Masker,
    secrets::{SecretName, SecretsFile},
};
use staith_model::{Exit, Name, Secret};

use crate::{
    client::people::{MaybeServer, in_environment},
    home::Home,
    output::{self, OutputMode, Problem},
    prompt::{self, Answer},
};

/// Keep secrets for steps, encrypted
///
/// A step that lists a secret under `secrets` in runner.toml gets it as a variable of its environment, and what steps write is
/// masked. A variable STAITH_SECRET_NAME of Staith's own environment comes before what is kept here. With --server, or with --project
/// and STAITH_SERVER, all of this is about a project's secrets on that server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: MaybeServer,
    /// The project on the server
    #[arg(long, global = true, value_name = "NAME")]
    project: Option<Name>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set a secret to what standard input says; on a terminal, what is typed is not shown
    Set {
        /// The secret's name
        name: SecretName,
        /// On the server: only for runs of protected branches and tags
        #[arg(long)]
        protected: bool,
        /// On the server: only for releases to this environment
        #[arg(long, value_name = "NAME")]
        environment: Option<Name>,
    },
    /// List the names of secrets, never their values
    List,
    /// Remove a secret
    Remove {
        /// The secret's name
        name: SecretName,
        /// On the server: the environment that it is for
        #[arg(long, value_name = "NAME")]
        environment: Option<Name>,
    },
    /// Give a server's secret another value; without a name, seal all of the server's secrets with a new key
    ///
    /// A secret that is rotated has the next version; whom it is for stays as it is. The new key replaces the old one for good: what is to
    /// be read of earlier backups needs a copy of the old one, `secrets.key` in the server's directory.
    Rotate {
        /// The secret's name
        name: Option<Name>,
        /// The environment that it is for
        #[arg(long, value_name = "NAME", requires = "name")]
        environment: Option<Name>,
    },
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        // Without a project it is this machine's secrets that are meant, whatever server others talk to.
        let usual = self.project.as_ref().and_then(|_| in_environment());
        let told = match self.server.named_or(usual)? {
            Some(server) => on_server::obey(&server.open()?, self.project, self.what, mode).await?,
            None if self.project.is_some() => return Err(no_server("--project")),
            None => here(self.what, mode)?,
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

fn no_server(what: &str) -> Problem {
    Problem::new(Exit::Usage, format!("{what} is about a server's secrets, and no server is named"))
        .with_remedy("name it: --server URL; beside --project, STAITH_SERVER does as well")
}

fn here(what: What, mode: OutputMode) -> Result<io::Result<()>, Problem> {
    let home = Home::find()?;
    let kept = SecretsFile::in_directory(home.path());
    Ok(match what {
        What::Set { protected: true, .. } => return Err(no_server("--protected")),
        What::Set { environment: Some(_), .. } | What::Remove { environment: Some(_), .. } => {
            return Err(no_server("--environment"));
        }
        What::Rotate { .. } => return Err(no_server("`rotate`")),
        What::Set { name, .. } => {
            home.make().map_err(|refused| {
                Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                    .with_why(refused.to_string())
                    .with_remedy("set STAITH_HOME to a directory of your own")
            })?;
            let secret = value(name.as_str())?;
            kept.set(&name, secret)?;
            output::secret_set(name.as_str(), mode)
        }
        What::List => output::secret_names(&kept.names()?, mode),
        What::Remove { name, .. } => {
            if !kept.remove(&name)? {
                return Err(unknown(&name, &kept.names()?));
            }
            output::secret_removed(name.as_str(), mode)
        }
    })
}

/// The value from standard input, if it is one that can be masked.
fn value(name: &str) -> Result<Secret, Problem> {
    let secret = ask(name)?.ok_or_else(|| Problem::new(Exit::Interrupted, "interrupted; nothing was set"))?;
    Masker::admits(name, &secret)?;
    Ok(secret)
}

/// The value from standard input; `None` when a person wants no more of it.
fn ask(name: &str) -> Result<Option<Secret>, Problem> {
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
