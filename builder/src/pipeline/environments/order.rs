//! `after`: the order of environments.

use staith_model::Name;

use super::{
    super::{
        keys::{Key, NAMES, key},
        problems::{Problem, Problems, quoted},
        suggest::{closest, listed},
        values,
        walk::{Entry, Placed, Table},
    },
    Destination,
};

pub(super) const AFTER: Key = key(
    "after",
    NAMES,
    "the order of the file",
    "Environments that come before this one: a release is promoted from them. That it must have succeeded there is said in the \
     home's configuration.",
);

/// `after` of each environment, each name known and none in a circle.
pub(super) fn read(entries: &[Entry<'_>], problems: &Problems) -> Vec<Vec<Name>> {
    let named: Vec<Vec<Placed<Name>>> = entries.iter().map(|entry| names(entry, entries, problems)).collect();
    refuse_circles(entries, &named, problems);
    named.into_iter().map(|names| names.into_iter().map(|name| name.value).collect()).collect()
}

fn names(entry: &Entry<'_>, entries: &[Entry<'_>], problems: &Problems) -> Vec<Placed<Name>> {
    let table = Table::of_names(format!("environment `{}`", entry.key), entry.value, problems);
    let list = table.and_then(|table| table.list("after", values::name)).unwrap_or_default();
    let mut known: Vec<Placed<Name>> = Vec::new();
    for name in list {
        let others = || entries.iter().map(|other| other.key).filter(|other| *other != entry.key);
        let complain = |message: String, label: &str, help: String| {
            problems.add(Problem::at(name.place.clone(), message, label, help));
        };
        if name.value.as_str() == entry.key {
            complain(
                format!("environment `{}` comes after itself", entry.key),
                "it can't be its own predecessor",
                "remove it from `after`".into(),
            );
        } else if !others().any(|other| other == name.value.as_str()) {
            let help = match closest(name.value.as_str(), others()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if others().next().is_none() => "there is no other environment; remove it".into(),
                None => format!("the file's other environments: {}", listed(others())),
            };
            let message = format!("environment `{}` comes after {}", entry.key, quoted(name.value.as_str()));
            complain(message, "no environment has this name", help);
        } else if known.iter().any(|other| other.value == name.value) {
            complain(format!("`after` names `{}` twice", name.value), "here again", "name it once".into());
        } else {
            known.push(name);
        }
    }
    known
}

fn refuse_circles(entries: &[Entry<'_>], after: &[Vec<Placed<Name>>], problems: &Problems) {
    let position = |name: &Name| entries.iter().position(|entry| entry.key == name.as_str());
    let mut told = vec![false; entries.len()];
    for start in 0..entries.len() {
        let mut way = vec![start];
        if told[start]
            || !leads_back(start, start, after, &position, &mut way, &mut vec![false; entries.len()])
        {
            continue;
        }
        way.iter().for_each(|at| told[*at] = true);
        let shown: Vec<&str> = way.iter().map(|at| entries[*at].key).collect();
        let second = &after[start].iter().find(|name| name.value.as_str() == shown[1]);
        let place = second.map_or_else(|| entries[start].key_place.clone(), |name| name.place.clone());
        problems.add(Problem::at(
            place,
            format!("environments come after each other in a circle: {}", shown.join(" → ")),
            format!("`{}` comes after `{}`, which in the end comes after `{0}`", shown[0], shown[1]),
            "remove one of these; no release could ever begin",
        ));
    }
}

/// Finds a way from `at` back to `start`, and leaves it in `way`.
fn leads_back(
    start: usize,
    at: usize,
    after: &[Vec<Placed<Name>>],
    position: &impl Fn(&Name) -> Option<usize>,
    way: &mut Vec<usize>,
    seen: &mut [bool],
) -> bool {
    for next in after[at].iter().filter_map(|name| position(&name.value)) {
        way.push(next);
        if next == start {
            return true;
        }
        if !std::mem::replace(&mut seen[next], true) && leads_back(start, next, after, position, way, seen) {
            return true;
        }
        way.pop();
    }
    false
}

/// The environments in the order in which a release goes through them: each after those that it names, and otherwise as the file
/// has them.
pub(in crate::pipeline) fn ordered(destinations: &[Destination]) -> Vec<&Destination> {
    let mut ordered: Vec<&Destination> = Vec::new();
    while ordered.len() < destinations.len() {
        let is_placed = |name: &Name| ordered.iter().any(|placed| placed.environment.name() == name);
        let is_next = |to: &&Destination| !is_placed(to.environment.name()) && to.after.iter().all(is_placed);
        // There are no circles, so there is always one.
        match destinations.iter().find(is_next) {
            Some(next) => ordered.push(next),
            None => break,
        }
    }
    ordered
}
