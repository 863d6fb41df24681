//! The process that deploys for a server: the same program, in a process group of its own, with a home of its own. The server gives it a
//! token when it starts it, by its standard input, and nothing else: it knows no key, and can't be asked for one.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use staith_server::site::Site;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{client::Address, deployer::Beginning, output::Problem};

/// The first time between one end and the next start, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that lived so long had no trouble with starting.
const SOUND: Duration = Duration::from_secs(60);
/// How long it gets to end by itself.
const TO_END: Duration = Duration::from_secs(5);

/// What of the environment belongs to the account. Whatever else the server was started with is not for it: secrets among that would be
/// those of whoever started the server.
const KEPT: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "STAITH_SSH_CONFIG"];

/// The deployer's process, and what starts it again when it ends.
#[derive(Debug)]
pub(super) struct Deploying {
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

/// Starts it. It asks until the server answers, so this may be called before.
///
/// # Errors
/// This program can't be found.
pub(super) fn start(site: &Site, server: &Address) -> Result<Deploying, Problem> {
    let program = env::current_exe().map_err(|refused| Problem::bug(refused.to_string()))?;
    let stop = CancellationToken::new();
    let post = Post { site: site.clone(), program, home: site.data.join("deployer"), server: server.clone() };
    let watch = tokio::spawn(post.keep(stop.clone()));
    Ok(Deploying { stop, watch })
}

impl Deploying {
    /// Lets it end. What it does is gone on with when the server is started again.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = self.watch.await;
    }
}

struct Post {
    site: Site,
    program: PathBuf,
    home: PathBuf,
    server: Address,
}

impl Post {
    async fn keep(self, stop: CancellationToken) {
        let mut pause = PAUSE;
        while !stop.is_cancelled() {
            let began = Instant::now();
            match self.begin().await {
                Ok((child, said)) => {
                    if !ended_by_itself(child, said, &stop).await {
                        return;
                    }
                }
                Err(why) => tracing::error!(why, "the server's deployer can't be started"),
            }
            if began.elapsed() > SOUND {
                pause = PAUSE;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn begin(&self) -> Result<(Child, ChildStdin), String> {
        let token = self.site.deployer.let_in().map_err(|problem| problem.details().title.clone())?;
        self.site.relay.another_deployer(self.site.clock.steady());
        let mut command = Command::new(&self.program);
        command
            .args(["server", "deployer"])
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .envs(env::var_os("STAITH_LOG").map(|level| ("STAITH_LOG", level)))
            .env("STAITH_HOME", &self.home)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().map_err(|refused| refused.to_string())?;
        let mut said = child.stdin.take().ok_or("it has no standard input")?;
        let beginning = Beginning { server: self.server.clone(), token };
        let line = serde_json::to_string(&beginning).map_err(|bad| bad.to_string())?;
        said.write_all(format!("{line}\n").as_bytes()).await.map_err(|refused| refused.to_string())?;
        Ok((child, said))
    }
}

/// Whether it ended though nobody wanted that. While its standard input is open, its server lives.
async fn ended_by_itself(mut child: Child, said: ChildStdin, stop: &CancellationToken) -> bool {
    tokio::select! {
        ended = child.wait() => {
            let code = ended.ok().and_then(|ended| ended.code());
            tracing::warn!(code, "the server's deployer has ended");
            return true;
        }
        () = stop.cancelled() => {}
    }
    drop(said);
    if tokio::time::timeout(TO_END, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    false
}
