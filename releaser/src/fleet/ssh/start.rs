//! Bringing the program to a machine and starting it there.

use std::{
    borrow::Cow,
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use staith_model::{Blame, Digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    MachineError,
    channel::{ChannelReader, ChannelWriter},
    connection::Connection,
    error::SshError,
};
use crate::fleet::program;

const SCRIPT: &str = include_str!("start.sh");

/// Lets a user who is not the superuser become it without a password, or goes on as who is there.
const AS_SUPERUSER: &str =
    "if [ \"$(id -u)\" = 0 ]; then exec /bin/sh -c \"$@\"; else exec sudo -n /bin/sh -c \"$@\"; fi";

/// How much of what a login shell says before our own line is read. It is thrown away.
const NOISE: usize = 256 << 10;

/// How long the end of the script that has said its word is waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The program for machines.
#[derive(Debug, Clone)]
pub struct Program {
    bytes: Bytes,
    /// Its SHA-256.
    pub digest: Digest,
    /// What it runs on, as `uname -m` names it.
    pub architecture: &'static str,
}

/// The executable.
#[derive(Debug, Clone)]
enum Bytes {
    Given(Cow<'static, [u8]>),
    /// The one in this program, which is unpacked only where it is brought to a machine.
    Embedded,
}

impl Program {
    /// The program that is embedded in this one.
    pub fn embedded() -> Self {
        let (bytes, digest) = (Bytes::Embedded, program::digest());
        Self { bytes, digest, architecture: program::ARCHITECTURE }
    }

    /// A program for machines of this machine's own architecture.
    pub fn new(bytes: impl Into<Cow<'static, [u8]>>, digest: Digest) -> Self {
        Self { bytes: Bytes::Given(bytes.into()), digest, architecture: std::env::consts::ARCH }
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Given(bytes) => bytes,
            Bytes::Embedded => program::bytes(),
        }
    }

    fn length(&self) -> u64 {
        match &self.bytes {
            Bytes::Given(bytes) => bytes.len() as u64,
            Bytes::Embedded => program::length(),
        }
    }
}

/// Where programs are kept on machines.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folders for the program; the first in which programs can be written and run is taken. Empty means `/usr/local/lib/staith`,
    /// then `/var/lib/staith`, for the superuser, and `~/.local/lib/staith` for others.
    pub programs: Vec<String>,
    /// Folders of units: a program that one of them names is kept. Empty means systemd's.
    pub units: Vec<String>,
}

/// What is started on a machine.
pub(super) struct Start<'a> {
    pub(super) target: &'a str,
    pub(super) program: &'a Program,
    pub(super) arguments: &'a [String],
    pub(super) places: &'a Places,
    pub(super) superuser: bool,
}

/// What a machine says of the program.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Running,
    Absent { system: String, architecture: String, damaged: bool },
    Nowhere(String),
    Stored(String),
    Failed(String),
}

