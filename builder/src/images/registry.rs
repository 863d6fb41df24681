//! Images from registries: what a tag means today, and the parts of an image that are not here yet.

use std::{
    fs::File,
    io::{Read, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{BlobResponse, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use staith_model::{Digest, DigestStream, causes};

use crate::{
    addresses::{Caution, Refused},
    sandbox::egress::Guard,
};

use super::{
    config::{self, Descriptor, Manifest},
    credentials,
    decode::{Hashing, Seen, decoded},
    error::{ImageError, at, tamed},
    reference::{Choice, RegistryImage},
    store::{Known, Store},
    unpack::unpack,
};
use crate::upkeep::GrowingRoom;

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(20);
/// How long a registry may say nothing.
const STALLED: Duration = Duration::from_secs(30);
/// How long a manifest may take as a whole.
const FOR_A_MANIFEST: Duration = Duration::from_secs(30);
/// How much more memory than before this process may have while a registry answers a question. The client reads manifests, tokens and
/// what is said with errors into memory, as long as they are, so what comes is watched from outside. None is a hundredth as long.
const FOR_AN_ANSWER: u64 = 128 << 20;
/// How often that is looked at; a fast network brings some megabytes meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Blobs that come at once.
const AT_ONCE: usize = 3;
/// How often a blob is asked for; what has come already is not asked for again.
const ATTEMPTS: u32 = 4;
/// A compressed layer that is bigger is no layer.
const LARGEST_BLOB: u64 = 64 << 30;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);
const KINDS: [&str; 4] = [
    oci_client::manifest::OCI_IMAGE_MEDIA_TYPE,
    oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE,
    oci_client::manifest::IMAGE_MANIFEST_MEDIA_TYPE,
    oci_client::manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// One repository of a registry, and who asks it.
pub(super) struct Remote {
    client: Client,
    auth: RegistryAuth,
    /// Judges each connection of the client's, also those that registries lead it to.
    guard: Guard,
    registry: String,
    repository: String,
}

/// Why a registry did not give something.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It can't be reached, or is not well; what is known may do.
    Away(ImageError),
    /// It answered, and the answer was no.
    Refused(ImageError),
}

impl Unanswered {
    pub(super) fn into_error(self) -> ImageError {
        let (Self::Away(error) | Self::Refused(error)) = self;
        error
    }
}

/// Hears how many bytes of how many are here.
pub(super) type Heard<'a> = dyn Fn(u64, u64) + Send + Sync + 'a;

impl Remote {
    /// Connects to nothing yet.
    pub(super) async fn new(image: &RegistryImage, caution: &Caution) -> Result<Self, ImageError> {
        let registry = image.registry.clone();
        let (host, port) = image.host_and_port();
        caution.judge_name(host, port).map_err(|refused| refused_name(&refused))?;
        // A registry on this machine may lead to others of this machine: it could ask them itself.
        let is_local = image.is_on_loopback();
        let caution = if is_local { caution.with_origin(host, None) } else { caution.clone() };
        let guard = Guard::open(caution).map_err(at("opening a port for", Path::new(&registry)))?;
        let way = guard.url();
        let prepared = tokio::task::spawn_blocking(move || {
            // The client wants a default for the whole process; whoever set one before meant it.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let authorities = rustls_native_certs::load_native_certs().certs;
            if authorities.is_empty() {
                return Err(ImageError::missing(
                    "this machine knows no authorities, so no registry can be trusted",
                    "install the package ca-certificates, or set SSL_CERT_FILE",
                ));
            }
            let client = Client::try_from(settings(&registry, is_local, way))
                .map_err(|error| failure(&registry, error).into_error())?;
            Ok((client, credentials::for_registry(&registry)))
        });
        let panicked =
            |error: tokio::task::JoinError| ImageError::unsound("the registry's client", error.to_string());
        let (client, auth) = prepared.await.map_err(panicked)??;
        let (registry, repository) = (image.registry.clone(), image.repository.clone());
        Ok(Self { client, auth, guard, registry, repository })
    }

    /// What a tag means today: one small question.
    pub(super) async fn digest_of(&self, tag: &str) -> Result<Digest, Unanswered> {
        let reference = Reference::with_tag(self.registry.clone(), self.repository.clone(), tag.to_owned());
        self.sign_in(&reference).await?;
        let asked = self.client.fetch_manifest_digest(&reference, &self.auth);
        let digest = self.in_time(asked).await?;
        digest.parse().map_err(|_| {
            let why = format!("{} says that the tag has the digest `{}`", self.registry, tamed(&digest));
            Unanswered::Refused(ImageError::unsound("only digests with SHA-256 are supported", why))
        })
    }

    /// The client passes over a refusal to sign in and then tells less; so this is asked for by itself.
    async fn sign_in(&self, reference: &Reference) -> Result<(), Unanswered> {
        self.in_time(self.client.auth(reference, &self.auth, RegistryOperation::Pull)).await.map(drop)
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Unanswered> {
        let bounded = async {
            tokio::select! {
                // First of all, because an answer that comes fast enough is always ready to go on.
                biased;
                () = grown_too_much() => Err(too_long(&self.registry)),
                answered = asked => Ok(answered),
            }
        };
        match tokio::time::timeout(FOR_A_MANIFEST, bounded).await {
            Ok(Err(too_long)) => Err(too_long),
            Ok(Ok(answered)) => answered.map_err(|error| self.failure(error)),
            Err(_) => {
                let why =
                    format!("{} did not answer within {} seconds", self.registry, FOR_A_MANIFEST.as_secs());
                Err(Unanswered::Away(ImageError::missing(why, "check the network, and try again")))
            }
        }
    }

    /// What a failure means; where a connection was refused on the way, the client knows only that it was.
    fn failure(&self, error: OciDistributionError) -> Unanswered {
        let told = failure(&self.registry, error);
        match self.guard.last_refusal() {
            None => told,
            Some((why, is_for_good)) => {
                let why = format!("{} can't be reached: {}", self.registry, tamed(&why));
                let remedy = "check the network, the proxy variables and the registry's name";
                let error = ImageError::missing(why, remedy);
                if is_for_good { Unanswered::Refused(error) } else { Unanswered::Away(error) }
            }
        }
    }

    fn exactly(&self, digest: &Digest) -> Reference {
        Reference::with_digest(self.registry.clone(), self.repository.clone(), digest.to_string())
    }

    async fn manifest(&self, digest: &Digest) -> Result<Manifest, ImageError> {
        let reference = self.exactly(digest);
        self.sign_in(&reference).await.map_err(Unanswered::into_error)?;
        let asked = self.client.pull_manifest_raw(&reference, &self.auth, &KINDS);
        let (bytes, _) = self.in_time(asked).await.map_err(Unanswered::into_error)?;
        if bytes.len() as u64 > config::LONGEST || Digest::of(&bytes) != *digest {
            let why = format!("{} gave {} bytes that are not what was asked for", self.registry, bytes.len());
            return Err(ImageError::unsound("the image's manifest is not the right one", why));
        }
        Manifest::parse(&bytes)
    }

    /// Fetches what is missing of an image and unpacks it.
    pub(super) async fn pull(
        &self,
        digest: &Digest,
        store: &Arc<Store>,
        heard: &Heard<'_>,
    ) -> Result<Known, ImageError> {
        let mut manifest = self.manifest(digest).await?;
        if let Manifest::Index(entries) = &manifest {
            let chosen = digest_of(config::for_this_machine(entries)?)?;
            manifest = self.manifest(&chosen).await?;
        }
        let Manifest::Image { config, layers } = manifest else {
            return Err(ImageError::unsound("the image's index can't be used", "it names another index"));
        };
        let config = self.small_blob(&config).await?;
        let (config, digests) = config::parse_config(&config)?;
        if digests.len() != layers.len() {
            let why =
                format!("it has {} layers, and its configuration knows {}", layers.len(), digests.len());
            return Err(ImageError::unsound("the image contradicts itself", why));
        }
        let (of, here) =
            (layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add), AtomicU64::new(0));
        let tell = |more: u64| heard(here.fetch_add(more, Ordering::Relaxed).saturating_add(more), of);
        let mut coming = Vec::new();
        for (layer, unpacked) in layers.iter().zip(&digests) {
            coming.push(self.layer(layer, unpacked, store, &tell));
        }
        stream::iter(coming).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(Known { layers: digests, config })
    }

    async fn layer(
        &self,
        layer: &Descriptor,
        unpacked: &Digest,
        store: &Arc<Store>,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let turn = store.turn(&unpacked.hex()).await?;
        if store.layer(unpacked).is_some() {
            tell(layer.size);
            return Ok(());
        }
        let blob = digest_of(layer)?;
        let partial = store.partial(&blob);
        let room = self.whole_blob(layer, &blob, &partial, store, tell).await?;
        let (store, unpacked) = (Arc::clone(store), *unpacked);
        let unpacking = tokio::task::spawn_blocking(move || {
            // Until it is unpacked, also when whoever waits for it goes away.
            let _turn = turn;
            let file = File::open(&partial).map_err(at("opening", &partial))?;
            let made = unpack_into(&store, file, Some(&unpacked));
            if std::fs::remove_file(&partial).is_ok() {
                room.gone();
            }
            made.map(drop)
        });
        let panicked =
            |error: tokio::task::JoinError| ImageError::unsound("unpacking a layer", error.to_string());
        unpacking.await.map_err(panicked)?
    }

    /// Lets a blob come into a file, in as many attempts as it takes, and checks what it is. The room that it takes.
    async fn whole_blob(
        &self,
        layer: &Descriptor,
        blob: &Digest,
        path: &Path,
        store: &Store,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<GrowingRoom, ImageError> {
        if layer.size > LARGEST_BLOB {
            return Err(ImageError::unsound("a layer is too large", format!("{} bytes", layer.size)));
        }
        let mut attempt = 1;
        loop {
            let mut growing = Growing::open(path.to_path_buf(), store.room_for_partial()).await?;
            let resumed = growing.bytes;
            if attempt == 1 {
                tell(resumed);
            }
            let failed = match self.more(layer, blob, &mut growing, tell).await {
                Ok(()) if growing.hash.clone().finish() == *blob => return Ok(growing.room),
                Ok(()) => {
                    growing.forget()?;
                    let why = format!(
                        "{} gave {} bytes with another digest than {blob}",
                        self.registry, growing.bytes
                    );
                    ImageError::unsound("a layer is not what the image says", why)
                }
                Err(Unanswered::Refused(error)) => return Err(error),
                Err(Unanswered::Away(error)) => error,
            };
            // What came before this attempt may have been the fault; what came whole and is wrong stays wrong.
            let is_wrong_for_good = matches!(failed, ImageError::Unsound { .. }) && resumed == 0;
            if attempt == ATTEMPTS || is_wrong_for_good {
                return Err(failed);
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS * attempt).await;
            attempt += 1;
        }
    }

    async fn more(
        &self,
        layer: &Descriptor,
        blob: &Digest,
        growing: &mut Growing,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Unanswered> {
        if layer.size > 0 && growing.bytes == layer.size {
            return Ok(());
        }
        let described = OciDescriptor { digest: blob.to_string(), ..OciDescriptor::default() };
        let reference = self.exactly(blob);
        let asked = self.client.pull_blob_stream_partial(&reference, &described, growing.bytes, None);
        let mut stream = match self.in_time(asked).await? {
            BlobResponse::Partial(stream) => stream,
            // A registry that can't begin in the middle begins anew.
            BlobResponse::Full(stream) => {
                growing.restart().map_err(Unanswered::Refused)?;
                stream
            }
        };
        let most = if layer.size > 0 { layer.size } else { LARGEST_BLOB };
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                let why =
                    format!("{} stopped in the middle of a layer: {}", self.registry, tamed(&causes(&error)));
                Unanswered::Away(ImageError::missing(
                    why,
                    "check the network, and try again: what has come is kept",
                ))
            })?;
            if growing.bytes + chunk.len() as u64 > most {
                growing.forget().map_err(Unanswered::Refused)?;
                let why = format!("{} sends more than the {most} bytes that the image says", self.registry);
                return Err(Unanswered::Refused(ImageError::unsound(
                    "a layer is not what the image says",
                    why,
                )));
            }
            growing.add(&chunk).map_err(Unanswered::Refused)?;
            tell(chunk.len() as u64);
        }
        Ok(())
    }

    async fn small_blob(&self, wanted: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let blob = digest_of(wanted)?;
        let described = OciDescriptor { digest: blob.to_string(), ..OciDescriptor::default() };
        let reference = self.exactly(&blob);
        let asked = self.client.pull_blob_stream(&reference, &described);
        let mut stream = self.in_time(asked).await.map_err(Unanswered::into_error)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                let why = format!("{}: {}", self.registry, tamed(&causes(&error)));
                ImageError::unsound("the image's configuration did not come in full", why)
            })?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > config::LONGEST {
                return Err(ImageError::unsound("the image's configuration can't be used", "it is too long"));
            }
        }
        if Digest::of(&bytes) != blob {
            return Err(ImageError::unsound(
                "the image's configuration is not the right one",
                format!("its digest is not {blob}"),
            ));
        }
        Ok(bytes)
    }
}

