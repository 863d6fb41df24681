//! Addresses of repositories on other machines. Pure. Whatever goes to a shell, a program or a server goes through here.

use std::{
    net::{Ipv6Addr, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use staith_model::{Digest, Secret};

use super::{super::SourceError, failure::FetchFailure};
use crate::addresses::{Caution, Refused};

/// No honest address is longer, in bytes.
const LONGEST_ADDRESS: usize = 2048;

const CLONE_FIRST: &str = "Run `git clone` and give the path; a path and file:// work directly.";

/// A repository on another machine. Nothing that prints it shows credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRepository {
    /// The one spelling of its address, without credentials. Kept as a path, because places of sources are paths.
    shown: PathBuf,
    pub(super) way: Way,
    named_by: NamedBy,
}

/// Who named an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum NamedBy {
    /// The person who runs Staith: it is where they want to go.
    Person,
    /// A commit, of a repository that came from this host and port, if it came from another machine.
    Commit(Option<(String, u16)>),
}

/// How it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Web(Web),
    Ssh {
        user: Option<String>,
        host: Host,
        path: String,
    },
    /// Git's own protocol, without encryption.
    Plain {
        host: Host,
        path: String,
    },
}

/// An address of the web, as far as git uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Web {
    pub(super) secure: bool,
    pub(super) host: Host,
    /// Begins with `/`, does not end with it.
    pub(super) path: String,
    /// `user:password`, or a token alone.
    pub(super) credentials: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// In lower case; addresses of IPv6 without brackets.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

impl RemoteRepository {
    /// Understands `https://`, `ssh://` and `[user@]host:path`; on this machine also `http://` and `git://`.
    ///
    /// # Errors
    /// The address is malformed, or its way is not one that Staith goes.
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        let way = parsed(text).map_err(|(why, remedy)| refused(text, why, remedy))?;
        let shown = PathBuf::from(shown(&way));
        Ok(Self { shown, way, named_by: NamedBy::Person })
    }

    /// The same, named by a commit of a repository that came from there, if it came from anywhere.
    pub(in crate::source) fn named_by_commit_of(self, parent: Option<&Self>) -> Self {
        let origin = parent.map(|parent| {
            let (host, port) = parent.host_and_port();
            (host.to_owned(), port)
        });
        Self { named_by: NamedBy::Commit(origin), ..self }
    }

    /// Where it is, with the port that is meant where none is written.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        let (host, usual) = match &self.way {
            Way::Web(web) => return web.host_and_port(),
            Way::Ssh { host, .. } => (host, 22),
            Way::Plain { host, .. } => (host, 9418),
        };
        (&host.name, host.port.unwrap_or(usual))
    }

    /// What a server there, and where it leads, may be asked for.
    pub(super) fn caution(&self, base: &Caution) -> Caution {
        match &self.named_by {
            // A server on this machine may lead to others of this machine: it could ask them itself.
            NamedBy::Person => base.with_origin(self.host_and_port().0, None),
            NamedBy::Commit(Some((host, port))) => base.with_origin(host, Some(*port)),
            NamedBy::Commit(None) => base.clone(),
        }
    }

    /// Judges the host by how it is written.
    ///
    /// # Errors
    /// A commit named it, and must not.
    pub(in crate::source) fn judge_name(&self, base: &Caution) -> Result<(), Refused> {
        let (host, port) = self.host_and_port();
        self.caution(base).judge_name(host, port)
    }

    /// Judges the host by how it is written and, where a program of others will look it up, by what it means now. What the
    /// connections themselves have to be judged by.
    pub(super) fn judge(&self, base: &Caution) -> Result<Caution, FetchFailure> {
        self.judge_name(base)?;
        let caution = self.caution(base);
        let (host, port) = self.host_and_port();
        if self.named_by != NamedBy::Person && !matches!(self.way, Way::Web(_)) {
            // Names that only ssh's own configuration knows are found by nobody else.
            for address in (host, port).to_socket_addrs().into_iter().flatten() {
                caution.judge_address(host, port, address.ip())?;
            }
        }
        Ok(caution)
    }

    /// The address without credentials, in its one spelling, as the place that messages name.
    pub fn place(&self) -> &Path {
        &self.shown
    }

    /// The repository that a relative address means, as git has it: `../lib` is beside this one. Credentials stay with
    /// their server. `None` where the address leads out of the server's paths.
    pub(in crate::source) fn beside(&self, relative: &str) -> Option<Self> {
        let shown = self.to_string();
        // The path begins after the host: `https://host|/path`, `host:|path`.
        let start = match shown.find("://") {
            Some(scheme) => scheme + 3 + shown[scheme + 3..].find('/')?,
            None => scp_like_path(&shown)?,
        };
        let (authority, path) = shown.split_at(start);
        let mut parts: Vec<&str> = path.split('/').collect();
        let mut rest = relative.trim_end_matches('/').split('/').peekable();
        while let Some(up) = rest.next_if(|part| matches!(*part, "." | "..")) {
            let is_first = parts.len() == 1 && parts[0].is_empty();
            if up == ".." && (parts.is_empty() || is_first) {
                return None;
            }
            if up == ".." {
                parts.pop();
            }
        }
        let more: Vec<&str> = rest.collect();
        if more.is_empty() || more.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return None;
        }
        parts.extend(more);
        let mut found = Self::parse(&format!("{authority}{}", parts.join("/"))).ok()?;
        if let (Way::Web(own), Way::Web(other)) = (&self.way, &mut found.way)
            && own.is_same_server(other)
        {
            other.credentials.clone_from(&own.credentials);
        }
        Some(found)
    }

    /// Tells this repository from all others, whatever the credentials.
    pub(in crate::source) fn key(&self) -> String {
        Digest::of_value("staith.mirror.v1", &self.to_string()).hex()
    }
}