impl Start<'_> {
    /// Starts the program, and brings it there before if the machine does not have it.
    pub(super) async fn run(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<(Output, ChannelWriter), MachineError> {
        // Once more after it was brought there; a third time would be one too many.
        for brought in [false, true] {
            let (output, to, word) = self.ask(connection, "start", &[]).await?;
            match word {
                Word::Running => return Ok((output, to)),
                Word::Absent { system, architecture, .. } if !brought => {
                    self.fits(&system, &architecture)?;
                    drop((output, to));
                    self.bring(connection).await?;
                }
                word => return Err(self.refused(format!("it says {word:?}"), UNEXPECTED, Blame::Us)),
            }
        }
        Err(self.refused("it was brought there and is not there".into(), UNEXPECTED, Blame::Environment))
    }

    async fn bring(&self, connection: &Arc<Connection>) -> Result<(), MachineError> {
        let (mut output, to, word) = self.ask(connection, "store", self.program.bytes()).await?;
        // What programs said about what went wrong is there when all of it is.
        let _ = tokio::time::timeout(LAST_WORDS, output.from.read_to_end(&mut Vec::new())).await;
        let said = String::from_utf8_lossy(&output.end().lock().unwrap_or_else(PoisonError::into_inner).said)
            .trim()
            .replace('\n', "; ");
        drop((output, to));
        match word {
            Word::Stored(folder) => {
                tracing::debug!("{}: the program is in {folder}", self.target);
                Ok(())
            }
            Word::Nowhere(why) => Err(self.refused(
                format!("there is no place for Staith's program:{why} {said}"),
                "Make one of these folders writable and executable for the user, or let another user in.",
                Blame::Environment,
            )),
            Word::Failed(why) => Err(self.refused(
                format!("{why}: {said}"),
                "See whether the disk is full (`df`); nothing was left behind.",
                Blame::Environment,
            )),
            word => Err(self.refused(format!("it says {word:?}"), UNEXPECTED, Blame::Us)),
        }
    }

    /// Runs the script, sends it `bytes`, and reads its first word.
    async fn ask(
        &self,
        connection: &Arc<Connection>,
        mode: &str,
        bytes: &[u8],
    ) -> Result<(Output, ChannelWriter, Word), MachineError> {
        let mark = mark().map_err(|why| self.refused(why, UNEXPECTED, Blame::Environment))?;
        let opened = connection.exec(&self.command(mode, &mark)).await;
        let (from, mut to) = opened.map_err(|error| match error {
            SshError::Lost { why, .. } => self.lost(why),
            error => error.about(self.target),
        })?;
        let mut output = Output { from, rest: Vec::new() };
        let sent = async {
            if mode == "store" {
                // A machine that ends early has a reason, which it tells: that is worth more than that writing failed.
                let _ = to.write_all(bytes).await;
                let _ = to.shutdown().await;
            }
        };
        // A machine that has said why it takes no more will not take the rest.
        let sent = async {
            sent.await;
            std::future::pending().await
        };
        let said = tokio::select! {
            said = tokio::time::timeout(patience(bytes), output.word(&mark)) => said,
            never = sent => never,
        };
        let end = output.end();
        let end = || end.lock().unwrap_or_else(PoisonError::into_inner).describe();
        match said {
            Ok(Ok(line)) => {
                let word = Word::parse(&line);
                let word =
                    word.ok_or_else(|| self.refused(format!("it says `{line}`"), UNEXPECTED, Blame::Us))?;
                Ok((output, to, word))
            }
            Ok(Err(_)) if !connection.is_open() => Err(self.lost(connection.fate())),
            Ok(Err(noise)) => Err(self.silent(&noise, &end())),
            Err(_) => Err(self.silent("nothing came in time", &end())),
        }
    }

    fn command(&self, mode: &str, mark: &str) -> String {
        let places = |given: &[String], usual: &str| {
            if given.is_empty() { usual.to_owned() } else { given.join(":") }
        };
        let folders = places(&self.places.programs, "");
        let units = places(&self.places.units, "/etc/systemd/system:/run/systemd:/usr/lib/systemd/system");
        let length = self.program.length().to_string();
        let digest = self.program.digest.hex();
        let mut words: Vec<&str> = vec!["/bin/sh", "-c"];
        if self.superuser {
            words.extend([AS_SUPERUSER, "staith"]);
        }
        words.extend([SCRIPT, "staith", mode, mark, &digest, &length, &folders, &units]);
        words.extend(self.arguments.iter().map(String::as_str));
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    fn fits(&self, system: &str, architecture: &str) -> Result<(), MachineError> {
        let same = match architecture {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        if system == "Linux" && same == self.program.architecture {
            return Ok(());
        }
        let ours = self.program.architecture;
        Err(self.refused(
            format!(
                "it is {system} on {architecture}, and this Staith has its program for Linux on {ours} only"
            ),
            "Release to it from a Staith that was built for its architecture.",
            Blame::Environment,
        ))
    }

    fn silent(&self, noise: &str, end: &str) -> MachineError {
        let remedy = if self.superuser && end.contains("sudo") {
            "Let the user become root without a password for `/bin/sh` (NOPASSWD in sudoers), or let root in."
        } else {
            "The user needs a login shell that runs a command given with `-c`, and no forced command."
        };
        let noise = noise.trim();
        let noise = if noise.is_empty() { String::new() } else { format!("; it said: {noise}") };
        self.refused(format!("Staith's program did not start ({end}){noise}"), remedy, Blame::Environment)
    }

    fn lost(&self, why: String) -> MachineError {
        MachineError::Lost { target: self.target.into(), what: WHAT, why }
    }

    fn refused(&self, why: String, remedy: &str, blame: Blame) -> MachineError {
        MachineError::Refused { target: self.target.into(), what: WHAT, why, remedy: remedy.into(), blame }
    }
}

const WHAT: &str = "run Staith's program";
const UNEXPECTED: &str = "Please report this.";

/// How long the machine may take to say its first word: a minute, and the time for bytes over a slow line, 64 KiB a second.
fn patience(bytes: &[u8]) -> Duration {
    Duration::from_secs(60 + bytes.len() as u64 / (64 << 10))
}

/// Marks our own line among what a login shell says. New each time, so that nothing can be prepared to look like it.
pub(super) fn mark() -> Result<String, String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(format!("staith:{:016x}:", u64::from_le_bytes(random)))
}

/// In single quotes, as every shell understands them.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Word {
    fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match word {
            "running" => Self::Running,
            "absent" => {
                let mut words = rest.split(' ');
                let (system, architecture) = (words.next()?.into(), words.next()?.into());
                Self::Absent { system, architecture, damaged: words.any(|word| !word.is_empty()) }
            }
            "nowhere" => Self::Nowhere(rest.into()),
            "stored" => Self::Stored(rest.into()),
            "failed" => Self::Failed(rest.into()),
            _ => return None,
        })
    }
}

