//! Connections to servers of the web, and what their failures mean.

use std::{sync::Arc, time::Duration};

use rustls::CertificateError;
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::{
    Agent, Timeout,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{Reach, address::Web, failure::FetchFailure};

/// How long a name server or a connection may take.
const CONNECTING: Duration = Duration::from_secs(30);

/// What makes connections, with this machine's authorities and proxies.
pub(super) fn agent(web: &Web, reach: &Reach) -> Result<Agent, FetchFailure> {
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
    if web.host.is_loopback() {
        // This machine as a proxy sees it is another one.
        config = config.proxy(None);
    }
    let certificates = authorities(reach);
    if web.secure && certificates.is_empty() {
        return Err(FetchFailure::NoAuthorities(web.host.shown()));
    }
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Ok(Agent::new_with_config(config.tls_config(tls.build()).build()))
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
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => refused(host, error),
            None => FetchFailure::of_connection(&host, error, stall),
        },
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
