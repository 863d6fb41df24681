//! A package and what environments say about running it, frozen together as one release.
//!
//! All values are in it by value, secrets by their names and a [version](VersionKey) that tells nothing of them. What is edited
//! or deleted later changes no release; the same inputs give the same digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ring::hmac;
use staith_model::{
    Digest, Entry, FleetEnvironment, FleetRelease, Manifest, Name, Package, RelPath, ReleaseSetting, Secret,
    Service, SourceOfRelease,
};
use staith_packager::store::compare_versions;
use zeroize::Zeroizing;

use super::render::Globs;
use crate::{
    host::durable,
    release::{Frozen, Shelf},
};

impl Frozen for FleetRelease {
    fn identity(&self) -> Digest {
        self.digest()
    }
}

/// The releases of a project that go to machines: `releases.json/<digest>.json` in its folder.
pub type FleetShelf = Shelf<FleetRelease>;

/// What a release is made of.
#[derive(Debug, Clone, Copy)]
pub struct Ingredients<'a> {
    /// The project.
    pub project: &'a Name,
    /// What travels.
    pub package: &'a Package,
    /// What is in it.
    pub manifest: &'a Manifest,
    /// Where it came from.
    pub source: &'a SourceOfRelease,
    /// The environments that it may go to, as the pipeline has them.
    pub environments: &'a [&'a FleetEnvironment],
    /// The secrets of each environment, by their names; those that it does not name are left alone.
    pub secrets: &'a BTreeMap<Name, BTreeMap<String, Secret>>,
    /// What makes versions of secrets.
    pub key: &'a VersionKey,
}

/// Why a package and environments make no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// The list of what is in the package is another package's.
    #[error("the content manifest at hand is not that of package {package}")]
    OtherManifest {
        /// The package's file name.
        package: String,
    },
    /// A secret is nowhere.
    #[error("environment `{environment}` gives `{variable}` the secret `{secret}`, which is not set")]
    NoSecret {
        /// The environment.
        environment: Name,
        /// The variable.
        variable: String,
        /// The secret's name.
        secret: String,
    },
    /// A program should be in the package, and is not.
    #[error("{what} of environment `{environment}` starts `{program}`, and the package has no such file")]
    NoProgram {
        /// The environment.
        environment: Name,
        /// `the service`, or a hook.
        what: String,
        /// The program.
        program: String,
    },
    /// It would be below its own rollback floor.
    #[error(
        "`rollback-floor` of environment `{environment}` is {floor}, and the package is of version {version}"
    )]
    BelowOwnFloor {
        /// The environment.
        environment: Name,
        /// The floor.
        floor: String,
        /// The package's version.
        version: String,
    },
    /// Nothing is rendered by a glob.
    #[error(
        "`render` of environment `{environment}` names `{glob}`, and no file of the package is called so"
    )]
    NothingRendered {
        /// The environment.
        environment: Name,
        /// The glob.
        glob: String,
    },
}

impl FreezeError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::OtherManifest { .. } => "read the manifest from the package itself".into(),
            Self::NoSecret { secret, .. } => format!("set it with `staith secret set {secret}`"),
            Self::NoProgram { .. } => {
                "see `staith inspect` for what is in the package; a program of the machine is named without a `/`, or by its whole path"
                    .into()
            }
            Self::BelowOwnFloor { .. } => {
                "the floor is the oldest version that works with the data as this release leaves them: this one, or an earlier one".into()
            }
            Self::NothingRendered { .. } => {
                "see `staith inspect` for what is in the package; paths begin at the package's root".into()
            }
        }
    }
}