fn too_long(registry: &str) -> Unanswered {
    let why = format!(
        "{registry} answers with more than {} MiB, where some kilobytes are usual",
        FOR_AN_ANSWER >> 20
    );
    Unanswered::Refused(ImageError::missing(
        why,
        "check the image's name and the registry; this one can't be used",
    ))
}

/// Returns when this process has so much more memory than it had that what a registry sends can't be an honest answer.
async fn grown_too_much() {
    let Some(before) = resident() else { return std::future::pending().await };
    let mut look = tokio::time::interval(BETWEEN_LOOKS);
    loop {
        look.tick().await;
        if resident().is_some_and(|now| now > before + FOR_AN_ANSWER) {
            return;
        }
    }
}

/// Bytes of memory that this process has; none where the kernel does not tell.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Judges a registry by its name and by what that means now.
pub(super) async fn judge(image: &RegistryImage, caution: &Caution) -> Result<(), ImageError> {
    let (host, port) = image.host_and_port();
    caution.judge_name(host, port).map_err(|refused| refused_name(&refused))?;
    let Ok(Ok(found)) = tokio::time::timeout(CONNECTING, tokio::net::lookup_host((host, port))).await else {
        // Whoever asks the registry will find out the same, or knows better.
        return Ok(());
    };
    found.into_iter().try_for_each(|address| {
        caution.judge_address(host, port, address.ip()).map_err(|refused| refused_name(&refused))
    })
}

