//! What an apply will do, decided in pure code from what was observed on both sides.

use std::collections::BTreeSet;

use serde::Serialize;
use staith_model::RelPath;

use super::{
    counters::Counters,
    skip::{SkipAction, SkipRule, Undecided},
    tree::{FileFacts, Node, Tree, is_below, order},
};

/// The file that tells IIS and ASP.NET that a site is down for the moment.
pub const APP_OFFLINE: &str = "app_offline.htm";

/// How two sides are compared, and what is left alone.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Compare contents and ignore times: Web Deploy's `-useCheckSum`.
    pub checksum: bool,
    /// Delete nothing: `DoNotDeleteRule`.
    pub do_not_delete: bool,
    /// Replace no file that is newer than the package's: `SkipNewerFilesRule`.
    pub skip_newer: bool,
    /// Web Deploy's `-skip`.
    pub skips: Vec<SkipRule>,
}

/// What is done to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It was not there.
    Add,
    /// It is replaced.
    Update,
    /// It goes.
    Delete,
}

/// What kind of object something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a device or a pipe, which can only be deleted.
    Special,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// To what kind of object.
    pub object: Object,
    /// Where, below the destination.
    pub path: RelPath,
    /// Bytes that are copied for it.
    pub bytes: u64,
}

/// All changes, in order, and what they come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApplyPlan {
    /// Whether the destination itself has to be made.
    pub makes_root: bool,
    /// The changes. What is deleted goes from the leaves up, what is added comes from the root down.
    pub changes: Vec<Change>,
    /// Paths that would have been deleted or replaced, or added, if no rule had forbidden it.
    pub kept: BTreeSet<RelPath>,
    /// Paths that a skip directive hid, on either side; nothing below them was looked at.
    pub hidden: BTreeSet<RelPath>,
    /// What it all comes to.
    pub counters: Counters,
}

impl ApplyPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.counters.total() == 0
    }
}

/// Why there can't be a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A regular expression of a rule took too long.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// A rule keeps something where the package has an object of another kind.
    #[error(
        "`{0}` can't be put in place: what is there is of another kind, and a rule keeps it or something in it; \
         remove it by hand, or change the rule"
    )]
    InTheWay(RelPath),
}

/// The files whose bytes have to be known on both sides before [`plan`] can compare them: those that look equal otherwise.
pub fn to_compare<'t>(source: &'t Tree, destination: &'t Tree, options: &PlanOptions) -> Vec<&'t RelPath> {
    let files = source.nodes.iter().filter_map(|(path, node)| match node {
        Node::File(ours) => Some((path, ours, destination.file(path)?)),
        _ => None,
    });
    let undecided = files.filter(|(_, ours, theirs)| {
        (options.checksum || ours.by_content)
            && ours.size == theirs.size
            && has_mode_of(ours, theirs)
            && (options.checksum || is_time_equal(ours, theirs))
    });
    undecided.map(|(path, ..)| path).collect()
}

/// Compares the two sides and says what has to be done for the destination to be like the source.
///
/// Files whose bytes count (see [`to_compare`]) and whose digests are not known on both sides are taken for different.
///
/// # Errors
/// A rule can't be decided, or keeps what the package has another kind of object for.
pub fn plan(source: &Tree, destination: &Tree, options: &PlanOptions) -> Result<ApplyPlan, PlanError> {
    let mut paths: Vec<_> = source.nodes.keys().chain(destination.nodes.keys()).collect();
    paths.sort_by_cached_key(|path| order(path));
    paths.dedup();
    let mut planner =
        Planner { source, destination, options, made: ApplyPlan::default(), leaving: Vec::new() };
    if !destination.exists {
        planner.made.makes_root = true;
        planner.made.counters.added += 1;
    }
    let mut walk = Walk::default();
    for path in paths {
        planner.leave_until(Some(path))?;
        planner.visit(path, &mut walk)?;
    }
    planner.leave_until(None)?;
    Ok(planner.made)
}

/// The subtrees that the walk is in, as far as they decide what lies below them.
#[derive(Default)]
struct Walk {
    hidden_source: Option<RelPath>,
    hidden_destination: Option<RelPath>,
    kept: Option<RelPath>,
    not_added: Option<RelPath>,
}

