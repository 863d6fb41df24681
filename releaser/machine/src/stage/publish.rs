//! Makes a finished tree durable and gives it its name.

use std::{fs, path::Path};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use staith_model::Digest;

use super::Site;
use crate::{
    durable,
    layout::Layout,
    point::point,
    protocol::{Asked, Stage},
    refusal::{self, Outcome},
    spec::{self, Spec},
};

/// What lies beside a release whose files are whole. Says whether it was so already.
pub(super) fn beside_whole(layout: &Layout, stage: &Stage) -> Outcome<bool> {
    let there = Spec::read(layout, &stage.release)? == Some(spec_of(stage));
    let same = spec::secrets(layout, &stage.release).is_ok_and(|secrets| secrets == stage.secrets);
    if there && same {
        return Ok(true);
    }
    write_secrets(layout, stage)?;
    let path = layout.beside(&stage.release, "service");
    durable::write(&path, &json(&spec_of(stage))?, 0o644).map_err(refusal::io("write", &path))?;
    Ok(false)
}

/// Gives the tree in the scratch folder its name.
pub(super) fn publish(site: &Site<'_>) -> Outcome<()> {
    let (layout, stage) = (site.layout, site.stage);
    let releases = layout.releases();
    let home = layout.release(&stage.release);
    let described = layout.beside(&stage.release, "service");
    // A release with other files than its manifest says must not be listed, not even for an instant.
    let changes_meaning = home.exists()
        && Spec::read(layout, &stage.release)?.is_none_or(|spec| spec.manifest != stage.manifest);
    if changes_meaning {
        durable::remove(&described).map_err(refusal::io("remove", &described))?;
        point("stage-unlisted");
    }
    let manifest = layout.beside(&stage.release, "manifest");
    let spec = json(&spec_of(stage))?;
    durable::replace(&manifest, site.json, 0o644).map_err(refusal::io("write", &manifest))?;
    write_secrets(layout, stage)?;
    if !changes_meaning {
        durable::replace(&described, &spec, 0o644).map_err(refusal::io("write", &described))?;
    }
    point("stage-beside");
    sync_all(&releases)?;
    point("stage-synced");
    if site.session.flags().stop() {
        return Err(Asked::Cancelled);
    }
    name(&site.scratch, &home).map_err(refusal::io("give its name to", &home))?;
    point("stage-named");
    if changes_meaning {
        durable::write(&described, &spec, 0o644).map_err(refusal::io("write", &described))?;
        point("stage-listed");
    }
    durable::sync_folder(&releases).map_err(refusal::io("make durable what is in", &releases))?;
    point("stage-durable");
    Ok(())
}

/// Once for the whole release, however many files it has, and before it gets its name.
fn sync_all(releases: &Path) -> Outcome<()> {
    let failed = refusal::io("make durable what is in", releases);
    let folder = fs::File::open(releases).map_err(refusal::io("open", releases))?;
    rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))
}

/// Renames the finished tree to its name; one that has the name changes places with it in the same instant, and goes with
/// the scratch folder.
fn name(tree: &Path, home: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, tree, CWD, home, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => Ok(renameat_with(CWD, tree, CWD, home, RenameFlags::EXCHANGE)?),
        done => Ok(done?),
    }
}

fn spec_of(stage: &Stage) -> Spec {
    Spec { manifest: stage.manifest, service: stage.service.clone(), private: stage.private.clone() }
}

fn write_secrets(layout: &Layout, stage: &Stage) -> Outcome<()> {
    let path = layout.beside(&stage.release, "secrets");
    if stage.secrets.is_empty() {
        return durable::remove(&path).map_err(refusal::io("remove", &path));
    }
    durable::write(&path, &json(&stage.secrets)?, 0o600).map_err(refusal::io("write", &path))
}

fn json(value: &impl serde::Serialize) -> Outcome<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| refusal::ours(error.to_string()))
}

/// Removes all that lies beside a release, what lists it first.
pub(crate) fn remove_beside(layout: &Layout, release: &Digest) -> std::io::Result<()> {
    durable::remove(&layout.beside(release, "service"))?;
    for what in ["secrets", "manifest"] {
        // Without the first they mean nothing, whether or not they are there again after a loss of power.
        durable::clear(&layout.beside(release, what))?;
    }
    Ok(())
}
