//! How a program is run that makes machines.
//!
//! It gets nothing on its command line that is not in runner.toml: values come in its environment. Its input is the lock of the
//! environment, which is an empty file: so the lock is held as long as it runs, even where Staith is killed meanwhile.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use staith_model::Secret;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdout, Command},
};
use tokio_util::sync::CancellationToken;

use super::ProvisionError;
use crate::drive::lock::Lock;

/// Bytes of its standard output at most: outputs and plans.
const MOST_BYTES: usize = 16 << 20;
/// Bytes of what it said last that are kept for an error.
const LAST_WORDS: usize = 4000;
/// How long is listened for what a program wrote that has ended.
const LAST_SOUND: Duration = Duration::from_secs(2);
/// What it gets of the caller's environment: where programs and their settings are, and how the network is reached.
const PASSED_ON: [&str; 25] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "TF_CLI_CONFIG_FILE",
    "TF_PLUGIN_CACHE_DIR",
    "AZURE_CONFIG_DIR",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "XDG_CONFIG_HOME",
];

/// Tells what programs write. Implementations mask secrets before anything is stored or shown.
pub trait Voice: Send + Sync {
    /// Something is begun: `terraform plan`.
    fn begins(&self, what: &str);
    /// What hears one stream of a program, from its first byte on; `aloud` if it is for people, too. Each stream has its own: what
    /// one says between two pieces of a secret in the other must not hide it.
    fn ear(&self, aloud: bool) -> Box<dyn Ear>;
    /// A text without secrets. It has to be whole: of a secret that was cut in two, half would be left.
    fn masked(&self, text: &str) -> String;
}

/// Hears one stream of a program.
pub trait Ear: Send {
    /// Takes the next bytes, in any pieces, and gives what can be told of the stream by now, without secrets. Must be quick.
    fn hears(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// The stream is over: what was held back can be told.
    fn ends(&mut self) -> Vec<u8>;
}

/// What all programs of one operation share.
pub(super) struct Circumstances<'a> {
    pub(super) folder: PathBuf,
    pub(super) plain: Vec<(String, OsString)>,
    pub(super) secrets: Vec<(String, Secret)>,
    pub(super) patience: Duration,
    pub(super) lock: &'a Lock,
    pub(super) voice: Arc<dyn Voice>,
    /// Asks for an end: the program gets SIGINT, as from a keyboard.
    pub(super) cancel: CancellationToken,
    /// Insists.
    pub(super) kill: CancellationToken,
}

/// How a program ended.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) out: Vec<u8>,
    said: String,
    how: String,
}

/// What is run.
pub(super) struct Call<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: Vec<OsString>,
    /// Beside what all programs get.
    pub(super) plain: Vec<(String, OsString)>,
    /// Whether its standard output is for people, too.
    pub(super) aloud: bool,
}

impl<'a> Call<'a> {
    pub(super) fn of(command: &'a [String]) -> Self {
        let (program, arguments) = command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let arguments = arguments.iter().map(OsString::from).collect();
        Self { program, arguments, plain: Vec::new(), aloud: true }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.plain.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn quietly(mut self) -> Self {
        self.aloud = false;
        self
    }

    /// For people: the program and the words that say what it does.
    pub(super) fn describe(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy());
        let telling = words.take_while(|word| !word.starts_with('-')).take(4);
        std::iter::once(self.program.into()).chain(telling).collect::<Vec<_>>().join(" ")
    }
}