fn refused_name(refused: &Refused) -> ImageError {
    ImageError::missing(refused.to_string(), refused.remedy())
}

fn settings(registry: &str, is_local: bool, way: String) -> ClientConfig {
    ClientConfig {
        // Only what never leaves this machine may come without TLS.
        protocol: match is_local {
            true => ClientProtocol::HttpsExcept(vec![registry.to_owned()]),
            false => ClientProtocol::Https,
        },
        read_timeout: Some(STALLED),
        connect_timeout: Some(CONNECTING),
        user_agent: concat!("staith/", env!("CARGO_PKG_VERSION")),
        // The environment's proxies are what is behind the way. One of them would see another machine than this as loopback.
        http_proxy: Some(way.clone()),
        https_proxy: Some(way),
        no_proxy: is_local.then(|| "127.0.0.0/8,::1,localhost".to_owned()),
        ..ClientConfig::default()
    }
}

fn digest_of(part: &Descriptor) -> Result<Digest, ImageError> {
    part.digest.parse().map_err(|bad: staith_model::NotADigest| {
        ImageError::unsound("only digests with SHA-256 are supported", tamed(&bad.to_string()))
    })
}

/// Unpacks an archive, compressed or not, as a layer.
pub(super) fn unpack_into(
    store: &Store,
    from: impl Read,
    wanted: Option<&Digest>,
) -> Result<Digest, ImageError> {
    let fill = |place: &mut super::place::Place| {
        let seen = Seen::default();
        let mut reader = Hashing::new(
            decoded(from).map_err(|error| ImageError::of_flaw("reading a layer", error.into()))?,
            &seen,
        );
        let unpacked = unpack(&mut reader, place);
        drop(reader);
        unpacked.map_err(|flaw| ImageError::of_flaw("a layer can't be unpacked", flaw))?;
        Ok(seen.digest())
    };
    store.make_layer(fill, wanted)
}

