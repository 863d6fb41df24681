//! Removes releases that nobody needs any more: they lose their names before that is told, and their room is had back after it.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use staith_model::Digest;

use crate::{
    layout::{Layout, UNFINISHED, release_of},
    lock::Lock,
    protocol::{Order, Reply},
    refusal::{self, Outcome},
    session::Flags,
    spec,
    stage::remove_beside,
    state::{State, pointed},
};

/// How long another program may be at work.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long outcomes of hooks are kept: no deployment takes that long.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 3600);

/// Removes every release that is not in `keep`, except the current one and the one before.
pub(crate) fn retain(
    layout: &Layout,
    order: &Order,
    keep: &BTreeSet<Digest>,
    flags: &Flags,
) -> Outcome<Reply> {
    let _lock = Lock::wait(layout, PATIENCE, flags)?;
    let state = State::admit(layout, order)?;
    spec::clear_leftovers(layout)?;
    let mut keep = keep.clone();
    keep.extend(pointed(&layout.current())?);
    keep.extend(pointed(&layout.previous())?);
    keep.extend(state.current);
    keep.extend(state.previous);
    let mut removed = BTreeSet::new();
    for release in named(layout)?.difference(&keep) {
        if flags.stop() {
            break;
        }
        let there = layout.release(release).exists();
        remove(layout, release)?;
        if there {
            removed.insert(*release);
        }
    }
    forget_hooks(layout);
    Ok(Reply::Removed(removed))
}

/// Releases of which anything is there.
fn named(layout: &Layout) -> Outcome<BTreeSet<Digest>> {
    let folder = layout.releases();
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(BTreeSet::new()) };
    let mut named = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(refusal::io("list", &folder))?;
        let name = entry.file_name();
        named.extend(name.to_str().and_then(|name| release_of(name.split('.').next()?)));
    }
    Ok(named)
}

fn remove(layout: &Layout, release: &Digest) -> Outcome<()> {
    let home = layout.release(release);
    // What lists it goes first, so that a release which is listed is whole.
    remove_beside(layout, release).map_err(refusal::io("remove what lies beside", &home))?;
    let doomed = layout.releases().join(format!("{UNFINISHED}{}", release.hex()));
    match fs::rename(&home, &doomed) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refusal::told("remove", &home, &error)),
    }
}

fn forget_hooks(layout: &Layout) {
    let now = SystemTime::now();
    for entry in fs::read_dir(layout.operations()).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|written| now.duration_since(written).is_ok_and(|age| age > REMEMBERED)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
