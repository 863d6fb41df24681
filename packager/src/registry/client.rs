//! Registries that others run, as places for packages. In reading order:
//!
//! 1. `http`: one question and its answer: signed in where the registry wants that, bounded in memory and time.
//! 2. `pull`: blobs into files, gone on with where a connection broke. `push`: files into blobs, likewise.
//!
//! A package `shop` below `registry.example.org/team` is the repository `team/shop` there.
//!
//! oci-client, which fetches the builder's images, is not used here: it can't go on with an upload, and reads answers into memory
//! as long as they are.

mod http;
mod pull;
mod push;

use std::{io, net::SocketAddr, path::PathBuf};

use staith_model::{Digest, Name, Secret, service::Trust};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::http::Http;
use super::{
    manifest::{INDEX, Manifest},
    names::{self, Reference},
    shelf::StoredManifest,
};

pub use pull::Fetched;
pub use push::{Sent, Source};

/// How a registry is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host and, if named, port.
    pub registry: String,
    /// What comes before a package's name in its repositories: `team`, or nothing.
    pub prefix: String,
    /// Where it is, in place of where its name leads.
    pub at: Option<SocketAddr>,
    /// Without TLS; only for a registry on this machine.
    pub is_plain: bool,
    /// The HTTP proxy that leads there, as a URL; it may hold a password.
    pub proxy: Option<String>,
    /// The authorities that may vouch for it; those of this machine if none are named.
    pub authorities: Option<Vec<reqwest::Certificate>>,
    /// User and password, where there are some.
    pub credentials: Option<(String, Secret)>,
    /// A directory of our own to note begun uploads in, so that another process can go on with them.
    pub notes: Option<PathBuf>,
    /// Ends whatever is under way, with [`ClientError::Stopped`]. What is through stays, and is gone on with another time.
    pub stop: CancellationToken,
}

/// Hears how many bytes of how many are through.
pub type Heard<'a> = dyn Fn(u64, u64) + Send + Sync + 'a;

/// A registry that somebody else runs. Its calls block; they must not be made on a thread that drives an async runtime.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    http: Http,
    runtime: Handle,
}

/// Why a registry does not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It can't be reached, or is not well. Trying again later may help, and goes on where this ended.
    #[error(
        "{registry} can't be reached, or is not well: {why}; check the network, the proxy variables and the name, and try again: what is through is not sent again"
    )]
    Away {
        /// The registry.
        registry: String,
        /// What happened.
        why: String,
    },
    /// It answered, and the answer was no.
    #[error("{registry} refused: {why}; {remedy}")]
    Refused {
        /// The registry.
        registry: String,
        /// What it said.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// Somebody asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// It does not have this.
    #[error("{registry} has no {what}")]
    Missing {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// What it gave is not what it should be.
    #[error(
        "{registry} gave something else than was asked for: {why}; don't use it, and tell who runs the registry"
    )]
    Unsound {
        /// The registry.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// A file of this machine can't be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is to be sent can't be read.
    #[error("what is to be sent can't be read: {0}")]
    Source(String),
    /// No client can be made.
    #[error("can't speak with registries: {0}")]
    Client(String),
}

impl Remote {
    /// Connects to nothing yet. `runtime` is where connections live; it has to be another thread's.
    ///
    /// # Errors
    /// The machine knows no authorities, or the proxy can't be used.
    pub fn new(settings: Settings, runtime: Handle) -> Result<Self, ClientError> {
        let http = Http::new(&settings)?;
        Ok(Self { settings, http, runtime })
    }

    /// Where packages are, for people.
    pub fn place(&self) -> String {
        let Settings { registry, prefix, .. } = &self.settings;
        if prefix.is_empty() { registry.clone() } else { format!("{registry}/{prefix}") }
    }

