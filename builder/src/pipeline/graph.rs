//! How steps need each other: every name is a step, nothing goes in circles.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use super::{
    problems::{Problem, Problems, quoted},
    steps::Draft,
    suggest::{closest, listed},
};

/// The needs of each step, by position in the file.
pub(super) struct Graph {
    needs: Vec<Vec<usize>>,
}

impl Graph {
    /// Resolves the names in `needs` and complains about those that are no step, about repetitions and about circles.
    pub(super) fn of(drafts: &[Draft], problems: &Problems) -> Self {
        let needs = drafts.iter().enumerate().map(|(index, _)| resolve(drafts, index, problems)).collect();
        let graph = Self { needs };
        graph.refuse_circles(drafts, problems);
        graph
    }

    /// The direct needs of a step, in the order that it names them.
    pub(super) fn needs(&self, step: usize) -> &[usize] {
        &self.needs[step]
    }

    /// Whether one of two steps always runs after the other.
    pub(super) fn ordered(&self, one: usize, other: usize) -> bool {
        self.shortest_way(one, other).is_some() || self.shortest_way(other, one).is_some()
    }

    /// The steps from `start`, by way of needs, to `end`; at least one need is followed, so a step finds itself only in a
    /// circle. `start` is the first of the list and `end` the last.
    fn shortest_way(&self, start: usize, end: usize) -> Option<Vec<usize>> {
        let mut came_from = vec![None; self.needs.len()];
        let mut next = VecDeque::from([start]);
        while let Some(step) = next.pop_front() {
            for &need in &self.needs[step] {
                if need == end {
                    let mut way = vec![end, step];
                    while let Some(before) =
                        way.last().filter(|at| **at != start).and_then(|at| came_from[*at])
                    {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if came_from[need].is_none() && need != start {
                    came_from[need] = Some(step);
                    next.push_back(need);
                }
            }
        }
        None
    }

    /// Complains about steps that a condition names and that are not among those that the step needs, directly or not: what
    /// they came to would not be known when it is asked.
    pub(super) fn refuse_strangers(&self, drafts: &[Draft], problems: &Problems) {
        for (index, draft) in drafts.iter().enumerate() {
            let Some(when) = &draft.when else { continue };
            for (name, within) in when.value.steps() {
                let position = drafts.iter().position(|other| other.key.value == *name);
                let problem = match position {
                    None => unknown_in_condition(drafts, index, name, when.place.clone()),
                    Some(other) if self.shortest_way(index, other).is_none() => {
                        stranger(draft, name, when.place.clone())
                    }
                    Some(_) => continue,
                };
                problems.add(problem.inside(within.clone()));
            }
        }
    }

    fn refuse_circles(&self, drafts: &[Draft], problems: &Problems) {
        let mut told = BTreeSet::new();
        for start in 0..drafts.len() {
            if told.contains(&start) {
                continue;
            }
            if let Some(circle) = self.shortest_way(start, start) {
                told.extend(circle.iter().copied());
                problems.add(describe_circle(drafts, &circle));
            }
        }
    }
}

fn describe_circle(drafts: &[Draft], circle: &[usize]) -> Problem {
    let name = |step: usize| drafts[step].key.value.as_str();
    let way = circle.iter().map(|step| name(*step)).collect::<Vec<_>>().join(" → ");
    let (first, second) = (circle[0], circle[1]);
    let place =
        drafts[first].needs.iter().find(|need| need.value == name(second)).map(|need| need.place.clone());
    Problem::at(
        place.unwrap_or_else(|| drafts[first].key.place.clone()),
        format!("steps need each other in a circle: {way}"),
        format!("`{}` waits for `{}`, which in the end waits for `{0}`", name(first), name(second)),
        "remove one of these needs; none of the steps could ever start",
    )
}

fn resolve(drafts: &[Draft], step: usize, problems: &Problems) -> Vec<usize> {
    let draft = &drafts[step];
    let mut found: Vec<usize> = Vec::new();
    for need in &draft.needs {
        let position = drafts.iter().position(|other| other.key.value == need.value);
        match position {
            None => problems.add(unknown(drafts, step, need)),
            Some(position) if position == step => problems.add(Problem::at(
                need.place.clone(),
                format!("step `{}` needs itself", need.value),
                "a step can't wait for its own end",
                "remove it from `needs`",
            )),
            Some(position) if found.contains(&position) => problems.add(Problem::at(
                need.place.clone(),
                format!("step `{}` needs `{}` twice", draft.key.value, need.value),
                "it is named before",
                "name it once",
            )),
            Some(position) => found.push(position),
        }
    }
    found
}

fn unknown(drafts: &[Draft], step: usize, need: &super::walk::Placed<String>) -> Problem {
    let others = || {
        drafts
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != step)
            .map(|(_, other)| other.key.value.as_str())
    };
    let help = match closest(&need.value, others()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if others().next().is_none() => "there is no other step; remove it from `needs`".to_owned(),
        None => format!("the file's other steps: {}", listed(others())),
    };
    let message =
        format!("step `{}` needs {}, which is no step", drafts[step].key.value, quoted(&need.value));
    Problem::at(need.place.clone(), message, "no step has this name", help)
}

fn unknown_in_condition(drafts: &[Draft], step: usize, name: &str, place: Range<usize>) -> Problem {
    let before = || drafts[step].needs.iter().map(|need| need.value.as_str());
    let help = match closest(name, before()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if before().next().is_none() => "the step needs none; name one in `needs` first".to_owned(),
        None => format!("it needs {}", listed(before())),
    };
    let message =
        format!("`when` of step `{}` asks for {}, which is no step", drafts[step].key.value, quoted(name));
    Problem::at(place, message, "no step has this name", help)
}

fn stranger(draft: &Draft, name: &str, place: Range<usize>) -> Problem {
    let step = &draft.key.value;
    Problem::at(
        place,
        format!("`when` of step `{step}` asks for `{name}`, which it does not need"),
        "what became of it would not be known in time",
        format!("add it: `needs = [{}]`", needs_with(draft, name)),
    )
}

fn needs_with(draft: &Draft, name: &str) -> String {
    let needs = draft.needs.iter().map(|need| need.value.as_str()).chain([name]);
    needs.map(|need| format!("\"{need}\"")).collect::<Vec<_>>().join(", ")
}
