//! One request to Azure Resource Manager and its answer.

use std::time::Duration;

use reqwest::{
    Client, Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;
use serde_json::json;
use staith_model::causes;

use super::{
    next::Change,
    report::Endpoint,
    token::{SignIn, Tokens},
};
use crate::traffic::TrafficError;

/// The newest version of the interface that is no preview.
const VERSION: &str = "2022-04-01";

/// All of one request, from the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a request is made that is told to come later.
const TRIES: u32 = 4;

/// The longest that one is told to wait and does.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What is waited for where nobody says how long.
const PAUSE: Duration = Duration::from_secs(2);

/// A profile has 200 endpoints at most.
const LONGEST: usize = 4 << 20;

/// A profile's place, and who asks there.
pub(super) struct Rest {
    http: Client,
    management: String,
    /// The profile's resource id, from its first `/` on.
    profile: String,
    tokens: Tokens,
}

impl Rest {
    pub(super) fn new(management: &str, profile: &str, sign_in: SignIn) -> Result<Self, TrafficError> {
        // One may be there already, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // What is not encrypted is on this machine, and is asked directly.
        let here = management.starts_with("http://");
        let builder = if here { Client::builder().no_proxy() } else { Client::builder() };
        let http = builder
            .user_agent(concat!("staith/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            // A token is for this address, and not for one that it names.
            .redirect(Policy::none())
            .build()
            .map_err(|error| TrafficError::Refused {
                what: "be asked over HTTP",
                why: format!("{}; see that the proxy variables hold addresses", causes(&error)),
            })?;
        let management = management.trim_end_matches('/').to_owned();
        let tokens = Tokens::new(sign_in, &management);
        let profile = format!("/{}", profile.trim_matches('/'));
        Ok(Self { http, management, profile, tokens })
    }

    #[cfg(test)]
    pub(super) fn management(&self) -> &str {
        &self.management
    }

    /// The profile with its endpoints.
    pub(super) async fn profile(&self, what: &'static str) -> Result<Vec<u8>, TrafficError> {
        self.ask(Method::GET, &[], None, what).await
    }

    /// Changes status or weight of one endpoint, and nothing else of it.
    pub(super) async fn change(
        &self,
        endpoint: &Endpoint,
        change: &Change,
        what: &'static str,
    ) -> Result<(), TrafficError> {
        let mut properties = serde_json::Map::new();
        if let Some(enabled) = change.enabled {
            let status = if enabled { "Enabled" } else { "Disabled" };
            properties.insert("endpointStatus".into(), json!(status));
        }
        if let Some(weight) = change.weight {
            properties.insert("weight".into(), json!(weight));
        }
        let body = json!({
            "id": format!("{}/{}/{}", self.profile, endpoint.kind, endpoint.name),
            "name": endpoint.name,
            "type": format!("Microsoft.Network/trafficManagerProfiles/{}", endpoint.kind),
            "properties": properties,
        });
        let place = [endpoint.kind.as_str(), &endpoint.name];
        self.ask(Method::PATCH, &place, Some(body.to_string()), what).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        below: &[&str],
        body: Option<String>,
        what: &'static str,
    ) -> Result<Vec<u8>, TrafficError> {
        let url = self.place(below).map_err(|why| TrafficError::Refused { what, why })?;
        let lost = |why: String| TrafficError::Lost { what, why: format!("{}: {why}", self.management) };
        let (mut tries, mut anew) = (0, false);
        loop {
            tries += 1;
            let token = self.tokens.token(&self.http, anew, what).await?;
            let request = self.http.request(method.clone(), url.clone());
            let mut request = token.expose_to(|token| request.bearer_auth(token));
            if let Some(body) = &body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
            }
            let answer = request.send().await.map_err(|error| lost(causes(&error.without_url())))?;
            let (status, pause) = (answer.status(), pause(&answer));
            let said = bounded(answer).await.map_err(lost)?;
            if status.is_success() {
                return Ok(said);
            }
            if status == StatusCode::UNAUTHORIZED && self.tokens.renews() && !anew {
                anew = true;
                continue;
            }
            let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            if later && tries < TRIES {
                tokio::time::sleep(pause).await;
                continue;
            }
            return Err(self.refused(status, &said, what));
        }
    }

    fn place(&self, below: &[&str]) -> Result<Url, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{} is no address: {error}", self.management);
        let mut url =
            Url::parse(&format!("{}{}", self.management, self.profile)).map_err(|error| wrong(&error))?;
        url.path_segments_mut().map_err(|()| wrong(&"it has no path"))?.extend(below);
        url.query_pairs_mut().append_pair("api-version", VERSION);
        Ok(url)
    }

    fn refused(&self, status: StatusCode, said: &[u8], what: &'static str) -> TrafficError {
        let complaint = complaint(status, said);
        let hint = match status {
            StatusCode::UNAUTHORIZED => {
                "the token is not taken: see that it is for Azure Resource Manager and has not expired"
            }
            StatusCode::FORBIDDEN => {
                "whoever asks may not do that: the role `Traffic Manager Contributor` for the profile is enough"
            }
            StatusCode::NOT_FOUND => {
                "there is no such profile or endpoint: compare `profile` with the resource id that Azure shows"
            }
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "somebody else changes it just now",
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => "try again later",
            _ => "see what it says",
        };
        let why = format!("{} answered {complaint}; {hint}", self.management);
        let passes = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED
            );
        if passes { TrafficError::Lost { what, why } } else { TrafficError::Refused { what, why } }
    }
}

/// How long is to be waited before the next try.
fn pause(answer: &Response) -> Duration {
    let said = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    said.map_or(PAUSE, Duration::from_secs).min(LONGEST_PAUSE)
}

/// A body that has an end.
pub(super) async fn bounded(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| causes(&error.without_url()))? {
        if bytes.len() + piece.len() > LONGEST {
            return Err(format!("an answer of more than {LONGEST} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Azure Resource Manager has an object, Entra ID a word and a text beside it.
#[derive(Deserialize)]
struct Complaint {
    error: Error,
    error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Error {
    Object { code: String, message: Option<String> },
    Word(String),
}

/// What an answer that is no good one says, in one line.
pub(super) fn complaint(status: StatusCode, said: &[u8]) -> String {
    let (code, message) = match serde_json::from_slice(said) {
        Ok(Complaint { error: Error::Object { code, message }, .. }) => (code, message),
        Ok(Complaint { error: Error::Word(word), error_description }) => (word, error_description),
        Err(_) => return status.to_string(),
    };
    let message = message.unwrap_or_default();
    let line = message.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(300).collect();
    let code: String = code.chars().filter(|letter| !letter.is_control()).take(100).collect();
    format!("{} {code}: {line}", status.as_u16())
}
