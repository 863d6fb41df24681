//! Questions to a server of git-lfs, and downloads from where it leads.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use staith_model::{Digest, Secret};
use ureq::{
    Agent, Body, RequestBuilder,
    http::{Response, StatusCode, header},
};

use super::{
    Hear, LfsFailure,
    place::{Asked, encrypted_or_here},
    protocol::{self, Action, KIND, LONGEST_ANSWER, Told},
};
use crate::{
    addresses::Caution,
    source::remote::{FetchFailure, Reach, address::Web, credentials::from_helpers, tls, web::with_a_colon},
};

const MOST_REDIRECTS: usize = 5;
const AGENT: &str = concat!("staith/", env!("CARGO_PKG_VERSION"));

/// Makes connections, each server's kept for the next question.
pub(super) struct Client {
    reach: Reach,
    caution: Caution,
    agents: Mutex<BTreeMap<String, Agent>>,
}

/// A server, and what it is told.
pub(super) struct Server {
    at: Web,
    /// What ssh said has to be said here.
    header: BTreeMap<String, Secret>,
    credentials: Mutex<Credentials>,
    /// A commit named it, and it is not where the repository is: nothing is told there.
    is_strange: bool,
}

/// An address with what follows the path, which may be all that protects it.
#[derive(Debug, Clone)]
struct Target {
    at: Web,
    query: Option<Secret>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.split('#').next().unwrap_or_default();
        let (base, query) = text.split_once('?').map_or((text, None), |(base, query)| (base, Some(query)));
        if query.is_some_and(|query| !query.bytes().all(|byte| (0x21..0x7f).contains(&byte))) {
            return Err("its query holds what must be written as %XX");
        }
        let at = Web { credentials: None, ..Web::parse(base)? };
        encrypted_or_here(&at)?;
        Ok(Self { at, query: query.map(Secret::new) })
    }

    fn written(&self) -> Secret {
        let base = self.at.shown();
        let query = self.query.as_ref().map(|query| query.expose_to(|query| format!("?{query}")));
        Secret::new(format!("{base}{}", query.unwrap_or_default()))
    }
}

struct Credentials {
    known: Option<Secret>,
    may_ask_helpers: bool,
}

impl Server {
    pub(super) fn of(asked: Asked) -> Self {
        let credentials = Credentials { known: asked.credentials, may_ask_helpers: asked.may_ask_helpers };
        let is_strange = !asked.may_ask_helpers;
        Self { at: asked.at, header: BTreeMap::new(), credentials: Mutex::new(credentials), is_strange }
    }

    pub(super) fn with_header(at: Web, header: BTreeMap<String, Secret>) -> Self {
        let credentials = Credentials { known: None, may_ask_helpers: false };
        Self { at, header, credentials: Mutex::new(credentials), is_strange: false }
    }

    fn known(&self) -> Option<Secret> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).known.clone()
    }

    /// Asks git's helpers, once, if they may be asked. Whether there is something new to be said.
    fn ask_helpers(&self) -> bool {
        let mut credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if credentials.known.is_some() || !std::mem::take(&mut credentials.may_ask_helpers) {
            return false;
        }
        credentials.known = from_helpers(&self.at);
        credentials.known.is_some()
    }

    /// Why the server has no place for an object.
    pub(super) fn missing(&self, told: Option<Told>) -> LfsFailure {
        let host = self.at.host.shown();
        match told {
            Some(Told::Refused(status @ (401 | 403), _)) => {
                LfsFailure::Denied { host, status, unasked: false }
            }
            Some(Told::Refused(status @ (408 | 429 | 500..), _)) => {
                LfsFailure::Fetch(FetchFailure::Status { host, status })
            }
            Some(Told::Refused(code, said)) => LfsFailure::Missing { host, said: format!("{said} ({code})") },
            Some(Told::At(_)) | None => {
                LfsFailure::Missing { host, said: "it says nothing of it".to_owned() }
            }
        }
    }
}

impl Client {
    pub(super) fn new(reach: Reach, caution: Caution) -> Self {
        Self { reach, caution, agents: Mutex::default() }
    }

