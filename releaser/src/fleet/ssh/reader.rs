//! A small reader of OpenSSH's configuration, for machines where OpenSSH's client is not installed.
//!
//! It reads the common keys and refuses what it does not know, where it would apply: guessing at a configuration could lead to
//! another machine than was meant.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{destination::Destination, error::SshError, pattern::fits_list, settings::Surroundings};

/// Keys that are handed on as `ssh -G` would print them.
const READ: &[&str] = &[
    "addressfamily",
    "certificatefile",
    "ciphers",
    "connecttimeout",
    "globalknownhostsfile",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kexalgorithms",
    "macs",
    "port",
    "proxycommand",
    "proxyjump",
    "serveralivecountmax",
    "serveraliveinterval",
    "user",
    "userknownhostsfile",
];

/// Keys that have no bearing on what is done here.
const WITHOUT_BEARING: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "checkhostip",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forwardagent",
    "forwardx11",
    "forwardx11trusted",
    "hashknownhosts",
    "localforward",
    "loglevel",
    "numberofpasswordprompts",
    "passwordauthentication",
    "pubkeyauthentication",
    "remoteforward",
    "requesttty",
    "sendenv",
    "setenv",
    "stricthostkeychecking",
    "tcpkeepalive",
    "updatehostkeys",
    "visualhostkey",
];

/// Keys whose first value alone does not count: every one is added.
const ADDED_UP: &[&str] = &["identityfile", "certificatefile"];

/// OpenSSH's own choice of identities, where none is named.
const IDENTITIES: [&str; 5] = ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"];

/// What the file says of a destination, in the lines that `ssh -G` would print.
///
/// # Errors
/// The file can't be read, or has a key that would apply and is not understood.
pub(super) fn read(file: Option<&Path>, to: &Destination, around: &Surroundings) -> Result<String, SshError> {
    let own = around.home.join(".ssh/config");
    let path = file.unwrap_or(&own);
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => String::new(),
        Err(error) => return Err(wrong(to, format!("{} can't be read: {error}", path.display()))),
    };
    let mut lines = asked_for(to);
    lines.extend(applying(&text, path, to)?);
    Ok(print(&lines, around))
}

/// What was asked for comes first, so it wins.
fn asked_for(to: &Destination) -> Vec<(String, String)> {
    let user = to.user.iter().map(|user| ("user".to_owned(), user.clone()));
    user.chain(to.port.iter().map(|port| ("port".to_owned(), port.to_string()))).collect()
}

fn applying(text: &str, path: &Path, to: &Destination) -> Result<Vec<(String, String)>, SshError> {
    let mut found = Vec::new();
    let mut applies = true;
    for (number, line) in text.lines().enumerate() {
        let Some((key, value)) = pair(line) else { continue };
        match key.as_str() {
            "host" => applies = fits_list(value.split_whitespace(), &to.host),
            _ if !applies && key != "match" => {}
            key if READ.contains(&key) => found.push((key.to_owned(), value)),
            key if WITHOUT_BEARING.contains(&key) => {}
            key => {
                let place = format!("{}:{}", path.display(), number + 1);
                return Err(wrong(
                    to,
                    format!("{place}: `{key}` is not understood without OpenSSH's own program"),
                ));
            }
        }
    }
    Ok(found)
}

/// `Key value`, `Key=value`, `Key "value"`.
fn pair(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|letter: char| letter.is_whitespace() || letter == '=').unwrap_or(line.len());
    let value = line[end..].trim_start().trim_start_matches('=').trim();
    Some((line[..end].to_ascii_lowercase(), value.trim_matches('"').to_owned()))
}

fn print(lines: &[(String, String)], around: &Surroundings) -> String {
    let has = |wanted: &str| lines.iter().any(|(key, _)| key == wanted);
    let mut printed = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in lines {
        if ADDED_UP.contains(&key.as_str()) || !seen.contains(&key.as_str()) {
            printed.push_str(&format!("{key} {value}\n"));
            seen.push(key);
        }
    }
    let defaults: [(&str, Vec<PathBuf>); 3] = [
        ("identityfile", IDENTITIES.iter().map(|kind| around.home.join(format!(".ssh/id_{kind}"))).collect()),
        ("userknownhostsfile", vec![around.home.join(".ssh/known_hosts")]),
        ("globalknownhostsfile", vec!["/etc/ssh/ssh_known_hosts".into()]),
    ];
    for (key, files) in defaults {
        if !has(key) {
            files.iter().for_each(|file| printed.push_str(&format!("{key} {}\n", file.display())));
        }
    }
    printed
}

fn wrong(to: &Destination, why: String) -> SshError {
    SshError::Configuration {
        host: to.host.clone(),
        why,
        remedy: "Install OpenSSH's client (`apt-get install openssh-client`): its program `ssh` is asked what its configuration \
                 means wherever it is there."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, host: &str) -> Result<Vec<(String, String)>, SshError> {
        applying(text, Path::new("config"), &Destination::of(host))
    }

    #[test]
    fn blocks_apply_by_their_patterns() {
        let text = "User all\n# no\nHost web-* !web-9\n  Port=2222\n  IdentityFile \"/a b\"\nHost *\n\tHostName 10.0.0.1\n";
        let of = |host| {
            lines(text, host).unwrap().into_iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>()
        };
        assert_eq!(of("web-1"), ["user all", "port 2222", "identityfile /a b", "hostname 10.0.0.1"]);
        assert_eq!(of("web-9"), ["user all", "hostname 10.0.0.1"]);
    }

    #[test]
    fn what_is_not_understood_is_named_where_it_would_apply() {
        let text = "Host a\n  PKCS11Provider /x\nHost b\n  Port 1\n";
        let error = lines(text, "a").unwrap_err().to_string();
        assert!(error.contains("config:2: `pkcs11provider`"), "{error}");
        assert!(lines(text, "b").is_ok());
        assert!(lines("Match host a\n", "b").is_err(), "whether a Match applies is not known here");
        assert!(lines("Include other\n", "b").is_err());
    }

    #[test]
    fn connections_that_openssh_keeps_are_passed_over() {
        let text =
            "Host *\n  ControlMaster auto\n  ControlPath ~/.ssh/%C\n  ControlPersist 10m\n  Port 2222\n";
        assert_eq!(lines(text, "web").unwrap(), [("port".to_owned(), "2222".to_owned())]);
    }

    #[test]
    fn the_first_value_counts_and_files_add_up() {
        let around = Surroundings {
            home: "/h".into(),
            user: "me".into(),
            uid: 1,
            machine: "m".into(),
            variables: std::collections::BTreeMap::new(),
        };
        let all = lines("Port 1\nPort 2\nIdentityFile /a\nIdentityFile /b\n", "x").unwrap();
        let printed = print(&all, &around);
        assert!(printed.starts_with(
            "port 1\nidentityfile /a\nidentityfile /b\nuserknownhostsfile /h/.ssh/known_hosts\n"
        ));
        assert!(print(&[], &around).contains("identityfile /h/.ssh/id_ed25519\n"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_file_makes_it_panic(text in "((Host|Port|Match|x) ?[ -~é\"=]{0,12}\n){0,6}") {
            let _ = lines(&text, "a");
        }
    }
}
