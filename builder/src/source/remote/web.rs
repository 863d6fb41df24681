//! Behind the door: a server of the web. Two questions of git's protocol go through, and nothing else does.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use staith_model::Secret;
use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
};

use crate::addresses::Caution;

use super::{Reach, address::Web, bridge::FarSide, credentials, failure::FetchFailure, tls};

/// What git's library says before the content of a question is shorter, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// The longest question, in bytes: a line of 50 bytes for each of a million commits.
const LONGEST_QUESTION: u64 = 64 * 1024 * 1024;
/// Git's own number is 20; no honest server needs more than two.
const MOST_REDIRECTS: usize = 5;

const LIST: &str = "/info/refs?service=git-upload-pack";
const LIST_TYPE: &str = "application/x-git-upload-pack-advertisement";
const PACK: &str = "/git-upload-pack";
const PACK_TYPE: &str = "application/x-git-upload-pack-result";

/// A server of the web with a repository.
pub(super) struct WebServer {
    reach: Reach,
    agent: Agent,
    /// Of where the server may lead.
    caution: Caution,
    state: Mutex<State>,
}

/// What is learned on the way.
#[derive(Clone)]
struct State {
    /// Where the repository is, after redirects.
    base: Web,
    /// For `server` only.
    credentials: Option<Secret>,
    server: Web,
    asked_helpers: bool,
}

impl WebServer {
    /// Nothing is sent yet.
    pub(super) fn new(web: &Web, reach: &Reach, caution: Caution) -> Result<Self, FetchFailure> {
        let agent = tls::agent(web, reach, caution.clone())?;
        let base = Web { credentials: None, ..web.clone() };
        let credentials = web.credentials.clone();
        let state = State { server: base.clone(), base, credentials, asked_helpers: false };
        Ok(Self { reach: reach.clone(), agent, caution, state: Mutex::new(state) })
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The list of references, from wherever the repository is now.
    fn list(&self, client: &str) -> Result<Response<Body>, FetchFailure> {
        let mut at = self.state().base;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.with_credentials(&at, &|state| {
                let request = self.agent.get(format!("{}{LIST}", at.shown()));
                signed(request, state, &at).header(header::USER_AGENT, client).call()
            })?;
            if !answer.status().is_redirection() {
                self.learn(|state| state.base = at.clone());
                return checked(answer, &at, &self.state(), LIST_TYPE);
            }
            at = redirected(&at, &answer)?;
            let (host, port) = at.host_and_port();
            self.caution.judge_name(host, port)?;
        }
        Err(FetchFailure::Redirect { host: at.host.shown(), why: "there are too many in a row".to_owned() })
    }

    /// What git's library asks for.
    fn pack(&self, client: &str, question: &[u8]) -> Result<Response<Body>, FetchFailure> {
        let at = self.state().base;
        let answer = self.with_credentials(&at, &|state| {
            let request = self.agent.post(format!("{}{PACK}", at.shown()));
            let request = signed(request, state, &at).header(header::USER_AGENT, client);
            let request = request.header(header::CONTENT_TYPE, "application/x-git-upload-pack-request");
            request.header(header::ACCEPT, PACK_TYPE).send(question)
        })?;
        checked(answer, &at, &self.state(), PACK_TYPE)
    }

