//! A plan's steps and what they need: as a tree, or for Graphviz. Pure but for the printing.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
};

use clap::ValueEnum;
use staith_model::{Name, Plan};

use super::super::{look::Look, sink::Sink};

/// How a graph is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Graph {
    /// Each step below one that it needs
    Tree,
    /// In the language of Graphviz: `staith plan --graph=dot | dot -Tsvg`
    Dot,
}

/// Shows the steps of a plan on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn plan_graph(plan: &Plan, graph: Graph) -> io::Result<()> {
    let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let mut out = Sink::new(io::stdout());
    let lines = match graph {
        Graph::Tree => tree(plan, look.unicode),
        Graph::Dot => dot(plan),
    };
    lines.iter().for_each(|line| out.line(line));
    out.written()
}

/// Names of steps need no quoting but quotes: their alphabet has none.
fn dot(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("digraph \"{}\" {{", plan.project), "  rankdir = LR;".to_owned()];
    for step in &plan.steps {
        lines.push(format!("  \"{}\";", step.name));
        lines.extend(step.needs.iter().map(|need| format!("  \"{need}\" -> \"{}\";", step.name)));
    }
    lines.push("}".to_owned());
    lines
}

/// What needs several steps stands below each of them, with what follows shown once.
fn tree(plan: &Plan, unicode: bool) -> Vec<String> {
    let mut drawing = Drawing { plan, unicode, drawn: BTreeSet::new(), lines: Vec::new() };
    let roots: Vec<&Name> =
        plan.steps.iter().filter(|step| step.needs.is_empty()).map(|step| &step.name).collect();
    for root in roots {
        drawing.lines.push(root.to_string());
        drawing.below(root, "");
    }
    drawing.lines
}

struct Drawing<'a> {
    plan: &'a Plan,
    unicode: bool,
    drawn: BTreeSet<&'a Name>,
    lines: Vec<String>,
}

impl<'a> Drawing<'a> {
    /// As deep as the longest chain of needs, which the pipeline bounds.
    fn below(&mut self, step: &'a Name, indent: &str) {
        let next: Vec<&Name> =
            self.plan.steps.iter().filter(|one| one.needs.contains(step)).map(|one| &one.name).collect();
        if !self.drawn.insert(step) {
            if !next.is_empty() {
                self.lines.push(format!("{indent}{}", if self.unicode { "└─ …" } else { "`- ..." }));
            }
            return;
        }
        for (place, name) in next.iter().enumerate() {
            let is_last = place + 1 == next.len();
            let (branch, more) = match (self.unicode, is_last) {
                (true, false) => ("├─ ", "│  "),
                (true, true) => ("└─ ", "   "),
                (false, false) => ("|- ", "|  "),
                (false, true) => ("`- ", "   "),
            };
            self.lines.push(format!("{indent}{branch}{name}"));
            self.below(name, &format!("{indent}{more}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::stories;

    fn diamond() -> Plan {
        let mut plan = stories::shop();
        let step = plan.steps[0].clone();
        let step = |name: &str, needs: &[&str]| staith_model::StepPlan {
            name: name.parse().unwrap(),
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            ..step.clone()
        };
        plan.steps = vec![
            step("lint", &[]),
            step("restore", &[]),
            step("a", &["restore"]),
            step("b", &["restore"]),
            step("c", &["a", "b"]),
            step("d", &["c"]),
        ];
        plan
    }

    #[test]
    fn a_tree_shows_every_need_and_each_branch_once() {
        let expected =
            ["lint", "restore", "|- a", "|  `- c", "|     `- d", "`- b", "   `- c", "      `- ..."];
        assert_eq!(tree(&diamond(), false), expected);
    }

    #[test]
    fn graphviz_gets_every_edge() {
        let lines = dot(&diamond()).join("\n");
        for edge in ["\"restore\" -> \"a\";", "\"a\" -> \"c\";", "\"b\" -> \"c\";", "\"lint\";"] {
            assert!(lines.contains(edge), "{lines}");
        }
        assert_eq!(lines.matches("->").count(), 5);
    }
}
