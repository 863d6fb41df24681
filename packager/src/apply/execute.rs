//! An apply from beginning to end: observe, plan, back up, stage, switch.

use std::{collections::HashMap, ops::ControlFlow, path::Path};

use rayon::prelude::*;
use rustix::fs::{fstatvfs, syncfs};
use staith_model::{Digest, RelPath};

use super::{
    ApplyError,
    backup::{self, BackupOptions},
    destination::Destination,
    plan::{Action, ApplyPlan, Change, Object, PlanOptions, plan, to_compare},
    source::Source,
    staging::{self, Staging, WORK},
    switch::Switch,
    tree::{Node, Tree},
};

/// How a package is applied.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// How the two sides are compared, and what is left alone.
    pub plan: PlanOptions,
    /// The page to put into the root as `app_offline.htm` while files change. `None` leaves the site online.
    pub app_offline: Option<Vec<u8>>,
    /// Where to keep what was there before.
    pub backup: Option<BackupOptions>,
    /// The one name in the destination that is meant: for packages of a single file. Nothing else there is looked at.
    pub only: Option<String>,
    /// Verify every file first, and then write and replace one by one, as is done where the disk has no room for the old and the
    /// new at once. What was changed can't be taken back then.
    pub one_by_one: bool,
    /// How skip rules spell the destination, where rules were written for another place: `C:\site`. Its absolute path unless
    /// given.
    pub spelled: Option<String>,
}

/// A moment in an apply. Between two of them it may be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// What is there is copied to the backup.
    BackUp,
    /// A file is read from the package, verified and laid beside its place.
    Stage(&'a Change),
    /// The site is taken offline.
    GoOffline,
    /// A change becomes visible.
    Change(&'a Change),
    /// All changes are made; the site is brought back, and unfinished files are removed.
    Finish,
}

/// Somebody who follows an apply, and may stop it.
pub trait Watch: Sync {
    /// Called before each step, from several threads; `Break` stops the apply, and what was changed is taken back.
    fn before(&self, step: &Step<'_>) -> ControlFlow<()> {
        let _ = step;
        ControlFlow::Continue(())
    }

    /// Called once, when it is known what will be done.
    fn planned(&self, plan: &ApplyPlan) {
        let _ = plan;
    }
}

/// Nobody watches.
impl Watch for () {}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The changes that were made.
    pub plan: ApplyPlan,
    /// The snapshot that was made of what was there before.
    pub backup: Option<std::path::PathBuf>,
    /// Whether somebody's own `app_offline.htm` was there, and stays.
    pub stays_offline: bool,
    /// What went wrong without stopping anything.
    pub notes: Vec<String>,
}

/// Says what [`apply`] would do, and changes nothing.
///
/// # Errors
/// See [`ApplyError`].
pub fn what_if(source: &dyn Source, to: &Path, options: &ApplyOptions) -> Result<ApplyPlan, ApplyError> {
    let destination = Destination::open(to, options.only.clone())?;
    Ok(observe(source, &destination, options)?.plan)
}

/// Makes the directory `to` like the source, and says what had to be done for that. Applied again, nothing has to be.
///
/// Every file is verified and complete before the first of them is visible, where the disk has room for both the old and the
/// new; else every file is verified first, and then replaced one by one. Each is replaced in one step: a process that is killed
/// leaves old or new bytes in each, and what else it left is removed by the next apply. An apply that fails or is stopped takes
/// back what it changed, if there was room to keep that.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(
    source: &dyn Source,
    to: &Path,
    options: &ApplyOptions,
    watch: &dyn Watch,
) -> Result<Applied, ApplyError> {
    let mut destination = Destination::open(to, options.only.clone())?;
    destination.lease()?;
    if destination.root().is_ok() {
        staging::recover(&destination)?;
    }
    let observed = observe(source, &destination, options)?;
    watch.planned(&observed.plan);
    let mut applied =
        Applied { plan: ApplyPlan::default(), backup: None, stays_offline: false, notes: Vec::new() };
    if !observed.plan.is_empty() {
        if observed.plan.makes_root {
            destination.make()?;
            destination.lease()?;
        }
        let work = Work { source, destination: &destination, observed: &observed, options, watch };
        work.back_up(&mut applied)?;
        work.carry_out(&mut applied)?;
    }
    applied.plan = observed.plan;
    Ok(applied)
}

/// What was found on both sides, and what follows.
struct Observed {
    source: Tree,
    destination: Tree,
    plan: ApplyPlan,
}

fn observe(
    source: &dyn Source,
    destination: &Destination,
    options: &ApplyOptions,
) -> Result<Observed, ApplyError> {
    let (mut ours, mut theirs) = (source.tree().clone(), destination.scan()?);
    if let Some(spelled) = &options.spelled {
        theirs.spelled.clone_from(spelled);
    }
    if ours.nodes.keys().any(|path| path.as_str().split('/').next() == Some(WORK)) {
        return Err(ApplyError::Reserved);
    }
    let paths: Vec<RelPath> = to_compare(&ours, &theirs, &options.plan).into_iter().cloned().collect();
    let digests = |digest: &(dyn Fn(&RelPath) -> Result<Digest, ApplyError> + Sync)| {
        // Not collected into a result at once: of several errors, the first in the order of the paths is told.
        let read: Vec<_> = paths.par_iter().map(|path| Ok((path.clone(), digest(path)?))).collect();
        read.into_iter().collect::<Result<HashMap<_, _>, ApplyError>>()
    };
    let (found, at_destination) =
        (digests(&|path| source.digest(path))?, digests(&|path| destination.digest(path))?);
    set_digests(&mut ours, &found);
    set_digests(&mut theirs, &at_destination);
    let mut plan = plan(&ours, &theirs, &options.plan)?;
    // Web Deploy counts the object that holds a single file, and not the directory that it goes into.
    if let Some(only) = &options.only {
        let is_there = theirs.nodes.keys().any(|path| path.as_str() == only);
        plan.counters.added -= u64::from(plan.makes_root);
        plan.counters.added += u64::from(!is_there && !plan.changes.is_empty());
    }
    Ok(Observed { source: ours, destination: theirs, plan })
}