    fn agent(&self, at: &Web) -> Result<Agent, LfsFailure> {
        let name = Web { path: String::new(), ..at.clone() }.shown();
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&name) {
            return Ok(agent.clone());
        }
        let agent = tls::agent(at, &self.reach, self.caution.clone())?;
        agents.insert(name, agent.clone());
        Ok(agent)
    }

    /// Asks where some objects are.
    pub(super) fn batch(
        &self,
        server: &Server,
        wanted: &[(Digest, u64)],
    ) -> Result<BTreeMap<Digest, Told>, LfsFailure> {
        let question = protocol::question(wanted.iter());
        let mut answer = self.asked(server, &question)?;
        if answer.status() == StatusCode::UNAUTHORIZED && server.ask_helpers() {
            answer = self.asked(server, &question)?;
        }
        let host = server.at.host.shown();
        match answer.status().as_u16() {
            200 => {}
            status @ (401 | 403) => {
                let unasked = server.is_strange;
                return Err(LfsFailure::Denied { host, status, unasked });
            }
            status @ (408 | 429 | 500 | 502..) => {
                return Err(LfsFailure::Fetch(FetchFailure::Status { host, status }));
            }
            status => return Err(LfsFailure::NoLfs { host, status }),
        }
        let mut bytes = Vec::new();
        let read = answer.into_body().into_reader().take(LONGEST_ANSWER).read_to_end(&mut bytes);
        read.map_err(|error| tls::failure(&server.at, &error.into(), self.reach.stall))?;
        protocol::answer(&bytes).map_err(|why| LfsFailure::NotUnderstood { host, why })
    }

    fn asked(&self, server: &Server, question: &[u8]) -> Result<Response<Body>, LfsFailure> {
        let path = format!("{}/objects/batch", server.at.path);
        let mut to = Target { at: Web { path, ..server.at.clone() }, query: None };
        for _ in 0..=MOST_REDIRECTS {
            let agent = self.agent(&to.at)?;
            let request =
                to.written().expose_to(|address| agent.post(address)).header(header::USER_AGENT, AGENT);
            let request = request.header(header::ACCEPT, KIND).header(header::CONTENT_TYPE, KIND);
            let is_same = to.at.is_same_server(&server.at);
            let request = if is_same { signed(request, &server.header, server.known()) } else { request };
            let answer = request.send(question).map_err(|error| self.failed(&to.at, &error))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            to = self.redirected(&to, &answer)?;
        }
        Err(too_many(&to.at))
    }

    /// Downloads from where the server says. What has to be said there is said to that server only, and our credentials to
    /// none but the one that they are for.
    pub(super) fn download(
        &self,
        server: &Server,
        action: &Action,
        size: u64,
        keep: &dyn Fn(&mut dyn Read) -> io::Result<bool>,
        hear: &Hear<'_>,
    ) -> Result<(), LfsFailure> {
        let host = server.at.host.shown();
        let first = action.href.expose_to(Target::parse).map_err(|why| LfsFailure::NotUnderstood {
            host: host.clone(),
            why: format!("it names a place that can't be used: {why}"),
        })?;
        self.judge(&first.at)?;
        let mut to = first.clone();
        for _ in 0..=MOST_REDIRECTS {
            let agent = self.agent(&to.at)?;
            let request =
                to.written().expose_to(|address| agent.get(address)).header(header::USER_AGENT, AGENT);
            let known = if to.at.is_same_server(&server.at) { server.known() } else { None };
            let request = if to.at.is_same_server(&first.at) {
                signed(request, &action.header, known)
            } else {
                request
            };
            let answer = request.call().map_err(|error| self.failed(&to.at, &error))?;
            if answer.status().is_redirection() {
                to = self.redirected(&to, &answer)?;
                continue;
            }
            return self.taken(&to.at, answer, size, keep, hear);
        }
        Err(too_many(&to.at))
    }

    fn taken(
        &self,
        at: &Web,
        answer: Response<Body>,
        size: u64,
        keep: &dyn Fn(&mut dyn Read) -> io::Result<bool>,
        hear: &Hear<'_>,
    ) -> Result<(), LfsFailure> {
        let host = at.host.shown();
        match answer.status().as_u16() {
            200 => {}
            // Also what places that have grown old answer.
            status @ (401 | 403 | 410) => return Err(LfsFailure::Denied { host, status, unasked: false }),
            404 => return Err(LfsFailure::Missing { host, said: "404".to_owned() }),
            status => return Err(LfsFailure::Fetch(FetchFailure::Status { host, status })),
        }
        let mut body = Counted { body: answer.into_body().into_reader(), came: 0, failed: None, hear };
        let kept = keep(&mut body);
        if let Some(error) = body.failed.take() {
            return Err(self.failed(at, &error.into()));
        }
        match kept {
            Ok(true) => Ok(()),
            // Less than was announced is a connection that broke; so much or more is something else.
            Ok(false) if body.came < size => {
                let why = format!("it ended after {} of {size} bytes", body.came);
                Err(LfsFailure::Fetch(FetchFailure::NoConnection { host, why }))
            }
            Ok(false) => Err(LfsFailure::Wrong { host }),
            Err(error) => Err(LfsFailure::Disk(error)),
        }
    }

    fn redirected(&self, from: &Target, answer: &Response<Body>) -> Result<Target, LfsFailure> {
        let refused = |why: &str| {
            LfsFailure::Fetch(FetchFailure::Redirect { host: from.at.host.shown(), why: why.to_owned() })
        };
        let location = answer.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| refused("it does not say where to"))?;
        let location = if location.starts_with('/') && !location.starts_with("//") {
            format!("{}{location}", Web { path: String::new(), ..from.at.clone() }.shown())
        } else {
            location.to_owned()
        };
        let to = Target::parse(&location).map_err(refused)?;
        if from.at.secure && !to.at.secure {
            return Err(refused("it leads to where what comes could be changed on the way"));
        }
        self.judge(&to.at)?;
        Ok(to)
    }

    /// Where a server leads is not for it to choose freely.
    fn judge(&self, at: &Web) -> Result<(), LfsFailure> {
        let (host, port) = at.host_and_port();
        Ok(self.caution.judge_name(host, port)?)
    }

    fn failed(&self, at: &Web, error: &ureq::Error) -> LfsFailure {
        match tls::failure(at, error, self.reach.stall) {
            FetchFailure::NotAllowed(refused) => LfsFailure::NotAllowed(refused),
            failure => LfsFailure::Fetch(failure),
        }
    }
}

