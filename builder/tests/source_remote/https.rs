//! A server of the web with encryption, that runs `git http-backend`, as a hosting service does, and misbehaves on demand.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use staith_builder::source::Reach;

/// `me:hunter2`
pub(crate) const AUTHORIZATION: &str = "Basic bWU6aHVudGVyMg==";

/// What git-lfs keeps on this server, and how it misbehaves.
#[derive(Default)]
pub(crate) struct LargeShelf {
    /// By name.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Where downloads are, instead of at `/large/` here; the object's name follows.
    pub(crate) elsewhere: Option<String>,
    /// What has to be said there.
    pub(crate) header: Option<(String, String)>,
    /// Downloads that break off in the middle, so many more.
    pub(crate) breaks_off: usize,
    /// Objects of each question.
    pub(crate) asked: Vec<usize>,
}

/// Method, path and credentials of each request.
pub(crate) type Seen = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

/// Paths below the first folder of a URL behave differently:
/// `private` wants credentials, `moved` redirects, `evil` redirects to where there is no encryption, `login` shows a page,
/// `cut` sends half a pack and ends, `to/PORT` redirects to another server; anything else is served as it is.
pub(crate) struct HttpsServer {
    pub(crate) port: u16,
    pub(crate) certificate: PathBuf,
    /// The same as text.
    pub(crate) pem: String,
    /// What was asked.
    pub(crate) seen: Seen,
    /// While it is set, packs are sent by half, and then nothing more.
    pub(crate) hold: Arc<AtomicBool>,
    /// Told when half a pack is on its way and the rest is held back.
    pub(crate) held: Receiver<()>,
    pub(crate) large: Arc<Mutex<LargeShelf>>,
}

struct Service {
    root: PathBuf,
    port: u16,
    seen: Seen,
    hold: Arc<AtomicBool>,
    held: Sender<()>,
    large: Arc<Mutex<LargeShelf>>,
}

impl HttpsServer {
    /// Serves `root` on loopback, with a certificate for `localhost` that stands for its own authority.
    pub(crate) fn start(root: &Path, scratch: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut named = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        // Authorities are known by their names, so no two servers may share one.
        named.distinguished_name.push(rcgen::DnType::CommonName, format!("test {port}"));
        let signing_key = rcgen::KeyPair::generate().unwrap();
        let signed = named.self_signed(&signing_key).unwrap();
        let certificate = scratch.join("authority.pem");
        std::fs::write(&certificate, signed.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![signed.der().clone()], key).unwrap();
        let config = Arc::new(config);
        let (tell, held) = channel();
        let (seen, hold) = (Seen::default(), Arc::<AtomicBool>::default());
        let service = Service {
            root: root.to_owned(),
            port,
            seen: Arc::clone(&seen),
            hold: Arc::clone(&hold),
            held: tell,
            large: Arc::default(),
        };
        let large = Arc::clone(&service.large);
        let service = Arc::new(service);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, service) = (Arc::clone(&config), Arc::clone(&service));
                // A client that does not like the certificate goes away: that is not the server's failure.
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let _ = service.serve(StreamOwned::new(connection, stream));
                });
            }
        });
        Self { port, certificate, pem: signed.pem(), seen, hold, held, large }
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach { certificates: Some(self.certificate.clone()), ..Reach::default() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }
}

