//! Files of known hosts: which keys a name has.

use std::{fs, io, path::Path, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use russh::keys::{PublicKey, parse_public_key_base64};

use super::pattern::fits_list;

/// What the files say of one host.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts {
    /// Lines that apply to it.
    pub(super) entries: Vec<Entry>,
    /// Files that were looked at and are there.
    pub(super) files: Vec<PathBuf>,
    /// Files that are there and could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// A line of such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `FILE:LINE`.
    pub(super) place: String,
    /// What it is for.
    pub(super) role: Role,
    /// The key.
    pub(super) key: PublicKey,
}

/// What a line of known hosts is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The host's key.
    Host,
    /// Signs certificates of hosts.
    Authority,
    /// Is not to be trusted, whoever says so.
    Revoked,
}

impl KnownHosts {
    /// Reads the lines that apply to a host, as it is named in known hosts: `host`, or `[host]:port`.
    pub(super) fn read(files: &[PathBuf], name: &str) -> Self {
        let mut found = Self::default();
        for file in files {
            match fs::read(file) {
                Ok(bytes) => {
                    found.entries.extend(applying(&String::from_utf8_lossy(&bytes), file, name));
                    found.files.push(file.clone());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.unread.push(format!("{} ({error})", file.display())),
            }
        }
        found
    }

    /// Its keys for a role.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.role == role)
    }
}

fn applying<'a>(text: &'a str, file: &'a Path, name: &'a str) -> impl Iterator<Item = Entry> + 'a {
    text.lines().enumerate().filter_map(move |(number, line)| {
        let place = format!("{}:{}", file.display(), number + 1);
        let (role, hosts, key) = fields(line)?;
        if !names(hosts, name) {
            return None;
        }
        match parse_public_key_base64(key) {
            Ok(key) => Some(Entry { place, role, key }),
            // As OpenSSH does: a line of a kind of key that is not known here says nothing about others.
            Err(error) => {
                tracing::debug!("{place} is passed over: {error}");
                None
            }
        }
    })
}

/// Role, hosts and the key's base64 of a line.
fn fields(line: &str) -> Option<(Role, &str, &str)> {
    let mut words = line.split_whitespace();
    let first = words.next().filter(|word| !word.starts_with('#'))?;
    let (role, hosts) = match first {
        "@cert-authority" => (Role::Authority, words.next()?),
        "@revoked" => (Role::Revoked, words.next()?),
        marker if marker.starts_with('@') => return None,
        hosts => (Role::Host, hosts),
    };
    words.next()?;
    Some((role, hosts, words.next()?))
}

/// Whether the hosts of a line name a host: patterns, or a name that was hashed.
fn names(hosts: &str, name: &str) -> bool {
    match hosts.strip_prefix("|1|") {
        Some(hashed) => is_hash_of(hashed, name),
        None => fits_list(hosts.to_lowercase().split(','), name),
    }
}

fn is_hash_of(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, name.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn roles(text: &str, name: &str) -> Vec<(Role, String)> {
        applying(text, Path::new("f"), name).map(|entry| (entry.role, entry.place)).collect()
    }

    #[test]
    fn plain_names_patterns_and_ports() {
        let text = format!("# a\n\nweb,*.example.org,!bad.example.org {KEY} comment\n[web]:2222 {KEY}\n");
        assert_eq!(roles(&text, "web"), [(Role::Host, "f:3".into())]);
        assert_eq!(roles(&text, "a.example.org"), [(Role::Host, "f:3".into())]);
        assert_eq!(roles(&text, "bad.example.org"), []);
        assert_eq!(roles(&text, "[web]:2222"), [(Role::Host, "f:4".into())]);
    }

    #[test]
    fn hashed_names() {
        let salt = [7_u8; 20];
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), b"web");
        let text = format!("|1|{}|{} {KEY}\n|1|broken {KEY}\n", STANDARD.encode(salt), STANDARD.encode(tag));
        assert_eq!(roles(&text, "web"), [(Role::Host, "f:1".into())]);
        assert_eq!(roles(&text, "other"), []);
    }

    #[test]
    fn markers() {
        let text =
            format!("@cert-authority *.org {KEY}\n@revoked * {KEY}\n@new * {KEY}\na.org ssh-new AAAA\n");
        assert_eq!(roles(&text, "a.org"), [(Role::Authority, "f:1".into()), (Role::Revoked, "f:2".into())]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_file_makes_it_panic(text in "((@revoked|web|\\|1\\|a\\|b)? ?[ -~é]{0,20}\n){0,5}") {
            let _ = roles(&text, "web");
        }
    }
}
