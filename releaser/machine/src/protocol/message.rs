//! Requests to the program, and its replies.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use staith_model::{Blame, DeploymentId, Digest, HealthCheck, Hook, RelPath, Service};

use super::Hidden;

/// What the program is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What kind of machine it is.
    Reach,
    /// What is there.
    Observe,
    /// Whether the files of a release are right.
    Inspect {
        /// The release.
        release: Digest,
        /// Whether every byte is read; else only files are that were touched since they were verified.
        every_byte: bool,
    },
    /// Put a release's files in place.
    Stage(Box<Stage>),
    /// All contents that were lacking have been sent.
    Sent,
    /// Contents can't be sent: what was staged so far goes away. Answered with [`Asked::Cancelled`].
    Abandon,
    /// Point `current` to a release and restart the service; `None` stops it and removes the pointer.
    Switch {
        /// In whose name.
        order: Order,
        /// The release.
        to: Option<Digest>,
    },
    /// Run a hook.
    Hook {
        /// In whose name.
        order: Order,
        /// The release in whose folder it runs.
        release: Digest,
        /// What to run.
        hook: Hook,
    },
    /// Ask the release how it is.
    Probe(Question),
    /// Remove releases.
    Retain {
        /// In whose name.
        order: Order,
        /// Those that stay, beside the current one and the one before.
        keep: BTreeSet<Digest>,
    },
    /// End what is being done at the next safe point.
    Cancel,
}

/// In whose name something is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Counts up with each deployment.
    pub epoch: u64,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation.
    pub operation: Digest,
}

/// A release to be put in place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    /// In whose name.
    pub order: Order,
    /// The release.
    pub release: Digest,
    /// Digest of its manifest on this machine.
    pub manifest: Digest,
    /// How the manifest comes.
    pub by: ManifestBy,
    /// How it is started and stopped.
    pub service: Service,
    /// Environment variables that are secrets.
    pub secrets: Vec<(String, Hidden)>,
    /// Rendered files that hold secrets.
    pub private: BTreeSet<RelPath>,
    /// Contents that come without being asked for, right behind the manifest: whoever sends it knows all releases on the machine, and
    /// saves a round trip. [`Reply::Lacks`] is said of the others only; without others it is not said, and [`Request::Sent`] does not
    /// come.
    #[serde(default)]
    pub ahead: Lacks,
    /// Whether every byte that is there already is read before it is taken for right.
    #[serde(default)]
    pub every_byte: bool,
}

/// How a manifest comes to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestBy {
    /// The machine is believed to have it. If it has not, it says [`Reply::NoManifest`], and is asked again.
    Digest,
    /// Whole, in the content that follows.
    Whole,
    /// As a [difference](super::delta) to the manifest with this digest, in the content that follows.
    Delta(Digest),
}

/// What the program says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The first thing that it says.
    Hello {
        /// [`PROTOCOL`](super::PROTOCOL) of the program.
        protocol: u32,
        /// What is there, where that can be told; who asks for it is told why not.
        state: Option<State>,
    },
    /// To [`Request::Reach`].
    Reached(System),
    /// To [`Request::Observe`].
    Observed(State),
    /// To [`Request::Inspect`].
    Inspected(Inspected),
    /// The manifest that was named is not there.
    NoManifest,
    /// Contents that no release on the machine has.
    Lacks(Lacks),
    /// How many files are in place.
    Placed {
        /// So many.
        files: u64,
    },
    /// To [`Request::Stage`], in the end.
    Staged {
        /// Nothing had to be written.
        already: bool,
        /// Contents that the machine lacked.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// To [`Request::Switch`].
    Switched {
        /// It was so already.
        already: bool,
    },
    /// To [`Request::Hook`].
    Ran(HookRan),
    /// An answer to a probe.
    Seen(Seen),
    /// To [`Request::Probe`], in the end.
    Probed {
        /// What the answers add up to.
        verdict: Verdict,
        /// What was asked.
        url: String,
        /// Milliseconds from the first question to the end.
        took_millis: u64,
        /// Good answers in a row that were needed.
        needed: u32,
        /// What the service wrote last, where it is not healthy and somebody keeps that.
        log: Option<Words>,
    },
    /// To [`Request::Retain`].
    Removed(BTreeSet<Digest>),
    /// It was not done.
    Not(Asked),
}

