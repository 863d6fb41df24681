//! A server of repositories in the web that wants a password, as hosting services do: `git http-backend` behind HTTP on loopback.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Who is let in.
pub const USER: &str = "reader";
/// By which password.
pub const PASSWORD: &str = "hunter2-of-the-private-repository";
/// Both, as a request says them.
const AUTHORIZATION: &str = "Basic cmVhZGVyOmh1bnRlcjItb2YtdGhlLXByaXZhdGUtcmVwb3NpdG9yeQ==";

/// Repositories below a directory, for who knows the password.
#[derive(Debug)]
pub struct GitHttp {
    /// Where it listens: `127.0.0.1:PORT`.
    pub address: String,
    refused: Arc<AtomicUsize>,
    let_in: Arc<AtomicUsize>,
}

impl GitHttp {
    /// Serves what is below a directory.
    ///
    /// # Panics
    /// The system refuses a port.
    pub fn of(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (refused, let_in) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&refused), Arc::clone(&let_in));
        let root = root.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (root, counts) = (root.clone(), counts.clone());
                thread::spawn(move || converse(&root, &stream, (&counts.0, &counts.1)));
            }
        });
        Self { address, refused, let_in }
    }

    /// The address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// How many questions said no password, or another.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many said the right one.
    pub fn let_in(&self) -> usize {
        self.let_in.load(Ordering::SeqCst)
    }

    /// A home of an account whose git knows the password, with a helper as its people configure one.
    ///
    /// # Panics
    /// It can't be written.
    pub fn home_that_knows(&self, home: PathBuf) -> PathBuf {
        std::fs::create_dir_all(&home).unwrap();
        let kept = home.join("kept");
        std::fs::write(&kept, format!("http://{USER}:{PASSWORD}@{}\n", self.address)).unwrap();
        let config =
            format!("[credential \"http://{}\"]\n\thelper = store --file {}\n", self.address, kept.display());
        std::fs::write(home.join(".gitconfig"), config).unwrap();
        home
    }
}

/// One question of a client, and its answer. A client that goes away meanwhile is none of its business.
fn converse(root: &Path, stream: &TcpStream, (refused, let_in): (&AtomicUsize, &AtomicUsize)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut length, mut kind, mut is_known) = (0, String::new(), false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-type" => kind = value.to_owned(),
            "authorization" => is_known = value == AUTHORIZATION,
            _ => {}
        }
    }
    let mut question = vec![0; length];
    reader.read_exact(&mut question).ok()?;
    let mut stream = stream;
    if !is_known {
        refused.fetch_add(1, Ordering::SeqCst);
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes()).ok();
    }
    let_in.fetch_add(1, Ordering::SeqCst);
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut git = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", kind)
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut asks = git.stdin.take()?;
    let asking = thread::spawn(move || asks.write_all(&question));
    let answer = git.wait_with_output().ok()?.stdout;
    asking.join().ok()?.ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let (status, kind) = (field("Status: ").unwrap_or("200 OK"), field("Content-Type: ").unwrap_or_default());
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}
