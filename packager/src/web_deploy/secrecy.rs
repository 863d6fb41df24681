//! What looks like a secret, and is therefore never shown.

/// What stands for a value that is not shown.
pub(crate) const HIDDEN: &str = "(hidden)";

/// Whether something of this name holds a secret, as far as a name tells.
pub(crate) fn names_a_secret(name: &str) -> bool {
    const WORDS: [&str; 7] = ["password", "passwd", "pwd", "secret", "connectionstring", "apikey", "token"];
    let name = name.to_lowercase().replace([' ', '-', '_'], "");
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a text has a password in the way that connection strings have it.
pub(crate) fn holds_a_password(text: &str) -> bool {
    let text = text.to_lowercase().replace(' ', "");
    ["password=", "pwd=", "accountkey=", "sharedaccesskey="].iter().any(|key| {
        text.match_indices(key).any(|(at, _)| {
            let value = text[at + key.len()..].split(';').next().unwrap_or_default();
            // A reference to another parameter is no password.
            !value.is_empty() && !value.starts_with('{')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_seen_where_they_are() {
        for secret in ["Data Source=db;User Id=sa;Password=Lamp#42", "x; PWD = a", "AccountKey=abc=="] {
            assert!(holds_a_password(secret), "{secret}");
        }
        for harmless in
            ["Data Source=db;Integrated Security=SSPI", "Password=;", "Password={DB Password};Server=x", ""]
        {
            assert!(!holds_a_password(harmless), "{harmless}");
        }
        assert!(names_a_secret("Shop-Web.config Connection String") && names_a_secret("DB_PASSWORD"));
        assert!(!names_a_secret("IIS Web Application Name"));
    }
}
