//! What looks like a secret. Parameters know more: see [`crate::parameters`].
//!
//! Two questions are asked of texts. Whether one certainly holds a secret ([`holds_secret`]) decides what is refused, and whether it
//! may hold one ([`may_hold_secret`]) decides what is not shown.

/// What stands for a value that is not shown.
pub(crate) const HIDDEN: &str = "(hidden)";

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

/// Whether something of this name holds a secret, as far as a name tells.
pub(crate) fn names_a_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["password", "passwd", "pwd", "secret", "connectionstring", "apikey", "token"];
    let name = name.to_lowercase().replace([' ', '-', '_'], "");
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a text holds a secret by its form: a connection string with a password, or an address with one.
pub(crate) fn holds_secret(text: &str) -> bool {
    has_secret_after(text, |key| SECRET_KEYS.contains(&key)) || holds_address_with_password(text)
}

/// As [`holds_secret`], or a secret follows a longer word: `-p:DbPassword=...` in a command.
pub(crate) fn may_hold_secret(text: &str) -> bool {
    let ends = |key: &str| SECRET_KEYS.iter().any(|secret| key.ends_with(secret));
    has_secret_after(text, ends) || holds_address_with_password(text)
}

/// What is only `{Another Parameter}`.
pub(crate) fn is_reference(text: &str) -> bool {
    text.strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && !name.contains(['{', '}']))
}

fn has_secret_after(text: &str, is_key: impl Fn(&str) -> bool) -> bool {
    text.match_indices('=').any(|(at, _)| is_key(&key_before(&text[..at])) && is_given(&text[at + 1..]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found_in_texts() {
        for secret in [
            "Server=.;Password=x",
            "Data Source=db;User Id=sa;Password=Lamp#42",
            "server=.; PWD = 'x y';",
            "User ID=a;password=\"p;q\"",
            "AccountName=a;AccountKey=abc==;",
            "postgres://shop:hunter2@db/shop",
            "Endpoint=sb://x/;SharedAccessKey=abc",
            "client_secret=x",
        ] {
            assert!(holds_secret(secret) && may_hold_secret(secret), "{secret}");
        }
        for open in [
            "Data Source=.;Integrated Security=True",
            "Password=",
            "Password=;",
            "Password={Db Password};User ID=x",
            "https://shop.example/a=b",
            "https://user@host",
            "Password",
            "Password Length=8",
            "",
        ] {
            assert!(!holds_secret(open) && !may_hold_secret(open), "{open}");
        }
        let command = "setup.cmd -p:DbPassword=x";
        assert!(!holds_secret(command) && may_hold_secret(command));
    }

    #[test]
    fn names_say_what_holds_secrets() {
        assert!(names_a_secret("Shop-Web.config Connection String") && names_a_secret("DB_PASSWORD"));
        assert!(!names_a_secret("IIS Web Application Name"));
    }
}
