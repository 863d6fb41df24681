//! What an end of a tunnel asks the server.

use std::time::Duration;

use staith_model::{
    Secret, TunnelId,
    service::{TunnelEnd, TunnelNext},
};
use tokio::sync::watch;

use crate::client::{Ask, Client, Refused};

/// How long an answer may wait for something to tell, and a little more.
const WAIT: Duration = Duration::from_secs(11);
/// How much longer it may take.
const ANSWERING: Duration = Duration::from_secs(5);

/// An end of a tunnel.
#[derive(Debug, Clone)]
pub(crate) struct End {
    client: Client,
    /// What proves who asks; a runner's changes every few minutes.
    token: watch::Receiver<Secret>,
    place: String,
    /// What all questions have in their address: a runner's turn.
    more: String,
    hears: &'static str,
    says: &'static str,
}

impl End {
    /// The deployer's.
    pub(super) fn of_deployer(client: Client, token: Secret, tunnel: &TunnelId) -> Self {
        let place = format!("/api/v1/deployer/tunnels/{tunnel}");
        let token = watch::channel(token).1;
        Self { client, token, place, more: String::new(), hears: "up", says: "down" }
    }

    /// A machine's.
    pub(crate) fn of_machine(
        client: Client,
        token: watch::Receiver<Secret>,
        tunnel: &TunnelId,
        turn: u64,
    ) -> Self {
        let place = format!("/api/v1/target/tunnels/{tunnel}");
        Self { client, token, place, more: format!("&turn={turn}"), hears: "down", says: "up" }
    }

    /// Asks for the bytes from an offset on: all before have arrived. None come where none are there yet.
    pub(super) async fn hear(&self, offset: u64, wait: bool) -> Result<Vec<u8>, Refused> {
        let path = format!("{}/{}?offset={offset}&wait={wait}{}", self.place, self.hears, self.more);
        let ask = Ask::get(path)
            .with(&self.token())
            .waiting(WAIT)
            .within(ANSWERING)
            .accepting("application/octet-stream");
        self.client.bytes(&ask).await
    }

    /// Says bytes that begin at an offset; gives the offset of the first that was not taken.
    pub(super) async fn say(&self, offset: u64, bytes: &[u8]) -> Result<u64, Refused> {
        let path = format!("{}/{}?offset={offset}{}", self.place, self.says, self.more);
        let ask = Ask::put(path, bytes.to_vec()).with(&self.token()).waiting(WAIT).within(ANSWERING);
        Ok(self.client.value::<TunnelNext>(&ask).await?.next)
    }

    /// Says that it is over. Where that does not arrive, the server finds out by itself.
    pub(super) async fn over(&self, why: Option<String>) {
        let path = format!("{}/end?{}", self.place, self.more.trim_start_matches('&'));
        let ask = Ask::post(path, &TunnelEnd { why }).with(&self.token());
        if let Err(refused) = self.client.bytes(&ask).await {
            tracing::debug!(%refused, "the end of a tunnel was not taken");
        }
    }

    fn token(&self) -> Secret {
        self.token.borrow().clone()
    }
}
