//! Who asks: tokens of Microsoft Entra ID, by the client credentials grant of OAuth 2.0.

use std::time::Duration;

use reqwest::{Client, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use staith_model::{Secret, causes};
use tokio::{sync::Mutex, time::Instant};

use super::rest::{bounded, complaint};
use crate::traffic::TrafficError;

/// How Azure is told who asks.
#[derive(Clone)]
pub enum SignIn {
    /// A token that somebody else has got. Nobody renews it.
    Token(Secret),
    /// An application of a tenant.
    Client {
        /// Where it is asked: `https://login.microsoftonline.com`.
        login: String,
        /// The tenant's id.
        tenant: String,
        /// The application's id.
        client: String,
        /// The application's secret.
        secret: Secret,
    },
}

/// A token is renewed so long before its end.
const EARLY: Duration = Duration::from_secs(120);

/// The token that is used now.
pub(super) struct Tokens {
    sign_in: SignIn,
    /// What may be asked for with it.
    scope: String,
    kept: Mutex<Option<(Secret, Instant)>>,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(sign_in: SignIn, management: &str) -> Self {
        Self { sign_in, scope: format!("{management}/.default"), kept: Mutex::new(None) }
    }

    /// Whether another one can be had when this is not taken.
    pub(super) const fn renews(&self) -> bool {
        matches!(self.sign_in, SignIn::Client { .. })
    }

    /// A token; `anew` where the one before was not taken.
    pub(super) async fn token(
        &self,
        http: &Client,
        anew: bool,
        what: &'static str,
    ) -> Result<Secret, TrafficError> {
        let (login, tenant, client, secret) = match &self.sign_in {
            SignIn::Token(token) => return Ok(token.clone()),
            SignIn::Client { login, tenant, client, secret } => (login, tenant, client, secret),
        };
        let mut kept = self.kept.lock().await;
        if let Some((token, until)) = kept.as_ref().filter(|(_, until)| !anew && *until > Instant::now()) {
            tracing::trace!(?until, "the token is still good");
            return Ok(token.clone());
        }
        let place = format!("{login}/{tenant}/oauth2/v2.0/token");
        let lost = |why: String| TrafficError::Lost { what, why: format!("{login}: {why}") };
        let mut form = Url::parse("form:").map_err(|error| lost(error.to_string()))?;
        form.query_pairs_mut()
            .append_pair("client_id", client)
            .append_pair("scope", &self.scope)
            .append_pair("grant_type", "client_credentials");
        secret.expose_to(|secret| {
            form.query_pairs_mut().append_pair("client_secret", secret);
        });
        let asked = http
            .post(&place)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        let answer = asked.send().await.map_err(|error| lost(causes(&error.without_url())))?;
        let status = answer.status();
        let body = bounded(answer).await.map_err(lost)?;
        if status.is_server_error() {
            return Err(lost(format!("it answers with {status}")));
        }
        let refused = |why: String| TrafficError::Refused { what, why };
        if !status.is_success() {
            return Err(refused(format!(
                "{login} gives the application {client} of the tenant {tenant} no token ({}); look at `tenant`, `client` and the \
                 secret, which may have expired",
                complaint(status, &body)
            )));
        }
        let given: Given = serde_json::from_slice(&body)
            .map_err(|_| refused(format!("{login} answered with something that is no token")))?;
        let token = Secret::new(given.access_token);
        *kept = Some((
            token.clone(),
            Instant::now() + Duration::from_secs(given.expires_in).saturating_sub(EARLY),
        ));
        Ok(token)
    }
}
