//! What happened at a repository, or was asked for.

use serde::{Deserialize, Serialize};

use super::Priority;

/// Something that may set off runs. Whoever tells it (a hook, a forge, a clock, a person) is told apart elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happening {
    /// A branch has another commit.
    Push {
        /// The branch, without `refs/heads/`.
        branch: String,
        /// The commit it had; none if the branch is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// The commit it has.
        after: String,
    },
    /// A branch or a tag is gone.
    Gone {
        /// Its whole name: `refs/heads/…`.
        reference: String,
    },
    /// A tag was made, or moved.
    Tag {
        /// The tag, without `refs/tags/`.
        tag: String,
        /// The commit that it names.
        commit: String,
    },
    /// A request to merge was opened or has another commit.
    PullRequest {
        /// Its number at the forge.
        number: u64,
        /// The branch it comes from.
        branch: String,
        /// The commit that is to be merged.
        head: String,
        /// The branch that it asks to go to.
        target: String,
        /// Whether it comes from another repository.
        fork: bool,
        /// The forge's lasting number of who opened it. Names can be changed, and taken over by others.
        author: u64,
        /// The reference under which the forge has the head, if its branch is not in this repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A request to merge was closed, merged or not.
    PullRequestClosed {
        /// Its number at the forge.
        number: u64,
    },
    /// Something else that a forge told, which starts nothing.
    Other {
        /// What the forge calls it.
        event: String,
    },
    /// A clock says that it is time.
    Schedule {
        /// The schedule's name in the project's settings.
        name: String,
        /// The branch to build.
        branch: String,
        /// The instant that it was due, in milliseconds since 1970.
        due: u64,
    },
    /// Somebody asked for a run.
    Asked {
        /// A branch, a tag or a commit.
        reference: String,
        /// Who.
        by: String,
        /// Parameters of the pipeline.
        #[serde(default)]
        settings: std::collections::BTreeMap<String, String>,
        /// How soon it has its turn; whether they may say that was seen when they asked.
        #[serde(default, skip_serializing_if = "Priority::is_usual")]
        priority: Priority,
    },
}

impl Happening {
    /// The branch or tag that it says something new of, by its whole name, and the commit that it has now; no commit if it is gone.
    pub fn moved(&self) -> Option<(String, Option<&str>)> {
        match self {
            Self::Push { branch, after, .. } => Some((format!("refs/heads/{branch}"), Some(after))),
            Self::Tag { tag, commit } => Some((format!("refs/tags/{tag}"), Some(commit))),
            Self::Gone { reference } => Some((reference.clone(), None)),
            _ => None,
        }
    }

    /// The commit that is to be built, if it is named by its id.
    pub fn commit(&self) -> Option<&str> {
        match self {
            Self::Push { after, .. } => Some(after),
            Self::Tag { commit, .. } => Some(commit),
            Self::PullRequest { head, .. } => Some(head),
            _ => None,
        }
    }
}
