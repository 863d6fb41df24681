//! What the deployer says to its server, and hears.

use std::time::Duration;

use staith_model::{
    Name, Secret,
    service::{LedgerHad, LedgerPart, OrderAnswer, Orders},
};
use staith_packager::registry::client::Settings;
use staith_server::{secrets::ReleaseSecrets, store::ReleaseSecretsAsked};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Address, Ask, Client, Patience, Refused},
    output::Problem,
    tunnel::Through,
};

/// How long an answer may wait for an order, and a little more.
const WAIT: Duration = Duration::from_secs(6);
/// How long a server that does not answer is asked again, where somebody waits for what it says.
const AWAY: Duration = Duration::from_secs(10);
/// The user that it is for the server's registry; what proves it is its token.
const USER: &str = "deployer";

/// The way to the server.
pub(super) struct Desk {
    client: Client,
    address: Address,
    token: Secret,
}

impl Desk {
    pub(super) fn new(address: &Address, token: Secret) -> Result<Self, Problem> {
        Ok(Self { client: Client::new(address)?, address: address.clone(), token })
    }

    /// What is to be done after that order, and what protects environments now.
    pub(super) async fn orders(&self, after: u64, wait: bool) -> Result<Orders, Refused> {
        let ask = Ask::get(format!("/api/v1/deployer/orders?after={after}&wait={wait}"));
        self.client.value(&ask.with(&self.token).waiting(WAIT)).await
    }

    /// Answers an order, however long that takes: it would be given again otherwise.
    pub(super) async fn answer(&self, order: u64, answer: &OrderAnswer) {
        let ask = Ask::post(format!("/api/v1/deployer/orders/{order}"), answer).with(&self.token);
        let mut patience = Patience::default();
        while let Err(refused) = self.client.bytes(&ask).await {
            tracing::warn!(%refused, order, "the answer to an order was not taken");
            if !refused.may_pass() {
                return;
            }
            sleep(patience.failed()).await;
        }
    }

    /// Tells more of a ledger; how much of it the server has then.
    pub(super) async fn mirror(&self, part: &LedgerPart) -> Result<LedgerHad, Refused> {
        self.client.value(&Ask::post("/api/v1/deployer/ledger", part).with(&self.token)).await
    }

    /// Secrets of an environment, for a release there.
    pub(super) async fn secrets(&self, asked: &ReleaseSecretsAsked) -> Result<ReleaseSecrets, Refused> {
        let ask = Ask::post("/api/v1/deployer/secrets", asked).with(&self.token);
        self.client.value_within(&ask, AWAY).await
    }

    /// The way to machines of an environment that pull.
    pub(super) fn through(&self, project: &Name, environment: &Name) -> Through {
        Through {
            client: self.client.clone(),
            token: self.token.clone(),
            project: project.clone(),
            environment: environment.clone(),
        }
    }

    /// The packages of a project, as its registry.
    ///
    /// # Errors
    /// The file of the server's authority can't be read.
    pub(super) fn registry(&self, project: &str) -> Result<Settings, Problem> {
        Ok(Settings {
            authorities: self.address.certificates()?,
            registry: self.address.host_and_port().to_owned(),
            prefix: project.to_owned(),
            at: self.address.at(),
            is_plain: !self.address.is_encrypted(),
            proxy: None,
            credentials: Some((USER.to_owned(), self.token.clone())),
            notes: None,
            stop: CancellationToken::new(),
        })
    }
}
