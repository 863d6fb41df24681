//! Whether a machine is the one that is meant: its key is pinned in the target, or known to OpenSSH. Nothing is trusted because
//! it was seen first.

use std::borrow::Cow;

use russh::{
    Preferred,
    keys::{
        Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate,
        ssh_key::certificate::CertType,
    },
};

use super::{
    error::{SshError, list},
    known_hosts::{KnownHosts, Role},
    pattern::fits,
    settings::Settings,
};

/// By what a host's key is judged.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    name: String,
    basis: Basis,
}

#[derive(Debug, Clone)]
enum Basis {
    Key(PublicKey),
    Fingerprint(String),
    Known { port: KnownHosts, plain: KnownHosts, host: String, looked: String },
}

impl Trust {
    /// What is pinned, or else the known hosts.
    ///
    /// # Errors
    /// What is pinned is no key.
    pub(super) fn of(pinned: Option<&str>, settings: &Settings) -> Result<Self, SshError> {
        let name = settings.key_name();
        let basis = match pinned {
            Some(text) => pin(text)?,
            None => known(settings, &name),
        };
        Ok(Self { name, basis })
    }

    /// Judges what a host shows. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// It is not known, another one, or revoked; or its certificate does not hold.
    pub(super) fn judge(&self, shown: &PublicKeyOrCertificate, now: u64) -> Result<(), SshError> {
        let key = shown.public_key();
        match &self.basis {
            Basis::Key(pinned) if pinned.key_data() == key.key_data() => Ok(()),
            Basis::Key(pinned) => {
                Err(self.changed(&key, "the target's `host_key`".into(), fingerprint(pinned)))
            }
            Basis::Fingerprint(pinned) if *pinned == fingerprint(&key) => Ok(()),
            Basis::Fingerprint(pinned) => {
                Err(self.changed(&key, "the target's `host_key`".into(), pinned.clone()))
            }
            Basis::Known { port, plain, host, looked } => {
                let revoked = |key: &PublicKey| {
                    let mut both = port.of(Role::Revoked).chain(plain.of(Role::Revoked));
                    both.find(|entry| entry.key.key_data() == key.key_data())
                };
                let authority =
                    shown.certificate().map(|shown| PublicKey::new(shown.signature_key().clone(), ""));
                if let Some(entry) = revoked(&key).or_else(|| authority.as_ref().and_then(revoked)) {
                    return Err(SshError::RevokedKey {
                        host: self.name.clone(),
                        fingerprint: fingerprint(&key),
                        place: entry.place.clone(),
                    });
                }
                if let Some(certificate) = shown.certificate() {
                    let entries = [port, plain];
                    if entries.iter().any(|known| vouched(certificate, known)) {
                        return valid(certificate, host, now)
                            .map_err(|why| SshError::HostCertificate { host: self.name.clone(), why });
                    }
                }
                self.judge_plain(&key, port, plain, looked)
            }
        }
    }

    fn judge_plain(
        &self,
        key: &PublicKey,
        port: &KnownHosts,
        plain: &KnownHosts,
        looked: &str,
    ) -> Result<(), SshError> {
        let has =
            |known: &KnownHosts| known.of(Role::Host).any(|entry| entry.key.key_data() == key.key_data());
        if has(port) {
            return Ok(());
        }
        // OpenSSH takes a key of another kind for changed as well: somebody in between would simply show a kind that is not known.
        let same_kind = port.of(Role::Host).find(|entry| entry.key.algorithm() == key.algorithm());
        if let Some(entry) = same_kind.or_else(|| port.of(Role::Host).next()) {
            return Err(self.changed(key, entry.place.clone(), fingerprint(&entry.key)));
        }
        // As OpenSSH does: a key that is known for the host without its port is known.
        if has(plain) {
            return Ok(());
        }
        Err(SshError::UnknownKey {
            host: self.name.clone(),
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
            line: PublicKey::new(key.key_data().clone(), "")
                .to_openssh()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            looked: looked.into(),
        })
    }

    fn changed(&self, key: &PublicKey, place: String, expected: String) -> SshError {
        SshError::ChangedKey {
            host: self.name.clone(),
            algorithm: key.algorithm().to_string(),
            fingerprint: fingerprint(key),
            place,
            expected,
        }
    }

