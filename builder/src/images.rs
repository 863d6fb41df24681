//! Root file systems that others made: OCI images, from registries and from this machine. A map, in reading order:
//!
//! 1. [`ImageReference`]: what a pipeline may name. `local`: which of this machine's files count.
//! 2. `registry` asks registries, by `credentials`; `local` reads archives and layouts (`bundle`) and directories (`directory`).
//! 3. `config`: what an image says of itself, and which one is for this machine.
//! 4. `archive` and `decode` read a layer's archive; `unpack` and `place` make a directory of it that nothing leads out of.
//! 5. `way`: the same way to registries, for packages.
//! 6. `store`: what is here, by content. `top`: the layer that Staith puts on top. `view`: what layers show.
//!
//! A layer is unpacked once, into a directory that overlay uses as it is, and shared by all images that have it. All its
//! files belong to the one user of the sandbox ([decision 2](../../docs/decisions/002-one-user-mapping.md)): owners, set-user-id
//! bits, file capabilities and other extended attributes are not kept.

mod archive;
mod bundle;
mod config;
mod credentials;
mod decode;
mod directory;
mod error;
mod local;
mod place;
mod reference;
mod registry;
mod store;
mod top;
mod unpack;
mod view;
mod way;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use staith_model::Digest;

pub use self::{
    config::ImageConfig,
    reference::{Choice, ImageReference, LocalImage, NotAnImage, RegistryImage},
    way::{NoWay, RegistryWay},
};
pub(crate) use self::{
    config::workdir,
    local::allowed_roots,
    store::is_whole,
    top::{AUTHORITIES, authorities_of_the_host},
};
use self::{
    error::ImageError,
    registry::{Remote, Unanswered},
    store::{Known, Meaning, Store},
    view::Shown,
};
use crate::{
    addresses::Caution,
    engine::{EngineError, Image, ImageFetched, ImageProgress, Root},
    upkeep::Allowance,
};

/// For this long a registry is not asked again what a tag means, so that running on each save stays quick. A registry on this
/// machine is asked each time.
const TAG_IS_FRESH: Duration = Duration::from_secs(60);

/// The images of one home, for the built-in sandbox.
#[derive(Debug)]
pub(crate) struct Images {
    root: PathBuf,
    owner: Option<(u32, u32)>,
    allowed: Vec<PathBuf>,
    allowance: Option<Arc<dyn Allowance>>,
    caution: Caution,
    /// Opened when the first image is asked for: most runs ask for none.
    store: Mutex<Option<Arc<Store>>>,
    notices: Mutex<Vec<String>>,
}

/// Where an archive on this machine is that a pipeline names, for engines that read archives themselves: the place without
/// links, if the machine's owner allows it.
///
/// # Errors
/// [`EngineError::ImageMissing`].
pub(crate) fn find_archive(image: &LocalImage, allowed: &[PathBuf]) -> Result<PathBuf, EngineError> {
    let missing = |error: ImageError| error.about(&image.to_string());
    let path = local::find(&image.path, allowed).map_err(missing)?;
    if path.is_file() && !image.is_layout {
        return Ok(path);
    }
    let why = format!("{} is a directory, and container engines take archives only", path.display());
    let remedy = "name a tar that `docker save` or `podman save` wrote, or one of a root file system (`tar -C rootfs -c . > \
                  rootfs.tar`), or leave `--engine` out";
    Err(missing(ImageError::missing(why, remedy)))
}

/// For engines that ask registries themselves: whether a pipeline may name this one.
///
/// # Errors
/// [`EngineError::ImageMissing`].
pub(crate) async fn judge_registry(image: &RegistryImage, caution: &Caution) -> Result<(), EngineError> {
    let judged = registry::judge(image, caution).await;
    judged.map_err(|error| error.about(&image.to_string()))
}

impl Images {
    /// The images below `root`, whose files belong to `owner`.
    pub(crate) fn below(root: PathBuf, owner: Option<(u32, u32)>) -> Self {
        let (store, notices) = (Mutex::default(), Mutex::default());
        let (allowed, caution) = (local::allowed_roots(), Caution::from_environment());
        Self { root, owner, allowed, allowance: None, caution, store, notices }
    }

    /// The same, but images on this machine may be below these folders only (and `/opt`).
    pub(crate) fn allowing_below(&self, allowed: Vec<PathBuf>) -> Self {
        Self { allowed, ..self.again() }
    }

    /// The same, but it asks before it keeps anything.
    pub(crate) fn within(&self, allowance: Arc<dyn Allowance>) -> Self {
        Self { allowance: Some(allowance), ..self.again() }
    }

    /// The same, but with another caution about the registries that pipelines name.
    pub(crate) fn with_caution(&self, caution: Caution) -> Self {
        Self { caution, ..self.again() }
    }

    /// The same, before anybody has asked for an image.
    fn again(&self) -> Self {
        let (allowed, allowance, caution) =
            (self.allowed.clone(), self.allowance.clone(), self.caution.clone());
        Self { allowed, allowance, caution, ..Self::below(self.root.clone(), self.owner) }
    }

    /// What people should know of the images that were found since this was last asked.
    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds an image, and fetches what is missing of it. Cancel-safe: what came is used by the next call.
    ///
    /// # Errors
    /// [`EngineError::ImageMissing`].
    pub(crate) async fn find(
        &self,
        reference: &str,
        progress: &ImageProgress<'_>,
    ) -> Result<Found, EngineError> {
        let found = self.find_known(reference, progress).await;
        found.map_err(|error| error.about(reference))
    }