fn within(path: &RelPath, top: Option<&RelPath>) -> bool {
    top.is_some_and(|top| is_below(path, top))
}

/// A directory that goes once all below it is gone.
struct Leaving<'t> {
    path: &'t RelPath,
    /// What takes its place.
    then: Option<&'t Node>,
    /// Whether something in it stays.
    stays: bool,
}

struct Planner<'t> {
    source: &'t Tree,
    destination: &'t Tree,
    options: &'t PlanOptions,
    made: ApplyPlan,
    leaving: Vec<Leaving<'t>>,
}

impl<'t> Planner<'t> {
    fn visit(&mut self, path: &'t RelPath, walk: &mut Walk) -> Result<(), PlanError> {
        let source = self.seen(self.source, path, &mut walk.hidden_source)?;
        let destination = self.seen(self.destination, path, &mut walk.hidden_destination)?;
        if destination.is_none() && self.destination.nodes.contains_key(path) {
            // Hidden, but there: whatever it lies in can't go.
            self.keep_above();
        }
        match (source, destination) {
            (Some(node), None) if !within(path, walk.not_added.as_ref()) => {
                if self.is_forbidden(SkipAction::AddChild, path, node)? {
                    self.made.kept.insert(path.clone());
                    walk.not_added = Some(path.clone());
                } else if self.destination.nodes.get(path).is_some_and(|hidden| !is_same_kind(node, hidden)) {
                    return Err(PlanError::InTheWay(path.clone()));
                } else {
                    self.change(Action::Add, path, node);
                }
            }
            (Some(_) | None, None) => {}
            (None, Some(node)) => self.delete(path, node, None, walk)?,
            (Some(ours), Some(theirs)) => self.compare(path, ours, theirs, walk)?,
        }
        Ok(())
    }

