//! `staith server token`.

use clap::{Args, Subcommand};
use staith_model::{Exit, Name, TokenId};
use staith_server::{
    api::{Grant, Role},
    site::Site,
    store::{Actor, StoreError, TokenSeen},
    tokens::{self, TokenAsked, TokenMade},
};

use super::{
    control, place,
    start::as_problem,
    which::{Entrance, Lives, Which},
};
use crate::{
    client::people::People,
    output::{self, OutputMode, Problem},
};

/// Make tokens for people and programs, list them, revoke them
///
/// With --server or STAITH_SERVER, the server is asked, and an administrator's token is needed. Without, or with --data, this is about a
/// server on this machine: whoever may read its directory may do it, whether it runs or not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token; it is shown this once
    Create {
        /// What it is called; it is in the audit log with all that is done by it
        name: String,
        /// What its bearer may: viewer, developer, releaser or admin
        #[arg(long, value_parser = a_role)]
        role: Role,
        /// Only in this project
        #[arg(long, value_name = "NAME")]
        project: Option<Name>,
        /// Only in this environment of the project
        #[arg(long, value_name = "NAME", requires = "project")]
        environment: Option<Name>,
        /// How many days it is valid
        #[arg(long, value_name = "DAYS", default_value_t = tokens::DAYS)]
        days: u32,
    },
    /// List the tokens, never what they are
    List,
    /// From now on the token counts for nothing
    Revoke {
        /// The token's id, as `list` shows it
        id: TokenId,
    },
}

/// Where the API has them.
const ALL: &str = "/api/v1/tokens";

fn a_role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "there are viewer, developer, releaser and admin".to_owned())
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let server = Server::of(self.which.entrance()?)?;
        let told = match self.what {
            What::Create { name, role, project, environment, days } => {
                let grants = vec![Grant { role, project, environment }];
                let made = server.make(TokenAsked { name, grants, valid_days: Some(days) }).await?;
                output::token_made(&made, mode)
            }
            What::List => output::tokens(&server.list().await?, mode),
            What::Revoke { id } => {
                server.revoke(&id).await?;
                output::token_revoked(&id, mode)
            }
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// A server that is asked from elsewhere, one on this machine that runs, or its database.
enum Server {
    Asked(People),
    Runs(std::path::PathBuf),
    Rests(Box<Site>),
}

impl Server {
    fn of(entrance: Entrance) -> Result<Self, Problem> {
        Ok(match entrance {
            Entrance::Api(people) => Self::Asked(people),
            Entrance::Directory(data) => match Lives::of(data)? {
                Lives::Runs(data) => Self::Runs(data),
                Lives::Rests(site) => Self::Rests(site),
            },
        })
    }

    async fn make(&self, asked: TokenAsked) -> Result<TokenMade, Problem> {
        match self {
            Self::Asked(people) => people.post(ALL, &asked).await,
            Self::Runs(data) => control::ask(data, "POST", ALL, Some(&asked)).await.and_then(some),
            Self::Rests(site) => {
                tokens::make(site, asked, operator()).await.map_err(|problem| as_problem(&problem))
            }
        }
    }

    async fn list(&self) -> Result<Vec<TokenSeen>, Problem> {
        match self {
            Self::Asked(people) => people.all(ALL, "tokens").await,
            Self::Runs(data) => control::all(data, ALL, "tokens").await,
            Self::Rests(site) => {
                site.store.tokens().await.map_err(|error| place::refused(&error, &site.data))
            }
        }
    }

    async fn revoke(&self, id: &TokenId) -> Result<(), Problem> {
        let path = format!("{ALL}/{id}");
        match self {
            Self::Asked(people) => people.delete(&path).await,
            Self::Runs(data) => control::ask::<()>(data, "DELETE", &path, None::<&()>).await.map(drop),
            Self::Rests(site) => {
                let revoked = site.store.revoke_token(id, operator(), site.clock.unix_millis()).await;
                revoked.map_err(|error| match error {
                    StoreError::Unknown { .. } => Problem::new(Exit::Usage, error.to_string()),
                    error => place::refused(&error, &site.data),
                })
            }
        }
    }
}

/// Who has the data directory, as the audit log knows them.
pub(super) fn operator() -> Actor {
    Actor { who: "person:operator".to_owned(), from: None }
}

fn some<T>(answer: Option<T>) -> Result<T, Problem> {
    answer.ok_or_else(|| Problem::bug("the server answered nothing"))
}