/// What has to be said at a place, and who asks, where nothing is said of that.
fn signed<B>(
    mut request: RequestBuilder<B>,
    header: &BTreeMap<String, Secret>,
    known: Option<Secret>,
) -> RequestBuilder<B> {
    for (name, value) in header {
        request = value.expose_to(|value| request.header(name, value));
    }
    match known {
        Some(secret) if !header.contains_key("authorization") => {
            let basic = secret.expose_to(|secret| BASE64_STANDARD.encode(with_a_colon(secret)));
            request.header(header::AUTHORIZATION, format!("Basic {basic}"))
        }
        _ => request,
    }
}

fn too_many(at: &Web) -> LfsFailure {
    let why = "there are too many in a row".to_owned();
    LfsFailure::Fetch(FetchFailure::Redirect { host: at.host.shown(), why })
}

/// A body that tells how much has come, and keeps what went wrong on the way apart from what goes wrong at the end.
struct Counted<'a, R> {
    body: R,
    came: u64,
    failed: Option<io::Error>,
    hear: &'a Hear<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.body.read(to) {
            Ok(read) => {
                self.came += read as u64;
                (self.hear)(0, read);
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_may_have_a_query_and_stay_encrypted() {
        let written = |text: &str| Target::parse(text).map(|target| target.written());
        assert_eq!(written("https://h/x?a=b%20c&d#e"), Ok(Secret::new("https://h/x?a=b%20c&d")));
        assert_eq!(written("https://me:pw@h/x"), Ok(Secret::new("https://h/x")));
        assert!(written("http://localhost:1/x?y").is_ok());
        for bad in
            ["http://h/x", "ftp://h/x", "/x", "https://h/x?a b", "https://h/x?a\r\nb", "https://h/../x", ""]
        {
            assert!(written(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", Target::parse("https://h/x?signature=hunter2")).contains("hunter2"));
    }

    #[test]
    fn what_the_server_says_of_who_asks_comes_first() {
        let agent = Agent::new_with_defaults();
        let said = |header: &[(&str, &str)], known: Option<&str>| {
            let header =
                header.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
            let request = signed(agent.get("https://h/x"), &header, known.map(Secret::new));
            let found = request.headers_ref().and_then(|headers| headers.get(header::AUTHORIZATION).cloned());
            found.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(said(&[("authorization", "RemoteAuth x")], Some("me:pw")).unwrap(), "RemoteAuth x");
        assert_eq!(said(&[("x-y", "z")], Some("me:pw")).unwrap(), "Basic bWU6cHc=");
        assert_eq!(said(&[], None), None);
    }
}
