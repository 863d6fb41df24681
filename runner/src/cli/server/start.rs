//! `staith server start`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use staith_model::Exit;
use staith_server::{
    serve::{self, Entrances, ServeError},
    site::Site,
    store::Actor,
    tokens::{self, TokenAsked},
    triggers::SealedForgeSecrets,
};

use super::{
    built_in, own_address, own_deployer,
    place::{self, Place},
    vault,
};
use crate::{
    forge_secrets::KeptHere,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    planning::Planning,
};

/// Start the server; it serves until SIGTERM or Ctrl-C
///
/// In an empty directory it makes everything that it needs: a database, keys, and a token for the first administrator, which is written
/// to `admin.token` there. It has a runner of its own on this machine unless --no-runner is given. Without a certificate it is to be
/// reached from this machine only, or through something in front of it that has one.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 means any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
    /// No runner on this machine
    #[arg(long)]
    no_runner: bool,
    /// Deploy nothing: no process that has keys of machines is started
    #[arg(long)]
    no_deployer: bool,
    /// The certificate, with those that vouch for it, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A forge's host that statuses may be sent to though it is on this machine, or without TLS; may be repeated
    #[arg(long = "allow-host", value_name = "HOST")]
    allow_hosts: Vec<String>,
    /// What others reach the server by, if that is not where it listens
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let asked = interrupt::listen_for_an_end()?;
        many_descriptors();
        let data = self.place.find()?;
        place::make(&data)?;
        let store = place::open(&data)?;
        let failed = store.failed();
        let vault = vault::open(&store, &data).await?;
        let mut site = place::site(store, data.clone());
        site.vault = vault;
        site.stop = asked;
        staith_server::layers::tidy(&site).await.map_err(|error| place::refused(&error, &data))?;
        let planning = Planning::open(&Home::at(data.join("home")), &data)?;
        site.sources = Some(Arc::new(planning.sources()));
        site.triggers.planner = Arc::new(planning);
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(serve::read_tls(certificate, key).map_err(|bad| own_address::no_tls(&bad))?)
            }
            _ => None,
        };
        let network = serve::bind(self.listen).await.map_err(|error| self.cannot_listen(&error))?;
        let address = network.local_addr().map_err(|error| self.cannot_listen(&error))?;
        let control = serve::bind_control(&data).map_err(|error| Problem::unreadable(&data, &error))?;
        let first = first_administrator(&site, &data).await?;
        let own = own_address::of(address, self.tls_cert.as_deref(), self.public_url.as_deref())?;
        let url = self.public_url.as_deref().unwrap_or(own.as_str()).trim_end_matches('/').to_owned();
        site.public_url = url.as_str().into();
        let before = Arc::new(KeptHere::of(&Home::find()?));
        let (store, vault, clock) = (Arc::clone(&site.store), site.vault.clone(), site.clock.clone());
        site.triggers.secrets = Arc::new(SealedForgeSecrets::new(store, vault, clock, before));
        site.triggers.allowed_hosts = Arc::new(self.allow_hosts.iter().cloned().collect());
        let runner = if self.no_runner { None } else { Some(built_in::start(&site, &own).await?) };
        let deployer = match self.no_deployer {
            true => None,
            false => Some(own_deployer::start(&site, &own)?),
        };
        output::server_serves(&url, &data, first.as_deref(), mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        let ended = serve::serve(site, Entrances { network, tls, control: Some(control) }, failed).await;
        if let Some(runner) = runner {
            runner.stop().await;
        }
        if let Some(deployer) = deployer {
            deployer.stop().await;
        }
        ended.map(|()| Exit::Passed).map_err(|error| ended_badly(&error, &data))
    }

    fn cannot_listen(&self, error: &std::io::Error) -> Problem {
        Problem::new(Exit::Environment, format!("can't listen on {}", self.listen))
            .with_why(error.to_string())
            .with_remedy("say another address: --listen 127.0.0.1:0 takes any free port")
    }
}

fn ended_badly(error: &ServeError, data: &Path) -> Problem {
    match error {
        ServeError::StoreFailed => Problem::new(Exit::Environment, "the server has ended because its database failed")
            .with_why(error.to_string())
            .with_remedy(format!(
                "look at the disk of {}, then start the server again; `staith server check` says how the database is",
                data.display()
            )),
        ServeError::LoopEnded(_) => Problem::bug(error.to_string()),
    }
}

/// A server without tokens gets one for its first administrator. The file is there before the token counts: a server that was killed in
/// between makes another.
async fn first_administrator(site: &Site, data: &Path) -> Result<Option<PathBuf>, Problem> {
    let known = site.store.tokens().await.map_err(|error| place::refused(&error, data))?;
    if !known.is_empty() {
        return Ok(None);
    }
    let file = place::first_token(data);
    let (made, token) =
        tokens::prepare(site, TokenAsked::administrator()).map_err(|problem| as_problem(&problem))?;
    place::write_for_owner(&file, &format!("{}\n", made.token))
        .map_err(|refused| Problem::unreadable(&file, &refused))?;
    let now = site.clock.unix_millis();
    site.store.add_token(token, Actor::server(), now).await.map_err(|error| place::refused(&error, data))?;
    Ok(Some(file))
}

/// A problem of the API as one of the command line.
pub(super) fn as_problem(problem: &staith_server::api::Problem) -> Problem {
    let details = problem.details();
    let told = Problem::new(Exit::Environment, details.title.clone());
    let told = match &details.detail {
        Some(why) => told.with_why(why.clone()),
        None => told,
    };
    match &details.remedy {
        Some(remedy) => told.with_remedy(remedy.clone()),
        None => told,
    }
}

/// A connection takes a descriptor, and so does a stream that is written: as many as the system lets this user have.
fn many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
