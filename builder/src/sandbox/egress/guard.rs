//! A proxy between Staith itself and servers that a commit names, for clients that follow redirects and look names up by
//! themselves: each connection of theirs is judged here.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use staith_model::Secret;
use tokio::task::JoinHandle;

use super::{Rules, accept, judge::OfCommits, refusals::Refusals, way::Lookups};
use crate::{addresses::Caution, proxies::Proxies};

/// Serves until it is dropped. Goes through this host's own proxy where there is one.
#[derive(Debug)]
pub(crate) struct Guard {
    task: JoinHandle<()>,
    address: SocketAddr,
    /// Others on this machine can connect; only who knows this is served.
    token: Secret,
    refusals: Refusals,
}

impl Guard {
    /// Opens a port on loopback.
    ///
    /// # Errors
    /// There is no port, or no randomness.
    pub(crate) fn open(caution: Caution) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let basic = BASE64_STANDARD.encode(format!("staith:{token}"));
        let refusals = Refusals::default();
        let rules = Rules {
            judge: Arc::new(OfCommits(caution)),
            allow: None,
            proxies: Arc::new(Proxies::from_environment()),
            lookups: Lookups::default(),
            key: Some(Secret::new(format!("Basic {basic}"))),
            refusals: refusals.clone(),
        };
        let task = tokio::spawn(accept(listener, rules));
        Ok(Self { task, address, token: Secret::new(token), refusals })
    }

    /// Its address, with what it has to be told.
    pub(crate) fn url(&self) -> String {
        self.token.expose_to(|token| format!("http://staith:{token}@{}", self.address))
    }

    /// Why a connection was refused or failed the last time, and whether that was by rule.
    pub(crate) fn last_refusal(&self) -> Option<(String, bool)> {
        self.refusals.last().map(|refusal| (refusal.why.clone(), refusal.status == 403))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}
