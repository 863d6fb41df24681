//! What stands in for a server where its runners are tested: it follows a script, holds runners to the protocol strictly, and has
//! every fault of a network that a test asks for.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use staith_model::{AttemptId, Digest, RunnerId};

/// The code that makes a host a runner.
pub const CODE: &str = "0nce-0nly";
const SESSION: &str = "session-token";

/// A job as the server gives it away.
#[derive(Debug, Clone)]
pub struct Offer {
    /// A `JobSpec`.
    pub job: Value,
    /// The list of its source's files.
    pub source: Vec<u8>,
    /// The contents of the files, by git's ids.
    pub contents: BTreeMap<String, Vec<u8>>,
}

/// What the server knows of an attempt.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// Its streams, as far as they came.
    pub streams: BTreeMap<String, Vec<u8>>,
    /// Those that were closed.
    pub closed: Vec<String>,
    /// What its runner said of its end, each time.
    pub finished: Vec<Value>,
    /// How often the lease was renewed.
    pub renewed: usize,
    /// Ids of contents that were sent.
    pub sent: Vec<String>,
    offer: Option<Offer>,
    is_stale: bool,
    cancel: Option<String>,
    /// Streams of which the server has forgotten a part, once each.
    forgot: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    offers: VecDeque<(AttemptId, Offer)>,
    nonces: BTreeMap<String, Option<AttemptId>>,
    attempts: BTreeMap<String, Attempt>,
    /// Requests that broke the protocol.
    violations: Vec<String>,
    is_away: bool,
    is_flaky: bool,
    lose_claims: usize,
    spends_claims: bool,
    /// Questions whose jobs have ended.
    spent: Vec<String>,
    lose_finishes: usize,
    requests: BTreeMap<String, usize>,
    made: u8,
    claims: usize,
}

/// A server on loopback; it ends when it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

/// A request as it came.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    token: String,
    body: Vec<u8>,
}

/// What is answered: a status and a body, or nothing at all.
enum Answer {
    Json(Value),
    Bytes(Vec<u8>),
    Nothing,
    Problem(u16, &'static str, Option<u64>),
    /// The connection ends without a word.
    Lost,
}

impl FakeServer {
    /// A server without jobs.
    ///
    /// # Panics
    /// There is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives a job to whoever asks next. Which attempt it will be.
    pub fn offer(&self, offer: Offer) -> String {
        self.change(|state| {
            state.made += 1;
            let attempt = AttemptId::new(1_700_000_000_000 + u64::from(state.made), [state.made; 10]);
            state.offers.push_back((attempt.clone(), offer));
            attempt.to_string()
        })
    }

    /// Whether it is there: one that is not takes connections and ends them.
    pub fn is_away(&self, away: bool) {
        self.change(|state| state.is_away = away);
    }

    /// From now on answers are lost, refused and delayed, and parts of streams forgotten.
    pub fn is_flaky(&self) {
        self.change(|state| state.is_flaky = true);
    }

    /// The answers to the next claims are lost.
    pub fn loses_claims(&self, many: usize) {
        self.change(|state| state.lose_claims = many);
    }

    /// To the next question for a job, that what it began has ended since.
    pub fn spends_a_claim(&self) {
        self.change(|state| state.spends_claims = true);
    }

    /// The answers to the next reports of an end are lost.
    pub fn loses_finishes(&self, many: usize) {
        self.change(|state| state.lose_finishes = many);
    }

    /// Wants an attempt to end.
    pub fn cancel(&self, attempt: &str) {
        self.change(|state| state.attempts.get_mut(attempt).unwrap().cancel = Some("somebody asked".into()));
    }

    /// Gives an attempt's job to another.
    pub fn give_away(&self, attempt: &str) {
        self.change(|state| state.attempts.get_mut(attempt).unwrap().is_stale = true);
    }

    /// What it knows of an attempt; none before it was claimed.
    pub fn attempt(&self, attempt: &str) -> Option<Attempt> {
        self.shared.state.lock().unwrap().attempts.get(attempt).cloned()
    }

    /// How often a job was given for a new question.
    pub fn claims(&self) -> usize {
        self.shared.state.lock().unwrap().claims
    }

