//! Which values must not be shown or kept.

use std::fmt;

use super::{Declarations, Parameter};
use crate::secrecy::{holds_secret, is_reference, may_hold_secret, names_a_secret};

/// Tags of parameters whose values are secrets, whatever they are.
const SECRET_TAGS: [&str; 4] = ["Password", "DbUserPassword", "DbAdminPassword", "NoStore"];

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

/// Whether it is a connection string by its tags, which often holds a secret.
fn is_connection(parameter: &Parameter) -> bool {
    ["SqlConnectionString", "MySqlConnectionString"].iter().any(|tag| parameter.has_tag(tag))
}

/// Whether a name says that the value is a secret, where nobody thought of a tag. What people call connection strings holds one only if
/// its text does.
pub(super) fn is_named_so(parameter: &Parameter) -> bool {
    let name: String =
        parameter.name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    ["password", "passwd", "pwd", "secret", "apikey", "token"].iter().any(|word| name.contains(word))
}

pub(super) fn name_of(parameter: &Parameter) -> Option<String> {
    if !is_connection(parameter) && !is_tagged(parameter) {
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

/// Whether a package's default is better not shown to those who look at it: more than what is refused when one is made.
pub(super) fn hides_default(parameter: &Parameter) -> bool {
    let default = parameter.default.as_deref().unwrap_or_default();
    is_tagged(parameter)
        || is_connection(parameter)
        || names_a_secret(&parameter.name)
        || may_hold_secret(default)
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