    /// Asks, and where the server wants to know who asks, looks for credentials and asks again.
    fn with_credentials(
        &self,
        at: &Web,
        ask: &dyn Fn(&State) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, FetchFailure> {
        let ask = |state: &State| ask(state).map_err(|error| tls::failure(at, &error, self.reach.stall));
        let state = self.state();
        let answer = ask(&state)?;
        let may_help =
            state.credentials.is_none() && !state.asked_helpers && at.is_same_server(&state.server);
        if answer.status() != StatusCode::UNAUTHORIZED || !may_help {
            return Ok(answer);
        }
        let found = credentials::from_helpers(at);
        self.learn(|state| (state.asked_helpers, state.credentials) = (true, found.clone()));
        if found.is_some() { ask(&self.state()) } else { Ok(answer) }
    }
}

impl FarSide for WebServer {
    fn serve(&self, near: TcpStream, token: &str) -> Result<(), FetchFailure> {
        let Ok(Some((head, rest))) = read_head(&near) else { return Ok(()) };
        let client = head.header("user-agent").unwrap_or("git/staith");
        let path = head.target.strip_prefix('/').and_then(|target| target.strip_prefix(token));
        let answer = match (head.method.as_str(), path) {
            ("GET", Some(LIST)) => self.list(client)?,
            ("POST", Some(PACK)) => {
                let Ok(question) = read_question(&near, &head, rest) else { return Ok(()) };
                self.pack(client, &question)?
            }
            _ => {
                let _ = (&near)
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return Ok(());
            }
        };
        pass_on(answer, &near, &self.state().base, &self.reach)
    }

    fn abandon(&self) {
        self.agent.clone().shutdown();
    }

    fn scheme(&self) -> &'static str {
        "http"
    }
}

/// Credentials go to the server that they are for, and to no other that it redirects to.
fn signed<B>(request: ureq::RequestBuilder<B>, state: &State, at: &Web) -> ureq::RequestBuilder<B> {
    match &state.credentials {
        Some(secret) if at.is_same_server(&state.server) => {
            let basic = secret.expose_to(|secret| BASE64_STANDARD.encode(with_a_colon(secret)));
            request.header(header::AUTHORIZATION, format!("Basic {basic}"))
        }
        _ => request,
    }
}

/// A token alone is a user without a password.
pub(super) fn with_a_colon(secret: &str) -> String {
    if secret.contains(':') { secret.to_owned() } else { format!("{secret}:") }
}

fn redirected(from: &Web, answer: &Response<Body>) -> Result<Web, FetchFailure> {
    let refused = |why: &str| FetchFailure::Redirect { host: from.host.shown(), why: why.to_owned() };
    let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| refused("it does not say where to"))?;
    let location = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}{location}", Web { path: String::new(), ..from.clone() }.shown())
    } else {
        location.to_owned()
    };
    let base =
        location.strip_suffix(LIST).ok_or_else(|| refused("not to a repository, perhaps to a login"))?;
    let to = Web::parse(base).map_err(refused)?;
    let stays_safe = to.secure || (!from.secure && to.host.is_loopback());
    if !stays_safe {
        return Err(refused("it leads to where what comes could be changed on the way"));
    }
    Ok(Web { credentials: None, ..to })
}

fn checked(
    answer: Response<Body>,
    at: &Web,
    state: &State,
    content_type: &str,
) -> Result<Response<Body>, FetchFailure> {
    let host = || at.host.shown();
    match answer.status().as_u16() {
        200 => {}
        status @ (401 | 403 | 404) => {
            return Err(FetchFailure::Denied { status, known: state.credentials.is_some() });
        }
        status => return Err(FetchFailure::Status { host: host(), status }),
    }
    let found = answer.headers().get(header::CONTENT_TYPE);
    if found.is_some_and(|found| found.as_bytes() == content_type.as_bytes()) {
        Ok(answer)
    } else {
        Err(FetchFailure::NotGit(host()))
    }
}

/// Passes an answer on to git's library. What is cut off arrives cut off: the library then sees no end.
fn pass_on(
    answer: Response<Body>,
    mut near: &TcpStream,
    at: &Web,
    reach: &Reach,
) -> Result<(), FetchFailure> {
    let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        content_type.unwrap_or_default()
    );
    let (mut body, mut bytes) = (answer.into_body().into_reader(), vec![0; 64 * 1024]);
    let mut told = near.write_all(head.as_bytes());
    while told.is_ok() {
        let read = body.read(&mut bytes).map_err(|error| tls::failure(at, &error.into(), reach.stall))?;
        let chunk = [format!("{read:x}\r\n").as_bytes(), &bytes[..read], b"\r\n"].concat();
        told = near.write_all(&chunk);
        if read == 0 {
            break;
        }
    }
    // Where git's library has gone, it has a reason of its own.
    Ok(())
}

