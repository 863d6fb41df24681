//! Projects as a server knows them: where their source is, and what of it is run when.

use serde::{Deserialize, Serialize};

use super::{Happening, Priority, Trust, without_credentials};
use crate::{ArrivalId, Digest, Name, Plan, RunId};

/// A repository that a server builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// What people call it.
    pub name: Name,
    /// Where its source is: an absolute path of the server's machine, `file://`, `https://`, `ssh://` or `user@host:path`.
    /// Without a password, and of the web without a user.
    pub origin: String,
    /// What is run when, and how far it is trusted.
    pub settings: ProjectSettings,
    /// When it was added, in milliseconds since 1970.
    pub created: u64,
}

impl Project {
    /// As everybody may see it. A project of before servers refused that may have a password in its address.
    pub fn shown(self) -> Self {
        Self { origin: without_credentials(&self.origin), ..self }
    }
}

/// `POST /api/v1/projects`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectAsked {
    /// What people are to call it.
    pub name: Name,
    /// As [`Project::origin`].
    pub origin: String,
    /// What is to be otherwise than it is if nothing is said.
    #[serde(default)]
    pub settings: ProjectSettings,
}

/// What of a project is run when. `PATCH /api/v1/projects/{name}` takes a part of it, as RFC 7396 merges it: what is not named
/// stays, and `null` goes back to what holds if nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSettings {
    /// Branches whose runs are trusted with secrets of the protected kind and may be released: names and globs.
    pub protected_branches: Vec<String>,
    /// The same of tags. No tag is protected if nothing is said: on most forges whoever may push may make any tag.
    pub protected_tags: Vec<String>,
    /// The forge that tells of what happens, and is told how runs end.
    pub forge: Option<ForgeSettings>,
    /// After so many seconds, a tenth more or less, branches and tags are compared with what was seen last, so that what no hook told
    /// is found. If nothing is said, every 5 minutes; every 30 where the forge sends webhooks. With 0 only when the server starts.
    pub poll_seconds: Option<u64>,
    /// Clocks that start runs.
    pub schedules: Vec<Schedule>,
    /// Whether of several pushes to a branch that wait at the same time only the newest is run.
    pub batch_pushes: bool,
    /// The pool whose runners take its jobs.
    pub pool: Name,
    /// Other pools that its pipelines may name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Name>,
    /// How runs of one branch or tag keep apart.
    pub concurrency: Concurrency,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the literal is a name")]
        let pool = Name::try_from("default".to_owned()).expect("a name");
        Self {
            protected_branches: vec!["main".to_owned(), "master".to_owned()],
            protected_tags: Vec::new(),
            forge: None,
            poll_seconds: None,
            schedules: Vec::new(),
            batch_pushes: false,
            pool,
            pools: Vec::new(),
            concurrency: Concurrency::Free,
        }
    }
}

/// How runs of one branch or tag keep apart, whatever set them off, where their pipeline names no [`RunGroup`]. Of a request to merge, an
/// older run is always cancelled by a newer one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concurrency {
    /// They run at once.
    #[default]
    Free,
    /// A newer one waits for the older one.
    Wait,
    /// A newer one cancels the older one.
    Newest,
}

/// A group that a pipeline names: its runs keep apart, whichever branch or tag they are of. Groups are apart by [`Trust`]: no run of a
/// branch makes one of a protected branch wait or end, whatever it calls its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGroup {
    /// What the pipeline calls it.
    pub name: Name,
    /// Whether a newer run cancels the older ones; otherwise it waits.
    pub newest: bool,
}

/// A forge, and how the server and it prove to each other who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgeSettings {
    /// Which one.
    pub kind: ForgeKind,
    /// Where its API begins, for statuses: `https://api.github.com`, `https://gitlab.example.org`. None are sent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it calls the repository: `owner/name`, or GitLab's number of it. None are sent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The secret that its webhooks are signed with, by its name: `NAME` is what `staith server secret set NAME --project PROJECT
    /// --forge` set. Without, webhooks are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// The secret that is the token for statuses, by its name; set in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_secret: Option<String>,
}

/// Forges that the server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForgeKind {
    /// GitHub, also of one's own.
    Github,
    /// GitLab, also of one's own.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
}

