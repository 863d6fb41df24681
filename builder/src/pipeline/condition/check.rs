//! What the parts of a condition mean, and whether they mean anything.

use globset::GlobBuilder;
use staith_model::TriggerKind;

use super::{
    Fact, Truth, When, functions,
    parse::{Comparison, Form, Node},
};
use crate::pipeline::{
    flaw::Flaw,
    matrix::Dimension,
    parameters::{Parameter, ParameterKind},
    problems::quoted,
    suggest::{closest, listed},
};

/// What a condition may ask for at its place in the file.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Known<'k> {
    pub(in crate::pipeline) parameters: &'k [Parameter],
    pub(in crate::pipeline) matrix: &'k [Dimension],
    /// Whether there are earlier steps whose outcomes can be asked for.
    pub(in crate::pipeline) outcomes: bool,
}

const FACTS: [&str; 4] = ["event", "branch", "target", "tag"];
/// What other tools call things, and what means it here.
const ELSEWHERE: [(&str, &str); 10] = [
    ("github.event_name", "event"),
    ("github.ref", "branch"),
    ("github.ref_name", "branch"),
    ("github.head_ref", "branch"),
    ("github.base_ref", "target"),
    ("ref", "branch"),
    ("base", "target"),
    ("reason", "event"),
    ("trigger", "event"),
    ("tags", "tag"),
];

pub(super) fn check(text: &str, tree: &Node, known: &Known<'_>) -> Result<When, Vec<Flaw>> {
    let mut checker = Checker { known, flaws: Vec::new(), steps: Vec::new(), asks_outcomes: false };
    let truth = checker.truth(tree);
    match truth {
        Some(truth) if checker.flaws.is_empty() => Ok(When {
            text: text.trim().to_owned(),
            truth,
            steps: checker.steps,
            asks_outcomes: checker.asks_outcomes,
        }),
        _ => Err(checker.flaws),
    }
}

pub(super) struct Checker<'k> {
    pub(super) known: &'k Known<'k>,
    pub(super) flaws: Vec<Flaw>,
    pub(super) steps: Vec<(String, std::ops::Range<usize>)>,
    pub(super) asks_outcomes: bool,
}