impl Service {
    fn serve(&self, stream: StreamOwned<ServerConnection, std::net::TcpStream>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut headers) = (String::new(), Vec::new());
        reader.read_line(&mut line)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            match header.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let header =
            |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut question = vec![0; length];
        reader.read_exact(&mut question)?;
        let words: Vec<&str> = line.split(' ').collect();
        let (method, (path, query)) = (words[0], words[1].split_once('?').unwrap_or((words[1], "")));
        self.seen.lock().unwrap().push((method.to_owned(), path.to_owned(), header("authorization")));
        let (folder, rest) = path[1..].split_once('/').unwrap_or_default();
        let stream = reader.get_mut();
        match folder {
            "private" if header("authorization").as_deref() != Some(AUTHORIZATION) => {
                stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            }
            "moved" => redirect(stream, &format!("https://localhost:{}/{rest}?{query}", self.port))?,
            "evil" => redirect(stream, &format!("http://localhost:{}/{rest}?{query}", self.port))?,
            "loop" => redirect(stream, &format!("{path}?{query}"))?,
            "login" => answer(stream, "200 OK", "text/html", b"please log in")?,
            "to" => redirect(stream, &format!("https://localhost:{rest}?{query}"))?,
            "large" => self.large_object(stream, rest, query)?,
            "down" => answer(stream, "503 Busy", "text/plain", b"later")?,
            _ if path.ends_with("/info/lfs/objects/batch") && !path.contains("without") => {
                let told = self.batch(&question);
                answer(stream, "200 OK", "application/vnd.git-lfs+json", told.as_bytes())?;
            }
            _ => {
                let path = if matches!(folder, "private" | "cut") { &path[folder.len() + 1..] } else { path };
                let found = self.backend(method, path, query, header("content-type"), &question);
                let hold = method == "POST" && self.hold.load(Ordering::SeqCst);
                let cut = method == "POST" && folder == "cut";
                let sent = if hold || cut { found.content.len() / 2 } else { found.content.len() };
                write_head(stream, &found.status, &found.content_type, found.content.len())?;
                stream.write_all(&found.content[..sent])?;
                stream.flush()?;
                if hold {
                    let _ = self.held.send(());
                    // Until the client has gone.
                    let _ = stream.read(&mut [0]);
                }
            }
        }
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn batch(&self, question: &[u8]) -> String {
        let question: serde_json::Value = serde_json::from_slice(question).unwrap();
        assert_eq!(
            (&question["operation"], &question["transfers"][0]),
            (&"download".into(), &"basic".into())
        );
        let objects = question["objects"].as_array().unwrap();
        let mut large = self.large.lock().unwrap();
        large.asked.push(objects.len());
        let told = objects.iter().map(|object| {
            let oid = object["oid"].as_str().unwrap();
            if !large.objects.contains_key(oid) {
                let error = serde_json::json!({"code": 404, "message": "no such object"});
                return serde_json::json!({"oid": oid, "size": object["size"], "error": error});
            }
            let base = large.elsewhere.clone();
            let base = base.unwrap_or_else(|| format!("https://localhost:{}/large/", self.port));
            let mut action =
                serde_json::json!({"href": format!("{base}{oid}?signature=x%2Fy"), "expires_in": 60});
            if let Some((name, value)) = &large.header {
                action["header"] = serde_json::json!({name: value});
            }
            serde_json::json!({"oid": oid, "size": object["size"], "actions": {"download": action}})
        });
        serde_json::json!({"transfer": "basic", "objects": told.collect::<Vec<_>>()}).to_string()
    }

    fn large_object(&self, stream: &mut impl Write, oid: &str, query: &str) -> std::io::Result<()> {
        let mut large = self.large.lock().unwrap();
        let Some(content) = large.objects.get(oid).cloned().filter(|_| query == "signature=x%2Fy") else {
            return answer(stream, "404 Not Found", "text/plain", b"");
        };
        write_head(stream, "200 OK", "application/octet-stream", content.len())?;
        if large.breaks_off > 0 {
            large.breaks_off -= 1;
            return stream.write_all(&content[..content.len() / 2]);
        }
        drop(large);
        stream.write_all(&content)
    }

    fn backend(&self, method: &str, path: &str, query: &str, kind: Option<String>, question: &[u8]) -> Found {
        let mut git = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", method)
            .env("CONTENT_TYPE", kind.unwrap_or_default())
            .env("CONTENT_LENGTH", question.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = git.stdin.take().unwrap().write_all(question);
        let all = git.wait_with_output().unwrap().stdout;
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        Found {
            status: field("Status: ").unwrap_or_else(|| "200 OK".to_owned()),
            content_type: field("Content-Type: ").unwrap_or_default(),
            content: all[end + 4..].to_vec(),
        }
    }
}

struct Found {
    status: String,
    content_type: String,
    content: Vec<u8>,
}

fn redirect(stream: &mut impl Write, to: &str) -> std::io::Result<()> {
    let head =
        format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())
}

fn write_head(stream: &mut impl Write, status: &str, kind: &str, length: usize) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())
}

fn answer(stream: &mut impl Write, status: &str, kind: &str, content: &[u8]) -> std::io::Result<()> {
    write_head(stream, status, kind, content.len())?;
    stream.write_all(content)
}