impl Reply {
    /// Whether it is the last to its request.
    pub const fn ends(&self) -> bool {
        !matches!(self, Self::Lacks(_) | Self::Placed { .. } | Self::Seen(_))
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// By one who has been succeeded.
    TooLate {
        /// The highest epoch that the machine has seen.
        seen: u64,
        /// The one that asked.
        asked: u64,
    },
    /// It can't be done.
    Impossible {
        /// Why.
        why: String,
        /// What to do about it.
        remedy: String,
        /// Whose fault it is.
        blame: Blame,
    },
    /// Whether the hook ran to its end can't be told.
    Undecided,
    /// It was cancelled.
    Cancelled,
}

/// What kind of machine it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// From `/etc/machine-id`.
    pub machine_id: String,
    /// From the kernel.
    pub boot_id: String,
    /// `x86_64`.
    pub architecture: String,
    /// What it calls itself.
    pub name: String,
    /// Whether the program runs as the superuser.
    pub superuser: bool,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Whether systemd answers this account: that of the system for the superuser, else the account's own.
    pub systemd: bool,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The highest epoch that was seen.
    pub epoch: u64,
    /// Releases that are there, with the digests of their manifests.
    pub releases: Vec<(Digest, Digest)>,
    /// Where `current` points.
    pub current: Option<Digest>,
    /// Where it pointed before.
    pub previous: Option<Digest>,
    /// What the service runs; `None` if that can't be told.
    pub serving: Option<Serving>,
    /// An operation without an end.
    pub unfinished: Option<Digest>,
}

/// What a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serving {
    /// Nothing.
    Down,
    /// A process of this release, or of none.
    Up(Option<Digest>),
}

/// How a release's files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inspected {
    /// Not there.
    Absent,
    /// There, and something is missing or different.
    Damaged(String),
    /// All that was looked at is right.
    Whole,
}

/// Contents that no release on the machine has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacks {
    /// Places of entries in the manifest, each as the first and how many, in ascending order. One entry stands for all with the
    /// same content.
    pub entries: Vec<(u32, u32)>,
}

impl Lacks {
    /// From places in ascending order.
    pub fn of(places: impl IntoIterator<Item = u32>) -> Self {
        let mut entries: Vec<(u32, u32)> = Vec::new();
        for place in places {
            match entries.last_mut() {
                Some((first, count)) if first.checked_add(*count) == Some(place) => *count += 1,
                _ => entries.push((place, 1)),
            }
        }
        Self { entries }
    }

    /// The places, of a manifest with `all` entries; those beyond it are left out.
    pub fn places(&self, all: u32) -> impl Iterator<Item = u32> {
        self.entries.iter().flat_map(move |&(first, count)| first..first.saturating_add(count).min(all))
    }
}

/// What came of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRan {
    /// Its exit code.
    pub code: Option<i32>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// The last of what it said: each character stands for one byte.
    pub said: String,
    /// Whether it ran before.
    pub already: bool,
}

/// What is asked for health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The release that has to answer.
    pub release: Digest,
    /// The application's port.
    pub port: Option<u16>,
    /// What a good answer is.
    pub check: Option<HealthCheck>,
    /// Seconds without a break.
    pub min_healthy_seconds: u64,
    /// Whether a moment is enough.
    pub glance: bool,
}

/// One answer, or its absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Milliseconds since the first question.
    pub at_millis: u64,
    /// What came back.
    pub answer: Answer,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The release answered well.
    Good(u16),
    /// The release runs; nothing more was asked.
    Runs,
    /// Another status.
    BadStatus(u16),
    /// The header names another release.
    OtherRelease {
        /// The header.
        header: String,
        /// What it holds.
        found: Option<String>,
    },
    /// The file does not name the release.
    OtherFile {
        /// Its path.
        path: String,
        /// What came instead, in words.
        found: String,
    },
    /// Somebody else listens.
    OtherProcess(String),
    /// Whose answer it is can't be told.
    Unproven(String),
    /// Nothing listens.
    Refused,
    /// No answer in time.
    NoAnswer {
        /// Milliseconds that it had.
        within_millis: u64,
    },
    /// Not HTTP, or it broke off.
    Broken(String),
    /// The service does not run, for now.
    NotRunning(String),
    /// It will not be that release.
    GivenUp(String),
}

/// The end of what a service wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// Where all of it is.
    pub from: String,
    /// The last lines. Secrets are not masked yet.
    pub lines: String,
}

/// What the answers add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The release works.
    Healthy,
    /// It does not.
    Unhealthy,
    /// It can't be told.
    Inconclusive,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_survive_being_written_as_spans(places in prop::collection::btree_set(0u32..200, 0..100)) {
            let lacks = Lacks::of(places.iter().copied());
            prop_assert_eq!(lacks.places(200).collect::<Vec<_>>(), places.iter().copied().collect::<Vec<_>>());
        }

        #[test]
        fn places_beyond_the_manifest_are_not_counted(first: u32, count: u32, all in 0u32..1000) {
            let lacks = Lacks { entries: vec![(first, count)] };
            prop_assert!(lacks.places(all).all(|place| place < all));
        }

        #[test]
        fn no_text_makes_the_reader_of_messages_fail(text in "[{}\\[\\]\",:a-z0-9-]{0,80}") {
            let _ = serde_json::from_str::<Request>(&text);
            let _ = serde_json::from_str::<Reply>(&text);
        }
    }
}