impl Checker<'_> {
    pub(super) fn refuse<T>(
        &mut self,
        node: &Node,
        what: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.flaws.push(Flaw::at(node.place.clone(), what, label, help));
        None
    }

    fn truth(&mut self, node: &Node) -> Option<Truth> {
        match &node.form {
            Form::Any(parts) => self.truths(parts).map(Truth::Any),
            Form::All(parts) => self.truths(parts).map(Truth::All),
            Form::Not(inner) => self.truth(inner).map(|inner| Truth::Not(Box::new(inner))),
            Form::Word(word) => self.word(node, word),
            Form::Call { name, arguments } => functions::call(self, node, name, arguments),
            Form::Compare { left, how, right } => self.comparison(left, *how, right),
            Form::Text(text) => self.refuse(
                node,
                "holds a text where a condition belongs",
                "a text is neither true nor false",
                format!("compare it: `event == {text:?}`"),
            ),
            Form::List(_) => self.refuse(
                node,
                "holds a list where a condition belongs",
                "a list is neither true nor false",
                "ask whether something is in it: `branch in [\"main\"]`",
            ),
        }
    }

    /// All parts, so that all their mistakes are told.
    fn truths(&mut self, parts: &[Node]) -> Option<Vec<Truth>> {
        let truths: Vec<_> = parts.iter().map(|part| self.truth(part)).collect();
        truths.into_iter().collect()
    }

    /// A word that stands alone.
    fn word(&mut self, node: &Node, word: &str) -> Option<Truth> {
        if let Ok(value) = word.parse::<bool>() {
            return Some(Truth::Literal(value));
        }
        match self.fact(node, word)? {
            Fact::Parameter(name) if self.parameter(&name)?.kind == ParameterKind::Bool => {
                Some(Truth::Flag(name))
            }
            fact @ (Fact::Branch | Fact::Target | Fact::Tag) => Some(Truth::Present(fact)),
            fact => self.refuse(
                node,
                format!("has `{word}` where a condition belongs"),
                "this is a text, neither true nor false",
                format!(
                    "compare it: `{word} == {:?}`",
                    self.examples(&fact).first().map_or("...", String::as_str)
                ),
            ),
        }
    }

    fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.known.parameters.iter().find(|parameter| parameter.name.as_str() == name)
    }

    fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.known.matrix.iter().find(|dimension| dimension.name == name)
    }

    fn fact(&mut self, node: &Node, word: &str) -> Option<Fact> {
        let found = match word {
            "event" => Some(Fact::Event),
            "branch" => Some(Fact::Branch),
            "target" => Some(Fact::Target),
            "tag" => Some(Fact::Tag),
            _ => {
                let parameter =
                    word.strip_prefix("parameters.").filter(|name| self.parameter(name).is_some());
                let dimension = word.strip_prefix("matrix.").filter(|name| self.dimension(name).is_some());
                parameter
                    .map(|name| Fact::Parameter(name.to_owned()))
                    .or_else(|| dimension.map(|name| Fact::Matrix(name.to_owned())))
            }
        };
        if found.is_some() {
            return found;
        }
        let help = self.meant_by(word);
        self.refuse(node, format!("asks for {}", quoted(word)), "nothing is known by this name", help)
    }

    fn meant_by(&self, word: &str) -> String {
        if let Some(name) = functions::NAMES.iter().find(|name| **name == word) {
            return format!("write `{name}()`");
        }
        let mut facts: Vec<String> = FACTS.map(str::to_owned).into();
        facts.extend(self.known.parameters.iter().map(|parameter| format!("parameters.{}", parameter.name)));
        facts.extend(self.known.matrix.iter().map(|dimension| format!("matrix.{}", dimension.name)));
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == word).map(|(_, meant)| *meant);
        match elsewhere.or_else(|| closest(word, facts.iter().map(String::as_str))) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "known are {}, and the functions {}; a text stands in quotes",
                listed(&facts),
                listed(functions::NAMES.map(|name| format!("{name}()")))
            ),
        }
    }

    fn comparison(&mut self, left: &Node, how: Comparison, right: &Node) -> Option<Truth> {
        let Form::Word(word) = &left.form else {
            return self.refuse(
                left,
                "compares something that is no fact",
                "a fact such as `event` or `branch` belongs here",
                "write the fact first: `event == \"push\"`",
            );
        };
        let fact = self.fact(left, word)?;
        if let Fact::Parameter(name) = &fact
            && self.parameter(name)?.kind == ParameterKind::Bool
        {
            let help = format!("write `{word}` or `not {word}`");
            return self.refuse(left, format!("compares `{word}`"), "this is true or false by itself", help);
        }
        let is_list = matches!(how, Comparison::In | Comparison::NotIn);
        let (one_of, as_globs) = if is_list {
            (self.items(&fact, right)?, matches!(fact, Fact::Branch | Fact::Target | Fact::Tag))
        } else {
            (vec![self.exactly(&fact, right)?], false)
        };
        let truth = Truth::Is { fact, one_of, as_globs };
        let is_negated = matches!(how, Comparison::Unequal | Comparison::NotIn);
        Some(if is_negated { Truth::Not(Box::new(truth)) } else { truth })
    }

    /// The text right of `==`.
    fn exactly(&mut self, fact: &Fact, node: &Node) -> Option<String> {
        let text = match &node.form {
            Form::Text(text) => text,
            Form::Word(word) => {
                let help = format!("put it in quotes: `{word:?}`");
                return self.refuse(
                    node,
                    "compares with something that is no text",
                    "a text belongs here",
                    help,
                );
            }
            _ => {
                let help = format!("for a list write `{} in [\"...\"]`", fact.word());
                return self.refuse(
                    node,
                    "compares with something that is no text",
                    "a text belongs here",
                    help,
                );
            }
        };
        let is_glob = text.contains(['*', '?', '[', '{']);
        if is_glob && matches!(fact, Fact::Branch | Fact::Target | Fact::Tag) {
            return self.refuse(
                node,
                "compares with a glob",
                "`==` and `!=` compare letter by letter",
                format!("write `{} in [{text:?}]`", fact.word()),
            );
        }
        self.possible(fact, node, text)
    }

    /// The texts right of `in`.
    fn items(&mut self, fact: &Fact, node: &Node) -> Option<Vec<String>> {
        let Form::List(items) = &node.form else {
            let help = match &node.form {
                Form::Text(text) => format!("write `{} in [{text:?}]`", fact.word()),
                _ => format!("write `{} in [\"...\"]`", fact.word()),
            };
            return self.refuse(node, "has no list after `in`", "a list belongs here", help);
        };
        if items.is_empty() {
            return self.refuse(node, "has an empty list", "nothing is ever in it", "name something in it");
        }
        let texts: Vec<_> = items.iter().map(|item| self.item(fact, item)).collect();
        texts.into_iter().collect()
    }

    fn item(&mut self, fact: &Fact, node: &Node) -> Option<String> {
        let Form::Text(text) = &node.form else {
            let help = "write texts in quotes: `[\"main\", \"release/*\"]`";
            return self.refuse(node, "has something in a list that is no text", "a text belongs here", help);
        };
        if !matches!(fact, Fact::Branch | Fact::Target | Fact::Tag) {
            return self.possible(fact, node, text);
        }
        match GlobBuilder::new(text).literal_separator(true).build() {
            Ok(_) => Some(text.clone()),
            Err(error) => {
                let help = "`*` stands for anything but `/`, `**` for anything, `?` for one character";
                self.refuse(node, "has a bad glob in it", error.kind().to_string(), help)
            }
        }
    }

    /// The text, if the fact could ever be it.
    fn possible(&mut self, fact: &Fact, node: &Node, text: &str) -> Option<String> {
        let possible = self.examples(fact);
        if possible.is_empty() || possible.iter().any(|possible| possible == text) {
            return Some(text.to_owned());
        }
        let meant = match text {
            "pr" | "pull_request" | "merge_request" | "merge-request" => Some("pull-request"),
            "cron" | "nightly" => Some("schedule"),
            "manual" => Some("local"),
            _ => closest(text, possible.iter().map(String::as_str)),
        };
        let help = match meant.filter(|meant| possible.iter().any(|possible| possible == meant)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("`{}` is one of {}", fact.word(), listed(&possible)),
        };
        let what = format!("asks whether `{}` is {}", fact.word(), quoted(text));
        self.refuse(node, what, "it never is", help)
    }

    /// All that a fact can be; nothing where that is not known.
    fn examples(&self, fact: &Fact) -> Vec<String> {
        match fact {
            Fact::Event => TriggerKind::ALL.map(|kind| kind.as_str().to_owned()).into(),
            Fact::Branch | Fact::Target | Fact::Tag => Vec::new(),
            Fact::Parameter(name) => match self.parameter(name).map(|parameter| &parameter.kind) {
                Some(ParameterKind::Choice(choices)) => choices.clone(),
                _ => Vec::new(),
            },
            Fact::Matrix(name) => {
                self.dimension(name).map_or_else(Vec::new, |dimension| dimension.values.clone())
            }
        }
    }
}
