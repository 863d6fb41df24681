//! Whether a project's forge sent something. All comparing takes the same time whatever is compared.

use axum::http::HeaderMap;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use staith_model::{Secret, service::ForgeKind};

use super::{first, header};

const GITHUB: &str = "x-hub-signature-256";
const GITLAB_TOKEN: &str = "x-gitlab-token";
const GITLAB_SIGNATURE: &str = "webhook-signature";
const GITEA: &[&str] = &["x-gitea-signature", "x-forgejo-signature"];
/// What GitLab signed with the time in it is not taken much later: somebody may have kept it. Clocks may differ by so much.
const FRESH_MILLIS: u64 = 5 * 60 * 1000;

/// Whether there is anything that could be a signature. Without, not even the project is looked up.
pub(super) fn is_claimed(kind: ForgeKind, headers: &HeaderMap) -> bool {
    match kind {
        ForgeKind::Github => headers.contains_key(GITHUB),
        ForgeKind::Gitlab => headers.contains_key(GITLAB_TOKEN) || headers.contains_key(GITLAB_SIGNATURE),
        ForgeKind::Gitea => GITEA.iter().any(|name| headers.contains_key(*name)),
    }
}

/// Whether the signature is right over these bytes.
pub(super) fn is_right(kind: ForgeKind, headers: &HeaderMap, body: &[u8], secret: &Secret, now: u64) -> bool {
    match kind {
        ForgeKind::Github => {
            let claimed = header(headers, GITHUB).and_then(|value| value.strip_prefix("sha256="));
            claimed.and_then(from_hex).is_some_and(|tag| signs(&key(secret), &[body], &tag))
        }
        ForgeKind::Gitea => {
            first(headers, GITEA).and_then(from_hex).is_some_and(|tag| signs(&key(secret), &[body], &tag))
        }
        // One that signs is never taken at less than its signature.
        ForgeKind::Gitlab if headers.contains_key(GITLAB_SIGNATURE) => {
            gitlab_signed(headers, body, secret, now)
        }
        ForgeKind::Gitlab => header(headers, GITLAB_TOKEN).is_some_and(|token| is_the_same(token, secret)),
    }
}

fn key(secret: &Secret) -> Key {
    secret.expose_to(|secret| Key::new(HMAC_SHA256, secret.as_bytes()))
}

fn signs(key: &Key, parts: &[&[u8]], tag: &[u8]) -> bool {
    verify(key, &parts.concat(), tag).is_ok()
}

/// Both are signed with a key of the moment, so that neither where they begin to differ nor how long they are shows in the time.
fn is_the_same(claimed: &str, secret: &Secret) -> bool {
    let mut chance = [0; 32];
    if getrandom::fill(&mut chance).is_err() {
        return false;
    }
    let key = Key::new(HMAC_SHA256, &chance);
    let expected = secret.expose_to(|secret| sign(&key, secret.as_bytes()));
    verify(&key, claimed.as_bytes(), expected.as_ref()).is_ok()
}

/// As Standard Webhooks have it: `v1,` and the signature in base 64 over id, time and body; several with blanks between while the
/// secret is exchanged.
fn gitlab_signed(headers: &HeaderMap, body: &[u8], secret: &Secret, now: u64) -> bool {
    let (Some(id), Some(time), Some(signatures)) = (
        header(headers, "webhook-id"),
        header(headers, "webhook-timestamp"),
        header(headers, GITLAB_SIGNATURE),
    ) else {
        return false;
    };
    let Ok(seconds) = time.parse::<u64>() else { return false };
    if seconds.saturating_mul(1000).abs_diff(now) > FRESH_MILLIS {
        return false;
    }
    let key = secret.expose_to(|secret| match secret.strip_prefix("whsec_") {
        Some(encoded) => BASE64_STANDARD.decode(encoded).ok().map(|bytes| Key::new(HMAC_SHA256, &bytes)),
        None => Some(Key::new(HMAC_SHA256, secret.as_bytes())),
    });
    let Some(key) = key else { return false };
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let tags = signatures.split(' ').filter_map(|one| BASE64_STANDARD.decode(one.strip_prefix("v1,")?).ok());
    tags.take(8).any(|tag| signs(&key, &parts, &tag))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    is_hex.then(|| (0..text.len()).step_by(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The example in GitHub's documentation.
    #[test]
    fn the_documented_example_is_right() {
        let secret = Secret::new("It's a Secret to Everybody");
        let tag = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signed = headers(&[(GITHUB, &format!("sha256={tag}"))]);
        assert!(is_right(ForgeKind::Github, &signed, b"Hello, World!", &secret, 0));
        assert!(!is_right(ForgeKind::Github, &signed, b"Hello, World?", &secret, 0));
        assert!(!is_right(ForgeKind::Github, &signed, b"Hello, World!", &Secret::new("another"), 0));
        assert!(is_right(
            ForgeKind::Gitea,
            &headers(&[("x-gitea-signature", tag)]),
            b"Hello, World!",
            &secret,
            0
        ));
        for bad in ["", "sha256=", tag, "sha1=7571", "sha256=zz", &format!("sha256={}", &tag[2..])] {
            assert!(
                !is_right(ForgeKind::Github, &headers(&[(GITHUB, bad)]), b"Hello, World!", &secret, 0),
                "{bad}"
            );
        }
    }

    #[test]
    fn gitlab_signs_with_the_time_or_sends_its_token() {
        let secret = Secret::new("whsec_c2VjcmV0");
        let tag = sign(&Key::new(HMAC_SHA256, b"secret"), b"id.1000.body");
        let signature = format!("v1,AAAA v1,{}", BASE64_STANDARD.encode(tag));
        let signed = headers(&[
            ("webhook-id", "id"),
            ("webhook-timestamp", "1000"),
            (GITLAB_SIGNATURE, &signature),
            (GITLAB_TOKEN, "whsec_c2VjcmV0"),
        ]);
        assert!(is_right(ForgeKind::Gitlab, &signed, b"body", &secret, 1_000_000));
        assert!(!is_right(ForgeKind::Gitlab, &signed, b"body", &secret, 2_000_000), "kept for later");
        assert!(
            !is_right(ForgeKind::Gitlab, &signed, b"bady", &secret, 1_000_000),
            "a token does not make up for it"
        );
        let token = headers(&[(GITLAB_TOKEN, "token")]);
        assert!(is_right(ForgeKind::Gitlab, &token, b"anything", &Secret::new("token"), 0));
        for other in ["toke", "tokens", "Token"] {
            assert!(!is_right(ForgeKind::Gitlab, &token, b"anything", &Secret::new(other), 0), "{other}");
        }
    }
}
