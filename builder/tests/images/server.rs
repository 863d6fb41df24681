//! A registry on loopback: what the distribution specification asks of one that only gives, with faults on demand.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use staith_model::Digest;

use super::parts::{INDEX, MANIFEST, Made};

/// What a registry has, and how it misbehaves.
#[derive(Default)]
pub struct Shelf {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By tag and by digest.
    manifests: BTreeMap<String, (Vec<u8>, &'static str)>,
    /// What was asked for.
    pub asked: Vec<String>,
    /// Only for those with this token, which a second address gives to those with this name and password in base64.
    pub wants_token: Option<(String, String)>,
    /// Blobs of which only half comes, this many times more.
    pub breaks_off: usize,
    /// Does not know ranges.
    pub begins_anew: bool,
    /// Answers all with this status.
    pub is_ill: Option<u16>,
}

/// A registry that serves until it is dropped.
pub struct Registry {
    pub address: SocketAddr,
    pub shelf: Arc<Mutex<Shelf>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shelf: Arc<Mutex<Shelf>> = Arc::default();
        let served = Arc::clone(&shelf);
        // Ends with the test program; a listener that nobody asks harms nobody.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                thread::spawn(move || {
                    let _ = serve(&client, address, &served);
                });
            }
        });
        Self { address, shelf }
    }

    /// The digest of its manifest.
    pub fn push(&self, tag: &str, image: &Made) -> String {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.blobs.extend(image.blobs.clone());
        let digest = Digest::of(&image.manifest).to_string();
        for name in [tag, &digest] {
            shelf.manifests.insert(name.to_owned(), (image.manifest.clone(), MANIFEST));
        }
        digest
    }

    pub fn push_index(&self, tag: &str, index: String) -> String {
        let mut shelf = self.shelf.lock().unwrap();
        let digest = Digest::of(index.as_bytes()).to_string();
        for name in [tag, &digest] {
            shelf.manifests.insert(name.to_owned(), (index.clone().into_bytes(), INDEX));
        }
        digest
    }

    /// Puts other bytes in a blob's place.
    pub fn falsify(&self, digest: &str, bytes: Vec<u8>) {
        self.shelf.lock().unwrap().blobs.insert(digest.to_owned(), bytes);
    }

    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// How often something was asked for since this was last asked.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.lock().unwrap().asked)
    }
}

fn serve(client: &TcpStream, own: SocketAddr, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut head = BTreeMap::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            head.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push(format!("{method} {path}"));
    if let Some(status) = shelf.is_ill {
        return answer(client, status, &[], b"ill", false);
    }
    if let Some((token, basic)) = shelf.wants_token.clone() {
        let given = head.get("authorization").cloned().unwrap_or_default();
        if path.starts_with("/token") {
            let right = given == format!("Basic {basic}");
            let body = format!("{{\"token\":\"{token}\"}}");
            return answer(client, if right { 200 } else { 401 }, &[], body.as_bytes(), false);
        }
        if given != format!("Bearer {token}") {
            let realm = format!("Bearer realm=\"http://{own}/token\",service=\"test\"");
            return answer(client, 401, &[("WWW-Authenticate", &realm)], b"{}", false);
        }
    }
    if path == "/v2/" {
        return answer(client, 200, &[], b"{}", false);
    }
    let name = path.rsplit('/').next().unwrap_or("");
    if path.contains("/manifests/") {
        let Some((bytes, kind)) = shelf.manifests.get(name) else {
            return answer(client, 404, &[], b"{}", false);
        };
        let digest = Digest::of(bytes).to_string();
        let more = [("Content-Type", *kind), ("Docker-Content-Digest", digest.as_str())];
        return answer(client, 200, &more, bytes, method == "HEAD");
    }
    let Some(blob) = shelf.blobs.get(name).cloned() else { return answer(client, 404, &[], b"{}", false) };
    if shelf.breaks_off > 0 && blob.len() > 10_000 {
        shelf.breaks_off -= 1;
        let from = start_of(&head);
        let part = &blob[from..from + (blob.len() - from) / 2];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let length = blob.len() - from;
        write!(&mut &*client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
        return (&mut &*client).write_all(part);
    }
    match start_of(&head) {
        from if from > 0 && !shelf.begins_anew => {
            answer(client, 206, &[], &blob[from.min(blob.len())..], false)
        }
        _ => answer(client, 200, &[], &blob, false),
    }
}

fn start_of(head: &BTreeMap<String, String>) -> usize {
    let range = head.get("range").and_then(|range| range.strip_prefix("bytes=")?.split('-').next());
    range.and_then(|from| from.parse().ok()).unwrap_or(0)
}

fn answer(
    mut client: &TcpStream,
    status: u16,
    more: &[(&str, &str)],
    body: &[u8],
    head_only: bool,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in more {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    client.write_all(head.as_bytes())?;
    if head_only { Ok(()) } else { client.write_all(body) }
}
