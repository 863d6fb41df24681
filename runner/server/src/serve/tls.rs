//! The server's certificate.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// A file is not what it should be.
    #[error("{} holds no {what}: {why}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Why it is not.
        why: String,
    },
    /// The certificate and the key don't go together.
    #[error("the certificate can't be used: {0}")]
    Unusable(String),
}

/// Reads a certificate with the ones that vouch for it, and its key, both in PEM.
///
/// # Errors
/// A file can't be read, or both don't go together.
pub fn read(certificate: &Path, key: &Path) -> Result<TlsAcceptor, NoTls> {
    let unreadable = |file: &Path, what, why: String| NoTls::Unreadable { file: file.to_owned(), what, why };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|bad| unreadable(certificate, "certificates in PEM", bad.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "certificates in PEM", "there is none in it".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|bad| unreadable(key, "private key in PEM", bad.to_string()))?;
    let unusable = |bad: rustls::Error| NoTls::Unusable(bad.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
