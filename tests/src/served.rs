//! A server of a scenario's own: `staith server start`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use crate::{
    wait,
    world::{Said, World, staith_binary},
};

/// Any free port of this machine's own.
const ANY: &str = "127.0.0.1:0";

/// A server that runs. When dropped, it is killed.
#[derive(Debug)]
pub struct Served {
    process: Child,
    says: BufReader<ChildStdout>,
    /// Where it listens: `127.0.0.1:PORT`.
    pub address: String,
    /// Its directory.
    pub data: PathBuf,
    /// The administrator's token.
    pub admin: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// Its status; 0 if there was none.
    pub status: u16,
    /// Its body.
    pub body: String,
}

impl Answered {
    /// The body as JSON, of an answer with this status.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn is(&self, status: u16) -> serde_json::Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

impl Served {
    /// A server in the scratch directory of a world, without a runner of its own.
    ///
    /// # Panics
    /// It does not start.
    pub fn of(world: &World) -> Self {
        let data = world.scratch().join("server");
        Self::again(world, &data)
    }

    /// A server in a directory, which may have been another's before.
    ///
    /// # Panics
    /// It does not start.
    pub fn again(world: &World, data: &Path) -> Self {
        Self::try_start(Self::command(&[], world, data), data)
            .unwrap_or_else(|said| panic!("the server did not start: {said:?}"))
    }

    /// A server with the runner of its own.
    ///
    /// # Panics
    /// It does not start.
    pub fn with_a_runner(world: &World) -> Self {
        let data = world.scratch().join("server");
        Self::try_start(Self::command_with(&[], ANY, &[], world, &data), &data)
            .unwrap_or_else(|said| panic!("the server did not start: {said:?}"))
    }

    /// A server with the runner of its own, and with more words for `staith server start`.
    ///
    /// # Panics
    /// It does not start.
    pub fn saying(more: &[&str], world: &World) -> Self {
        let data = world.scratch().join("server");
        Self::try_start(Self::command_with(&[], ANY, more, world, &data), &data)
            .unwrap_or_else(|said| panic!("the server did not start: {said:?}"))
    }

    /// A server with the runner of its own, of an account with this home.
    ///
    /// # Panics
    /// It does not start.
    pub fn of_an_account(home: &Path, world: &World) -> Self {
        let data = world.scratch().join("server");
        let mut command = Self::command_with(&[], ANY, &[], world, &data);
        command.env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("GIT_CONFIG_GLOBAL");
        Self::try_start(command, &data).unwrap_or_else(|said| panic!("the server did not start: {said:?}"))
    }

    /// The command of a server without a runner of its own, behind other words: those of a program that becomes it, or watches it from outside.
    pub fn command(before: &[&str], world: &World, data: &Path) -> Command {
        Self::command_with(before, ANY, &["--no-runner"], world, data)
    }

    /// A server without a runner of its own that listens at this address and may tell a forge of this machine; behind other words as
    /// [`Self::command`].
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn at(listen: &str, before: &[&str], world: &World, data: &Path) -> Result<Self, Said> {
        let more = ["--no-runner", "--allow-host", "127.0.0.1"];
        Self::try_start(Self::command_with(before, listen, &more, world, data), data)
    }