    /// Kinds of keys in the order in which they are asked for: those that are known for this host come first, and certificates
    /// only where somebody may sign them. `without` are kinds that were shown and were not the pinned ones.
    pub(super) fn prefer(&self, preferred: &mut Preferred, configured: &[String], without: &[Algorithm]) {
        let mut kinds = all_kinds();
        if !configured.is_empty() {
            let place = |kind: &Algorithm| configured.iter().position(|name| *name == kind.to_string());
            kinds.retain(|kind| place(kind).is_some());
            kinds.sort_by_key(place);
        }
        let plain = |kind: &Algorithm| match kind {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
            other => other.clone(),
        };
        kinds.retain(|kind| !without.contains(&plain(kind)));
        let known: Vec<Algorithm> = match &self.basis {
            Basis::Key(key) => vec![key.algorithm()],
            Basis::Fingerprint(_) => Vec::new(),
            Basis::Known { port, plain, .. } => {
                let first = port.of(Role::Host).map(|entry| entry.key.algorithm()).collect::<Vec<_>>();
                if first.is_empty() {
                    plain.of(Role::Host).map(|entry| entry.key.algorithm()).collect()
                } else {
                    first
                }
            }
        };
        kinds.sort_by_key(|kind| !known.contains(&plain(kind)));
        if let Basis::Known { port, plain, .. } = &self.basis
            && port.of(Role::Authority).chain(plain.of(Role::Authority)).next().is_some()
        {
            preferred.host_key_certificates = Cow::Owned(kinds.clone());
        }
        preferred.key = Cow::Owned(kinds);
    }

    /// Whether the host may have a key that fits, of a kind that it was not asked for: only a fingerprint is pinned.
    pub(super) fn may_fit_another_kind(&self) -> bool {
        matches!(self.basis, Basis::Fingerprint(_))
    }
}

fn all_kinds() -> Vec<Algorithm> {
    let ecdsa = [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521]
        .map(|curve| Algorithm::Ecdsa { curve });
    let rsa = [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) });
    [Algorithm::Ed25519].into_iter().chain(ecdsa).chain(rsa).collect()
}

fn pin(text: &str) -> Result<Basis, SshError> {
    let text = text.trim();
    let wrong = |why: String| SshError::Pin { text: text.into(), why };
    if let Some(hash) = text.strip_prefix("SHA256:") {
        return match hash.len() {
            43 => Ok(Basis::Fingerprint(text.into())),
            _ => Err(wrong("a SHA256 fingerprint has 43 letters after its colon".into())),
        };
    }
    if text.starts_with("MD5:") {
        return Err(wrong("MD5 fingerprints can be forged".into()));
    }
    PublicKey::from_openssh(text).map(Basis::Key).map_err(|error| wrong(error.to_string()))
}

fn known(settings: &Settings, name: &str) -> Basis {
    let host = settings.host_key_alias.as_ref().unwrap_or(&settings.host_name).to_lowercase();
    let port = KnownHosts::read(&settings.known_hosts, name);
    let plain =
        if host == name { KnownHosts::default() } else { KnownHosts::read(&settings.known_hosts, &host) };
    let mut looked = list(&port.files);
    if !port.unread.is_empty() {
        looked = format!("{looked} (unreadable: {})", port.unread.join(", "));
    }
    Basis::Known { port, plain, host, looked }
}

/// Whether an authority that is known for the host signed a certificate.
fn vouched(certificate: &Certificate, known: &KnownHosts) -> bool {
    known.of(Role::Authority).any(|entry| entry.key.key_data() == certificate.signature_key())
}

/// What is left to check of a certificate whose authority is known.
fn valid(certificate: &Certificate, host: &str, now: u64) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("it is one for users".into());
    }
    // A certificate for no name is one for every name; OpenSSH refuses such ones for hosts, too.
    if !certificate.valid_principals().iter().any(|name| fits(&name.to_lowercase(), host)) {
        return Err(format!("it is for {}, and not for {host}", certificate.valid_principals().join(", ")));
    }
    if certificate.critical_options().iter().next().is_some() {
        return Err("it has critical options, of which hosts have none".into());
    }
    if now < certificate.valid_after() || now >= certificate.valid_before() {
        return Err("it is not valid yet, or no longer".into());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&authority]).map_err(|error| format!("its signature is wrong: {error}"))
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_keys_or_fingerprints() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let Basis::Key(read) = pin(&format!(" {key} me@there\n")).unwrap() else { panic!("no key") };
        assert!(matches!(pin(&fingerprint(&read)).unwrap(), Basis::Fingerprint(_)));
        for (text, told) in
            [("SHA256:short", "43"), ("MD5:aa:bb", "forged"), ("ssh-ed25519", ""), ("", ""), ("x y", "")]
        {
            assert!(pin(text).unwrap_err().to_string().contains(told), "{text}");
        }
    }

    #[test]
    fn kinds_that_are_known_come_first() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let trust = Trust { name: "web".into(), basis: pin(key).unwrap() };
        let order = |configured: &[&str], without: &[Algorithm]| {
            let mut preferred = Preferred::default();
            let configured: Vec<String> = configured.iter().map(|name| (*name).into()).collect();
            trust.prefer(&mut preferred, &configured, without);
            preferred.key.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(order(&["rsa-sha2-512", "ssh-ed25519"], &[]), ["ssh-ed25519", "rsa-sha2-512"]);
        assert_eq!(order(&["rsa-sha2-512", "ssh-ed25519"], &[Algorithm::Ed25519]), ["rsa-sha2-512"]);
    }
}
