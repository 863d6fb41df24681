//! Which keys are shown to a machine, in OpenSSH's order.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, agent::AgentIdentity, decode_secret_key};

use super::settings::Settings;

/// A key, perhaps with a certificate, and who can sign with it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The public half.
    pub(super) key: PublicKey,
    /// What vouches for it.
    pub(super) certificate: Option<Certificate>,
    /// Who signs.
    pub(super) signer: Signer,
    /// Where it is from, for people.
    pub(super) from: String,
}

/// Who signs with a key.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    /// The agent, which has exactly this key or certificate.
    Agent,
    /// The agent, which has the key but not the certificate.
    AgentByKey,
    /// The private key.
    File(Arc<PrivateKey>),
}

/// What is shown, in order, and what is not shown and why.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// What is shown.
    pub(super) offered: Vec<Identity>,
    /// What is not, and why.
    pub(super) left_out: Vec<String>,
}

/// A key or certificate that a file names.
#[derive(Clone)]
struct Filed {
    key: PublicKey,
    certificate: Option<Certificate>,
    secret: Option<Arc<PrivateKey>>,
    why_not: Option<String>,
    from: String,
}

impl Identities {
    /// Reads the files that the configuration names, and puts them in order with what the agent has: keys of the agent that the
    /// configuration names come first, then the agent's others, then the other files, as in OpenSSH.
    pub(super) fn gather(settings: &Settings, agent: &[AgentIdentity]) -> Self {
        let mut left_out = Vec::new();
        let mut filed = files(settings, &mut left_out);
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for held in agent {
            let certificate = certificate_of(held);
            let same = |file: &Filed| {
                file.key.key_data() == held.public_key().key_data()
                    && file.certificate.as_ref() == certificate
            };
            let place = filed.iter().position(same);
            let from = match place.map(|place| filed.remove(place)) {
                Some(file) => format!("{} (by the agent)", file.from),
                None if settings.identities_only => continue,
                None => format!("the agent's `{}`", held.comment()),
            };
            let found = Identity {
                key: held.public_key().into_owned(),
                certificate: certificate.cloned(),
                signer: Signer::Agent,
                from,
            };
            if place.is_some() { named.push(found) } else { others.push(found) }
        }
        named.append(&mut others);
        for file in filed {
            match signer(&file, agent) {
                Some(signer) => named.push(Identity {
                    key: file.key,
                    certificate: file.certificate,
                    signer,
                    from: file.from,
                }),
                None => left_out.push(format!(
                    "{}: {}",
                    file.from,
                    file.why_not.unwrap_or_else(|| "no private key".into())
                )),
            }
        }
        Self { offered: named, left_out }
    }
}

fn certificate_of(held: &AgentIdentity) -> Option<&Certificate> {
    match held {
        AgentIdentity::Certificate { certificate, .. } => Some(certificate),
        AgentIdentity::PublicKey { .. } => None,
    }
}

fn signer(file: &Filed, agent: &[AgentIdentity]) -> Option<Signer> {
    if let Some(secret) = &file.secret {
        return Some(Signer::File(Arc::clone(secret)));
    }
    let held = |held: &AgentIdentity| {
        certificate_of(held).is_none() && held.public_key().key_data() == file.key.key_data()
    };
    agent.iter().any(held).then_some(Signer::AgentByKey)
}

/// Keys and certificates of the files that the configuration names, in OpenSSH's order.
fn files(settings: &Settings, left_out: &mut Vec<String>) -> Vec<Filed> {
    let mut filed: Vec<Filed> = Vec::new();
    for path in &settings.identity_files {
        let Some(key) = read_key(path, left_out) else { continue };
        let beside = beside(path, "-cert.pub");
        filed.push(key.clone());
        if settings.certificate_files.is_empty() && beside.exists() {
            filed.extend(read_certificate(&beside, std::slice::from_ref(&key), left_out));
        }
    }
    for path in &settings.certificate_files {
        let known = filed.clone();
        filed.extend(read_certificate(path, &known, left_out));
    }
    filed
}

