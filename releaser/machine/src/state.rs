//! What is written down of a folder: the highest epoch, and an operation that has begun.

use std::{fs, io};

use serde::{Deserialize, Serialize};
use staith_model::Digest;

use crate::{
    durable,
    layout::{Layout, release_of},
    protocol::{Asked, Order},
    refusal::{self, Outcome},
};

/// The content of `.state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The highest epoch that was seen.
    pub(crate) epoch: u64,
    /// Where `current` is to point, or points.
    pub(crate) current: Option<Digest>,
    /// Where it pointed before.
    pub(crate) previous: Option<Digest>,
    /// The operation that has begun and not ended.
    pub(crate) under_way: Option<Digest>,
    /// The release for which the service was last restarted.
    pub(crate) restarted: Option<Digest>,
    /// Whether the files of what `current` points to were replaced, and the service was not restarted since.
    #[serde(default)]
    pub(crate) replaced: bool,
}

impl State {
    /// What is written down; nothing is written down of a new folder.
    pub(crate) fn read(layout: &Layout) -> Outcome<Self> {
        let path = layout.state();
        match fs::read(&path) {
            // It is written whole or not at all, so damage has come from outside. An epoch that was forgotten would let an old
            // deployment write, so nothing is assumed.
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                refusal::environment(
                    format!("{} is damaged: {error}", path.display()),
                    "look at what `current` points to and remove that file, then deploy again",
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(refusal::told("read", &path, &error)),
        }
    }

    /// Writes it down, durably.
    pub(crate) fn write(&self, layout: &Layout) -> Outcome<()> {
        let path = layout.state();
        let json = serde_json::to_vec(self).map_err(|error| refusal::ours(error.to_string()))?;
        durable::write(&path, &json, 0o600).map_err(refusal::io("write", &path))
    }

    /// Lets an order pass whose epoch is at least the highest so far, and remembers it before anything is done in its name.
    pub(crate) fn admit(layout: &Layout, order: &Order) -> Outcome<Self> {
        let mut state = Self::read(layout)?;
        if order.epoch < state.epoch {
            return Err(Asked::TooLate { seen: state.epoch, asked: order.epoch });
        }
        if order.epoch > state.epoch {
            state.epoch = order.epoch;
            state.write(layout)?;
        }
        Ok(state)
    }
}

/// Where a pointer points; one to something that is no release counts as none.
pub(crate) fn pointed(path: &std::path::Path) -> Outcome<Option<Digest>> {
    match fs::read_link(path) {
        Ok(target) => Ok(target.file_name().and_then(|name| release_of(name.to_str()?))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(refusal::told("read", path, &error)),
    }
}