    /// A package's repository in this registry.
    ///
    /// # Errors
    /// Registries can't have the name.
    pub fn repository(&self, name: &Name) -> Result<String, ClientError> {
        names::repository(name.as_str())
            .map_err(|bad| self.refused(bad.to_string(), "publish it under another name"))?;
        let prefix = &self.settings.prefix;
        Ok(if prefix.is_empty() { name.to_string() } else { format!("{prefix}/{name}") })
    }

    /// A manifest, verified; `None` if there is none.
    ///
    /// # Errors
    /// See [`ClientError`]; that holds for all calls here.
    pub fn manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, ClientError> {
        Ok(self.manifest_vouched(name, reference)?.map(|(manifest, _)| manifest))
    }

    /// The same with how far its maker is trusted, which servers of ours say ([`TRUST`](super::TRUST)).
    ///
    /// # Errors
    /// As above.
    pub fn manifest_vouched(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<(StoredManifest, Option<Trust>)>, ClientError> {
        let repository = self.repository(name)?;
        self.wait(self.manifest_in(&repository, reference))
    }

    /// What is there about a manifest, by digest: as the registry lists it, or as others have, where it knows of no such lists.
    ///
    /// # Errors
    /// As above.
    pub fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<Digest>, ClientError> {
        let repository = self.repository(name)?;
        let path = format!("/v2/{repository}/referrers/{subject}");
        let listed = self.wait(self.http.small(&path, &repository, &[]))?;
        let list = match listed {
            Some(listed) => listed.bytes,
            None => match self.manifest(name, &referrers_tag(subject))? {
                Some(list) if list.media_type == INDEX => list.bytes,
                _ => return Ok(Vec::new()),
            },
        };
        let (index, _) = Manifest::parse(&list, Some(INDEX)).map_err(|why| self.unsound(why))?;
        Ok(index.manifests.into_iter().flatten().map(|entry| entry.digest).collect())
    }

    /// The tags of a package; none where there is no such package.
    ///
    /// # Errors
    /// As above.
    pub fn tags(&self, name: &Name) -> Result<Vec<String>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Tags {
            // Some registries say `null`.
            tags: Option<Vec<String>>,
        }
        let repository = self.repository(name)?;
        let answer = self.wait(self.http.small(&format!("/v2/{repository}/tags/list"), &repository, &[]))?;
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let tags: Tags = serde_json::from_slice(&answer.bytes)
            .map_err(|why| self.unsound(format!("its list of tags: {why}")))?;
        Ok(tags.tags.unwrap_or_default())
    }

    /// Waits for an answer, or until somebody asks to stop.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.settings.stop.cancelled() => Err(ClientError::Stopped),
                answer = answer => answer,
            }
        })
    }

    async fn manifest_in(
        &self,
        repository: &str,
        reference: &Reference,
    ) -> Result<Option<(StoredManifest, Option<Trust>)>, ClientError> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let Some(answer) = self.http.small(&path, repository, &super::manifest::KINDS).await? else {
            return Ok(None);
        };
        let digest = Digest::of(&answer.bytes);
        if matches!(reference, Reference::Digest(wanted) if *wanted != digest) {
            return Err(self.unsound(format!("the manifest {reference} has the digest {digest}")));
        }
        let (_, media_type) = Manifest::parse(&answer.bytes, answer.kind.as_deref())
            .map_err(|why| self.unsound(format!("the manifest {reference}: {why}")))?;
        Ok(Some((StoredManifest { digest, media_type, bytes: answer.bytes }, answer.trust)))
    }

    fn refused(&self, why: impl Into<String>, remedy: impl Into<String>) -> ClientError {
        ClientError::Refused { registry: self.place(), why: why.into(), remedy: remedy.into() }
    }

    fn unsound(&self, why: impl Into<String>) -> ClientError {
        ClientError::Unsound { registry: self.place(), why: why.into() }
    }
}

/// Where registries that don't know of what speaks of a manifest have the list of it.
fn referrers_tag(subject: &Digest) -> Reference {
    let tag = format!("sha256-{}", subject.hex());
    // Made of digits only, so it is a tag.
    tag.parse().unwrap_or(Reference::Digest(*subject))
}
