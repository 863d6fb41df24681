//! Which server has the objects of a repository, and what it may be told. Pure.

use staith_model::Secret;

use super::{
    super::address::{RemoteRepository, Way, Web, without_credentials},
    LfsFailure, Named,
};
use crate::addresses::Caution;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Web(Asked),
    /// By ssh it is found out where.
    BySsh,
}

/// A server, and how much it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The address of its interface, without credentials.
    pub(super) at: Web,
    /// For this server only.
    pub(super) credentials: Option<Secret>,
    /// Whether git's helpers may be asked for some.
    pub(super) may_ask_helpers: bool,
}

/// The server of a repository: its own, or the one that somebody named.
pub(super) fn place_of(
    remote: &RemoteRepository,
    named: Option<&Named>,
    caution: &Caution,
) -> Result<Place, LfsFailure> {
    let own = match &remote.way {
        Way::Web(web) => Some(web),
        Way::Ssh { .. } | Way::Plain { .. } => None,
    };
    let (at, is_trusted) = match (named, &remote.way) {
        (None, Way::Web(web)) => (beside(web), true),
        (None, Way::Ssh { .. }) => return Ok(Place::BySsh),
        (None, Way::Plain { .. }) => return Err(LfsFailure::NoServer),
        (Some(Named::ByPerson(url)), _) => (parsed(url)?, true),
        (Some(Named::ByCommit(url)), _) => {
            let at = parsed(url)?;
            let (host, port) = at.host_and_port();
            let (own_host, own_port) = remote.host_and_port();
            caution.with_origin(own_host, Some(own_port)).judge_name(host, port)?;
            let is_own = own.is_some_and(|own| own.is_same_server(&at));
            (at.clone(), is_own || caution.trusts(host, port))
        }
    };
    let credentials = own.filter(|own| own.is_same_server(&at)).and_then(|own| own.credentials.clone());
    Ok(Place::Web(Asked { at, credentials, may_ask_helpers: is_trusted }))
}

/// As git-lfs has it.
fn beside(web: &Web) -> Web {
    let end = if web.path.ends_with(".git") { "/info/lfs" } else { ".git/info/lfs" };
    Web { path: format!("{}{end}", web.path), credentials: None, ..web.clone() }
}

fn parsed(url: &str) -> Result<Web, LfsFailure> {
    let refused = |why: &str| LfsFailure::Url {
        url: without_credentials(url).escape_debug().to_string(),
        why: why.to_owned(),
    };
    let web = Web::parse(url).map_err(refused)?;
    encrypted_or_here(&web).map_err(refused)?;
    Ok(Web { credentials: None, ..web })
}

/// What is sent, credentials among it, is for nobody else.
pub(super) fn encrypted_or_here(web: &Web) -> Result<(), &'static str> {
    if web.secure || web.host.is_loopback() {
        Ok(())
    } else {
        Err("it is not encrypted; only https:// is used")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(remote: &str, named: Option<Named>, caution: &Caution) -> Result<Asked, String> {
        let remote = RemoteRepository::parse(remote).unwrap();
        match place_of(&remote, named.as_ref(), caution) {
            Ok(Place::Web(asked)) => Ok(asked),
            Ok(Place::BySsh) => Err("by ssh".to_owned()),
            Err(failure) => Err(format!("{failure} {}", failure.remedy())),
        }
    }

    fn by_commit(url: &str) -> Option<Named> {
        Some(Named::ByCommit(url.to_owned()))
    }

    #[test]
    fn a_repository_has_its_server_beside_it() {
        let none = Caution::default();
        for (remote, at) in [
            ("https://h/a/b", "https://h/a/b.git/info/lfs"),
            ("https://h:8443/a/b.git", "https://h:8443/a/b.git/info/lfs"),
            ("http://localhost:3000/a", "http://localhost:3000/a.git/info/lfs"),
        ] {
            assert_eq!(asked(remote, None, &none).unwrap().at.shown(), at);
        }
        let own = asked("https://me:pw@h/a", None, &none).unwrap();
        assert!(own.credentials.is_some() && own.may_ask_helpers && own.at.credentials.is_none());
        assert_eq!(asked("git@h:a/b.git", None, &none).unwrap_err(), "by ssh");
        assert!(asked("git://localhost/a", None, &none).unwrap_err().contains("no server"));
    }

    #[test]
    fn a_server_that_a_commit_names_gets_no_credentials_of_others() {
        let none = Caution::default();
        let same = asked("https://me:pw@h/a", by_commit("https://h/other.git/info/lfs"), &none).unwrap();
        assert!(same.credentials.is_some() && same.may_ask_helpers);
        for other in ["https://i/a", "https://h:444/a", "https://you:pw@i/a"] {
            let found = asked("https://me:pw@h/a", by_commit(other), &none).unwrap();
            assert!(found.credentials.is_none() && !found.may_ask_helpers, "{other}");
        }
        let found = asked("git@h:a", by_commit("https://h/a"), &none).unwrap();
        assert!(found.credentials.is_none() && !found.may_ask_helpers);
        let trusted = asked("https://h/a", by_commit("https://i/a"), &Caution::allowing(["i"])).unwrap();
        assert!(trusted.may_ask_helpers && trusted.credentials.is_none());
        let person = Some(Named::ByPerson("https://i/a".to_owned()));
        assert!(asked("https://h/a", person, &none).unwrap().may_ask_helpers);
    }

    #[test]
    fn hostile_addresses_are_refused() {
        let none = Caution::default();
        for url in [
            "http://h/a",
            "ssh://git@h/a",
            "file:///etc",
            "/etc",
            "https://127.0.0.1/a",
            "https://localhost:2375/a",
            "http://127.0.0.1:2375/a",
            "https://169.254.169.254/latest",
            "https://[::ffff:7f00:1]/a",
            "https://2130706433/a",
            "https://h/../../etc",
            "https://h/a?b",
            "https://h/a b",
            "https://me:hunter2@/a",
            "",
            "-x",
        ] {
            let refusal = asked("https://h/a", by_commit(url), &none).unwrap_err();
            assert!(!refusal.contains("hunter2"), "{url}: {refusal}");
        }
        // From where the repository came, and nothing else there.
        assert!(asked("http://localhost:3000/a", by_commit("http://localhost:3000/b"), &none).is_ok());
        assert!(asked("http://localhost:3000/a", by_commit("http://localhost:2375/b"), &none).is_err());
    }
}