fn read_key(path: &Path, left_out: &mut Vec<String>) -> Option<Filed> {
    let from = path.display().to_string();
    let public = public_half(path);
    let text = match read_private(path) {
        Ok(Some(text)) => text,
        // The agent may have the key whose public half is there.
        Ok(None) => return public.map(|key| Filed::without(key, from, "its private half is not there")),
        Err(why) => {
            left_out.push(format!("{from}: {why}"));
            return None;
        }
    };
    // The agent's key may be named by its public half.
    if let Ok(key) = PublicKey::from_openssh(&text) {
        return Some(Filed::without(
            key,
            from,
            "it is a public key, and the agent does not have its private half",
        ));
    }
    let encrypted = || {
        format!(
            "it is encrypted, and keys are not asked for; add it to an agent with `ssh-add {}`",
            path.display()
        )
    };
    match decode_secret_key(&text, None) {
        Ok(secret) => Some(Filed {
            key: secret.public_key().clone(),
            certificate: None,
            secret: Some(Arc::new(secret)),
            why_not: None,
            from,
        }),
        Err(russh::keys::Error::KeyIsEncrypted) => match public.or_else(|| public_of_encrypted(&text)) {
            Some(key) => Some(Filed::without(key, from, &encrypted())),
            None => {
                left_out.push(format!("{from}: {}", encrypted()));
                None
            }
        },
        Err(error) => {
            left_out.push(format!("{from}: it can't be read as a private key: {error}"));
            None
        }
    }
}

impl Filed {
    fn without(key: PublicKey, from: String, why: &str) -> Self {
        Self { key, certificate: None, secret: None, why_not: Some(why.into()), from }
    }
}

/// The text of a private key; `None` where there is no file.
fn read_private(path: &Path) -> Result<Option<String>, String> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let private = text.contains("PRIVATE KEY");
    // OpenSSH's rule: a private key that others can read is none any more.
    if private && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 != 0 {
        return Err(format!("others may read it; `chmod 600 {}`", path.display()));
    }
    Ok(Some(text))
}

fn public_half(path: &Path) -> Option<PublicKey> {
    PublicKey::from_openssh(&fs::read_to_string(beside(path, ".pub")).ok()?).ok()
}

/// OpenSSH's own format has the public half in clear.
fn public_of_encrypted(text: &str) -> Option<PublicKey> {
    PrivateKey::from_openssh(text).ok().map(|key| key.public_key().clone())
}

fn read_certificate(path: &Path, keys: &[Filed], left_out: &mut Vec<String>) -> Option<Filed> {
    let from = path.display().to_string();
    let read = fs::read_to_string(path).map_err(|error| error.to_string());
    let certificate =
        match read.and_then(|text| Certificate::from_openssh(&text).map_err(|error| error.to_string())) {
            Ok(certificate) => certificate,
            Err(why) => {
                left_out.push(format!("{from}: {why}"));
                return None;
            }
        };
    let key = PublicKey::new(certificate.public_key().clone(), "");
    let owner = keys.iter().find(|file| file.certificate.is_none() && file.key.key_data() == key.key_data());
    Some(Filed {
        key,
        certificate: Some(certificate),
        secret: owner.and_then(|owner| owner.secret.clone()),
        why_not: Some(match owner.and_then(|owner| owner.why_not.clone()) {
            Some(why) => format!("its key: {why}"),
            None => "none of the keys belongs to it".into(),
        }),
        from,
    })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Identity {
    /// For people: `/keys/id (ED25519 SHA256:..., with a certificate)`.
    pub(super) fn describe(&self) -> String {
        let certificate = if self.certificate.is_some() { ", with a certificate" } else { "" };
        let fingerprint = self.key.fingerprint(HashAlg::Sha256);
        format!("{} ({} {fingerprint}{certificate})", self.from, self.key.algorithm())
    }
}
