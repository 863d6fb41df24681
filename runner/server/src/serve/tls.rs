//! The server's certificate.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

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
    /// Nobody who asks for anything would believe it.
    #[error("the certificate in {} is good for no name of a host and for no address", .0.display())]
    Nameless(PathBuf),
}

fn unreadable(file: &Path, what: &'static str, why: String) -> NoTls {
    NoTls::Unreadable { file: file.to_owned(), what, why }
}

fn chain(certificate: &Path) -> Result<Vec<CertificateDer<'static>>, NoTls> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|bad| unreadable(certificate, "certificates in PEM", bad.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "certificates in PEM", "there is none in it".to_owned()));
    }
    Ok(chain)
}

/// A name or an address that the certificate is good for: the first of those that are wished for, else one of its own.
///
/// # Errors
/// The file can't be read, or the certificate is good for none.
pub fn name_of(certificate: &Path, wished: &[String]) -> Result<String, NoTls> {
    let chain = chain(certificate)?;
    let leaf = EndEntityCert::try_from(&chain[0]).map_err(|bad| NoTls::Unusable(bad.to_string()))?;
    let is_good_for = |name: &str| {
        ServerName::try_from(name).is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if let Some(name) = wished.iter().find(|name| is_good_for(name)) {
        return Ok(name.clone());
    }
    // Any name does where one stands for all.
    let mut own = leaf.valid_dns_names().map(|name| name.replacen('*', "staith", 1));
    own.find(|name| is_good_for(name)).ok_or_else(|| NoTls::Nameless(certificate.to_owned()))
}

/// Reads a certificate with the ones that vouch for it, and its key, both in PEM.
///
/// # Errors
/// A file can't be read, or both don't go together.
pub fn read(certificate: &Path, key: &Path) -> Result<TlsAcceptor, NoTls> {
    let chain = chain(certificate)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_asked_by_a_name_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.pem");
        let asked = |names: &[&str], wished: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            std::fs::write(&file, made.cert.pem()).unwrap();
            name_of(&file, &wished.iter().map(ToString::to_string).collect::<Vec<_>>()).ok()
        };
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(asked(&["127.0.0.1"], &["127.0.0.1"]), is("127.0.0.1"));
        assert_eq!(asked(&["a.example", "b.example"], &["127.0.0.1", "b.example"]), is("b.example"));
        assert_eq!(asked(&["a.example", "b.example"], &["127.0.0.1"]), is("a.example"));
        assert_eq!(asked(&["*.example.org"], &["ci.example.org"]), is("ci.example.org"));
        assert_eq!(asked(&["*.example.org"], &["127.0.0.1"]), is("staith.example.org"));
        assert_eq!(asked(&["10.0.0.7"], &["127.0.0.1"]), None, "nobody asks by that on this machine");
    }
}
