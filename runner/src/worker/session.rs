//! How a runner proves to its server who it is.

use std::time::{Duration, Instant};

use staith_model::{Secret, service::Session};

use super::{
    identity::{Registration, session_asked},
    rooms::Rooms,
};
use crate::{
    client::{Ask, Client, Refused},
    output::Problem,
};

/// A session is renewed when so much of it is over.
const RENEWED_AT: f64 = 0.8;

/// The session of a runner, which is had when it is needed.
#[derive(Debug)]
pub(super) struct Sessions {
    rooms: Rooms,
    registration: Registration,
    current: Option<(Secret, Instant)>,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NoSession {
    /// The server gives no answer, or does not take the session.
    Refused(Refused),
    /// The server does not take the proof.
    Unproven(Refused),
    /// This host can't prove anything.
    Here(Problem),
}

impl Sessions {
    pub(super) const fn new(rooms: Rooms, registration: Registration) -> Self {
        Self { rooms, registration, current: None }
    }

    /// A token that is valid, as far as is known. Cancel-safe.
    pub(super) async fn token(&mut self, client: &Client) -> Result<Secret, NoSession> {
        if let Some((token, until)) = &self.current
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let key = self.rooms.keys().own().map_err(|error| NoSession::Here(error.into()))?;
        let asked = session_asked(&key, &self.registration.runner).map_err(NoSession::Here)?;
        let path = format!("/api/v1/runners/{}/sessions", self.registration.runner);
        let session: Session = client.value(&Ask::post(path, &asked)).await.map_err(|refused| {
            if refused.may_pass() { NoSession::Refused(refused) } else { NoSession::Unproven(refused) }
        })?;
        let token = Secret::new(session.token);
        let valid = Duration::from_millis(session.valid_millis).mul_f64(RENEWED_AT);
        self.current = Some((token.clone(), Instant::now() + valid.min(Duration::from_secs(24 * 3600))));
        Ok(token)
    }

    /// The server does not know the token any more.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }
}
