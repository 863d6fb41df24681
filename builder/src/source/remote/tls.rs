//! Connections to servers of the web, and what their failures mean.

use std::{io, sync::Arc, time::Duration};

use rustls::CertificateError;
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::{
    Agent, Timeout,
    config::Config,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use crate::{
    addresses::{Caution, Refused},
    proxies::{HostProxy, Proxies},
};

use super::{Reach, address::Web, failure::FetchFailure};

/// How long a name server or a connection may take.
const CONNECTING: Duration = Duration::from_secs(30);

/// What makes connections to a server and where that leads, with this machine's authorities and proxies. Each address that a name
/// turns out to mean is judged by the caution; behind a proxy, which looks names up by itself, only what is written is known.
pub(super) fn agent(web: &Web, reach: &Reach, caution: Caution) -> Result<Agent, FetchFailure> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Followed by hand, because each has to be judged.
        .max_redirects(0)
        .max_redirects_will_error(false)
        // An answer is passed on as it is; git compresses its packs by itself.
        .accept_encoding("identity")
        .timeout_resolve(Some(CONNECTING))
        .timeout_connect(Some(CONNECTING))
        .timeout_per_read(Some(reach.stall))
        .timeout_per_write(Some(reach.stall));
    let (host, port) = web.host_and_port();
    let proxies = Proxies::from_environment();
    // What is not encrypted is on this machine, which a proxy would take itself for.
    let proxy = proxies.for_host(true, host, port).map_err(|bad| FetchFailure::Proxy(bad.to_string()))?;
    config = config.proxy(proxy.filter(|_| web.secure).map(|proxy| to_ureq(proxy, &proxies)).transpose()?);
    let certificates = authorities(reach);
    if web.secure && certificates.is_empty() {
        return Err(FetchFailure::NoAuthorities(web.host.shown()));
    }
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.tls_config(tls.build()).build();
    let proxy = proxy.map(|proxy| proxy.host.clone());
    let judging = Judging { caution, proxy, resolver: DefaultResolver::default() };
    Ok(Agent::with_parts(config, DefaultConnector::default(), judging))
}

fn to_ureq(proxy: &HostProxy, proxies: &Proxies) -> Result<ureq::Proxy, FetchFailure> {
    let mut builder = ureq::Proxy::builder(ureq::ProxyProtocol::Http).host(&proxy.host).port(proxy.port);
    if let Some((user, password)) = proxy.user_and_password() {
        builder = password.expose_to(|password| builder.username(&user).password(password));
    }
    for entry in proxies.none_for() {
        builder = builder.no_proxy(entry);
    }
    builder.build().map_err(|error| FetchFailure::Proxy(super::failure::tamed(&error.to_string())))
}

/// Looks names up, and lets through what may be asked.
#[derive(Debug)]
struct Judging {
    caution: Caution,
    /// Where that is, the person has said.
    proxy: Option<String>,
    resolver: DefaultResolver,
}

impl Resolver for Judging {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if self.proxy.as_deref() != Some(host) {
            for address in found.iter() {
                let judged = self.caution.judge_address(host, address.port(), address.ip());
                judged.map_err(|refused| ureq::Error::Io(io::Error::other(refused)))?;
            }
        }
        Ok(found)
    }
}

fn authorities(reach: &Reach) -> Vec<Certificate<'static>> {
    let CertificateResult { certs, errors, .. } = match &reach.certificates {
        Some(file) => load_certs_from_paths(Some(file), None),
        None => load_native_certs(),
    };
    for error in errors {
        tracing::warn!(%error, "a file of certificates can't be read");
    }
    certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

/// What a failed connection means.
pub(super) fn failure(at: &Web, error: &ureq::Error, stall: Duration) -> FetchFailure {
    let host = at.host.shown();
    match error {
        ureq::Error::HostNotFound => FetchFailure::UnknownHost(at.host.name.clone()),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => FetchFailure::NoConnection {
            host,
            why: format!("no answer for {} seconds", CONNECTING.as_secs()),
        },
        ureq::Error::Timeout(_) => FetchFailure::Stalled { host, after: stall },
        ureq::Error::Rustls(error) => refused(host, error),
        ureq::Error::Io(error) => {
            let inner = || error.get_ref();
            if let Some(not_allowed) = inner().and_then(|inner| inner.downcast_ref::<Refused>()) {
                return FetchFailure::NotAllowed(not_allowed.clone());
            }
            match inner().and_then(|inner| inner.downcast_ref()) {
                Some(error) => refused(host, error),
                None => FetchFailure::of_connection(&host, error, stall),
            }
        }
        ureq::Error::ConnectProxyFailed(why) => FetchFailure::NoConnection {
            host,
            why: format!("the proxy refused: {}", super::failure::tamed(why)),
        },
        other => FetchFailure::NoConnection { host, why: super::failure::tamed(&other.to_string()) },
    }
}

fn refused(host: String, error: &rustls::Error) -> FetchFailure {
    match error {
        rustls::Error::InvalidCertificate(wrong) => FetchFailure::Certificate { host, why: meaning(wrong) },
        other => FetchFailure::NoConnection { host, why: format!("TLS failed: {other}") },
    }
}

fn meaning(wrong: &CertificateError) -> String {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired | Wrong::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "its certificate is not valid yet; check this machine's clock".to_owned()
        }
        Wrong::UnknownIssuer => {
            "its certificate is from an authority that this machine does not know".to_owned()
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        Wrong::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate is wrong: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_turns_out_to_mean_is_judged() {
        let at = Web::parse("http://localhost:9/x").unwrap();
        let why = |caution: Caution| {
            let agent = agent(&at, &Reach::default(), caution).unwrap();
            failure(&at, &agent.get(at.shown()).call().unwrap_err(), CONNECTING)
        };
        assert!(matches!(why(Caution::default()), FetchFailure::NotAllowed(_)));
        assert!(matches!(why(Caution::allowing(["localhost:9"])), FetchFailure::NoConnection { .. }));
    }
}
