//! What can be said of output globs without any file: which surely overlap, and which surely don't.

use super::{
    graph::Graph,
    problems::{Problem, Problems},
    steps::Draft,
    walk::Placed,
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

/// Whether two globs surely name the same places.
fn collide(one: &str, other: &str) -> bool {
    let (a, b) = (area(one), area(other));
    one == other || covers(&a, &b) || covers(&b, &a)
}

/// Whether `glob` may match something in the folder `root`.
pub(super) fn may_lie_below(glob: &str, root: &str) -> bool {
    let fixed = area(glob).fixed;
    let root: Vec<&str> = root.split('/').collect();
    fixed.starts_with(&root) || root.starts_with(&fixed)
}

/// Complains about steps that may run at the same time and surely write to the same place.
pub(super) fn refuse_collisions(drafts: &[Draft], graph: &Graph, problems: &Problems) {
    for (later, draft) in drafts.iter().enumerate() {
        for (earlier, before) in drafts[..later].iter().enumerate() {
            let pair = draft.outputs.iter().find_map(|output| {
                let other = before.outputs.iter().find(|other| collide(&other.value, &output.value))?;
                Some((output, other))
            });
            if let Some((output, other)) = pair.filter(|_| !graph.ordered(earlier, later)) {
                problems.add(describe(before, other, draft, output));
            }
        }
    }
}

fn describe(earlier: &Draft, other: &Placed<String>, later: &Draft, output: &Placed<String>) -> Problem {
    let (first, second) = (&earlier.key.value, &later.key.value);
    Problem::at(
        output.place.clone(),
        format!("steps `{first}` and `{second}` write to the same place"),
        format!("`{second}` leaves files here"),
        format!(
            "give each a place of its own, or let one come after the other: `needs = [\"{first}\"]` in step `{second}`"
        ),
    )
    .and_at(other.place.clone(), format!("`{first}` does too, at the same time"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