/// A blob that has come in part.
struct Growing {
    path: PathBuf,
    file: File,
    hash: DigestStream,
    bytes: u64,
    room: GrowingRoom,
}

impl Growing {
    /// With what is there already, which is read for its digest.
    async fn open(path: PathBuf, room: GrowingRoom) -> Result<Self, ImageError> {
        let open = move || -> Result<Self, ImageError> {
            let file = File::options()
                .create(true)
                .append(true)
                .read(true)
                .open(&path)
                .map_err(at("opening", &path))?;
            let seen = Seen::default();
            let bytes = std::io::copy(&mut Hashing::new(&file, &seen), &mut std::io::sink())
                .map_err(at("reading", &path))?;
            Ok(Self { path, file, hash: seen.stream(), bytes, room })
        };
        let panicked =
            |error: tokio::task::JoinError| ImageError::unsound("reading a layer", error.to_string());
        tokio::task::spawn_blocking(open).await.map_err(panicked)?
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.room.take(bytes.len() as u64).map_err(at("writing", &self.path))?;
        // A few kilobytes into the page cache: not worth another thread.
        self.file.write_all(bytes).map_err(at("writing", &self.path))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), ImageError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(at("emptying", &self.path))?;
        (self.hash, self.bytes) = (DigestStream::new(), 0);
        Ok(())
    }

    fn forget(&self) -> Result<(), ImageError> {
        self.file.set_len(0).map_err(at("emptying", &self.path))
    }
}

