//! `staith proxy`.

mod pause;
mod serve;
mod status;

use std::{io::ErrorKind, path::PathBuf};

use clap::{Args, Subcommand};
use staith_model::{Exit, Name};
use staith_releaser::{
    fleet::balancer::{built_in::ask, haproxy::Dial},
    proxy::station::protocol::{Answer, Ask},
};

use crate::output::{OutputMode, Problem};

/// The built-in reverse proxy in front of machines: serve, look at it, hold requests for a moment
///
/// Deployments to an environment with `traffic = { built-in = { ... } }` tell it who gets requests. What they say is on the disk
/// before it counts: a proxy that was killed serves, when it is started again, what it served before.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Serve(serve::Arguments),
    Status(status::Arguments),
    Pause(pause::Pause),
    Resume(pause::Resume),
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Serve(arguments) => arguments.obey(mode).await,
            What::Status(arguments) => arguments.obey(mode).await,
            What::Pause(arguments) => arguments.obey(mode).await,
            What::Resume(arguments) => arguments.obey(mode).await,
        }
    }
}

/// A backend of a proxy that runs on this machine.
#[derive(Debug, Args)]
struct Backend {
    /// The backend, as the proxy's configuration calls it
    backend: Name,
    /// The proxy's control socket
    #[arg(long, value_name = "PATH", default_value = "/run/staith-proxy/control.sock")]
    control: PathBuf,
}

impl Backend {
    async fn ask(&self, what: Ask) -> Result<Answer, Problem> {
        let answer = ask(&Dial::Unix(self.control.clone()), &self.backend, what).await.map_err(|error| {
            let (at, is_forbidden) = (self.control.display(), error.kind() == ErrorKind::PermissionDenied);
            let (what, remedy) = match is_forbidden {
                true => (
                    format!("{at} may not be used by this user"),
                    "give the command as the user that the proxy runs as, or as root",
                ),
                false => (
                    format!("no proxy answers at {at}"),
                    "start one with `staith proxy serve`, or name its socket: --control PATH",
                ),
            };
            Problem::new(Exit::Environment, what).with_why(error.to_string()).with_remedy(remedy)
        })?;
        match answer {
            Answer::Refused { why } => Err(Problem::new(Exit::Usage, why)),
            answer => Ok(answer),
        }
    }
}