    /// What is at `path` of `tree`, unless a directive hides it or something above it.
    fn seen(
        &mut self,
        tree: &'t Tree,
        path: &RelPath,
        hidden: &mut Option<RelPath>,
    ) -> Result<Option<&'t Node>, PlanError> {
        let Some(node) = tree.nodes.get(path) else { return Ok(None) };
        if within(path, hidden.as_ref()) {
            return Ok(None);
        }
        for rule in self.options.skips.iter().filter(|rule| rule.is_directive()) {
            if rule.covers(object_name(node), &spelled(tree, path))? {
                self.made.hidden.insert(path.clone());
                *hidden = Some(path.clone());
                return Ok(None);
            }
        }
        Ok(Some(node))
    }

    fn compare(
        &mut self,
        path: &'t RelPath,
        ours: &'t Node,
        theirs: &'t Node,
        walk: &mut Walk,
    ) -> Result<(), PlanError> {
        let differs = match (ours, theirs) {
            (Node::Directory, Node::Directory) => return Ok(()),
            (Node::File(ours), Node::File(theirs)) => {
                if self.options.skip_newer && theirs.time > ours.time {
                    self.made.kept.insert(path.clone());
                    return Ok(());
                }
                differs(ours, theirs, self.options.checksum)
            }
            (Node::Link { target: ours }, Node::Link { target: theirs }) => ours != theirs,
            _ => return self.delete(path, theirs, Some(ours), walk),
        };
        if differs && self.is_forbidden(SkipAction::Update, path, ours)? {
            self.made.kept.insert(path.clone());
        } else if differs {
            self.change(Action::Update, path, ours);
        }
        Ok(())
    }

    /// Something at the destination goes; `then` takes its place.
    fn delete(
        &mut self,
        path: &'t RelPath,
        node: &'t Node,
        then: Option<&'t Node>,
        walk: &mut Walk,
    ) -> Result<(), PlanError> {
        let in_kept = within(path, walk.kept.as_ref());
        // Somebody has taken the site offline by hand. A deployment is no reason to bring it back.
        let is_offline_page = path.as_str().eq_ignore_ascii_case(APP_OFFLINE) && then.is_none();
        if in_kept
            || is_offline_page
            || self.options.do_not_delete
            || self.is_forbidden(SkipAction::Delete, path, node)?
        {
            if then.is_some() {
                return Err(PlanError::InTheWay(path.clone()));
            }
            self.keep_above();
            self.made.kept.insert(path.clone());
            if !in_kept {
                walk.kept = Some(path.clone());
            }
            return Ok(());
        }
        if matches!(node, Node::Directory) {
            let stays = self.destination.unnamable.contains(&Some(path.clone()));
            self.leaving.push(Leaving { path, then, stays });
        } else {
            self.change(Action::Delete, path, node);
            if let Some(then) = then {
                self.change(Action::Add, path, then);
            }
        }
        Ok(())
    }

    /// Takes leave of the directories that `next` does not lie in.
    fn leave_until(&mut self, next: Option<&RelPath>) -> Result<(), PlanError> {
        while let Some(last) = self.leaving.pop_if(|last| !next.is_some_and(|next| is_below(next, last.path)))
        {
            if last.stays {
                self.keep_above();
                if last.then.is_some() {
                    return Err(PlanError::InTheWay(last.path.clone()));
                }
                self.made.kept.insert(last.path.clone());
                continue;
            }
            self.change(Action::Delete, last.path, &Node::Directory);
            if let Some(then) = last.then {
                self.change(Action::Add, last.path, then);
            }
        }
        Ok(())
    }

    fn keep_above(&mut self) {
        self.leaving.iter_mut().for_each(|leaving| leaving.stays = true);
    }

    /// Whether a rule forbids `action`, by the path on either side.
    fn is_forbidden(&self, action: SkipAction, path: &RelPath, node: &Node) -> Result<bool, PlanError> {
        for rule in self.options.skips.iter().filter(|rule| rule.forbids(action)) {
            let object = object_name(node);
            let by_source =
                action != SkipAction::Delete && rule.covers(object, &spelled(self.source, path))?;
            if by_source || rule.covers(object, &spelled(self.destination, path))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn change(&mut self, action: Action, path: &RelPath, node: &Node) {
        let counters = &mut self.made.counters;
        let (object, size) = match node {
            Node::Directory => (Object::Directory, 0),
            Node::File(facts) => (Object::File, facts.size),
            Node::Link { .. } => (Object::Link, 0),
            Node::Special => (Object::Special, 0),
        };
        let bytes = if action == Action::Delete { 0 } else { size };
        match action {
            Action::Add => counters.added += 1,
            Action::Update => counters.updated += 1,
            Action::Delete => counters.deleted += 1,
        }
        counters.bytes_copied += bytes;
        self.made.changes.push(Change { action, object, path: path.clone(), bytes });
    }
}

/// What Web Deploy calls the object.
fn object_name(node: &Node) -> &'static str {
    if matches!(node, Node::Directory) { "dirPath" } else { "filePath" }
}

fn is_same_kind(ours: &Node, theirs: &Node) -> bool {
    matches!(ours, Node::Directory) == matches!(theirs, Node::Directory)
}

fn spelled(tree: &Tree, path: &RelPath) -> String {
    let between = if tree.spelled.is_empty() || tree.spelled.ends_with(['/', '\\']) { "" } else { "/" };
    format!("{}{between}{path}", tree.spelled)
}

fn differs(ours: &FileFacts, theirs: &FileFacts, checksum: bool) -> bool {
    if ours.size != theirs.size || !has_mode_of(ours, theirs) || (!checksum && !is_time_equal(ours, theirs)) {
        return true;
    }
    let same_bytes = || ours.digest.is_some() && ours.digest == theirs.digest;
    (checksum || ours.by_content) && !same_bytes()
}

fn has_mode_of(ours: &FileFacts, theirs: &FileFacts) -> bool {
    ours.mode.is_none() || ours.mode == theirs.mode
}

/// Times are compared as a zip holds them, in steps of two seconds; the destination's is rounded down to one.
fn is_time_equal(ours: &FileFacts, theirs: &FileFacts) -> bool {
    ours.time == theirs.time - theirs.time.rem_euclid(2)
}
