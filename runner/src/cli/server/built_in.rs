//! The runner that a server has on its own machine: the same program, as a process of its own with a home of its own, enrolled like any
//! other.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::{Exit, service::EnrolmentAsked};
use staith_server::{enrolment, site::Site, store::Actor};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::start::as_problem;
use crate::{client::Address, output::Problem};

/// How long the runner gets to end by itself.
const TO_END: Duration = Duration::from_secs(10);
/// The longest time between one end and the next start; the first is a sixtieth of it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The runner's process, and what starts it again when it ends.
#[derive(Debug)]
pub(super) struct BuiltIn {
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

/// Starts it, and tells it each time where the server is: it may have another address or a certificate now. It is enrolled once it can reach the server, so this may be called before the server answers.
///
/// # Errors
/// No code can be made for it.
pub(super) async fn start(site: &Site, server: &Address) -> Result<BuiltIn, Problem> {
    let home = site.data.join("host");
    let code = if is_enrolled(&home) { None } else { Some(code(site).await?) };
    let program = std::env::current_exe().map_err(|refused| Problem::bug(refused.to_string()))?;
    let stop = CancellationToken::new();
    let server = serde_json::to_string(server).map_err(|bad| Problem::bug(bad.to_string()))?;
    let host = Host { program, home, server };
    let watch = tokio::spawn(host.keep(code, stop.clone()));
    Ok(BuiltIn { stop, watch })
}

impl BuiltIn {
    /// Lets it end.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = self.watch.await;
    }
}

/// Where `staith runner register` writes down that it did.
fn is_enrolled(home: &Path) -> bool {
    home.join("runner/registration.json").is_file()
}

async fn code(site: &Site) -> Result<String, Problem> {
    let asked = EnrolmentAsked {
        pool: "default".parse().map_err(|bad: staith_model::NotAName| Problem::bug(bad.to_string()))?,
        labels: std::collections::BTreeSet::default(),
        ephemeral: false,
        valid_millis: None,
        target: None,
    };
    let made = enrolment::make_code(site, asked, Actor::server()).await;
    Ok(made.map_err(|problem| as_problem(&problem))?.code)
}

struct Host {
    program: PathBuf,
    home: PathBuf,
    /// See [`Address::told`].
    server: String,
}

impl Host {
    async fn keep(self, code: Option<String>, stop: CancellationToken) {
        if let Some(code) = code
            && !self.register(&code, &stop).await
        {
            return;
        }
        let mut pause = LONGEST_PAUSE / 60;
        while !stop.is_cancelled() {
            let Some(ended) = self.run(&stop).await else { return };
            if ended == Some(i32::from(Exit::Usage.code())) {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("runner")
            .args(words)
            .args(["--own-server", &self.server])
            .env("STAITH_HOME", &self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    async fn register(&self, code: &str, stop: &CancellationToken) -> bool {
        let mut command = self.command(&["register", "--name", "built-in"]);
        // Arguments of processes can be read by everybody on this machine.
        command.env("STAITH_RUNNER_CODE", code);
        let Ok(child) = command.spawn() else { return false };
        let registered = end_of(child, stop).await == Some(Some(0));
        if !registered && !stop.is_cancelled() {
            tracing::error!("the server's own runner could not be registered");
        }
        registered
    }

    /// The runner from its start to its end: its exit code. `None` if it is not to be started again.
    async fn run(&self, stop: &CancellationToken) -> Option<Option<i32>> {
        let child = self.command(&["start"]).spawn();
        let child = child
            .inspect_err(|error| tracing::error!(%error, "the server's own runner can't be started"))
            .ok()?;
        let ended = end_of(child, stop).await?;
        tracing::warn!(code = ended, "the server's own runner has ended");
        Some(ended)
    }
}

/// How a process ended by itself; `None` if it was told to end.
async fn end_of(mut child: Child, stop: &CancellationToken) -> Option<Option<i32>> {
    tokio::select! {
        ended = child.wait() => return Some(ended.ok().and_then(|ended| ended.code())),
        () = stop.cancelled() => {}
    }
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process {
        let _ = kill_process(process, Signal::TERM);
    }
    if tokio::time::timeout(TO_END, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    None
}
