//! One question and its answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{
    Client, Method, Proxy, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use staith_model::{Secret, causes, service::Trust};

use super::{ClientError, Settings};
use crate::registry::TRUST;

const CONNECTING: Duration = Duration::from_secs(20);
/// How long a registry may say nothing. Some read all of a large blob before they answer that it is there.
const SILENT: Duration = Duration::from_secs(120);
/// The longest answer that is read into memory.
const LONGEST: usize = 8 << 20;
/// Of a refusal, this much is read.
const LONGEST_REFUSAL: usize = 64 << 10;
/// Of a refusal, this much is shown.
const SHOWN: usize = 600;

/// Whoever asks one registry.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    registry: String,
    base: String,
    credentials: Option<(String, Secret)>,
    /// What to say in `Authorization`, by repository.
    signed: Mutex<HashMap<String, Secret>>,
}

/// An answer that fits into memory.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) bytes: Vec<u8>,
    /// Its `Content-Type`.
    pub(super) kind: Option<String>,
    /// What the registry says of its maker, where it does.
    pub(super) trust: Option<Trust>,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, ClientError> {
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let scheme = if settings.is_plain { "http" } else { "https" };
        let unusable = |error: reqwest::Error| ClientError::Client(causes(&error));
        let mut builder = Client::builder()
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECTING)
            .read_timeout(SILENT)
            // Also after a redirection.
            .https_only(!settings.is_plain)
            .no_proxy();
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(Proxy::all(proxy).map_err(unusable)?);
        }
        if let Some(authorities) = &settings.authorities {
            builder = builder.tls_certs_only(authorities.iter().cloned());
        }
        if let Some(at) = settings.at {
            let host = settings.registry.rsplit_once(':').map_or(&*settings.registry, |(host, _)| host);
            builder = builder.resolve(host, at);
        }
        Ok(Self {
            client: builder.build().map_err(unusable)?,
            registry: settings.registry.clone(),
            base: format!("{scheme}://{}", settings.registry),
            credentials: settings.credentials.clone(),
            signed: Mutex::default(),
        })
    }

    /// A place of this registry as a URL: what it says itself may be a path or a whole URL.
    pub(super) fn url(&self, place: &str) -> String {
        if place.starts_with('/') { format!("{}{place}", self.base) } else { place.to_owned() }
    }

    fn is_ours(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    /// Asks, and asks again with what the registry wants to know of us. `fill` completes the request; it is called for each
    /// attempt.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        repository: &str,
        fill: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let mut challenged = false;
        loop {
            let mut request = fill(self.client.request(method.clone(), url));
            if self.is_ours(url)
                && let Some(value) = self.signature(repository)
            {
                request = request.header(AUTHORIZATION, value);
            }
            let response = request.send().await.map_err(|error| self.away(&error))?;
            if response.status() != StatusCode::UNAUTHORIZED || challenged || !self.is_ours(url) {
                return Ok(response);
            }
            challenged = true;
            self.sign_in(&response, repository).await?;
        }
    }

    fn signature(&self, repository: &str) -> Option<HeaderValue> {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = signed.get(repository)?.expose_to(HeaderValue::from_str).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Does what `WWW-Authenticate` says: user and password at once, or for a token of another server's.
    async fn sign_in(&self, response: &Response, repository: &str) -> Result<(), ClientError> {
        let challenges =
            response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|it| it.to_str().ok());
        let mut wanted = None;
        for challenge in challenges {
            let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                wanted = Some(self.token(rest, repository).await?);
            } else if scheme.eq_ignore_ascii_case("basic") && wanted.is_none() {
                wanted = self.basic();
            }
        }
        let value = wanted.ok_or_else(|| self.refused("it does not give this to everybody".to_owned()))?;
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned(), value);
        Ok(())
    }

    fn basic(&self) -> Option<Secret> {
        let (user, password) = self.credentials.as_ref()?;
        let basic = password.expose_to(|password| BASE64_STANDARD.encode(format!("{user}:{password}")));
        Some(Secret::new(format!("Basic {basic}")))
    }

    async fn token(&self, challenge: &str, repository: &str) -> Result<Secret, ClientError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let said = parameters(challenge);
        let realm = said
            .get("realm")
            .filter(|realm| realm.starts_with("https://") || self.base.starts_with("http://"));
        let realm =
            realm.ok_or_else(|| self.refused("it does not say where to sign in safely".to_owned()))?;
        let mut url = reqwest::Url::parse(realm)
            .map_err(|why| self.refused(format!("it says to sign in at no address: {why}")))?;
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = said.get("service") {
                query.append_pair("service", service);
            }
            let scope = format!("repository:{repository}:pull,push");
            // Whoever only pulls may not be given a token for more.
            query.append_pair("scope", said.get("scope").unwrap_or(&scope));
        }
        let mut request = self.client.get(url);
        if let Some(basic) = self.basic().and_then(|basic| basic.expose_to(HeaderValue::from_str).ok()) {
            request = request.header(AUTHORIZATION, basic);
        }
        let response = request.send().await.map_err(|error| self.away(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let bytes = self.bounded(response, LONGEST_REFUSAL).await?;
        let given: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = given.and_then(|given| given.token.or(given.access_token));
        let token = token.ok_or_else(|| self.refused("it signs in without giving a token".to_owned()))?;
        Ok(Secret::new(format!("Bearer {token}")))
    }

    /// Something small; `None` if it is not there.
    pub(super) async fn small(
        &self,
        place: &str,
        repository: &str,
        kinds: &[&str],
    ) -> Result<Option<Small>, ClientError> {
        let accept = kinds.join(", ");
        let fill = |request: RequestBuilder| {
            if accept.is_empty() { request } else { request.header(ACCEPT, &accept) }
        };
        let response = self.ask(Method::GET, &self.url(place), repository, fill).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(response).await),
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header(CONTENT_TYPE.as_str()).map(str::to_owned);
        let trust = header(TRUST).and_then(|trust| trust.parse().ok());
        Ok(Some(Small { bytes: self.bounded(response, LONGEST).await?, kind, trust }))
    }

    async fn bounded(&self, mut response: Response, most: usize) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.away(&error))? {
            if bytes.len() + piece.len() > most {
                let why = format!("an answer of more than {most} bytes, where some kilobytes are usual");
                return Err(ClientError::Unsound { registry: self.registry.clone(), why });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// What an answer that is no success means.
    pub(super) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let said = self.bounded(response, LONGEST_REFUSAL).await.unwrap_or_default();
        let why = format!("{status}: {}", told(&said));
        if status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        {
            return ClientError::Away { registry: self.registry.clone(), why };
        }
        self.refused(why)
    }

    fn refused(&self, why: String) -> ClientError {
        let remedy = format!(
            "check the name; if it is not for everybody, `docker login {0}`, `podman login` or `skopeo login {0}` first, with the rights that \
             this needs",
            self.registry
        );
        ClientError::Refused { registry: self.registry.clone(), why, remedy }
    }

    pub(super) fn away(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Away { registry: self.registry.clone(), why: causes(error) }
    }
}