    fn command_with(before: &[&str], listen: &str, more: &[&str], world: &World, data: &Path) -> Command {
        let staith = staith_binary();
        let mut words = before.iter().map(std::ffi::OsStr::new).chain([staith.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(["server", "start", "--json", "--listen", listen, "--data"])
            .arg(data)
            .args(more)
            .current_dir(world.project())
            .env("STAITH_HOME", world.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A server by a command that is whole; what it said if it ended before it was ready.
    ///
    /// # Errors
    /// It ended.
    ///
    /// # Panics
    /// The system refuses.
    pub fn try_start(mut command: Command, data: &Path) -> Result<Self, Said> {
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        let mut says = BufReader::new(process.stdout.take().unwrap());
        says.read_line(&mut line).unwrap();
        let told: serde_json::Value = match serde_json::from_str(&line) {
            Ok(told) if line.contains("\"serving\"") => told,
            _ => {
                let mut err = line;
                process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                let code = process.wait().unwrap().code();
                return Err(Said { code, out: String::new(), err });
            }
        };
        let url = told["serving"].as_str().unwrap();
        let address = url.split_once("://").unwrap().1.to_owned();
        // As the server sees it: it may have mounts of its own.
        let seen = Self::seen_by(process.id(), data);
        let admin = std::fs::read_to_string(seen.join("admin.token")).unwrap().trim().to_owned();
        Ok(Self { process, says, address, data: data.to_owned(), admin })
    }

    /// A command that asks this server, by its first administrator.
    ///
    /// # Panics
    /// The directory's name is no text.
    pub fn staith(&self, world: &World, words: &[&str]) -> Said {
        let (url, token) = (format!("http://{}", self.address), self.data.join("admin.token"));
        let token = token.to_str().unwrap();
        world.staith(&[words, &["--server", &url, "--token-file", token]].concat())
    }

    /// Waits for the very run that `staith project run` told of, until it has passed: `shop#3`. Of all runs this one, because polling
    /// may find the same push, and those before it.
    ///
    /// # Panics
    /// It did not pass.
    #[track_caller]
    pub fn run_told_of(&self, said: &Said) -> String {
        let which = said.out.lines().find_map(|line| line.split_once("staith runs watch ")).unwrap().1.trim();
        let run = wait::until("the run has ended", || {
            let run = self.ask("GET", &format!("/api/v1/runs/{which}"), "").is(200);
            (!run["ended"].is_null()).then_some(run)
        });
        assert_eq!(run["state"], "passed", "{run}");
        format!("{}#{}", run["project"].as_str().unwrap(), run["number"])
    }

    fn seen_by(process: u32, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{process}/root{}", path.display()))
    }

    /// Its directory as it sees it, also with mounts of its own.
    pub fn data_as_seen(&self) -> PathBuf {
        Self::seen_by(self.process.id(), &self.data)
    }

    /// It dies, and what it had at a folder on a disk of its own is where others see it.
    ///
    /// # Panics
    /// The system refuses.
    pub fn leaves_its_disk(self, folder: &str) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.data_as_seen().join(folder).join(".")).arg(self.data.join(folder));
        assert!(copy.status().unwrap().success());
        self.kill();
    }

    /// Asks with the administrator's token.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answered {
        self.ask_by(Some(&self.admin), method, path, body)
    }

    /// Asks with the administrator's token and more headers, each with its end: (headers, method, path, body). Status 0 if the
    /// connection broke.
    pub fn ask_with(&self, (headers, method, path, body): (&str, &str, &str, &str)) -> Answered {
        let headers = format!("Authorization: Bearer {}\r\n{headers}", self.admin);
        self.try_ask(&headers, method, path, body).unwrap_or(Answered { status: 0, body: String::new() })
    }

    /// Asks with a token, or none. Status 0 if the connection broke.
    pub fn ask_by(&self, token: Option<&str>, method: &str, path: &str, body: &str) -> Answered {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        self.try_ask(&token, method, path, body).unwrap_or(Answered { status: 0, body: String::new() })
    }

    fn try_ask(&self, headers: &str, method: &str, path: &str, body: &str) -> Option<Answered> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answered { status, body: body.to_owned() })
    }

    /// The id of its process, or of the program that it was started by.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, as a supervisor does.
    ///
    /// # Panics
    /// There is no such process any more.
    pub fn terminate(mut self) -> Said {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.said()
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// The system refuses.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// The system refuses.
    pub fn ended(mut self) -> Said {
        self.said()
    }

    fn said(&mut self) -> Said {
        let (mut out, mut err) = (String::new(), String::new());
        self.says.read_to_string(&mut out).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status: ExitStatus = self.process.wait().unwrap();
        Said { code: status.code(), out, err }
    }

    /// Kills it, without a word.
    ///
    /// # Panics
    /// The system refuses.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