impl ForgeKind {
    /// As addresses and settings write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        }
    }
}

/// A clock that starts runs of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What it is called in the project.
    pub name: Name,
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// Where these are meant: a name of the IANA time zone database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What is built.
    pub branch: String,
    /// Whether it is left out while the branch has the commit that this schedule built last.
    #[serde(default)]
    pub only_if_changed: bool,
    /// How soon its runs have their turn among those of the project.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// `POST /api/v1/projects/{name}/runs`: somebody asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAsked {
    /// A branch, a tag or a commit.
    pub reference: String,
    /// Parameters of the pipeline.
    #[serde(default)]
    pub settings: std::collections::BTreeMap<String, String>,
    /// How soon it has its turn among the runs of the project. Above 0 only for who may release there.
    #[serde(default, skip_serializing_if = "Priority::is_usual")]
    pub priority: Priority,
}

/// The answer to whatever told that something happened: it is written down, under these ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// One for each happening. What was told before has the id that it got then.
    pub arrivals: Vec<ArrivalId>,
}

/// Something that happened, as the server wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its id.
    pub id: ArrivalId,
    /// The project.
    pub project: Name,
    /// Who told it: `hook`, `github`, `gitlab`, `gitea`, `poll`, `schedule` or `api`.
    pub source: String,
    /// What they call it; together with them and the project, unique.
    pub delivery: String,
    /// What happened.
    pub happening: Happening,
    /// When it was written down, in milliseconds since 1970.
    pub received: u64,
    /// Whether it was looked into.
    pub state: ArrivalState,
    /// Why it ended as it did, or is not looked into yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The run that it set off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSetOff>,
    /// How often it was looked into.
    pub tries: u32,
}

/// The run that an arrival set off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSetOff {
    /// Its id.
    pub id: RunId,
    /// Its number in the project.
    pub number: u64,
}

/// How far an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArrivalState {
    /// To be looked into.
    Waiting,
    /// An administrator has to agree first.
    Held,
    /// It set off a run.
    Done,
    /// It is of no consequence.
    Ignored,
    /// It should have set off a run, and can't.
    Refused,
}

impl ArrivalState {
    /// As the database and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }

    /// Whether it may become `next`.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => true,
            Self::Held => matches!(next, Self::Waiting | Self::Ignored),
            Self::Done | Self::Ignored | Self::Refused => false,
        }
    }
}

/// `POST /api/v1/projects/{name}/approvals`: an administrator agrees that a request to merge from a fork is run with the pipeline
/// that it brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAsked {
    /// The request's number at the forge.
    pub number: u64,
    /// The commit that was looked at.
    pub head: String,
    /// The digest of the pipeline file that was looked at.
    pub pipeline: Digest,
}

/// `POST /api/v1/projects/{name}/explain`: what would something set off?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainAsked {
    /// `push`, `tag`, `pull-request` or `schedule`.
    pub event: String,
    /// Of a push, where to; of a request to merge, where from.
    #[serde(default)]
    pub branch: Option<String>,
    /// The tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// The branch that a request asks to go to.
    #[serde(default)]
    pub target: Option<String>,
    /// Whether the request comes from a fork.
    #[serde(default)]
    pub fork: bool,
    /// The schedule's name.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Paths that count as changed; what changed last, if none are given.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// The answer to [`ExplainAsked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether there would be a run.
    pub starts: bool,
    /// Why, or why not.
    pub why: String,
    /// How far it would be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// Why so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_because: Option<String>,
    /// What it would do; what it leaves out says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The plan's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// What people should know.
    #[serde(default)]
    pub notices: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_documented_and_what_is_unknown_is_refused() {
        let settings: ProjectSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, ProjectSettings::default());
        assert!(serde_json::from_str::<ProjectSettings>(r#"{"protected": ["main"]}"#).is_err());
    }

    #[test]
    fn what_has_ended_stays_ended() {
        use ArrivalState::{Done, Held, Ignored, Refused, Waiting};
        for ended in [Done, Ignored, Refused] {
            assert!(![Waiting, Held, Done, Ignored, Refused].iter().any(|next| ended.may_become(*next)));
        }
        assert!(Held.may_become(Waiting) && !Held.may_become(Done), "approved, it is looked into again");
    }
}