/// What a client's failure means.
fn failure(registry: &str, error: OciDistributionError) -> Unanswered {
    use OciDistributionError as Failed;
    let log_in = format!(
        "check the name; if it is not public, `docker login {registry}` or put credentials into ~/.docker/config.json"
    );
    let refused = |why: String, remedy: &str| Unanswered::Refused(ImageError::missing(tamed(&why), remedy));
    match error {
        Failed::UnauthorizedError { .. } => {
            refused(format!("{registry} does not give it to everybody"), &log_in)
        }
        Failed::AuthenticationFailure(why) => {
            refused(format!("{registry} refused to sign us in: {why}"), &log_in)
        }
        Failed::ImageManifestNotFoundError(why) => {
            refused(format!("{registry} does not have it: {why}"), &log_in)
        }
        Failed::RegistryError { envelope, .. } => {
            let told: Vec<String> =
                envelope.errors.iter().map(|one| format!("{:?} {}", one.code, one.message)).collect();
            if told.iter().any(|one| one.starts_with("Toomanyrequests")) {
                let remedy = "wait, or sign in: registries give more to those they know";
                return Unanswered::Away(ImageError::missing(
                    format!("{registry} gives no more for now: {}", tamed(&told.join("; "))),
                    remedy,
                ));
            }
            refused(format!("{registry} refused: {}", told.join("; ")), &log_in)
        }
        Failed::ServerError { code: 401 | 403, .. } => {
            refused(format!("{registry} does not give it to everybody"), &log_in)
        }
        Failed::ServerError { code: 404, .. } => refused(format!("{registry} does not have it"), &log_in),
        Failed::ServerError { code, message, .. } => {
            let why = format!("{registry} answered with the status {code}: {}", tamed(&message));
            Unanswered::Away(ImageError::missing(why, "try again later"))
        }
        Failed::RequestError(error) => {
            let why = format!("{registry} can't be reached: {}", tamed(&causes(&error)));
            Unanswered::Away(ImageError::missing(
                why,
                "check the network, the proxy variables and the registry's name",
            ))
        }
        other => refused(format!("{registry}: {other}"), "check the image's name and the registry"),
    }
}

/// The tag of an image, if it is chosen by one.
pub(super) fn tag(image: &RegistryImage) -> Option<&str> {
    match &image.choice {
        Choice::Tag(tag) => Some(tag),
        Choice::Digest(_) => None,
    }
}
