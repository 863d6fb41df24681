//! What can be said of output globs without any file: which surely overlap, and which surely don't.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use staith_model::TriggerKind;

use super::{
    graph::Graph,
    problems::{Problem, Problems},
    steps::Draft,
    template,
};

/// The folders and files that a glob names for sure.
struct Area<'g> {
    /// The leading components without wildcards.
    fixed: Vec<&'g str>,
    /// Whether all below the fixed part is meant: the glob has no wildcard (a folder stands for what is in it) or ends in
    /// `**` right there.
    whole: bool,
}

fn area(glob: &str) -> Area<'_> {
    let is_fixed = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}']);
    let parts: Vec<&str> = glob.split('/').collect();
    let fixed: Vec<&str> = parts.iter().copied().take_while(is_fixed).collect();
    let whole = matches!(parts[fixed.len()..], [] | ["**"] | ["**", "*"]);
    Area { fixed, whole }
}

/// Whether all that `inner` can match lies in what `outer` stands for.
fn covers(outer: &Area<'_>, inner: &Area<'_>) -> bool {
    outer.whole && inner.fixed.starts_with(&outer.fixed)
}

/// Whether `glob` may match something in the folder `root`.
pub(super) fn may_lie_below(glob: &str, root: &str) -> bool {
    let fixed = area(glob).fixed;
    let root: Vec<&str> = root.split('/').collect();
    fixed.starts_with(&root) || root.starts_with(&fixed)
}

/// One output of one step of a plan.
struct Output<'d> {
    draft: usize,
    /// The step's name in the plan.
    step: &'d str,
    glob: String,
    place: &'d Range<usize>,
}

/// Pairs of these are looked at.
const MOST_OUTPUTS: usize = 4000;

/// Complains about steps that may run at the same time and surely write to the same place.
pub(super) fn refuse_collisions(drafts: &[Draft], graph: &Graph, problems: &Problems) {
    let outputs: Vec<Output<'_>> =
        drafts.iter().enumerate().flat_map(|(index, draft)| of_draft(index, draft)).collect();
    if let Some(beyond) = outputs.get(MOST_OUTPUTS) {
        let message = format!("steps have {} outputs in all; {MOST_OUTPUTS} is the most", outputs.len());
        let help = "name folders: a folder stands for all that is in it";
        problems.add(Problem::at(beyond.place.clone(), message, "here it becomes too many", help));
        return;
    }
    let areas: Vec<_> = outputs.iter().map(|output| area(&output.glob)).collect();
    let mut told = BTreeSet::new();
    for (later, output) in outputs.iter().enumerate() {
        for (earlier, other) in outputs[..later].iter().enumerate() {
            let is_same_step = output.step == other.step;
            if is_same_step || told.contains(&(other.draft, output.draft)) {
                continue;
            }
            let overlap = output.glob == other.glob
                || covers(&areas[later], &areas[earlier])
                || covers(&areas[earlier], &areas[later]);
            if overlap && may_meet(drafts, graph, other.draft, output.draft) {
                told.insert((other.draft, output.draft));
                problems.add(describe(drafts, other, output));
            }
        }
    }
}

fn of_draft(index: usize, draft: &Draft) -> Vec<Output<'_>> {
    let of = |step, values| {
        draft.outputs.iter().map(move |output| Output {
            draft: index,
            step,
            glob: template::fill(&output.value, values, &NO_VALUES),
            place: &output.place,
        })
    };
    if draft.matrix.variants.is_empty() {
        return of(draft.key.value.as_str(), &NO_VALUES).collect();
    }
    draft.matrix.variants.iter().flat_map(|variant| of(variant.name.as_str(), &variant.values)).collect()
}

static NO_VALUES: BTreeMap<String, String> = BTreeMap::new();

/// Whether there can be a plan in which both steps run, and at the same time.
fn may_meet(drafts: &[Draft], graph: &Graph, one: usize, other: usize) -> bool {
    if graph.ordered(one, other) {
        return false;
    }
    let never =
        |draft: usize, kind| drafts[draft].when.as_ref().is_some_and(|when| when.value.never_holds_at(kind));
    TriggerKind::ALL.into_iter().any(|kind| !never(one, kind) && !never(other, kind))
}

fn describe(drafts: &[Draft], earlier: &Output<'_>, later: &Output<'_>) -> Problem {
    let (first, second) = (earlier.step, later.step);
    let help = match drafts[later.draft].matrix.dimensions.first() {
        Some(dimension) if earlier.draft == later.draft => {
            format!(
                "give each variant a place of its own: `outputs = [\"{}/{{matrix.{}}}\"]`",
                folder(&later.glob),
                dimension.name
            )
        }
        _ => format!(
            "give each a place of its own, or let one come after the other: `needs = [\"{}\"]` in step `{}`",
            drafts[earlier.draft].key.value, drafts[later.draft].key.value
        ),
    };
    let problem = Problem::at(
        later.place.clone(),
        format!("steps `{first}` and `{second}` write to the same place"),
        format!("`{second}` leaves files here"),
        help,
    );
    if earlier.draft == later.draft {
        return problem;
    }
    problem.and_at(earlier.place.clone(), format!("`{first}` does too, at the same time"))
}

/// The part of a glob before its first wildcard.
fn folder(glob: &str) -> String {
    let fixed = area(glob).fixed;
    if fixed.is_empty() { "out".to_owned() } else { fixed.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collide(one: &str, other: &str) -> bool {
        let (a, b) = (area(one), area(other));
        one == other || covers(&a, &b) || covers(&b, &a)
    }

    #[test]
    fn only_sure_overlaps_are_collisions() {
        for (one, other) in [
            ("out", "out"),
            ("out", "out/a"),
            ("out/**", "out/a/b"),
            ("out/**", "out"),
            ("**", "anything"),
            ("out", "out/*.js"),
            ("*.js", "*.js"),
        ] {
            assert!(collide(one, other) && collide(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("out", "output"),
            ("out/a", "out/b"),
            ("*.js", "a.js"),
            ("out/*", "out/a"),
            ("a/**/x", "a/b/x"),
            ("a", "b/**"),
        ] {
            assert!(!collide(one, other) && !collide(other, one), "{one} {other}");
        }
    }

    #[test]
    fn what_may_lie_below_a_folder() {
        for (glob, root) in
            [("target/release/x", "target/release"), ("target", "target/release"), ("**", "a"), ("*/x", "a")]
        {
            assert!(may_lie_below(glob, root), "{glob} {root}");
        }
        for (glob, root) in
            [("vendor", "target"), ("target/debug/**", "target/release"), ("targets", "target")]
        {
            assert!(!may_lie_below(glob, root), "{glob} {root}");
        }
    }
}
