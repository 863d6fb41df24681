//! What is built.

use async_trait::async_trait;
use staith_model::{
    Name, RunId,
    service::{Project, ProjectSettings},
};

use super::{Actor, StoreError};

/// A branch or a tag, by its whole name (`refs/heads/main`), and the commit that it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The whole name.
    pub reference: String,
    /// The commit's full id. Of an annotated tag, the commit that it points to.
    pub commit: String,
}

/// Projects.
#[async_trait]
pub trait Projects {
    /// Adds a project. `seen` is what its repository has now: what is there already is nothing that happened.
    ///
    /// The name of a project that was removed may be used again; the new one goes on with its runs' numbers.
    ///
    /// # Errors
    /// `Conflict`: there is one of this name.
    async fn add_project(&self, project: Project, seen: Vec<Seen>, by: &Actor) -> Result<(), StoreError>;

    /// A project; `None` if there is none of this name.
    ///
    /// # Errors
    /// `Damaged`: it does not make sense.
    async fn project(&self, name: &Name) -> Result<Option<Project>, StoreError>;

    /// All projects, by name. What is damaged is left out, and told in the server's log: the others go on.
    async fn projects(&self) -> Result<Vec<Project>, StoreError>;

    /// Gives a project other settings, if it still has those that the caller looked at.
    ///
    /// # Errors
    /// `Unknown`; `Conflict`: somebody else has changed it meanwhile.
    async fn change_project(
        &self,
        name: &Name,
        from: &ProjectSettings,
        to: &ProjectSettings,
        by: &Actor,
        now: u64,
    ) -> Result<(), StoreError>;

    /// The runs of a project's group that have not ended.
    async fn open_runs(&self, project: &Name, group: &str) -> Result<Vec<RunId>, StoreError>;

    /// Removes a project. Its runs and arrivals stay; arrivals that wait end as ignored, and its secrets are forgotten.
    ///
    /// # Errors
    /// `Unknown`; `Conflict`: it has runs that have not ended.
    async fn remove_project(&self, name: &Name, by: &Actor, now: u64) -> Result<(), StoreError>;
}