/// On paper an address is without its credentials: git's helpers are asked then.
impl Serialize for RemoteRepository {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.to_string(), &self.named_by).serialize(to)
    }
}

impl<'de> Deserialize<'de> for RemoteRepository {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (shown, named_by) = <(String, NamedBy)>::deserialize(from)?;
        Ok(Self { named_by, ..Self::parse(&shown).map_err(D::Error::custom)? })
    }
}

impl std::fmt::Display for RemoteRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown.display().fmt(f)
    }
}

impl Web {
    /// Understands an address, also one that a server redirects to.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it is no address")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it is neither https:// nor http://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = credentials_and_host(authority);
        let host = Host::parse(host, if secure { 443 } else { 80 })?;
        let path = path.trim_end_matches('/');
        if !path.bytes().all(is_of_a_path) {
            return Err("its path holds a character that must be written as %XX, or a query");
        }
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("its path holds `.` or `..`");
        }
        let credentials = user.map(|user| percent_decoded(user).map(Secret::new));
        let credentials = credentials.map(|user| user.ok_or("its credentials are not percent-encoded text"));
        Ok(Self { secure, host, path: path.to_owned(), credentials: credentials.transpose()? })
    }

    /// The address without credentials.
    pub(super) fn shown(&self) -> String {
        format!("http{}://{}{}", if self.secure { "s" } else { "" }, self.host.shown(), self.path)
    }

    /// Where it is, with the port that is meant where none is written.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host.name, self.host.port.unwrap_or(if self.secure { 443 } else { 80 }))
    }

    /// Whether credentials for the one may be shown to the other.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        (self.secure, &self.host) == (other.secure, &other.host)
    }
}

impl Host {
    fn parse(text: &str, usual_port: u16) -> Result<Self, &'static str> {
        let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(None) => return Err("its host has no closing bracket"),
            Some(Some((name, rest))) => {
                name.parse::<Ipv6Addr>().map_err(|_| "its host is no address of IPv6")?;
                (
                    name,
                    rest.strip_prefix(':')
                        .or(rest.is_empty().then_some(""))
                        .ok_or("its host is malformed")?,
                )
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if name.is_empty() || name.starts_with('-') || name.len() > 253 || !name.chars().all(is_of_a_name) {
            return Err("its host is not the name of one");
        }
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port > 0).ok_or("its port is none")?)
            }
            _ => return Err("its port is none"),
        };
        Ok(Self { name: name.to_ascii_lowercase(), port: port.filter(|port| *port != usual_port) })
    }

    /// As it is written in an address.
    pub(super) fn shown(&self) -> String {
        let name = if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        self.port.map_or_else(|| name.clone(), |port| format!("{name}:{port}"))
    }

    /// Whether it is this machine for sure, so that nobody can listen or change what is sent.
    pub(super) fn is_loopback(&self) -> bool {
        let name = self.name.as_str();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

type Refusal = (&'static str, &'static str);

fn parsed(text: &str) -> Result<Way, Refusal> {
    if text.len() > LONGEST_ADDRESS || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(("it is too long, or holds spaces or control characters", CLONE_FIRST));
    }
    let Some((scheme, rest)) = text.split_once("://") else { return scp_like(text) };
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "http" => {
            let web = Web::parse(text).map_err(|why| (why, "Write https://host/path."))?;
            encrypted_or_here(web.secure, &web.host, "Write https:// instead.")?;
            Ok(Way::Web(web))
        }
        "ssh" | "git+ssh" | "ssh+git" => ssh(rest),
        "git" => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = Host::parse(authority, 9418).map_err(|why| (why, "Write git://host/path."))?;
            encrypted_or_here(false, &host, "Write https:// or ssh:// instead.")?;
            Ok(Way::Plain { host, path: percent_decoded(path).ok_or(BAD_PATH)? })
        }
        _ => Err(("its scheme is none that Staith knows", CLONE_FIRST)),
    }
}