/// What a program says, from behind our own line on.
pub(super) struct Output {
    from: ChannelReader,
    rest: Vec<u8>,
}

impl Output {
    fn end(&self) -> Arc<std::sync::Mutex<super::channel::End>> {
        self.from.end()
    }

    /// Reads up to the line that has the mark, and gives what stands behind it. In the error is what came instead.
    async fn word(&mut self, mark: &str) -> Result<String, String> {
        let mut piece = [0; 4096];
        loop {
            if let Some((line, behind)) = find(&self.rest, mark.as_bytes()) {
                self.rest.drain(..behind);
                return Ok(line);
            }
            let length = self.from.read(&mut piece).await.unwrap_or(0);
            if length == 0 || self.rest.len() > NOISE {
                let noise = String::from_utf8_lossy(&self.rest);
                return Err(noise.chars().take(500).collect::<String>().replace('\n', "; "));
            }
            self.rest.extend_from_slice(&piece[..length]);
        }
    }
}

/// The rest of the line behind a mark, and where the next line begins.
fn find(bytes: &[u8], mark: &[u8]) -> Option<(String, usize)> {
    let at = bytes.windows(mark.len()).position(|letters| letters == mark)? + mark.len();
    let end = at + bytes[at..].iter().position(|letter| *letter == b'\n')?;
    Some((String::from_utf8_lossy(&bytes[at..end]).trim().to_owned(), end + 1))
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            let length = self.rest.len().min(into.remaining());
            into.put_slice(&self.rest[..length]);
            self.rest.drain(..length);
            return std::task::Poll::Ready(Ok(()));
        }
        std::pin::Pin::new(&mut self.from).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_no_letter_that_shells_between_take_for_themselves() {
        for letter in ['\'', '\\', '!'] {
            let found = SCRIPT.lines().find(|line| line.contains(letter));
            assert_eq!(found, None, "{letter}");
        }
    }

    #[test]
    fn our_line_is_found_behind_noise_and_what_follows_is_left() {
        let (line, behind) =
            find(b"Welcome!\nno newlinestaith:1: absent Linux x86_64 \nrest", b"staith:1:").unwrap();
        assert_eq!((line.as_str(), behind), ("absent Linux x86_64", 50));
        assert_eq!(find(b"staith:1: absent", b"staith:1:"), None);
    }

    #[test]
    fn words() {
        let absent =
            |damaged| Word::Absent { system: "Linux".into(), architecture: "x86_64".into(), damaged };
        assert_eq!(Word::parse("absent Linux x86_64"), Some(absent(false)));
        assert_eq!(Word::parse("absent Linux x86_64 /a/b"), Some(absent(true)));
        assert_eq!(Word::parse("running"), Some(Word::Running));
        assert_eq!(Word::parse("absent"), None);
        assert_eq!(Word::parse("else"), None);
    }
}