/// Ends a program and what it started in its group.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // One that has ended needs none.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Circumstances<'_> {
    /// Runs a program to its end, which must be good.
    pub(super) async fn run(&self, call: Call<'_>) -> Result<Vec<u8>, ProvisionError> {
        let command = call.describe();
        let ended = self.run_any(call).await?;
        if ended.code == Some(0) { Ok(ended.out) } else { Err(ended.failure(command)) }
    }

    /// Runs a program to its end, whatever that is.
    pub(super) async fn run_any(&self, call: Call<'_>) -> Result<Ended, ProvisionError> {
        if self.cancel.is_cancelled() {
            return Err(ProvisionError::Interrupted);
        }
        self.voice.begins(&call.describe());
        self.until_its_end(call).await
    }

    async fn until_its_end(&self, call: Call<'_>) -> Result<Ended, ProvisionError> {
        let command = call.describe();
        let mut running = self.start(&call)?;
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let mut said_out = Heard::by(self.voice.ear(call.aloud), MOST_BYTES);
        let mut said_err = Heard::by(self.voice.ear(true), 0);
        let ended =
            self.hear_until_its_end(&command, &mut running, (out, &mut said_out), (err, &mut said_err)).await;
        said_out.ends();
        said_err.ends();
        let (status, asked) = ended?;
        let status = status.map_err(|error| ProvisionError::NotStarted {
            program: call.program.to_owned(),
            why: error.to_string(),
        })?;
        // Reaped: its number may be another's from here on.
        running.group = None;
        if asked {
            return Err(ProvisionError::Interrupted);
        }
        let how = status
            .code()
            .map_or_else(|| format!("was ended: {status}"), |code| format!("ended with exit code {code}"));
        if said_out.was_cut {
            let why = format!("more than {MOST_BYTES} bytes");
            return Err(ProvisionError::NotUnderstood { command, why });
        }
        let last = if said_err.last.is_empty() { &said_out.last } else { &said_err.last };
        let said = String::from_utf8_lossy(last).trim().to_owned();
        Ok(Ended { code: status.code(), out: said_out.raw, said, how })
    }

    /// How it ended, and whether it was asked to.
    async fn hear_until_its_end(
        &self,
        command: &str,
        running: &mut Running,
        (out, said_out): (Option<ChildStdout>, &mut Heard),
        (err, said_err): (Option<ChildStderr>, &mut Heard),
    ) -> Result<(std::io::Result<ExitStatus>, bool), ProvisionError> {
        let heard = async { tokio::join!(hear(out, said_out), hear(err, said_err)) };
        tokio::pin!(heard);
        let ends = tokio::time::sleep(self.patience);
        tokio::pin!(ends);
        let (mut asked, mut is_heard) = (false, false);
        let status = loop {
            tokio::select! {
                _ = &mut heard, if !is_heard => is_heard = true,
                status = running.child.wait() => break status,
                () = self.cancel.cancelled(), if !asked => {
                    asked = true;
                    running.signal(Signal::INT);
                }
                () = self.kill.cancelled() => return Err(ProvisionError::Interrupted),
                () = &mut ends => {
                    let how = format!("had {} s, and was not done", self.patience.as_secs());
                    return Err(ProvisionError::Failed { command: command.to_owned(), how, said: String::new() });
                }
            }
        };
        if !is_heard {
            // What it left running may keep its output open for ever.
            let _ = tokio::time::timeout(LAST_SOUND, &mut heard).await;
        }
        Ok((status, asked))
    }

    fn start(&self, call: &Call<'_>) -> Result<Running, ProvisionError> {
        let not_started = |why: std::io::Error| ProvisionError::NotStarted {
            program: call.program.to_owned(),
            why: why.to_string(),
        };
        let held = self.lock.share().map_err(not_started)?;
        let mut command = Command::new(path_of(call.program, &self.folder));
        command
            .args(&call.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(self.plain.iter().chain(&call.plain).map(|(name, value)| (name, value)))
            .stdin(Stdio::from(held))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is told by us: the terminal would tell programs twice.
            .process_group(0)
            .kill_on_drop(true);
        for (name, secret) in &self.secrets {
            secret.expose_to(|value| command.env(name, value));
        }
        let child = command.spawn().map_err(not_started)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, group })
    }
}

fn path_of(program: &str, folder: &Path) -> PathBuf {
    if program.contains('/') && !program.starts_with('/') { folder.join(program) } else { program.into() }
}

impl Ended {
    pub(super) fn failure(self, command: String) -> ProvisionError {
        ProvisionError::Failed { command, how: self.how, said: self.said }
    }
}

/// What was heard of a stream.
struct Heard {
    ear: Box<dyn Ear>,
    /// Its last bytes as they were, at most `most` of them.
    raw: Vec<u8>,
    most: usize,
    was_cut: bool,
    /// The last of what it said, for people: masked first and cut then.
    last: Vec<u8>,
}

impl Heard {
    fn by(ear: Box<dyn Ear>, most: usize) -> Self {
        Self { ear, raw: Vec::new(), most, was_cut: false, last: Vec::new() }
    }

    fn takes(&mut self, bytes: &[u8]) {
        let told = self.ear.hears(bytes);
        self.tells(&told);
        self.raw.extend_from_slice(bytes);
        self.was_cut |= keep_last(&mut self.raw, self.most);
    }

    fn ends(&mut self) {
        let told = self.ear.ends();
        self.tells(&told);
    }

    fn tells(&mut self, told: &[u8]) {
        self.last.extend_from_slice(told);
        keep_last(&mut self.last, LAST_WORDS);
    }
}

/// Drops what comes before the last `most` bytes; whether there was any.
fn keep_last(bytes: &mut Vec<u8>, most: usize) -> bool {
    let surplus = bytes.len().saturating_sub(most);
    bytes.drain(..surplus);
    surplus > 0
}

async fn hear(from: Option<impl AsyncRead + Unpin>, heard: &mut Heard) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        heard.takes(&piece[..length]);
    }
}
