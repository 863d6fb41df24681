//! The words of git-lfs's batch interface. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Secret};

use super::super::failure::tamed;

/// What questions and answers are.
pub(super) const KIND: &str = "application/vnd.git-lfs+json";
/// Objects that are asked for at once: what servers take.
pub(super) const AT_ONCE: usize = 100;
/// The longest answer, in bytes: some kilobytes for each object.
pub(super) const LONGEST_ANSWER: u64 = 8 << 20;
/// Headers of one download; no honest server needs as many.
const MOST_HEADERS: usize = 32;

#[derive(Serialize)]
struct Question<'a> {
    operation: &'a str,
    transfers: [&'a str; 1],
    objects: Vec<Asked>,
    hash_algo: &'a str,
}

#[derive(Serialize)]
struct Asked {
    oid: String,
    size: u64,
}

/// The question for some objects.
pub(super) fn question<'a>(wanted: impl Iterator<Item = &'a (Digest, u64)>) -> Vec<u8> {
    let objects = wanted.map(|(oid, size)| Asked { oid: oid.hex(), size: *size }).collect();
    let question = Question { operation: "download", transfers: ["basic"], objects, hash_algo: "sha256" };
    // It holds nothing that JSON can't.
    serde_json::to_vec(&question).unwrap_or_default()
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: BTreeMap<String, RawAction>,
    #[serde(default)]
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    code: u16,
    #[serde(default)]
    message: String,
}

/// A place with what has to be said there, also as `git-lfs-authenticate` gives it.
#[derive(Deserialize)]
struct RawAction {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

/// A place where something is, and what has to be said there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) href: Secret,
    /// Names in small letters.
    pub(super) header: BTreeMap<String, Secret>,
}

/// What a server says of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    At(Action),
    /// Its code, and what it said.
    Refused(u16, String),
}

/// What a server says of the objects that it was asked for. What it leaves out is not among them.
///
/// # Errors
/// It is no answer.
pub(super) fn answer(bytes: &[u8]) -> Result<BTreeMap<Digest, Told>, String> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| tamed(&error.to_string()))?;
    if let Some(other) = answer.transfer.filter(|transfer| transfer != "basic") {
        return Err(format!("it wants to send in the way `{}`, which was not offered", tamed(&other)));
    }
    let mut told = BTreeMap::new();
    for mut object in answer.objects {
        let oid = format!("sha256:{}", object.oid).parse::<Digest>();
        let oid = oid.map_err(|_| format!("`{}` is no object's name", tamed(&object.oid)))?;
        let says = match (object.error, object.actions.remove("download")) {
            (Some(error), _) => Told::Refused(error.code, tamed(&error.message)),
            (None, Some(action)) => Told::At(action.checked()?),
            (None, None) => Told::Refused(404, "it names no place to download it from".to_owned()),
        };
        told.insert(oid, says);
    }
    Ok(told)
}

/// Where a server of git-lfs is, as `git-lfs-authenticate` says it.
///
/// # Errors
/// It is no answer.
pub(super) fn authenticated(bytes: &[u8]) -> Result<Action, String> {
    let action: RawAction = serde_json::from_slice(bytes).map_err(|error| tamed(&error.to_string()))?;
    action.checked()
}

impl RawAction {
    fn checked(self) -> Result<Action, String> {
        if self.header.len() > MOST_HEADERS {
            return Err("it wants too many headers".to_owned());
        }
        let is_token = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let is_text = |value: &str| value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let mut header = BTreeMap::new();
        for (name, value) in self.header {
            let name = name.to_ascii_lowercase();
            if !is_token(&name) || !is_text(&value) {
                return Err(format!("`{}` is no header", tamed(&name)));
            }
            // These are for the connection, and ours.
            let ours = [
                "host",
                "connection",
                "content-length",
                "transfer-encoding",
                "te",
                "upgrade",
                "accept-encoding",
            ];
            if !ours.contains(&name.as_str()) && !name.starts_with("proxy-") {
                header.insert(name, Secret::new(value));
            }
        }
        Ok(Action { href: Secret::new(self.href), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oid() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn questions_are_what_servers_expect() {
        let text = String::from_utf8(question([(oid(), 7)].iter())).unwrap();
        let expected = format!(
            r#"{{"operation":"download","transfers":["basic"],"objects":[{{"oid":"{}","size":7}}],"hash_algo":"sha256"}}"#,
            oid().hex()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn answers_are_read_and_not_believed() {
        let one = |object: &str| {
            let text = format!(
                r#"{{"transfer":"basic","objects":[{{"oid":"{}","size":1,{object}}}]}}"#,
                oid().hex()
            );
            answer(text.as_bytes()).map(|mut told| told.remove(&oid()).unwrap())
        };
        let at = one(
            r#""actions":{"download":{"href":"https://h/x?y","header":{"Authorization":"b","Host":"c"},"expires_in":9}}"#,
        );
        let header = [("authorization".to_owned(), Secret::new("b"))].into();
        assert_eq!(at, Ok(Told::At(Action { href: Secret::new("https://h/x?y"), header })));
        assert_eq!(
            one(r#""error":{"code":404,"message":"gone\u001b[2J"}"#),
            Ok(Told::Refused(404, "gone\u{fffd}[2J".into()))
        );
        assert!(matches!(one(r#""actions":{}"#), Ok(Told::Refused(404, _))));
        for bad in [
            r#""actions":{"download":{"href":"x","header":{"a":"b\r\nc: d"}}}"#,
            r#""actions":{"download":{"href":"x","header":{"a b":"c"}}}"#,
            r#""actions":{"download":{"header":{}}}"#,
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
        for bad in
            ["", "{}", "[]", r#"{"objects":[{"oid":"../../x"}]}"#, r#"{"transfer":"tus","objects":[]}"#]
        {
            assert!(answer(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(
            authenticated(br#"{"href":"https://h/x","header":{"Authorization":"RemoteAuth x"}}"#).is_ok()
        );
        assert!(authenticated(b"Welcome!\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>) {
            let _ = answer(&bytes);
            let _ = authenticated(&bytes);
        }
    }
}
