//! What is kept beside an environment's ledger for as long as there may be machines.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::ProvisionError;
use crate::host::durable;

/// The folder of an environment in which its machines' making is kept: `provision` beside its ledger.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

/// Says at a glance that there may be machines. The ledger has the truth; this only saves reading all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// When all of it is to be torn down.
    pub(super) due: Option<u64>,
    /// Whether something is under way.
    pub(super) open: bool,
}

impl Place {
    /// That of the environment which is kept in `environment`. Makes nothing.
    pub fn of(environment: &Path) -> Self {
        Self(environment.join("provision"))
    }

    /// The folder in which programs run: a copy of the project's, with what tools keep beside it, such as Terraform's state.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Which files of the work folder came from the project.
    pub(super) fn copied(&self) -> PathBuf {
        self.0.join("copied.json")
    }

    /// The saved plan.
    pub(super) fn plan(&self) -> PathBuf {
        self.0.join("plan")
    }

    /// The same once more, from bytes that have just been checked: this is what is applied.
    pub(super) fn checked_plan(&self) -> PathBuf {
        self.0.join("plan-checked")
    }

    /// The plan's text, as it was shown.
    pub(super) fn text(&self) -> PathBuf {
        self.0.join("plan.txt")
    }

    /// What a program of one's own may keep as long as the machines are there.
    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// User data by the names of machines.
    pub(super) fn user_data(&self) -> PathBuf {
        self.0.join("user-data")
    }

    /// Values that a tool reads from a file.
    pub(super) fn values(&self) -> PathBuf {
        self.0.join("values.json")
    }

    /// What a template was compiled to.
    pub(super) fn compiled(&self) -> PathBuf {
        self.0.join("template.json")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn marker(&self) -> PathBuf {
        self.0.join("there")
    }

    pub(super) fn make(&self) -> Result<(), ProvisionError> {
        for folder in [&self.0, &self.work(), &self.state()] {
            durable::create_folder(folder).map_err(ProvisionError::kept("can't make", folder))?;
        }
        Ok(())
    }

    /// What the marker says; `None` where nothing was made, or all of it is gone.
    pub(super) fn marked(&self) -> Option<Marker> {
        let bytes = fs::read(self.marker()).ok()?;
        // One that can't be read is no reason to forget what may be there.
        Some(serde_json::from_slice(&bytes).unwrap_or(Marker { due: Some(0), open: true }))
    }

    pub(super) fn mark(&self, marker: &Marker) -> Result<(), ProvisionError> {
        let bytes = serde_json::to_vec(marker).unwrap_or_default();
        durable::write(&self.marker(), &bytes).map_err(ProvisionError::kept("can't write", &self.marker()))
    }

    pub(super) fn unmark(&self) -> Result<(), ProvisionError> {
        absent_is_fine(fs::remove_file(self.marker()))
            .map_err(ProvisionError::kept("can't remove", &self.marker()))
    }

    /// Takes away what may hold secrets and is not needed any more.
    pub(super) fn tidy(&self) {
        for file in [self.plan(), self.checked_plan(), self.values()] {
            // Overwritten with the next plan; for its owner only in the meantime.
            let _ = fs::remove_file(file);
        }
    }

    /// Takes away all that was kept for machines that are gone, but for the lock that is held.
    pub(super) fn clear(&self) {
        self.tidy();
        for folder in [self.work(), self.state(), self.user_data()] {
            let _ = fs::remove_dir_all(folder);
        }
        for file in [self.copied(), self.text(), self.compiled()] {
            let _ = fs::remove_file(file);
        }
    }

    /// The saved plan is the one with this digest; a copy of exactly the bytes that were looked at, for whoever applies it.
    pub(super) fn check_plan(&self, expected: &Digest) -> Result<PathBuf, ProvisionError> {
        let changed = |why: String| ProvisionError::Changed { why };
        let bytes = fs::read(self.plan())
            .map_err(|error| changed(format!("the saved plan can't be read: {error}")))?;
        if Digest::of(&bytes) != *expected {
            return Err(changed("the saved plan has other bytes than when it was made".into()));
        }
        let checked = self.checked_plan();
        durable::write(&checked, &bytes).map_err(ProvisionError::kept("can't write", &checked))?;
        Ok(checked)
    }
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