/// Freezes a release. Pure: the same ingredients give the same digest.
///
/// # Errors
/// All that is wrong, in the order of the environments; at least one.
pub fn freeze(of: &Ingredients<'_>) -> Result<FleetRelease, Vec<FreezeError>> {
    let mut errors = Vec::new();
    if of.manifest.digest() != of.package.content {
        errors.push(FreezeError::OtherManifest { package: of.package.file_name() });
    }
    let mut settings = BTreeMap::new();
    for environment in of.environments {
        check_programs(environment, of.manifest, &mut errors);
        check_globs(environment, of.manifest, &mut errors);
        check_floor(environment, of.package, &mut errors);
        let setting = with_versions(environment, of, &mut errors);
        settings.insert(environment.name.clone(), setting);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let (project, package, source) = (of.project.clone(), of.package.clone(), of.source.clone());
    Ok(FleetRelease { project, package, source, settings })
}

fn with_versions(
    environment: &FleetEnvironment,
    of: &Ingredients<'_>,
    errors: &mut Vec<FreezeError>,
) -> ReleaseSetting {
    let mut setting = environment.setting.clone();
    for (variable, secret) in &mut setting.secrets {
        match of.secrets.get(&environment.name).and_then(|secrets| secrets.get(&secret.name)) {
            Some(value) => secret.version = of.key.version(&secret.name, value),
            None => errors.push(FreezeError::NoSecret {
                environment: environment.name.clone(),
                variable: variable.clone(),
                secret: secret.name.clone(),
            }),
        }
    }
    setting
}

fn check_programs(environment: &FleetEnvironment, manifest: &Manifest, errors: &mut Vec<FreezeError>) {
    let mut check = |what: String, command: &[String]| {
        let Some(program) =
            command.first().filter(|program| program.contains('/') && !program.starts_with('/'))
        else {
            return;
        };
        let plain: Vec<&str> = program.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let path = RelPath::try_from(plain.join("/"));
        let entry = path.ok().and_then(|path| manifest.entries.get(&path));
        // A link may lead to a program, and only the machine can follow it.
        if !matches!(entry, Some(Entry::File { .. } | Entry::Symlink { .. })) {
            let program = program.clone();
            errors.push(FreezeError::NoProgram { environment: environment.name.clone(), what, program });
        }
    };
    match &environment.setting.service {
        Service::Systemd { command, .. } | Service::Supervised { command, .. } => {
            check("the service".into(), command)
        }
        Service::Command { restart, stop } => {
            check("the service".into(), restart);
            stop.iter().for_each(|stop| check("the service".into(), stop));
        }
        Service::Unit { .. } | Service::Files => {}
    }
    for hook in &environment.setting.hooks {
        check(format!("hook `{}`", hook.name), &hook.command);
    }
}

fn check_floor(environment: &FleetEnvironment, package: &Package, errors: &mut Vec<FreezeError>) {
    let floor = environment.setting.schema.as_ref().and_then(|schema| schema.rollback_floor.as_ref());
    if let Some(floor) = floor.filter(|floor| compare_versions(&package.version, floor).is_lt()) {
        errors.push(FreezeError::BelowOwnFloor {
            environment: environment.name.clone(),
            floor: floor.to_string(),
            version: package.version.to_string(),
        });
    }
}

fn check_globs(environment: &FleetEnvironment, manifest: &Manifest, errors: &mut Vec<FreezeError>) {
    for glob in &environment.setting.rendered {
        let globs = Globs::new(std::slice::from_ref(glob));
        let is_rendered = |(path, entry): (&RelPath, &Entry)| {
            matches!(entry, Entry::File { .. }) && globs.as_ref().is_ok_and(|globs| globs.matches(path))
        };
        if !manifest.entries.iter().any(is_rendered) {
            let (environment, glob) = (environment.name.clone(), glob.clone());
            errors.push(FreezeError::NothingRendered { environment, glob });
        }
    }
}

/// Secrets of a release in an environment whose values are others now than when it was made: names, in order. One that is gone is
/// among them.
pub fn changed_secrets(
    setting: &ReleaseSetting,
    secrets: &BTreeMap<String, Secret>,
    key: &VersionKey,
) -> BTreeSet<String> {
    let is_same = |name: &str, version: &str| {
        secrets.get(name).is_some_and(|value| key.version(name, value) == version)
    };
    let all = setting.secrets.values();
    all.filter(|secret| !is_same(&secret.name, &secret.version)).map(|secret| secret.name.clone()).collect()
}

/// The key that makes versions of secrets. Without it, a version tells nothing of the secret, not even to who guesses.
pub struct VersionKey(hmac::Key);

impl std::fmt::Debug for VersionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VersionKey(***)")
    }
}

/// Why there is no key for versions of secrets.
#[derive(Debug, thiserror::Error)]
pub enum VersionKeyError {
    /// It can't be read or made.
    #[error("the key for versions of secrets, {}, can't be read or made: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no key.
    #[error("{} is not the key for versions of secrets; remove it, and all secrets count as changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("others than its owner may read the key {}; take that away with `chmod 600`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
}

impl VersionKey {
    const LENGTH: usize = 32;

    /// The key of these bytes.
    pub fn of(bytes: &[u8; Self::LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key in a file, which is made if it is not there. Two that make it at once get the same. Blocks on the disk.
    ///
    /// # Errors
    /// The file can't be read or made, is no key, or others may read it.
    pub fn open(path: &Path) -> Result<Self, VersionKeyError> {
        let io = |source| VersionKeyError::Io { path: path.to_owned(), source };
        if !path.exists() {
            Self::make(path).map_err(io)?;
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(io)?);
        if fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
            return Err(VersionKeyError::Open { path: path.to_owned() });
        }
        let bytes: Result<&[u8; Self::LENGTH], _> = bytes.as_slice().try_into();
        bytes.map(Self::of).map_err(|_| VersionKeyError::Damaged { path: path.to_owned() })
    }

    fn make(path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        durable::create_folder(folder)?;
        let mut bytes = Zeroizing::new([0; Self::LENGTH]);
        getrandom::fill(bytes.as_mut()).map_err(|error| io::Error::other(error.to_string()))?;
        let mut temporary = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
        io::Write::write_all(&mut temporary, bytes.as_ref())?;
        temporary.as_file().sync_all()?;
        match temporary.persist_noclobber(path) {
            Ok(_) => durable::sync_folder(folder),
            // Somebody else was faster; theirs is the key.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    }

    /// The version of a secret's value: 32 hexadecimal digits. The same value under another name has another version.
    pub fn version(&self, name: &str, value: &Secret) -> String {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(b"staith.secret-version.v1\0");
        mac.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(name.as_bytes());
        value.expose_to(|value| mac.update(value.as_bytes()));
        mac.sign().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
