//! What machines serve against what they should.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use staith_model::{Digest, Name};

use crate::{
    fleet::machine::{MachineState, Serving},
    host::Files,
};

/// A machine that is not as the record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The machine.
    pub target: Name,
    /// What it should serve; `None` if nothing.
    pub should: Option<Digest>,
    /// How it differs.
    #[serde(flatten)]
    pub how: How,
}

/// How a machine differs from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "drift")]
pub enum How {
    /// It can't be looked at, so nothing is known. Not the same as being right.
    Unknown {
        /// Why not.
        why: String,
    },
    /// `current` points elsewhere.
    OtherRelease {
        /// Where; `None` if nowhere.
        is: Option<Digest>,
    },
    /// `current` is right, and the service runs another release, or a program that is of no release.
    OtherProcess {
        /// Which release; `None` if of none.
        runs: Option<Digest>,
    },
    /// `current` is right, and nothing runs.
    Down,
    /// It serves what it should, and files of that release were changed by hand, or are missing.
    OtherFiles {
        /// The first of them and what is wrong with it, and how many more there are.
        what: String,
    },
    /// It has been told of a deployment that nobody here has recorded.
    AheadOfRecord {
        /// The epoch that the machine has seen.
        seen: u64,
        /// The highest that is recorded.
        recorded: u64,
    },
    /// It is looked at, and no deployment of the record was for it.
    NotOfRecord,
}

/// Compares. `should` is what the record says of each machine (see [`serving`](super::whereabouts::serving)), `epoch` the highest that is
/// recorded, `is` what was found, with why where nothing could be. In the order of names; a machine may differ in several ways.
pub fn drift(
    should: &BTreeMap<Name, Option<Digest>>,
    epoch: u64,
    is: &BTreeMap<Name, Result<MachineState, String>>,
) -> Vec<Drift> {
    let mut found = Vec::new();
    let mut tell = |target: &Name, should: Option<Digest>, how| {
        found.push(Drift { target: target.clone(), should, how });
    };
    for (target, expected) in should {
        match is.get(target) {
            None => tell(target, *expected, How::Unknown { why: "it was not looked at".to_owned() }),
            Some(Err(why)) => tell(target, *expected, How::Unknown { why: why.clone() }),
            Some(Ok(state)) => {
                if let Some(how) = differs(*expected, state) {
                    tell(target, *expected, how);
                }
                if state.epoch > epoch {
                    tell(target, *expected, How::AheadOfRecord { seen: state.epoch, recorded: epoch });
                }
            }
        }
    }
    for (target, state) in is.iter().filter(|(target, _)| !should.contains_key(*target)) {
        if state.as_ref().is_ok_and(|state| state.current.is_some()) {
            tell(target, None, How::NotOfRecord);
        }
    }
    found.sort_by(|a, b| a.target.cmp(&b.target));
    found
}

/// Compares the files of what a machine should serve, and does, with those of the release; `None` where they are the same.
pub fn changed_files(target: &Name, should: &Digest, files: &Files) -> Option<Drift> {
    let what = match files {
        Files::Complete => return None,
        Files::Absent => "the release is not listed among those of the machine".to_owned(),
        Files::Damaged(what) => what.clone(),
    };
    Some(Drift { target: target.clone(), should: Some(*should), how: How::OtherFiles { what } })
}

impl How {
    /// Whether nothing is known, rather than that something differs.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

impl fmt::Display for How {
    /// Continues a sentence that begins with the machine's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |release: &Option<Digest>| match release {
            Some(release) => format!("release {}", release.short()),
            None => "no release".to_owned(),
        };
        match self {
            Self::Unknown { why } => write!(f, "can't be looked at: {why}"),
            Self::OtherRelease { is } => write!(f, "has {} in place", named(is)),
            Self::OtherProcess { runs: None } => f.write_str("runs a program that is of no release"),
            Self::OtherProcess { runs } => write!(f, "still runs {}", named(runs)),
            Self::Down => f.write_str("does not run its service"),
            Self::OtherFiles { what } => write!(f, "has other files than the release: {what}"),
            Self::AheadOfRecord { seen, recorded } => write!(
                f,
                "was told of a deployment that is not recorded here (epoch {seen}, the highest recorded is {recorded})"
            ),
            Self::NotOfRecord => f.write_str("has a release in place, and no deployment here was for it"),
        }
    }
}

fn differs(should: Option<Digest>, state: &MachineState) -> Option<How> {
    if state.current != should {
        return Some(How::OtherRelease { is: state.current });
    }
    match (&state.serving, should) {
        (Some(Serving::Up(runs)), _) if *runs != should => Some(How::OtherProcess { runs: *runs }),
        (Some(Serving::Down), Some(_)) => Some(How::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn files_that_were_changed_by_hand_are_told() {
        let release = Digest::of(b"new");
        let of = |files| changed_files(&name("web1"), &release, &files);
        assert_eq!(of(Files::Complete), None);
        let found = of(Files::Damaged("`a`: its content differs".into())).unwrap();
        assert_eq!(found.how.to_string(), "has other files than the release: `a`: its content differs");
        assert!(!found.how.is_unknown() && of(Files::Absent).is_some());
    }

    #[test]
    fn each_way_to_differ_is_told() {
        let (new, old) = (Digest::of(b"new"), Digest::of(b"old"));
        let state = |current: &Digest, serving| MachineState {
            epoch: 4,
            current: Some(*current),
            serving,
            ..MachineState::default()
        };
        let up = |release: &Digest| Some(Serving::Up(Some(*release)));
        for (state, how) in [
            (Ok(state(&new, up(&new))), None),
            (Ok(state(&new, None)), None),
            (Ok(state(&old, up(&old))), Some(How::OtherRelease { is: Some(old) })),
            (Ok(state(&new, up(&old))), Some(How::OtherProcess { runs: Some(old) })),
            (Ok(state(&new, Some(Serving::Up(None)))), Some(How::OtherProcess { runs: None })),
            (Ok(state(&new, Some(Serving::Down))), Some(How::Down)),
            (
                Ok(MachineState { epoch: 9, ..state(&new, None) }),
                Some(How::AheadOfRecord { seen: 9, recorded: 4 }),
            ),
            (Err("no route".to_owned()), Some(How::Unknown { why: "no route".into() })),
        ] {
            let should = BTreeMap::from([(name("web1"), Some(new))]);
            let found = drift(&should, 4, &BTreeMap::from([(name("web1"), state)]));
            assert_eq!(found.into_iter().next().map(|drift| drift.how), how);
        }
        let stray = BTreeMap::from([(name("web9"), Ok(state(&old, None)))]);
        assert_eq!(drift(&BTreeMap::new(), 4, &stray)[0].how, How::NotOfRecord);
        let unseen = drift(&BTreeMap::from([(name("web1"), None)]), 4, &BTreeMap::new());
        assert!(matches!(unseen[0].how, How::Unknown { .. }));
    }
}
