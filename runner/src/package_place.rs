//! Where packages go to and come from, as people write it: a directory, a bucket, a registry, or this home.

use std::path::Path;

use staith_builder::images::{NoWay, RegistryWay};
use staith_model::{Exit, Name};
use staith_packager::{
    registry::{
        client::{ClientError, Remote, Settings},
        names::is_repository_part,
        shelf::ShelfError,
        transfer::{Place, TransferError},
    },
    store::{Location, Store},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{client::people::People, home::Home, interrupt, output::Problem};

/// A place as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PackagePlace {
    /// A store of ours.
    Store(Location),
    /// A registry, and what comes before a package's name in it.
    Registry { registry: String, prefix: String },
}

/// A place that is open. Dropping it closes the way there.
pub(crate) struct OpenPlace {
    pub(crate) place: Place,
    way: Option<RegistryWay>,
}

/// Reads a place. Without a scheme it is a registry if it begins as only a registry can: with a host that has a dot, a port, or is
/// `localhost`.
///
/// # Errors
/// The text says why it is no place.
pub(crate) fn package_place(text: &str) -> Result<PackagePlace, String> {
    let store = |text: &str| Location::parse(text).map(PackagePlace::Store).map_err(|bad| bad.to_string());
    let place = match text.split_once("://") {
        Some(("oci" | "docker", place)) => place,
        Some(("http" | "https", place)) => {
            return Err(format!("write `oci://{place}` for a registry; whether it has TLS is found out"));
        }
        Some(_) => return store(text),
        None => {
            let first = text.split('/').next().unwrap_or_default();
            let is_host = first == "localhost" || first.contains(':') || first.contains('.');
            if text.starts_with(['/', '.']) || !is_host || Path::new(text).is_dir() {
                return store(text);
            }
            text
        }
    };
    let (registry, prefix) =
        place.trim_end_matches('/').split_once('/').unwrap_or((place.trim_end_matches('/'), ""));
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if registry.is_empty() || !registry.chars().all(is_host) {
        return Err(format!(
            "`{registry}` is not a registry's host and port; write oci://HOST[:PORT][/PATH]"
        ));
    }
    if !prefix.is_empty() && !prefix.split('/').all(is_repository_part) {
        return Err(format!(
            "`{prefix}` is no path in a registry: small letters, digits and `.`, `_`, `-` between them"
        ));
    }
    Ok(PackagePlace::Registry { registry: registry.to_owned(), prefix: prefix.to_owned() })
}

impl PackagePlace {
    /// Opens a place that something is to be read from, which therefore is not made; blocks.
    ///
    /// # Errors
    /// It is not there (64), or can't be opened.
    pub(crate) fn open_to_read(
        &self,
        home: &Home,
        runtime: &Handle,
        stop: &CancellationToken,
    ) -> Result<OpenPlace, Problem> {
        if let Self::Store(location) = self {
            there_is(location)?;
        }
        self.open(home, runtime, stop)
    }

    /// Opens the place; blocks. `stop` ends whatever is under way with a registry.
    ///
    /// # Errors
    /// It can't be opened.
    pub(crate) fn open(
        &self,
        home: &Home,
        runtime: &Handle,
        stop: &CancellationToken,
    ) -> Result<OpenPlace, Problem> {
        let (registry, prefix) = match self {
            Self::Store(location) => {
                let store = Store::at(location, runtime)?;
                return Ok(OpenPlace { place: Place::Store(store), way: None });
            }
            Self::Registry { registry, prefix } => (registry.clone(), prefix.clone()),
        };
        let entered = runtime.enter();
        let way = RegistryWay::open(&registry)?;
        drop(entered);
        let settings = Settings {
            registry,
            prefix,
            at: None,
            is_plain: way.is_on_loopback(),
            proxy: way.proxy(),
            authorities: None,
            credentials: way.credentials(),
            notes: Some(home.path().join("pushes")),
            stop: stop.clone(),
        };
        let remote = Remote::new(settings, runtime.clone()).map_err(TransferError::from)?;
        Ok(OpenPlace { place: Place::Registry(remote), way: Some(way) })
    }
}

impl OpenPlace {
    /// The packages of a project on a server, by the protocol of registries and with a person's token.
    ///
    /// # Errors
    /// The server is not at the root of its host, where registries are.
    pub(crate) fn on_server(
        people: &People,
        project: &Name,
        home: &Home,
        runtime: &Handle,
        stop: &CancellationToken,
    ) -> Result<Self, Problem> {
        let server = people.address();
        if !server.is_a_whole_host() {
            return Err(Problem::new(Exit::Usage, format!("{} is not all of a host", server.as_str()))
                .with_why("packages are got by the protocol of registries, which has no other place than /v2")
                .with_remedy("name an address of the server that has no path"));
        }
        let settings = Settings {
            registry: server.host_and_port().to_owned(),
            prefix: project.to_string(),
            at: None,
            is_plain: !server.is_encrypted(),
            proxy: None,
            authorities: server.certificates()?,
            // The user's name says nothing: tokens have names of their own.
            credentials: people.token().map(|token| ("token".to_owned(), token.clone())),
            notes: Some(home.path().join("pushes")),
            stop: stop.clone(),
        };
        let remote = Remote::new(settings, runtime.clone()).map_err(TransferError::from)?;
        Ok(Self { place: Place::Registry(remote), way: None })
    }

