//! Deciding what of a step's changes becomes its layer. Pure.

use super::{
    error::LayerError,
    upper::{Found, Seen, escaped},
};
use crate::source::Globs;

/// All outputs of one step together hold at most this: a sparse file costs a step nothing and would keep a processor
/// busy for days.
pub(super) const MOST_BYTES: u64 = 64 << 30;

/// What to keep and what not, as positions in the list of what was seen.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Kept, each directory before what it holds.
    pub(super) keep: Vec<usize>,
    /// Not kept; nothing below such a thing is listed.
    pub(super) drop: Vec<usize>,
    /// What people should know.
    pub(super) notices: Vec<String>,
}

/// Keeps what the globs match and the directories that lead there.
pub(super) fn choose(seen: &[Seen], globs: &Globs) -> Result<Choice, LayerError> {
    let mut choice = Choice::default();
    let mut hit = vec![false; globs.patterns().len()];
    let mut keep = vec![false; seen.len()];
    for (index, thing) in seen.iter().enumerate() {
        let matched = matched(thing, globs, &mut hit);
        keep[index] = matched && is_keepable(thing, &mut choice.notices)?;
    }
    for index in (0..seen.len()).rev() {
        if let (true, Some(parent)) = (keep[index], seen[index].parent) {
            keep[parent] = true;
        }
    }
    for (index, thing) in seen.iter().enumerate() {
        let parent_kept = thing.parent.is_none_or(|parent| keep[parent]);
        match (keep[index], parent_kept) {
            (true, _) => choice.keep.push(index),
            (false, true) => choice.drop.push(index),
            (false, false) => {}
        }
    }
    note_half_replaced(seen, &choice.keep, globs, &mut choice.notices);
    check_hits(seen, globs, &hit)?;
    check_bytes(seen, &choice.keep, globs)?;
    Ok(choice)
}

/// Whether some glob takes this thing; notes which ones do.
fn matched(thing: &Seen, globs: &Globs, hit: &mut [bool]) -> bool {
    let path = thing.path.to_string_lossy();
    let mut any = false;
    // Removing or replacing a directory is a statement about all that it held, so the pattern has to take all of it.
    if matches!(thing.kind, Found::Removed | Found::Directory { replaced: true }) {
        for pattern in globs.covering(&path) {
            (hit[pattern], any) = (true, true);
        }
    }
    for pattern in globs.matching(&path) {
        (hit[pattern], any) = (true, true);
    }
    any || matches!(thing.kind, Found::Directory { .. }) && globs.covers(&path)
}

fn is_keepable(thing: &Seen, notices: &mut Vec<String>) -> Result<bool, LayerError> {
    let odd_target = matches!(&thing.kind, Found::Symlink { target } if target.to_str().is_none());
    if thing.path.to_str().is_none() || odd_target {
        return Err(LayerError::NotUtf8 { path: escaped(&thing.path) });
    }
    if let Found::Special(what) = thing.kind {
        notices.push(format!("`{}` is {what} and was not kept", escaped(&thing.path)));
        return Ok(false);
    }
    Ok(true)
}

fn note_half_replaced(seen: &[Seen], keep: &[usize], globs: &Globs, notices: &mut Vec<String>) {
    for thing in keep.iter().map(|index| &seen[*index]) {
        let path = thing.path.to_string_lossy();
        if thing.kind == (Found::Directory { replaced: true }) && !globs.covers(&path) {
            notices.push(format!(
                "the step replaced the directory `{path}`, but its outputs name only a part of it: files that were \
                 there before stay; name `{path}` as an output to replace all of it"
            ));
        }
    }
}

fn check_hits(seen: &[Seen], globs: &Globs, hit: &[bool]) -> Result<(), LayerError> {
    let missed = hit.iter().position(|hit| !hit);
    let Some(glob) = missed.map(|pattern| &globs.patterns()[pattern]) else { return Ok(()) };
    Err(LayerError::NothingMatched { glob: glob.clone(), near: near(seen, glob) })
}

/// Up to three paths that the step left and that are most like the glob.
fn near(seen: &[Seen], glob: &str) -> Vec<String> {
    let plain: String = glob.chars().filter(|c| *c != '*').collect();
    let likeness = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let wanted = plain.trim_matches('/').rsplit('/').next().unwrap_or(&plain);
        strsim::jaro_winkler(path, &plain).max(strsim::jaro_winkler(name, wanted) * 0.95)
    };
    // Enough to find a typing mistake; comparing all of a large dependency tree would take longer than the step.
    let paths = seen.iter().take(20_000).map(|thing| escaped(&thing.path));
    let mut ranked: Vec<(f64, String)> = paths.map(|path| (likeness(&path), path)).collect();
    ranked.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
    ranked.into_iter().take(3).map(|(_, path)| path).collect()
}

fn check_bytes(seen: &[Seen], keep: &[usize], globs: &Globs) -> Result<(), LayerError> {
    let size = |index: &usize| if let Found::File { size, .. } = seen[*index].kind { size } else { 0 };
    let bytes = keep.iter().map(size).fold(0_u64, u64::saturating_add);
    if bytes > MOST_BYTES {
        return Err(LayerError::TooLarge { path: globs.patterns().join(", "), bytes, limit: MOST_BYTES });
    }
    Ok(())
}
