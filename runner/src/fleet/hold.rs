//! What is brought to machines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use staith_builder::redact::Masker;
use staith_model::{Digest, Name, ReleaseSetting, Secret, Target, Version};
use staith_packager::{parameters::Declarations, store::Store, web_deploy::Openings};
use staith_releaser::{
    fleet::{
        drive::{Cargo, Releases},
        freeze::{FleetShelf, VersionKey, changed_secrets},
        render::{RenderedFiles, Scene, render},
    },
    host::SealedPackage,
};

/// Packages from the home's store, rendered for an environment, with secrets from where this process has them.
pub(super) struct Hold {
    shared: Arc<Shared>,
}

/// Where packages are, and what they were found to be before.
pub(super) struct Stock {
    pub(super) store: Store,
    pub(super) openings: Openings,
}

struct Shared {
    environment: Name,
    shelf: FleetShelf,
    stock: Stock,
    secrets: BTreeMap<String, Secret>,
    masker: Masker,
    key: VersionKey,
    /// What makes a release with the secrets as they are now.
    anew: &'static str,
    opened: Mutex<Vec<(Digest, Arc<Opened>)>>,
}

/// A package that is open, for all machines that get it.
struct Opened {
    package: Arc<SealedPackage>,
    declarations: Declarations,
}

/// Packages that are kept open: what is brought, and what is gone back to.
const MOST_OPEN: usize = 2;

impl Hold {
    pub(super) fn new(
        environment: Name,
        shelf: FleetShelf,
        stock: Stock,
        (secrets, masker): (BTreeMap<String, Secret>, Masker),
        key: VersionKey,
        anew: &'static str,
    ) -> Self {
        let opened = Mutex::default();
        Self { shared: Arc::new(Shared { environment, shelf, stock, secrets, masker, key, anew, opened }) }
    }
}

#[async_trait]
impl Releases for Hold {
    async fn cargo(&self, release: &Digest, target: &Target) -> Result<Cargo, String> {
        let (shared, release, target) = (Arc::clone(&self.shared), *release, target.clone());
        let work = tokio::task::spawn_blocking(move || shared.cargo(&release, &target));
        work.await.map_err(|panicked| panicked.to_string())?
    }

    fn setting(&self, release: &Digest) -> Option<ReleaseSetting> {
        let release = self.shared.shelf.get(release).ok().flatten()?;
        release.settings.get(&self.shared.environment).cloned()
    }

    fn version(&self, release: &Digest) -> Option<Version> {
        Some(self.shared.shelf.get(release).ok().flatten()?.package.version)
    }

    fn masked(&self, said: &[u8]) -> String {
        self.shared.masker.text(&String::from_utf8_lossy(said)).into_owned()
    }
}

impl Shared {
    fn cargo(&self, release: &Digest, target: &Target) -> Result<Cargo, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let release = self.shelf.get(release).map_err(|error| text(&error))?.ok_or_else(|| {
            format!("release {} is not among this machine's; deploy from where it was made", release.short())
        })?;
        let setting = release.settings.get(&self.environment);
        let changed =
            setting.map(|setting| changed_secrets(setting, &self.secrets, &self.key)).unwrap_or_default();
        if !changed.is_empty() {
            let names: Vec<String> = changed.iter().map(|name| format!("`{name}`")).collect();
            return Err(format!(
                "the secret {} has another value than when the release was made; {}",
                names.join(", "),
                self.anew
            ));
        }
        let opened = self.opened(&release.package.digest)?;
        let scene = Scene {
            release: &release,
            environment: &self.environment,
            target,
            secrets: &self.secrets,
            declarations: &opened.declarations,
        };
        let rendered = render(opened.package.as_ref(), &scene).map_err(|error| text(&error))?;
        let load = rendered.load();
        let package = Arc::clone(&opened.package);
        Ok(Cargo { load, files: Arc::new(RenderedFiles::new(package, Arc::new(rendered))) })
    }

    /// A package of the store. It is opened once, however many machines wait for it: its structure is verified anew each time that its
    /// file is not as it was when it was verified last.
    fn opened(&self, package: &Digest) -> Result<Arc<Opened>, String> {
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, opened)) = all.iter().find(|(digest, _)| digest == package) {
            return Ok(Arc::clone(opened));
        }
        let text = |error: &dyn std::error::Error| error.to_string();
        let blob = self.stock.store.get(package).map_err(|error| text(&error))?;
        let reader = self.stock.openings.open(blob.file, &blob.path).map_err(|error| text(&error))?;
        let declarations = reader.declarations().map_err(|error| text(&error))?;
        let opened = Arc::new(Opened { package: Arc::new(reader.into()), declarations });
        if all.len() >= MOST_OPEN {
            all.remove(0);
        }
        all.push((*package, Arc::clone(&opened)));
        Ok(opened)
    }
}
