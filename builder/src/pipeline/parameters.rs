//! The `[parameters.*]` tables: what a person may choose for a run.

use std::collections::BTreeMap;

use staith_model::Name;
use toml::de::DeValue;

use super::{
    keys::{Keys, REQUIRED, Shape, TEXT, key},
    problems::{Problem, Problems, quoted},
    suggest::{closest, listed},
    values::{self, Complaint, Understood, complaint},
    walk::{Entry, Table, in_file_order},
};

const KINDS: [&str; 3] = ["bool", "text", "choice"];
const LONGEST_VALUE: usize = 1000;

pub(super) const KEYS: Keys = Keys {
    known: &[
        key(
            "type",
            Shape::Word(&KINDS),
            REQUIRED,
            "`\"bool\"`, `\"text\"`, or `\"choice\"`: one of `choices`.",
        ),
        key(
            "default",
            Shape::Either(&[Shape::Truth, Shape::Text(&TEXT)]),
            REQUIRED,
            "Its value where the run says nothing: `true` or `false` of a `bool`, a text of the others.",
        ),
        key(
            "choices",
            Shape::List { of: &Shape::Text(&TEXT), filled: true },
            "none",
            "What a `choice` may be.",
        ),
        key("description", Shape::Text(&TEXT), "none", "What it is for, for people."),
    ],
    elsewhere: &[
        ("options", "choices"),
        ("values", "choices"),
        ("enum", "choices"),
        ("kind", "type"),
        ("value", "default"),
        ("help", "description"),
    ],
};

/// Something that a person may choose for a run, with `--set NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// What it is called.
    pub name: Name,
    /// What it can be.
    pub kind: ParameterKind,
    /// What it is where nobody chooses; of a `bool`, `true` or `false`.
    pub default: String,
    /// What it is for, for people.
    pub description: Option<String>,
}

/// What a parameter can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// One of these.
    Choice(Vec<String>),
}

impl Parameter {
    /// The value that a person chose.
    ///
    /// # Errors
    /// It is not what the parameter can be: why not, and what could be, for people.
    pub fn accept(&self, value: &str) -> Result<String, String> {
        accept(&self.kind, value).map_err(|complaint| format!("it {}; {}", complaint.what, complaint.help))
    }
}

fn accept(kind: &ParameterKind, value: &str) -> Understood<String> {
    match kind {
        ParameterKind::Bool => {
            values::choice(value, &[("true", true), ("false", false)]).map(|_| value.to_owned())
        }
        ParameterKind::Choice(choices) => {
            let words: Vec<_> = choices.iter().map(|choice| (choice.as_str(), ())).collect();
            values::choice(value, &words).map(|()| value.to_owned())
        }
        ParameterKind::Text if value.len() > LONGEST_VALUE => complaint(
            "is too long",
            "nobody writes this by hand",
            format!("{LONGEST_VALUE} bytes are the most"),
        ),
        ParameterKind::Text => values::plain(value),
    }
}

/// A value for every parameter: of `settings`, or its default.
///
/// # Errors
/// The first setting that is unknown or can't be taken: its name, its value, and why.
pub(super) fn settled(
    parameters: &[Parameter],
    settings: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, (String, String, String)> {
    let mut values: BTreeMap<String, String> =
        parameters.iter().map(|parameter| (parameter.name.to_string(), parameter.default.clone())).collect();
    for (name, value) in settings {
        let refused = |why| (name.clone(), value.clone(), why);
        let parameter = parameters.iter().find(|parameter| parameter.name.as_str() == name);
        let parameter = parameter.ok_or_else(|| refused(unknown(parameters, name)))?;
        values.insert(name.clone(), parameter.accept(value).map_err(refused)?);
    }
    Ok(values)
}

fn unknown(parameters: &[Parameter], name: &str) -> String {
    let names = || parameters.iter().map(|parameter| parameter.name.as_str());
    if parameters.is_empty() {
        return "the pipeline has no parameters; `[parameters.NAME]` in runner.toml would declare one"
            .to_owned();
    }
    let known = format!("its parameters are {}", listed(names()));
    match closest(name, names()) {
        Some(meant) => {
            format!("the pipeline has no such parameter; did you mean `{meant}`? {}", capital(&known))
        }
        None => format!("the pipeline has no such parameter; {known}"),
    }
}

fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// All parameters, in the order of the file.
pub(super) fn read(file: &Table<'_>) -> Vec<Parameter> {
    let Some(entry) = file.entry("parameters") else { return Vec::new() };
    let Some(entries) = entry.value.get_ref().as_table() else {
        let help = "each parameter is a table by its name: `[parameters.full]`";
        file.wrong_kind("parameters", entry.value, "a table", help.into());
        return Vec::new();
    };
    in_file_order(entries).into_iter().filter_map(|entry| parameter(entry, file.problems())).collect()
}

fn parameter<'t>(entry: Entry<'t>, problems: &'t Problems) -> Option<Parameter> {
    let name = values::name(entry.key).map_err(|complaint| {
        let message = format!("a parameter's name {}", complaint.what);
        problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
    });
    let title = format!("parameter `{}`", entry.key);
    let table = Table::below(title, entry.value, &KEYS, problems)?;
    let description = table.text("description", values::plain).map(|text| text.value);
    let kind = kind(&table);
    let default = default(&table, kind.as_ref()?);
    Some(Parameter { name: name.ok()?, kind: kind?, default: default?, description })
}

fn kind(table: &Table<'_>) -> Option<ParameterKind> {
    let kind = table.required("type", "type = \"bool\"", kind_word);
    let choices = table.filled_list("choices", values::plain);
    let kind = kind?;
    if kind.value != "choice" {
        if let Some(entry) = table.entry("choices") {
            table.problems().add(Problem::at(
                entry.key_place,
                format!("`choices` is given to a parameter of type `{}`", kind.value),
                "these choices mean nothing",
                "write `type = \"choice\"`, or remove `choices`",
            ));
        }
        return Some(if kind.value == "bool" { ParameterKind::Bool } else { ParameterKind::Text });
    }
    if !table.has("choices") {
        table.missing("choices", "choices = [\"a\", \"b\"]");
    }
    Some(ParameterKind::Choice(values::texts(choices?)))
}

fn kind_word(text: &str) -> Understood<&'static str> {
    let elsewhere = match text {
        "boolean" | "flag" => Some("bool"),
        "string" | "str" => Some("text"),
        "enum" | "select" => Some("choice"),
        _ => None,
    };
    match elsewhere {
        Some(meant) => complaint(
            "has an unknown value",
            format!("{} is not one of them", quoted(text)),
            format!("did you mean `{meant}`?"),
        ),
        None => values::choice(text, &KINDS.map(|kind| (kind, kind))),
    }
}

fn default(table: &Table<'_>, kind: &ParameterKind) -> Option<String> {
    let Some(entry) = table.entry("default") else {
        let example = match kind {
            ParameterKind::Bool => "default = false",
            ParameterKind::Text | ParameterKind::Choice(_) => "default = \"...\"",
        };
        table.missing("default", example);
        return None;
    };
    if *kind == ParameterKind::Bool {
        return table.truth("default").map(|value| value.to_string());
    }
    if let DeValue::Boolean(_) = entry.value.get_ref() {
        let complaint = Complaint {
            what: "is a truth value, not a text".into(),
            label: "a text belongs here".into(),
            help: "write a text in quotes, or `type = \"bool\"`".into(),
        };
        table.complain("default", entry.value.span(), complaint);
        return None;
    }
    table.text("default", |text| accept(kind, text)).map(|default| default.value)
}