    async fn find_known(&self, text: &str, progress: &ImageProgress<'_>) -> Result<Found, ImageError> {
        let image: ImageReference =
            text.parse().map_err(|bad: NotAnImage| ImageError::missing(bad.why, bad.remedy))?;
        let store = self.open()?;
        let known = match image {
            ImageReference::Registry(image) => self.of_registry(text, &image, &store, progress).await?,
            ImageReference::Local(image) => {
                let (store, allowed) = (Arc::clone(&store), self.allowed.clone());
                blocking(move || local::import(&image, &allowed, &store)).await?
            }
        };
        blocking(move || finish(&store, known)).await
    }

    fn open(&self) -> Result<Arc<Store>, ImageError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match &*store {
            Some(store) => Ok(Arc::clone(store)),
            None => Ok(Arc::clone(store.insert(Arc::new(Store::open(
                &self.root,
                self.owner,
                self.allowance.clone(),
            )?)))),
        }
    }

    async fn of_registry(
        &self,
        text: &str,
        image: &RegistryImage,
        store: &Arc<Store>,
        progress: &ImageProgress<'_>,
    ) -> Result<Known, ImageError> {
        let (digest, remote) = match &image.choice {
            Choice::Digest(digest) => (*digest, None),
            Choice::Tag(_) => self.meaning(image, store).await?,
        };
        if let Some(known) = store.known(&digest) {
            return Ok(known);
        }
        let remote = match remote {
            Some(remote) => remote,
            None => Remote::new(image, &self.caution).await?,
        };
        let heard =
            |bytes, of| progress(ImageFetched { reference: text.to_owned(), bytes, of_bytes: Some(of) });
        progress(ImageFetched { reference: text.to_owned(), bytes: 0, of_bytes: None });
        let known = remote.pull(&digest, store, &heard).await?;
        store.know(&digest, &known)?;
        let user = known.config.user.as_str();
        if !matches!(user, "" | "0" | "root" | "0:0" | "root:root") {
            self.note(format!(
                "the image {text} is made to run as `{}`; steps run as the sandbox's one user",
                error::tamed(user)
            ));
        }
        Ok(known)
    }

    /// What a tag means: as the registry says, or, when it is away, as it last said.
    async fn meaning(
        &self,
        image: &RegistryImage,
        store: &Arc<Store>,
    ) -> Result<(Digest, Option<Remote>), ImageError> {
        let (name, now) = (image.to_string(), seconds());
        let last = store.meaning(&name);
        let is_fresh =
            |last: &Meaning| now.checked_sub(last.asked).is_some_and(|age| age < TAG_IS_FRESH.as_secs());
        if let Some(last) = last.as_ref().filter(|last| !image.is_on_loopback() && is_fresh(last)) {
            return Ok((last.digest, None));
        }
        let remote = Remote::new(image, &self.caution).await?;
        match remote.digest_of(registry::tag(image).unwrap_or_default()).await {
            Ok(digest) => {
                store.mean(&name, &Meaning { digest, asked: now })?;
                Ok((digest, Some(remote)))
            }
            Err(Unanswered::Away(error)) => match last.filter(|last| store.known(&last.digest).is_some()) {
                Some(last) => {
                    self.note(format!("{error}; {name} is used as it was last seen, {}", last.digest));
                    Ok((last.digest, Some(remote)))
                }
                None => Err(error),
            },
            Err(Unanswered::Refused(error)) => Err(error),
        }
    }

    fn note(&self, notice: String) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }
}

/// An image that is here.
#[derive(Debug)]
pub(crate) struct Found {
    /// As steps get it.
    pub(crate) image: Image,
    /// What it says of itself.
    pub(crate) config: ImageConfig,
}

/// What a step can see decides the image's digest: layers by their content, variables, and what Staith puts on top. Not the
/// manifest's digest: the same files compressed anew are the same image. And not what the image runs: who runs that, has it
/// in a key of its own ([`of_service`](crate::cache::of_service)).
fn finish(store: &Store, known: Known) -> Result<Found, ImageError> {
    let gone = || {
        ImageError::unsound(
            "a layer of the image vanished",
            "something else removes files of Staith's; run again",
        )
    };
    let mut layers = known
        .layers
        .iter()
        .map(|layer| store.layer(layer).ok_or_else(gone))
        .collect::<Result<Vec<_>, _>>()?;
    let (top, top_digest) = top::layer(store, &layers)?;
    layers.push(top);
    let Known { layers: digests, config } = known;
    let (command, workdir) = config.to_run();
    let digest = Digest::of_value("staith.image.v1", &(digests, &config.env, &config.path, top_digest));
    let (path, env) = (config.path.clone(), config.env.clone());
    let image = Image { digest, root: Root::Layers(layers), binds: Vec::new(), path, env, command, workdir };
    Ok(Found { image, config })
}

/// Whether layers show a program of this name in one of the directories.
pub(crate) fn has_program(layers: &[PathBuf], path: &[PathBuf], name: &str) -> bool {
    let is_program = |directory: &Path| matches!(view::look(layers, &directory.join(name)), Some(Shown::File { mode, .. }) if mode & 0o111 != 0);
    path.iter().any(|directory| is_program(directory))
}

/// Whether Staith's own layer brought the authorities of this host.
pub(crate) fn has_authorities(layers: &[PathBuf]) -> bool {
    let inside = Path::new(AUTHORITIES).strip_prefix("/").unwrap_or(Path::new(AUTHORITIES));
    layers.last().is_some_and(|top| {
        std::fs::metadata(top.join(inside))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o444 != 0)
    })
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panicked| ImageError::unsound("Staith's own code failed", panicked.to_string()))?
}
