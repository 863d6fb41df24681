//! `staith server token`.

use std::path::Path;

use clap::{Args, Subcommand};
use staith_model::{Exit, Name, TokenId};
use staith_server::{
    api::{Grant, Role},
    site::Site,
    store::{Actor, Sqlite, StoreError, TokenSeen},
    tokens::{self, TokenAsked, TokenMade},
};

use super::{
    control,
    place::{self, Place},
    start::as_problem,
};
use crate::output::{self, OutputMode, Problem};

/// Make tokens for people and programs, list them, revoke them
///
/// Whoever may read the server's directory may do this, whether the server runs or not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
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

fn a_role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "there are viewer, developer, releaser and admin".to_owned())
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let data = self.place.known()?;
        let server = Server::of(&data)?;
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

/// A server that runs, or its database.
enum Server<'a> {
    Runs(&'a Path),
    Rests(Box<Site>),
}

impl<'a> Server<'a> {
    fn of(data: &'a Path) -> Result<Self, Problem> {
        match Sqlite::open(&place::database(data)) {
            Ok(store) => Ok(Self::Rests(Box::new(place::site(store.into(), data.to_owned())))),
            Err(StoreError::InUse(_)) => Ok(Self::Runs(data)),
            Err(error) => Err(place::refused(&error, data)),
        }
    }

    async fn make(&self, asked: TokenAsked) -> Result<TokenMade, Problem> {
        match self {
            Self::Runs(data) => {
                control::ask(data, "POST", "/api/v1/tokens", Some(&asked)).await.and_then(some)
            }
            Self::Rests(site) => {
                tokens::make(site, asked, operator()).await.map_err(|problem| as_problem(&problem))
            }
        }
    }

    async fn list(&self) -> Result<Vec<TokenSeen>, Problem> {
        match self {
            Self::Runs(data) => control::ask(data, "GET", "/api/v1/tokens", None::<&()>).await.and_then(some),
            Self::Rests(site) => {
                site.store.tokens().await.map_err(|error| place::refused(&error, &site.data))
            }
        }
    }

    async fn revoke(&self, id: &TokenId) -> Result<(), Problem> {
        match self {
            Self::Runs(data) => {
                let path = format!("/api/v1/tokens/{id}");
                control::ask::<()>(data, "DELETE", &path, None::<&()>).await.map(drop)
            }
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
