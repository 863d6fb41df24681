//! What stands in for a forge: it hears how runs are, and is dead for a while where a test wants that.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

/// The secret by which it knows its server.
pub const TOKEN: &str = "token-of-the-forge-that-nobody-else-has";

/// A forge in the network of who made it.
#[derive(Debug)]
pub struct Forge {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_dead: AtomicBool,
    asked: AtomicUsize,
    /// The last state of each run, by its number.
    heard: Mutex<BTreeMap<u64, String>>,
}

impl Forge {
    /// One that answers.
    ///
    /// # Panics
    /// The system refuses a port.
    pub fn begins() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let hears = Arc::clone(&shared);
        thread::spawn(move || {
            for asks in listener.incoming().map_while(Result::ok) {
                let hears = Arc::clone(&hears);
                thread::spawn(move || hears.converse(&asks));
            }
        });
        Self { url, shared }
    }

    /// Whether it is dead from now on: of what it is told it hears one half and answers nothing, and refuses the other half.
    pub fn is_dead(&self, dead: bool) {
        self.shared.is_dead.store(dead, Ordering::SeqCst);
    }

    /// What it heard last of a run.
    pub fn heard_of(&self, number: u64) -> Option<String> {
        self.shared.heard().get(&number).cloned()
    }
}

impl Shared {
    fn heard(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection, to its end.
    fn converse(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((is_known, told)) = question(&mut reader) {
            let is_refused = self.is_dead.load(Ordering::SeqCst)
                && self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            let answer = match (is_known, is_refused) {
                (false, _) => "401 Unauthorized",
                (true, true) => "503 Service Unavailable",
                (true, false) => {
                    self.hear(&told);
                    "201 Created"
                }
            };
            let is_silent = self.is_dead.load(Ordering::SeqCst) && !is_refused;
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\n{{}}");
            if is_silent || stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn hear(&self, told: &Value) {
        let number = told["target_url"].as_str().and_then(|at| at.rsplit('/').next()?.parse().ok());
        if let (Some(number), Some(state)) = (number, told["state"].as_str()) {
            self.heard().insert(number, state.to_owned());
        }
    }
}

/// Whether the next question has the token, and its body.
fn question(reader: &mut BufReader<&TcpStream>) -> Option<(bool, Value)> {
    let (mut length, mut is_known) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().ok()?;
        }
        is_known |= line.ends_with(&format!("Bearer {TOKEN}"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((is_known, serde_json::from_slice(&body).ok()?))
}
