//! The reverse proxy that the keeper is.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::Release;

use super::{Traffic, TrafficError, TrafficState};
use crate::{
    health::{Health, Nowhere, Question, Subject, Whereabouts, watch},
    host::{
        Done,
        link::{KeeperLink, Meaning, meaning},
    },
    keeper::{KeeperError, Pool},
};

/// The longest that the front door is asked after a switch. The release is known to be healthy by then; what could
/// still be wrong is on the way to it, and that does not start slowly.
const FRONT_DOOR: Duration = Duration::from_secs(10);

/// The built-in reverse proxy.
#[derive(Debug, Clone)]
pub struct BuiltInProxy {
    link: KeeperLink,
}

impl BuiltInProxy {
    /// The proxy of the keeper that `link` reaches.
    pub fn new(link: KeeperLink) -> Self {
        Self { link }
    }
}

#[async_trait]
impl Traffic for BuiltInProxy {
    async fn observe(&self) -> Result<TrafficState, TrafficError> {
        let status = self.link.status().await.map_err(|error| told(error, "tell who gets requests"))?;
        let Some(status) = status else { return Ok(TrafficState::default()) };
        Ok(TrafficState {
            active: status.active,
            listen: Some(status.listen),
            in_flight: status.pools.iter().map(|(pool, status)| (*pool, status.in_flight)).collect(),
        })
    }

    async fn switch(&self, epoch: u64, to: Pool) -> Result<Done, TrafficError> {
        if self.observe().await?.active == Some(to) {
            return Ok(Done::ALREADY);
        }
        let refused = |error| told(error, "switch requests");
        self.link.keeper().await.map_err(refused)?.switch(epoch, to).await.map_err(refused)?;
        Ok(Done::NOW)
    }

    async fn abandon(&self, epoch: u64, pool: Pool) -> Result<Done, TrafficError> {
        if self.observe().await?.active != Some(pool) {
            return Ok(Done::ALREADY);
        }
        let refused = |error| told(error, "take requests away from a pool");
        self.link.keeper().await.map_err(refused)?.abandon(epoch, pool).await.map_err(refused)?;
        Ok(Done::NOW)
    }

    async fn drain(&self, epoch: u64, pool: Pool, deadline: Duration) -> Result<u64, TrafficError> {
        let refused = |error| told(error, "let a pool finish its requests");
        self.link.keeper().await.map_err(refused)?.drain(epoch, pool, deadline).await.map_err(refused)
    }

    async fn verify(&self, release: &Release) -> Result<Health, TrafficError> {
        let deadline = Duration::from_secs(release.health.deadline_seconds);
        let question = Question {
            check: &release.health,
            release: release.digest(),
            deadline: deadline.min(FRONT_DOOR),
            prove_process: false,
        };
        let health = watch(&FrontDoor(&self.link), &question).await;
        if !health.is_healthy() && self.observe().await?.listen.is_none() {
            let (what, why) = ("be asked for the release", "it does not run any more".into());
            return Err(TrafficError::Lost { what, why });
        }
        Ok(health)
    }
}

/// Where a listener can be reached from this machine: one on all addresses is reached on loopback.
pub(crate) fn dialable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

struct FrontDoor<'a>(&'a KeeperLink);

#[async_trait]
impl Subject for FrontDoor<'_> {
    async fn whereabouts(&self) -> Result<Whereabouts, Nowhere> {
        let status = self.0.status().await.map_err(|error| Nowhere::Yet(error.to_string()))?;
        let status = status.ok_or_else(|| Nowhere::GivenUp("the keeper does not run".into()))?;
        Ok(Whereabouts { address: dialable(status.listen), pid: None, folder: None })
    }
}

fn told(error: KeeperError, what: &'static str) -> TrafficError {
    match meaning(&error) {
        Meaning::Fenced => TrafficError::Fenced { why: error.to_string() },
        Meaning::Lost => TrafficError::Lost { what, why: error.to_string() },
        Meaning::Refused => TrafficError::Refused { what, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
        ] {
            assert_eq!(dialable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