    /// Checks that no request broke the protocol.
    ///
    /// # Panics
    /// One did.
    #[track_caller]
    pub fn was_asked_rightly(&self) {
        let violations = &self.shared.state.lock().unwrap().violations;
        assert!(violations.is_empty(), "{violations:#?}");
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
        changed
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(self.address);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut token, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.trim().trim_start_matches("Bearer ").to_owned(),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(Request { method, path: path.to_owned(), query, token, body })
}

fn write(mut stream: TcpStream, answer: Answer) {
    let (status, kind, body) = match answer {
        Answer::Lost => return,
        Answer::Json(value) => (200, "application/json", value.to_string().into_bytes()),
        Answer::Bytes(bytes) => (200, "application/octet-stream", bytes),
        Answer::Nothing => (204, "application/json", Vec::new()),
        Answer::Problem(status, kind, next) => {
            let body = json!({ "type": kind, "title": format!("the answer is {kind}"), "status": status, "next": next });
            (status, "application/problem+json", body.to_string().into_bytes())
        }
    };
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever has gone does not read.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let Some(request) = read(&stream) else { return };
        let answer = self.answer(&request);
        write(stream, answer);
    }

    fn answer(&self, request: &Request) -> Answer {
        let parts: Vec<&str> = request.path.trim_start_matches("/api/v1/").split('/').collect();
        if request.path == "/api/v1/claims" {
            return self.claim(request);
        }
        let mut state = self.state.lock().unwrap();
        if state.is_away {
            return Answer::Lost;
        }
        match (request.method.as_str(), parts.as_slice()) {
            // It knows of no steps and keeps none.
            ("GET", ["attempts", _, "known" | "steps" | "layers", _]) => {
                return Answer::Problem(404, "unknown", None);
            }
            ("PUT", ["attempts", _, "steps", _] | ["attempts", _, "layer"]) => return Answer::Nothing,
            _ => {}
        }
        // Of each kind by itself: two questions that are asked in turns would otherwise be in step with the bad luck, for ever.
        let counted = state.requests.entry(parts.last().map_or_else(String::new, |kind| (*kind).to_owned()));
        let times = counted.and_modify(|times| *times += 1).or_insert(1);
        let (is_third, is_first) = (times.is_multiple_of(3), *times % 3 == 1);
        let is_unlucky = state.is_flaky && is_third;
        let loses_answer = state.is_flaky && is_first;
        if is_unlucky {
            return Answer::Problem(503, "busy", None);
        }
        let answer = match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["runners"]) => enrol(&mut state, request),
            ("POST", ["runners", _, "sessions"]) => {
                Answer::Json(json!({ "token": SESSION, "valid_millis": 60_000 }))
            }
            (method, ["attempts", attempt, rest @ ..]) => {
                let (attempt, rest) = ((*attempt).to_owned(), rest.to_vec());
                of_attempt(&mut state, request, method, &attempt, &rest)
            }
            _ => violated(&mut state, format!("{} {}", request.method, request.path)),
        };
        drop(state);
        self.changed.notify_all();
        if loses_answer { Answer::Lost } else { answer }
    }

    fn claim(&self, request: &Request) -> Answer {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let (nonce, wait) = (asked["nonce"].as_str().unwrap(), asked["wait_millis"].as_u64().unwrap());
        let until = Instant::now() + Duration::from_millis(wait);
        let mut state = self.state.lock().unwrap();
        loop {
            if state.is_away || self.is_over.load(Ordering::SeqCst) {
                return Answer::Lost;
            }
            if request.token != SESSION {
                return violated(&mut state, "a claim without a session".to_owned());
            }
            if std::mem::take(&mut state.spends_claims) {
                state.spent.push(nonce.to_owned());
            }
            if state.spent.iter().any(|spent| spent == nonce) {
                return Answer::Problem(409, "claim-spent", None);
            }
            if let Some(answer) = claimed(&mut state, nonce) {
                if state.lose_claims > 0 {
                    state.lose_claims -= 1;
                    return Answer::Lost;
                }
                return Answer::Json(answer);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Answer::Nothing;
            };
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

fn violated(state: &mut State, what: String) -> Answer {
    state.violations.push(what);
    Answer::Problem(400, "violation", None)
}

fn enrol(state: &mut State, request: &Request) -> Answer {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    if asked["code"] != CODE {
        return Answer::Problem(403, "bad-code", None);
    }
    if asked["public_key"].as_str().is_none_or(|key| key.len() != 44) {
        return violated(state, format!("{} is no key", asked["public_key"]));
    }
    Answer::Json(json!({
        "runner": RunnerId::new(1, [1; 10]), "labels": asked["labels"], "pool": "default", "ephemeral": asked["name"] == "once",
    }))
}

/// The answer to a claim: the same for the same question.
fn claimed(state: &mut State, nonce: &str) -> Option<Value> {
    if !state.nonces.contains_key(nonce) {
        let (attempt, offer) = state.offers.pop_front()?;
        state.claims += 1;
        let known = Attempt { offer: Some(offer), ..Attempt::default() };
        state.attempts.insert(attempt.to_string(), known);
        state.nonces.insert(nonce.to_owned(), Some(attempt));
    }
    let attempt = state.nonces[nonce].clone()?.to_string();
    let offer = state.attempts[&attempt].offer.clone().unwrap();
    Some(json!({
        "attempt": attempt, "number": 1, "fence": 7, "lease_millis": 15_000, "token": format!("of-{attempt}"), "job": offer.job,
    }))
}

fn of_attempt(state: &mut State, request: &Request, method: &str, id: &str, rest: &[&str]) -> Answer {
    if request.token != format!("of-{id}") {
        return violated(state, format!("{} with the token of another", request.path));
    }
    let Some(attempt) = state.attempts.get_mut(id) else { return Answer::Problem(404, "unknown", None) };
    let offer = attempt.offer.clone().unwrap();
    if method == "GET" && rest == ["source"] {
        return Answer::Bytes(offer.source);
    }
    if rest == ["source", "contents"] {
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        let ids = asked["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
        let mut bytes = Vec::new();
        for id in ids {
            let content = &offer.contents[&id];
            bytes.extend((0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()));
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(content);
            attempt.sent.push(id);
        }
        return Answer::Bytes(bytes);
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let fence = request.query.get("fence").and_then(|fence| fence.parse().ok()).or(body["fence"].as_u64());
    if attempt.is_stale {
        return Answer::Problem(409, "stale-fence", None);
    }
    if fence != Some(7) {
        return violated(state, format!("{} without its fence", request.path));
    }
    match rest {
        ["renew"] => {
            attempt.renewed += 1;
            let wanted = match &attempt.cancel {
                Some(why) => json!({ "do": "cancel", "why": why }),
                None => json!({ "do": "go-on" }),
            };
            Answer::Json(json!({ "lease_millis": 15_000, "wanted": wanted }))
        }
        ["streams", name] => put(state, id, name, request),
        ["streams", name, "close"] => {
            let bytes = attempt.streams.get(*name).cloned().unwrap_or_default();
            if body["length"] != bytes.len() || body["digest"] != json!(Digest::of(&bytes)) {
                return violated(
                    state,
                    format!("`{name}` is closed with {body} and has {} bytes", bytes.len()),
                );
            }
            if !attempt.closed.contains(&(*name).to_owned()) {
                attempt.closed.push((*name).to_owned());
            }
            Answer::Json(json!({ "next": bytes.len(), "closed": body["digest"] }))
        }
        ["finish"] => finish(state, id, &body),
        _ => violated(state, format!("{method} {}", request.path)),
    }
}

fn put(state: &mut State, id: &str, name: &str, request: &Request) -> Answer {
    let is_flaky = state.is_flaky;
    let Some(attempt) = state.attempts.get_mut(id) else { return Answer::Problem(404, "unknown", None) };
    let offset: usize = request.query["offset"].parse().unwrap();
    let is_over = attempt.closed.contains(&name.to_owned()) || !attempt.finished.is_empty();
    let stream = attempt.streams.entry(name.to_owned()).or_default();
    if is_flaky && !is_over && stream.len() > 100 && !attempt.forgot.contains(&name.to_owned()) {
        // As if it had been restored from a backup.
        attempt.forgot.push(name.to_owned());
        stream.truncate(50);
    }
    if offset > stream.len() {
        return Answer::Problem(416, "wrong-offset", Some(stream.len() as u64));
    }
    let known = (stream.len() - offset).min(request.body.len());
    if stream[offset..offset + known] != request.body[..known] {
        return violated(state, format!("`{name}` has other bytes at {offset} than before"));
    }
    if is_over && known < request.body.len() {
        return violated(state, format!("`{name}` is written after its end"));
    }
    stream.extend(&request.body[known..]);
    Answer::Json(json!({ "next": stream.len() }))
}

fn finish(state: &mut State, id: &str, body: &Value) -> Answer {
    let Some(attempt) = state.attempts.get_mut(id) else { return Answer::Problem(404, "unknown", None) };
    let named: Vec<&str> =
        body["streams"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let missing = attempt.streams.keys().any(|name| !named.contains(&name.as_str()));
    if missing || named.iter().any(|name| !attempt.closed.contains(&(*name).to_owned())) {
        return violated(state, format!("the end names {named:?}, and those that are closed are others"));
    }
    if attempt.finished.first().is_some_and(|first| *first != body["outcome"]) {
        return violated(state, "it ended twice, in two ways".to_owned());
    }
    attempt.finished.push(body["outcome"].clone());
    if state.lose_finishes > 0 {
        state.lose_finishes -= 1;
        return Answer::Lost;
    }
    Answer::Nothing
}
