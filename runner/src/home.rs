//! Where Staith keeps what it knows on this machine.

use std::{
    env,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use staith_builder::sandbox::IMAGES;
use staith_model::{Name, service::Trust};

/// The directory below which everything is kept: `STAITH_HOME`, or `staith` in the user's data directory.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

/// There is no place to keep anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHome {
    /// Nobody said where.
    #[error(
        "there is no place to keep anything: neither STAITH_HOME, XDG_DATA_HOME nor HOME is set to an absolute path"
    )]
    Unknown,
    /// What was said depends on where one stands.
    #[error("STAITH_HOME is `{}`, which is no absolute path", .0.display())]
    Relative(PathBuf),
}

impl Home {
    /// Finds the directory; makes nothing.
    pub(crate) fn find() -> Result<Self, NoHome> {
        let said = |variable: &str| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(home) = said("STAITH_HOME") {
            return if home.is_absolute() { Ok(Self(home)) } else { Err(NoHome::Relative(home)) };
        }
        let absolute = |variable: &str| said(variable).filter(|path| path.is_absolute());
        absolute("XDG_DATA_HOME")
            .map(|data| data.join("staith"))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share/staith")))
            .map(Self)
            .ok_or(NoHome::Unknown)
    }

    /// The home of a part of Staith that has one of its own, at an absolute path.
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes the directory where it is not there, for its owner only: what projects are made of is nobody else's business.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let rights = self.0.metadata()?.permissions();
        // One that an earlier version or a person made, and that others may enter.
        if rights.mode() & 0o077 != 0 {
            fs::set_permissions(&self.0, Permissions::from_mode(0o700))
        } else {
            Ok(())
        }
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Mirrors, checkouts and layers: everything that steps are shown.
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// What container engines are given: the first process of containers, and what is made for one step.
    pub(crate) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    /// Records of steps that passed.
    pub(crate) fn step_cache(&self) -> PathBuf {
        self.0.join("steps")
    }

    /// Records of steps of a server's jobs, apart by whose code made them: what a stranger's change wrote is not taken for known
    /// where a protected branch is built.
    pub(crate) fn step_cache_of_jobs(&self, trust: Trust) -> PathBuf {
        self.step_cache().join(room_of(trust))
    }

    /// The names of all directories that [`step_cache_of_jobs`](Self::step_cache_of_jobs) gives.
    pub(crate) fn step_caches_of_jobs() -> [String; 3] {
        [Trust::Fork, Trust::Branch, Trust::Protected].map(room_of)
    }

    /// The runner of this home: its key, its registration and its jobs.
    pub(crate) fn runner(&self) -> PathBuf {
        self.0.join("runner")
    }

    /// What the built-in sandbox remembers of this host.
    pub(crate) fn sandbox(&self) -> PathBuf {
        self.0.join("sandbox")
    }

    /// Packages by content and by name and version.
    pub(crate) fn packages(&self) -> PathBuf {
        self.0.join("packages")
    }

    /// The host's key for signatures, and the keys that it trusts.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Event logs, one directory for each run.
    pub(crate) fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// What a person has set for this machine.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// How much is kept, for the budget.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// Images and their layers, for the built-in sandbox.
    pub(crate) fn images(&self) -> PathBuf {
        self.sandbox().join(IMAGES)
    }

    /// Releases of all projects that go to machines.
    pub(crate) fn all_releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// Releases of a project that go to machines.
    pub(crate) fn releases(&self, project: &Name) -> PathBuf {
        self.all_releases().join(project.as_str())
    }

    /// What machines were given, so that the next release goes to them as the difference. Keeps to a bound of its own.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.0.join("manifests")
    }

    /// What packages were found to be that were opened to be deployed. Keeps to a bound of its own.
    pub(crate) fn opened(&self) -> PathBuf {
        self.0.join("opened")
    }

    /// All environments of all projects.
    pub(crate) fn environments(&self) -> PathBuf {
        self.0.join("environments")
    }

    /// One environment of one project.
    pub(crate) fn environment(&self, project: &Name, environment: &Name) -> PathBuf {
        self.environments().join(project.as_str()).join(environment.as_str())
    }
}

fn room_of(trust: Trust) -> String {
    format!("of-{}", trust.as_str())
}
