//! `staith server secret`.

use clap::{Args, Subcommand};
use staith_builder::redact::Masker;
use staith_model::{Exit, Name, Secret};
use staith_server::{
    secrets::{FORGE, SecretAsked},
    store::SecretSeen,
};

use super::{
    control,
    which::{Entrance, Which},
};
use crate::{
    output::{self, OutputMode, Problem},
    prompt::{self, Answer},
};

/// Keep secrets of projects on the server, encrypted
///
/// A job gets those that its steps name: nothing in a run of a fork's code, and what is --protected in runs of protected branches and
/// tags only. A release gets those of its environment that this one names. With --server or STAITH_SERVER, the server is asked, and an
/// administrator's token is needed. Without, or with --data, this is about a server that runs on this machine: whoever may read its
/// directory may do it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set a secret to what standard input says; on a terminal, what is typed is not shown
    Set {
        /// The secret's name
        name: Name,
        /// Whose it is
        #[arg(long, value_name = "NAME")]
        project: Name,
        /// Only for runs of protected branches and tags
        #[arg(long)]
        protected: bool,
        /// Only for releases to this environment
        #[arg(long, value_name = "NAME")]
        environment: Option<Name>,
        /// For the project's forge, to sign webhooks or send statuses with; no job gets it
        #[arg(long, conflicts_with_all = ["protected", "environment"])]
        forge: bool,
    },
    /// List a project's secrets, never their values
    List {
        /// Whose
        #[arg(long, value_name = "NAME")]
        project: Name,
    },
    /// Remove a secret
    Remove {
        /// The secret's name
        name: Name,
        /// Whose it is
        #[arg(long, value_name = "NAME")]
        project: Name,
        /// The environment that it is for
        #[arg(long, value_name = "NAME")]
        environment: Option<Name>,
        /// It is for the project's forge
        #[arg(long, conflicts_with = "environment")]
        forge: bool,
    },
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let entrance = self.which.entrance()?;
        let told = match self.what {
            What::Set { name, project, protected, environment, forge } => {
                let (value, environment) = (value(&name)?, of_forge(forge).or(environment));
                Masker::admits(name.as_str(), &value)?;
                let asked = SecretAsked { value: value.expose_to(str::to_owned), protected, environment };
                let path = format!("/api/v1/projects/{project}/secrets/{name}");
                match &entrance {
                    Entrance::Api(people) => people.put(&path, &asked).await?,
                    Entrance::Directory(data) => {
                        control::ask::<()>(data, "PUT", &path, Some(&asked)).await?;
                    }
                }
                output::secret_set(name.as_str(), mode)
            }
            What::List { project } => {
                let path = format!("/api/v1/projects/{project}/secrets");
                let seen: Vec<SecretSeen> = match &entrance {
                    Entrance::Api(people) => people.all(&path, "secrets").await?,
                    Entrance::Directory(data) => control::all(data, &path, "secrets").await?,
                };
                output::server_secrets(&seen, mode)
            }
            What::Remove { name, project, environment, forge } => {
                let environment = of_forge(forge).or(environment);
                let part = environment.map(|name| format!("?environment={name}")).unwrap_or_default();
                let path = format!("/api/v1/projects/{project}/secrets/{name}{part}");
                match &entrance {
                    Entrance::Api(people) => people.delete(&path).await?,
                    Entrance::Directory(data) => {
                        control::ask::<()>(data, "DELETE", &path, None::<&()>).await?;
                    }
                }
                output::secret_removed(name.as_str(), mode)
            }
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// What stands in the place of an environment for secrets of the forge.
fn of_forge(forge: bool) -> Option<Name> {
    forge.then(|| FORGE.parse().ok()).flatten()
}

fn value(name: &Name) -> Result<Secret, Problem> {
    let answer = prompt::secret(&format!("value of {name} (not shown): ")).map_err(|refused| {
        Problem::new(Exit::Environment, "the secret could not be read from standard input")
            .with_why(refused.to_string())
    })?;
    match answer {
        Answer::Interrupted => Err(Problem::new(Exit::Interrupted, "interrupted; nothing was set")),
        Answer::Text(text) => match std::str::from_utf8(&text) {
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => Err(Problem::new(Exit::Configuration, format!("the secret {name} is not UTF-8 text"))
                .with_remedy("encode it, for example in base64, and decode it in the step")),
        },
    }
}