/// The parameters of a challenge: `realm="...",service="..."`.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        found.insert(name.trim_matches([',', ' ']).to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
    found
}

/// The words of a refusal, made harmless: what a stranger's server says may be anything.
fn told(said: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Errors>(said) {
        Ok(Errors { errors }) => {
            let words: Vec<String> =
                errors.iter().map(|one| format!("{} {}", one.code, one.message)).collect();
            words.join("; ")
        }
        Err(_) => String::from_utf8_lossy(said).into_owned(),
    };
    let harmless: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if harmless.trim().is_empty() { "it says no more".to_owned() } else { harmless }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let said = parameters(
            "realm=\"https://auth.example.org/token\",service=\"registry, of\", scope=\"repository:a:pull,push\"",
        );
        assert_eq!(said["realm"], "https://auth.example.org/token");
        assert_eq!(said["service"], "registry, of");
        assert_eq!(said["scope"], "repository:a:pull,push");
        assert!(parameters("realm=\"x").is_empty() && parameters("").is_empty());
    }

    #[test]
    fn what_strangers_say_is_made_harmless() {
        let json = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"},{"code":"X"}]}"#;
        assert_eq!(told(json), "DENIED no[31m; X ");
        assert_eq!(told(b""), "it says no more");
        assert_eq!(told(&[b'x'; 5000]).len(), SHOWN);
    }
}
