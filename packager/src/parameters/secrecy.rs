//! Which values must not be shown or kept.

use std::fmt;

use super::{Declarations, Parameter};

/// Tags of parameters whose values are secrets, whatever they are.
const SECRET_TAGS: [&str; 4] = ["Password", "DbUserPassword", "DbAdminPassword", "NoStore"];

/// What stands before `=` and a secret in connection strings. Compared without letter case, spaces and `_`.
const SECRET_KEYS: [&str; 8] = [
    "password",
    "pwd",
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "sharedsecret",
    "secretkey",
    "clientsecret",
];

/// A default that gives a secret away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the default of the parameter `{parameter}` {}, which everybody who has the package could read; leave the default out and set \
     the value when the package is applied, or refer to a parameter tagged Password: `{{Database Password}}`",
    if *.tagged { "is a secret by its tags" } else { "holds a password" }
)]
pub struct LeakedSecret {
    /// The parameter.
    pub parameter: String,
    /// Whether its tags say so; otherwise the default does.
    pub tagged: bool,
}

/// All defaults that give secrets away. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaks(pub Vec<LeakedSecret>);

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, leak) in self.0.iter().enumerate() {
            write!(f, "{}{leak}", if nth == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Leaks {}

pub(super) fn is_tagged(parameter: &Parameter) -> bool {
    SECRET_TAGS.iter().any(|tag| parameter.has_tag(tag))
}

/// Whether a name says that the value is a secret, where nobody thought of a tag. What people call connection strings holds one only if
/// its text does.
pub(super) fn is_named_so(parameter: &Parameter) -> bool {
    let name: String =
        parameter.name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ["password", "passwd", "pwd", "secret", "apikey", "token"].iter().any(|word| name.contains(word))
}

pub(super) fn name_of(parameter: &Parameter) -> Option<String> {
    let is_connection =
        ["SqlConnectionString", "MySqlConnectionString"].iter().any(|tag| parameter.has_tag(tag));
    if !is_connection && !is_tagged(parameter) {
        return None;
    }
    let words = parameter.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    (!name.is_empty()).then_some(name)
}

/// Whether a default, as it was written, is or holds a secret.
pub(super) fn is_secret_default(parameter: &Parameter, default: &str) -> bool {
    (is_tagged(parameter) && !default.is_empty() && !is_reference(default)) || holds_secret(default)
}

/// What is only `{Another Parameter}`.
fn is_reference(text: &str) -> bool {
    text.strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && !name.contains(['{', '}']))
}

/// Whether a text holds a secret by its form: a connection string with a password, or an address with one.
pub(super) fn holds_secret(text: &str) -> bool {
    text.match_indices('=').any(|(at, _)| {
        let key: String = key_before(&text[..at]);
        SECRET_KEYS.contains(&key.as_str()) && is_given(&text[at + 1..])
    }) || holds_address_with_password(text)
}

/// The word before `=` in the way in which words are compared.
fn key_before(text: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == ' ' || c == '_';
    let start =
        text.rfind(|c| !is_part(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    text[start..].chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether something but a reference to another parameter follows.
fn is_given(after: &str) -> bool {
    let value = after.split(';').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    !value.is_empty() && !is_reference(value)
}

/// `https://user:password@host`.
fn holds_address_with_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let authority = text[at + 3..].split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.split_once(':').is_some_and(|(_, password)| is_given(password))
    })
}

pub(super) fn check(declarations: &Declarations) -> Result<(), Leaks> {
    let leaks: Vec<_> = declarations
        .parameters
        .iter()
        .filter(|parameter| {
            parameter.default.as_ref().is_some_and(|default| is_secret_default(parameter, default))
        })
        .map(|parameter| LeakedSecret { parameter: parameter.name.clone(), tagged: is_tagged(parameter) })
        .collect();
    if leaks.is_empty() { Ok(()) } else { Err(Leaks(leaks)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found_in_texts() {
        for secret in [
            "Server=.;Password=x",
            "server=.; PWD = 'x y';",
            "User ID=a;password=\"p;q\"",
            "AccountName=a;AccountKey=abc==;",
            "postgres://shop:hunter2@db/shop",
            "Endpoint=sb://x/;SharedAccessKey=abc",
            "client_secret=x",
        ] {
            assert!(holds_secret(secret), "{secret}");
        }
        for open in [
            "Data Source=.;Integrated Security=True",
            "Password=",
            "Password={Db Password};User ID=x",
            "https://shop.example/a=b",
            "https://user@host",
            "Password",
            "Password Length=8",
        ] {
            assert!(!holds_secret(open), "{open}");
        }
    }

    #[test]
    fn defaults_that_are_secrets_are_named_all_at_once() {
        let xml = r#"<parameters>
            <parameter name="A" defaultValue="x" tags="New, password" />
            <parameter name="B" defaultValue="{A}" tags="DbUserPassword" />
            <parameter name="C" defaultValue="Server=.;Password=x" />
            <parameter name="D" tags="Password" />
            <parameter name="E" defaultValue="y" tags="NoStore" />
        </parameters>"#;
        let leaks = Declarations::read(xml.as_bytes()).unwrap().check_secrets().unwrap_err();
        let named: Vec<_> = leaks.0.iter().map(|leak| (leak.parameter.as_str(), leak.tagged)).collect();
        assert_eq!(named, [("A", true), ("C", false), ("E", true)]);
        assert!(!leaks.to_string().contains("Server"), "{leaks}");
    }
}
