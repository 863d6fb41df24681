//! A server as people ask it, by a token of theirs.

use std::{env, fs, path::PathBuf, time::Duration};

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Exit, Secret};

use super::{Address, Ask, Client, Flow, Refused, pages, told};
use crate::output::Problem;

/// A server that is planning may fetch a repository first.
const PLANNING: Duration = Duration::from_secs(300);
/// A question that changes nothing is asked again for so long while the server is away: it may just be started anew.
const AWAY: Duration = Duration::from_secs(120);

/// Which server, and who asks. All commands that ask one have these.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server's address: https://ci.example.org
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STAITH_SERVER",
        default_value = "http://127.0.0.1:8765"
    )]
    server: String,
    #[command(flatten)]
    way: Way,
}

/// The same, where a command may do without a server.
#[derive(Debug, Args)]
pub(crate) struct MaybeServer {
    /// Ask this server, and not this machine: https://ci.example.org
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    way: Way,
}

/// How the server is believed, and what is shown to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Way {
    /// A file with the token for the server; if not given, the variable STAITH_TOKEN has it
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Believe the server by these authorities (PEM) instead of those of this machine
    #[arg(long = "ca", global = true, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// Ask in clear text, where nobody else is on the network
    #[arg(long, global = true)]
    insecure: bool,
}

/// A server that can be asked. Clones share connections.
#[derive(Clone)]
pub(crate) struct People {
    client: Client,
    address: Address,
    token: Option<Secret>,
}

/// The server that `STAITH_SERVER` names.
pub(crate) fn in_environment() -> Option<String> {
    env::var("STAITH_SERVER").ok().filter(|server| !server.is_empty())
}

impl MaybeServer {
    /// The server, if one was named.
    ///
    /// # Errors
    /// None was, and something was said of it (64).
    pub(crate) fn named(&self) -> Result<Option<Server>, Problem> {
        self.named_or(None)
    }

    /// The same; if none was named, this one.
    ///
    /// # Errors
    /// There is none, and something was said of it (64).
    pub(crate) fn named_or(&self, usual: Option<String>) -> Result<Option<Server>, Problem> {
        let Way { token_file, authorities, insecure } = &self.way;
        match self.server.clone().or(usual) {
            Some(server) => Ok(Some(Server { server, way: self.way.clone() })),
            None if token_file.is_some() || authorities.is_some() || *insecure => Err(Problem::new(
                Exit::Usage,
                "--token-file, --ca and --insecure are about a server, and none is named",
            )
            .with_remedy("name it: --server URL")),
            None => Ok(None),
        }
    }
}

impl Server {
    /// The address.
    ///
    /// # Errors
    /// It is none, or would be asked in clear text over a network.
    pub(crate) fn address(&self) -> Result<Address, Problem> {
        Address::parse(&self.server, self.way.authorities.as_deref(), self.way.insecure)
    }

    /// Gets ready to ask. Nothing is sent yet.
    ///
    /// # Errors
    /// The address, the authorities or the token can't be used.
    pub(crate) fn open(&self) -> Result<People, Problem> {
        let address = self.address()?;
        Ok(People { client: Client::new(&address)?, address, token: self.way.token()? })
    }
}

impl Way {
    fn token(&self) -> Result<Option<Secret>, Problem> {
        let Some(file) = &self.token_file else {
            let said = env::var("STAITH_TOKEN").ok().filter(|token| !token.is_empty());
            return Ok(said.map(Secret::new));
        };
        let text = fs::read_to_string(file).map_err(|refused| Problem::unreadable(file, &refused))?;
        Ok(Some(Secret::new(text.trim())))
    }
}

impl People {
    /// Where the server is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// What is shown to it.
    pub(crate) const fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// What is there.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.value(Ask::get(path)).await
    }

    /// All of the list of this name at an address, whose pages are followed.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str, list: &str) -> Result<Vec<T>, Problem> {
        pages::all(path, list, async |path: String| self.get(&path).await).await
    }

    /// The same as `get`, asked again while the server is away.
    pub(crate) async fn get_again<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let asked = self.client.value_within(&self.by_me(Ask::get(path)), AWAY).await;
        asked.map_err(|refused| self.told(refused))
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.value(Ask::post(path, body)).await
    }

    /// The same, where the answer is only that it is done.
    pub(crate) async fn tell(&self, path: &str, body: &impl Serialize) -> Result<(), Problem> {
        self.done(Ask::post(path, body)).await
    }

    /// Changes a part of something.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        self.value(Ask::patch(path, body)).await
    }

    /// Sets something.
    pub(crate) async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Problem> {
        self.done(Ask::put_value(path, body)).await
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Problem> {
        self.done(Ask::delete(path)).await
    }

    /// Bytes, asked for once.
    ///
    /// # Errors
    /// See [`Refused`]; [`told`](Self::told) says it to a person.
    pub(crate) async fn bytes(&self, ask: Ask) -> Result<Vec<u8>, Refused> {
        self.client.bytes(&self.by_me(ask)).await
    }

    /// An answer that comes in pieces.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) async fn flow(&self, ask: Ask) -> Result<Flow, Refused> {
        self.client.flow(&self.by_me(ask)).await
    }

    /// Why there is no answer, as a person at a shell is told.
    pub(crate) fn told(&self, refused: Refused) -> Problem {
        told::to_a_person(refused, self.token.is_some())
    }

    async fn value<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Problem> {
        let asked = self.client.value(&self.by_me(ask.taking(PLANNING))).await;
        asked.map_err(|refused| self.told(refused))
    }

    async fn done(&self, ask: Ask) -> Result<(), Problem> {
        let asked = self.client.bytes(&self.by_me(ask.taking(PLANNING))).await;
        asked.map(drop).map_err(|refused| self.told(refused))
    }

    fn by_me(&self, ask: Ask) -> Ask {
        match &self.token {
            Some(token) => ask.with(token),
            None => ask,
        }
    }
}