fn set_digests(tree: &mut Tree, digests: &HashMap<RelPath, Digest>) {
    for (path, found) in digests {
        if let Some(Node::File(facts)) = tree.nodes.get_mut(path) {
            facts.digest = Some(*found);
        }
    }
}

struct Work<'w> {
    source: &'w dyn Source,
    destination: &'w Destination,
    observed: &'w Observed,
    options: &'w ApplyOptions,
    watch: &'w dyn Watch,
}

impl Work<'_> {
    fn ask(&self, step: &Step<'_>) -> Result<(), ApplyError> {
        if self.watch.before(step).is_break() { Err(ApplyError::Stopped) } else { Ok(()) }
    }

    fn back_up(&self, applied: &mut Applied) -> Result<(), ApplyError> {
        let Some(options) = &self.options.backup else { return Ok(()) };
        if self.observed.plan.makes_root {
            return Ok(());
        }
        self.ask(&Step::BackUp)?;
        match backup::take(self.destination, &self.observed.destination, options) {
            Ok(taken) => {
                applied.backup = Some(taken.path);
                applied.notes.extend(taken.notes);
                Ok(())
            }
            Err(why) if options.go_on_without => {
                applied.notes.push(format!("no backup could be made: {why}"));
                Ok(())
            }
            Err(why) => Err(ApplyError::Backup(Box::new(why))),
        }
    }

    fn carry_out(&self, applied: &mut Applied) -> Result<(), ApplyError> {
        let staging = Staging::make(self.destination)?;
        let is_staged = !self.options.one_by_one && self.has_room()?;
        let new: Vec<_> =
            self.observed.plan.changes.iter().enumerate().filter(|(_, change)| is_copied(change)).collect();
        let prepare = |(nth, change): &(usize, &Change)| {
            self.ask(&Step::Stage(change))?;
            if is_staged { self.stage(&staging, *nth, change) } else { self.verify(change) }
        };
        // Of several that fail, the first in the plan is told, whichever thread was the first to find one.
        if let Some(why) = new.par_iter().find_map_first(|change| prepare(change).err()) {
            return Err(why);
        }
        // Once for all files: syncing each would take seconds for thousands.
        let unsynced = self.destination.failed("write to the disk of", None);
        let root = self.destination.root()?;
        syncfs(root).map_err(&unsynced)?;
        if let Some(page) = &self.options.app_offline {
            self.ask(&Step::GoOffline)?;
            applied.stays_offline = !self.brings_offline_page() && !staging.go_offline(page)?;
        }
        self.switch(&staging, is_staged)?;
        staging.clean()?;
        syncfs(root).map_err(&unsynced)
    }

    fn switch(&self, staging: &Staging<'_>, is_staged: bool) -> Result<(), ApplyError> {
        let mut switch = Switch::new(self.destination, staging, is_staged);
        let mut changes = self.observed.plan.changes.iter().enumerate();
        let made = changes
            .try_for_each(|(nth, change)| {
                self.ask(&Step::Change(change))?;
                if !is_staged && is_copied(change) {
                    self.stage(staging, nth, change)?;
                }
                switch.make(change, &nth.to_string())
            })
            .and_then(|()| self.ask(&Step::Finish));
        let Err(why) = made else { return Ok(()) };
        match switch.take_back() {
            Ok(()) if matches!(why, ApplyError::Stopped) => Err(why),
            Ok(()) => Err(ApplyError::TakenBack(Box::new(why))),
            Err(also) => Err(ApplyError::HalfDone(Box::new(why), Box::new(also))),
        }
    }

    fn stage(&self, staging: &Staging<'_>, nth: usize, change: &Change) -> Result<(), ApplyError> {
        match self.observed.source.nodes.get(&change.path) {
            Some(node) => staging.stage(&nth.to_string(), &change.path, node, self.source),
            None => Err(ApplyError::Unstable(change.path.clone())),
        }
    }

    fn verify(&self, change: &Change) -> Result<(), ApplyError> {
        if change.object == Object::File {
            self.source.copy(&change.path, &mut std::io::sink())?;
        }
        Ok(())
    }

    /// Whether the disk holds the new files beside the old ones.
    fn has_room(&self) -> Result<bool, ApplyError> {
        // What a file system needs for each file beside its bytes, at most.
        const A_FILE: u64 = 8192;
        let root = self.destination.root()?;
        let room = fstatvfs(root).map_err(self.destination.failed("measure the room at", None))?;
        let plan = &self.observed.plan;
        let needed = plan.counters.bytes_copied + plan.changes.len() as u64 * A_FILE;
        Ok(needed <= room.f_bavail.saturating_mul(room.f_frsize))
    }

    /// Whether the package has a page of its own: that one comes in its turn.
    fn brings_offline_page(&self) -> bool {
        let changes = &self.observed.plan.changes;
        changes.iter().any(|change| change.path.as_str() == super::APP_OFFLINE)
    }
}

/// Whether a change needs a staged file.
fn is_copied(change: &Change) -> bool {
    change.action != Action::Delete && change.object != Object::Directory
}