    /// The home's own store, which is made if it is not there.
    ///
    /// # Errors
    /// It can't be.
    pub(crate) fn own(home: &Home) -> Result<Self, Problem> {
        Ok(Self { place: Place::Store(own_store(home)?), way: None })
    }

    /// A failure, with what the way there knows of it.
    pub(crate) fn explained(&self, failed: TransferError) -> Problem {
        if failed.is_stop() {
            // What is through is known by name, on either side.
            return interrupt::stopped("what is through stays, and the same command goes on from there");
        }
        let told = self.way.as_ref().and_then(RegistryWay::last_refusal);
        let problem = Problem::from(failed);
        match told {
            Some(why) => problem.with_why(why),
            None => problem,
        }
    }
}

/// Whether there is a store, where that can be told before it is opened. Opening would make one of any directory.
///
/// # Errors
/// There is none (64).
pub(crate) fn there_is(location: &Location) -> Result<(), Problem> {
    let Location::Directory(directory) = location else { return Ok(()) };
    // Stores of earlier versions have no mark of a layout yet.
    if ["oci-layout", "names"].iter().any(|part| directory.join(part).exists()) {
        return Ok(());
    }
    let why =
        if directory.is_dir() { "it is a directory, but no store" } else { "there is no such directory" };
    Err(Problem::new(Exit::Usage, format!("there is no store {}", directory.display()))
        .with_why(why)
        .with_remedy("name another; `staith push PACKAGE --to DIR` makes one"))
}

/// The home's own store.
///
/// # Errors
/// It can't be opened.
pub(crate) fn own_store(home: &Home) -> Result<Store, Problem> {
    home.make().map_err(|refused| {
        Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
            .with_why(refused.to_string())
            .with_remedy("set STAITH_HOME to a directory of your own")
    })?;
    Ok(Store::open(&home.packages())?)
}

impl From<NoWay> for Problem {
    fn from(no: NoWay) -> Self {
        Self::new(Exit::Environment, no.to_string())
    }
}

impl From<TransferError> for Problem {
    fn from(failed: TransferError) -> Self {
        let exit = match &failed {
            TransferError::Store(_) => {
                let TransferError::Store(failed) = failed else {
                    return Self::bug("an error became another");
                };
                return failed.into();
            }
            TransferError::Shelf(
                ShelfError::Conflict(_) | ShelfError::Invalid(_) | ShelfError::Refused(_),
            )
            | TransferError::NoPackage { .. }
            | TransferError::Title(_)
            | TransferError::InTheWay(_)
            | TransferError::Client(ClientError::Unsound { .. }) => Exit::Configuration,
            TransferError::Unknown { .. } => Exit::Usage,
            stopped if stopped.is_stop() => Exit::Interrupted,
            _ => Exit::Environment,
        };
        let text = failed.to_string();
        match text.split_once("; ") {
            Some((what, remedy)) => Self::new(exit, what).with_remedy(remedy),
            None => Self::new(exit, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_no_store_is_not_made_one_by_looking() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &Path| there_is(&Location::Directory(path.to_owned()));
        for none in [scratch.path().to_owned(), scratch.path().join("absent")] {
            assert_eq!(at(&none).map_err(|problem| problem.exit), Err(Exit::Usage), "{}", none.display());
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        Store::open(&scratch.path().join("store")).unwrap();
        assert!(at(&scratch.path().join("store")).is_ok());
    }

    #[test]
    fn registries_are_told_from_directories() {
        let registry = |registry: &str, prefix: &str| PackagePlace::Registry {
            registry: registry.to_owned(),
            prefix: prefix.to_owned(),
        };
        for (text, place) in [
            ("oci://example", registry("example", "")),
            ("oci://example/", registry("example", "")),
            ("ghcr.io/team/packages", registry("ghcr.io", "team/packages")),
            ("localhost/x", registry("localhost", "x")),
            ("127.0.0.1:5000", registry("127.0.0.1:5000", "")),
            ("docker://[::1]:5000/a", registry("[::1]:5000", "a")),
        ] {
            assert_eq!(package_place(text), Ok(place), "{text}");
        }
        for store in ["packages", "./ghcr.io/x", "/srv/packages", "s3://bucket/x", "a/b.c"] {
            assert!(matches!(package_place(store), Ok(PackagePlace::Store(_))), "{store}");
        }
        for bad in
            ["https://ghcr.io/x", "oci://", "oci://ghcr.io/Team", "oci://a b", "ftp://x", "oci://x@y/z"]
        {
            assert!(package_place(bad).is_err(), "{bad}");
        }
    }
}