/// What comes before the content of a question.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, _version) = (first.next()?, first.next()?, first.next()?);
        let header = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.map(header).collect::<Option<_>>()?;
        Some(Self { method: method.to_owned(), target: target.to_owned(), headers })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The head of a question, and what of its content came with it.
fn read_head(mut near: &TcpStream) -> io::Result<Option<(Head, Vec<u8>)>> {
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    while all.len() < LONGEST_HEAD {
        let read = near.read(&mut bytes)?;
        all.extend_from_slice(&bytes[..read]);
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&all[..end]).ok().and_then(Head::parse);
            return Ok(head.map(|head| (head, all.split_off(end + 4))));
        }
        if read == 0 {
            break;
        }
    }
    Ok(None)
}

/// The content of a question. Git's library says how long it is when it asks for packs.
fn read_question(near: &TcpStream, head: &Head, mut question: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = head.header("content-length").and_then(|length| length.parse().ok());
    let length: u64 =
        length.filter(|length| *length <= LONGEST_QUESTION).ok_or(io::ErrorKind::InvalidData)?;
    let missing = length.saturating_sub(question.len() as u64);
    near.take(missing).read_to_end(&mut question)?;
    if question.len() as u64 == length { Ok(question) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(location: &str) -> Response<Body> {
        let answer = Response::builder().status(302).header(header::LOCATION, location);
        answer.body(Body::builder().data(Vec::new())).unwrap()
    }

    fn to(from: &str, location: &str) -> Result<String, String> {
        let from = Web::parse(from).unwrap();
        redirected(&from, &answer(location)).map(|web| web.shown()).map_err(|error| error.to_string())
    }

    #[test]
    fn redirects_lead_to_repositories_and_stay_encrypted() {
        let list = |base: &str| format!("{base}{LIST}");
        assert_eq!(to("https://h/x", &list("https://other/y")).unwrap(), "https://other/y");
        assert_eq!(to("https://h/x", &list("/y")).unwrap(), "https://h/y");
        assert_eq!(to("http://localhost/x", &list("https://h/x")).unwrap(), "https://h/x");
        for bad in ["http://h/x", "http://localhost/x", "ftp://h/x", "file:///x", "//h/x", "https://h/../x"] {
            assert!(to("https://h/x", &list(bad)).is_err(), "{bad}");
        }
        assert!(to("http://localhost/x", &list("http://h/x")).is_err());
        assert!(to("https://h/x", "https://h/login").unwrap_err().contains("login"));
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let server = Web::parse("https://h/x").unwrap();
        let credentials = Some(Secret::new("token"));
        let state = State { base: server.clone(), server: server.clone(), credentials, asked_helpers: false };
        let agent = Agent::new_with_defaults();
        let sent = |at: &Web| {
            let request = signed(agent.get(at.shown()), &state, at);
            request.headers_ref().and_then(|headers| headers.get(header::AUTHORIZATION).cloned())
        };
        assert_eq!(sent(&Web::parse("https://h/y").unwrap()).unwrap(), "Basic dG9rZW46");
        for other in ["https://i/x", "http://h/x", "https://h:444/x"] {
            assert_eq!(sent(&Web::parse(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn heads_are_read_as_git_writes_them() {
        let head = Head::parse("GET /t/info/refs HTTP/1.1\r\nUser-Agent: git/2.0\r\nHost: x:1").unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/t/info/refs"));
        assert_eq!(head.header("user-agent"), Some("git/2.0"));
        for bad in ["", "GET", "GET /", "GET / HTTP/1.1\r\nno colon"] {
            assert_eq!(Head::parse(bad), None, "{bad}");
        }
    }
}