const BAD_PATH: Refusal = ("its path is none", "Write ssh://user@host/path or user@host:path.");
const NO_PASSWORD: Refusal =
    ("ssh takes no password from an address", "Use a key, and leave the password out.");
const BAD_HOST: &str = "Write ssh://user@host/path or user@host:path, with a plain host name.";

fn encrypted_or_here(secure: bool, host: &Host, remedy: &'static str) -> Result<(), Refusal> {
    if secure || host.is_loopback() {
        return Ok(());
    }
    Err(("it is not encrypted, so what comes could be changed on the way", remedy))
}

fn ssh(rest: &str) -> Result<Way, Refusal> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = credentials_and_host(authority);
    let host = Host::parse(host, 22).map_err(|why| (why, BAD_HOST))?;
    let path = percent_decoded(path).ok_or(BAD_PATH)?;
    // As git has it: `/~user/x` is below the home of `user`.
    let path = path.strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(&path).to_owned();
    Ok(Way::Ssh { user: ssh_user(user)?, host, path: ssh_path(path)? })
}

fn scp_like(text: &str) -> Result<Way, Refusal> {
    let (user, rest) = match text.split_once('@') {
        Some((user, rest)) if !user.contains(['/', ':']) => (Some(user), rest),
        _ => (None, text),
    };
    let colon = match rest.strip_prefix('[').and_then(|rest| rest.find("]:")) {
        Some(inner) => inner + 2,
        None => rest.find(':').ok_or(BAD_PATH)?,
    };
    let (host, path) = (&rest[..colon], &rest[colon + 1..]);
    if user.is_none() && path.split_once('@').is_some_and(|(_, rest)| rest.contains(':')) {
        // `user:password@host:path`, which ssh would take for a path on the host `user`.
        return Err(NO_PASSWORD);
    }
    let host = Host::parse(host, 22).map_err(|why| (why, BAD_HOST))?;
    Ok(Way::Ssh { user: ssh_user(user)?, host, path: ssh_path(path.to_owned())? })
}

/// Where the path of `[user@]host:path` begins.
fn scp_like_path(text: &str) -> Option<usize> {
    let host = text.find('@').map_or(0, |at| at + 1);
    let after = text[host..].find(']').map_or(host, |bracket| host + bracket);
    Some(after + text[after..].find(':')? + 1)
}

fn ssh_user(user: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(user) = user else { return Ok(None) };
    if user.contains(':') {
        return Err(NO_PASSWORD);
    }
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if user.is_empty() || user.starts_with('-') || !user.chars().all(is_of_a_name) {
        return Err(("its user is not the name of one", BAD_HOST));
    }
    Ok(Some(user.to_owned()))
}

fn ssh_path(path: String) -> Result<String, Refusal> {
    let bad =
        path.trim_matches('/').is_empty() || path.starts_with('-') || path.chars().any(char::is_control);
    let trimmed = path.trim_end_matches('/');
    if bad { Err(BAD_PATH) } else { Ok(trimmed.to_owned()) }
}

fn shown(way: &Way) -> String {
    let ssh_user = |user: &Option<String>| user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    match way {
        Way::Web(web) => web.shown(),
        Way::Plain { host, path } => format!("git://{}{path}", host.shown()),
        Way::Ssh { user, host, path } => {
            let authority = format!("{}{}", ssh_user(user), host.shown());
            match path.chars().next() {
                Some('/') => format!("ssh://{authority}{path}"),
                Some('~') => format!("ssh://{authority}/{path}"),
                _ => format!("{authority}:{path}"),
            }
        }
    }
}

fn refused(text: &str, why: &str, remedy: &str) -> SourceError {
    let (why, remedy) = (why.to_owned(), remedy.to_owned());
    SourceError::UnsupportedScheme { text: without_credentials(text), why, remedy }
}

fn credentials_and_host(authority: &str) -> (Option<&str>, &str) {
    authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host))
}

/// Text that a person took for an address, fit to be shown: whatever could be a password is gone.
pub(crate) fn without_credentials(text: &str) -> String {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let head = &text[start..];
    // A malformed password may hold a slash, so everything up to the last `@` goes.
    match head.rfind('@') {
        Some(at) if start > 0 || head[..at].contains(':') => format!("{}***{}", &text[..start], &head[at..]),
        _ => text.to_owned(),
    }
}

fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// Undoes `%20` and the like; `None` where that is not possible.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok().filter(|text| !text.starts_with('+'))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown_of(text: &str) -> String {
        RemoteRepository::parse(text).unwrap().to_string()
    }

    #[test]
    fn one_repository_has_one_spelling() {
        for text in [
            "https://Example.org/a/B.git",
            "https://example.org:443/a/B.git/",
            "https://u:p@example.org/a/B.git",
        ] {
            assert_eq!(shown_of(text), "https://example.org/a/B.git", "{text}");
        }
        for text in ["ssh://git@host/srv/x.git", "git@host:/srv/x.git", "git+ssh://git@HOST:22/srv/x.git/"] {
            assert_eq!(shown_of(text), "ssh://git@host/srv/x.git", "{text}");
        }
        assert_eq!(shown_of("git@host:a/b.git"), "git@host:a/b.git");
        assert_eq!(shown_of("ssh://host:2222/~me/x"), "ssh://host:2222/~me/x");
        assert_eq!(shown_of("me@[::1]:x"), "me@[::1]:x");
        assert_eq!(shown_of("git://127.0.0.1:9418/x"), "git://127.0.0.1/x");
        assert_eq!(shown_of("http://[::1]:8080/x"), "http://[::1]:8080/x");
        assert_ne!(shown_of("https://h/x"), shown_of("https://h:444/x"));
    }

    #[test]
    fn what_can_be_changed_on_the_way_is_refused() {
        for text in ["http://example.org/x", "git://example.org/x", "http://localhost.example.org/x"] {
            let refusal = RemoteRepository::parse(text).unwrap_err();
            assert!(refusal.to_string().contains("changed on the way"), "{refusal}");
        }
    }

    #[test]
    fn hostile_addresses_are_refused() {
        for text in [
            "ssh://-oProxyCommand=id/x",
            "ssh://-oProxyCommand=id@host/x",
            "-oProxyCommand=id:x",
            "git@-oProxyCommand=id:x",
            "host:-x",
            "host:",
            "host:/",
            "ssh://host",
            "ssh://host/",
            "ssh://host:22x/x",
            "ssh://host:0/x",
            "ssh://host:99999/x",
            "ssh://host:+22/x",
            "ssh://user:secret@host/x",
            "ssh://host/a%00b",
            "ssh://host/a%0ab",
            "https://host/a b",
            "https://host/a\nHost: b",
            "https://host/a%zz\r\n",
            "https://ho\u{73e}st/x",
            "https:///x",
            "https://@/x",
            "https://host/x?service=git-receive-pack",
            "https://host/x#y",
            "https://host/a/../../b",
            "https://[::1/x",
            "https://[host]/x",
            "https://$(id)/x",
            "https://a`id`/x",
            "ftp://host/x",
            "javascript://host/x",
            "://host/x",
        ] {
            assert!(RemoteRepository::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let token = "hunter2";
        let remote = RemoteRepository::parse("https://me:hunter2@example.org/x").unwrap();
        let Way::Web(web) = &remote.way else { panic!("the web") };
        assert_eq!(web.credentials, Some(Secret::new("me:hunter2")));
        let all = format!("{remote} {remote:?} {} {}", remote.place().display(), remote.key());
        assert!(!all.contains(token), "{all}");
        for bad in [
            "https://me:hunter2@/x",
            "http://me:hunter2@example.org/x",
            "ssh://me:hunter2@host/x",
            "ftp://me:hunter2@h/x",
            "https://me:hunter2@h/a b",
            "https://me:hun/hunter2@h/x y",
            "https://hunter2@h/ ",
            "me:hunter2@h:x",
        ] {
            let refusal = RemoteRepository::parse(bad).unwrap_err();
            let all = format!("{refusal} {refusal:?} {:?}", refusal.remedy());
            assert!(!all.contains(token), "{all}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_taken_can_be_an_option_or_a_second_line(text in "(ssh://|https://|git://localhost|)[ -~]{0,40}") {
            if let Ok(remote) = RemoteRepository::parse(&text) {
                prop_assert_eq!(RemoteRepository::parse(&remote.to_string()).unwrap().key(), remote.key());
                let words = match &remote.way {
                    Way::Web(web) => vec![web.host.name.clone()],
                    Way::Plain { host, .. } => vec![host.name.clone()],
                    Way::Ssh { user, host, path } => {
                        vec![user.clone().unwrap_or_else(|| "x".to_owned()), host.name.clone(), path.clone()]
                    }
                };
                for word in words {
                    prop_assert!(!word.is_empty() && !word.starts_with('-') && !word.chars().any(char::is_control));
                }
            }
        }
    }
}
