//! A guest book in a process of its own, and the little HTTP that talking to it takes.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A running guest book; ends with the test.
pub struct Guestbook {
    process: Child,
    address: String,
}

/// The program under test: the one that the pipeline has built, or, for `cargo test` by hand, the one cargo has just built.
fn program() -> Command {
    let path = env::var_os("GUESTBOOK").unwrap_or_else(|| env!("CARGO_BIN_EXE_guestbook").into());
    let mut command = Command::new(path);
    command.env_clear().env("PORT", "0");
    command
}

impl Guestbook {
    /// Starts it on a free port, and returns once it listens.
    pub fn start(env: &[(&str, &str)]) -> Self {
        let mut command = program();
        // What it logs would get in between the results of the tests.
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        Self { address: address.to_owned(), process }
    }

    /// Starts it where it should not start, and returns how it ended and what it said.
    pub fn refusal(env: &[(&str, &str)]) -> (ExitStatus, String) {
        let output = program().envs(env.iter().copied()).output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "", "")
    }

    pub fn post(&self, path: &str, content_type: &str, body: &str) -> Response {
        self.request("POST", path, content_type, body)
    }

    pub fn request(&self, method: &str, path: &str, header: &str, body: &str) -> Response {
        let mut connection = self.connect();
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        connection.send(&format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: {}\r\n\r\n{body}",
            body.len()
        ));
        connection.response()
    }

    pub fn connect(&self) -> Connection {
        Connection(BufReader::new(TcpStream::connect(&self.address).unwrap()))
    }

    /// Asks it to end, as Staith does.
    pub fn ask_to_end(&self) {
        let status =
            Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", self.process.id())]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until nobody can connect any more.
    pub fn wait_until_closed(&self) {
        while TcpStream::connect(&self.address).is_ok() {
            std::thread::yield_now();
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Guestbook {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends what it can: a server may well answer and close before it has read all of a request that is too long.
    pub fn send(&mut self, text: &str) {
        let _ = self.0.get_mut().write_all(text.as_bytes());
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Reads to the end of the connection.
    pub fn response(mut self) -> Response {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        while let Some((name, value)) = self.line().trim_end().split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut body = String::new();
        self.0.read_to_string(&mut body).unwrap();
        Response { status: status.unwrap(), headers, body }
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A directory of its own for a test, removed with this value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("guestbook-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
