//! The way to a registry that the person who runs Staith has named, for others who speak with registries: through this host's
//! proxies, to no special address, with the credentials that docker and podman have here.

use std::net::IpAddr;

use oci_client::secrets::RegistryAuth;
use staith_model::Secret;

use super::credentials;
use crate::{
    addresses::{Caution, host_and_port},
    sandbox::egress::Guard,
};

/// A way that is open until it is dropped.
#[derive(Debug)]
pub struct RegistryWay {
    guard: Guard,
    is_on_loopback: bool,
    credentials: Option<(String, Secret)>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum NoWay {
    /// The system refused a port.
    #[error("can't open a port for the way to {registry}: {source}")]
    Port {
        /// The registry.
        registry: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody vouches for anybody.
    #[error(
        "this machine knows no authorities, so no registry can be trusted; install the package ca-certificates, or set SSL_CERT_FILE"
    )]
    NoAuthorities,
}

impl RegistryWay {
    /// Opens a way to a registry, by its host and, if named, port. The registry itself may be anywhere, because a person named it;
    /// what it leads to may not. Asks helpers for credentials, so it blocks; within a runtime.
    ///
    /// # Errors
    /// There is no port, or the machine knows no authorities.
    pub fn open(registry: &str) -> Result<Self, NoWay> {
        // The client wants a default for the whole process; whoever set one before meant it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return Err(NoWay::NoAuthorities);
        }
        let (host, port) = host_and_port(registry);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_on_loopback =
            bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        // A registry on this machine may lead to others of this machine: it could ask them itself.
        let port = if is_on_loopback { None } else { port };
        let caution = Caution::from_environment().with_origin(bare, port);
        let guard =
            Guard::open(caution).map_err(|source| NoWay::Port { registry: registry.to_owned(), source })?;
        let credentials = match credentials::for_registry(registry) {
            RegistryAuth::Basic(user, password) => Some((user, Secret::new(password))),
            _ => None,
        };
        Ok(Self { guard, is_on_loopback, credentials })
    }

    /// Whether the registry is on this machine: only there may it be spoken with without TLS, and through no proxy.
    pub const fn is_on_loopback(&self) -> bool {
        self.is_on_loopback
    }

    /// The proxy that leads there, as a URL with a password; `None` where none is needed.
    pub fn proxy(&self) -> Option<String> {
        (!self.is_on_loopback).then(|| self.guard.url())
    }

    /// User and password, where this machine has some for it.
    pub fn credentials(&self) -> Option<(String, Secret)> {
        self.credentials.clone()
    }

    /// Why a connection was refused on the way the last time; the client knows only that it was.
    pub fn last_refusal(&self) -> Option<String> {
        self.guard.last_refusal().map(|(why, _)| why)
    }
}
