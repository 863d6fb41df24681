//! The `[package]` table.

use staith_model::Name;

use super::{
    PackageSpec,
    condition::{self, Known},
    keys::{CONDITION, GLOBS, Keys, NAME, NAMES, PATH, Shape, key},
    outputs::may_lie_below,
    parameters::Parameter,
    problems::{Problem, quoted},
    steps::Draft,
    suggest::{closest, listed},
    values::{self, texts},
    walk::{Placed, Table},
};

pub(super) const KEYS: Keys = Keys {
    known: &[
        key("name", Shape::Text(&NAME), "the project's", "What the package is called."),
        key(
            "from",
            NAMES,
            "the steps of kind `build` that have outputs",
            "Steps whose own outputs are packed.",
        ),
        key(
            "root",
            Shape::Text(&PATH),
            "the project's folder",
            "The folder whose content becomes the root of the package.",
        ),
        key("include", GLOBS, "all outputs", "Which outputs are packed, relative to `root`."),
        key("exclude", GLOBS, "none", "Which are not, relative to `root`."),
        key(
            "source",
            GLOBS,
            "none",
            "Source files that are packed beside the outputs, relative to the project's folder.",
        ),
        key(
            "when",
            Shape::Text(&CONDITION),
            "always",
            "A condition on what is known before the run: without it there is no package.",
        ),
    ],
    elsewhere: &[
        ("steps", "from"),
        ("step", "from"),
        ("needs", "from"),
        ("files", "include"),
        ("outputs", "include"),
        ("ignore", "exclude"),
        ("dir", "root"),
        ("path", "root"),
        ("folder", "root"),
        ("workdir", "root"),
        ("sources", "source"),
        ("static", "source"),
        ("if", "when"),
        ("condition", "when"),
    ],
};

/// The package that the file asks for; `project` names it where it has no name of its own.
pub(super) fn read(
    file: &Table<'_>,
    drafts: &[Draft],
    project: Option<&Name>,
    parameters: &[Parameter],
) -> Option<PackageSpec> {
    let entry = file.entry("package")?;
    let table = Table::below("the package".into(), entry.value, &KEYS, file.problems())?;
    let name = table.text("name", values::name).map(|name| name.value);
    let root = table.text("root", values::relative);
    let include = table.filled_list("include", values::glob).unwrap_or_default();
    let exclude = table.filled_list("exclude", values::glob).unwrap_or_default();
    let source = table.filled_list("source", values::glob).unwrap_or_default();
    let when = condition::read(&table, &Known { parameters, matrix: &[], outcomes: false });
    let from = from(&table, drafts)?;
    if let Some(root) = &root {
        refuse_empty_root(&table, root, &from);
    }
    Some(PackageSpec {
        name: name.or_else(|| project.cloned())?,
        from: from.iter().filter_map(|draft| draft.key.value.parse().ok()).collect(),
        root: root.map(|root| root.value),
        include: texts(include),
        exclude: texts(exclude),
        source: texts(source),
        when: when.map(|when| when.value),
    })
}

/// The steps whose outputs are packed: those that `from` names, or those of kind build.
fn from<'d>(table: &Table<'_>, drafts: &'d [Draft]) -> Option<Vec<&'d Draft>> {
    let steps = if table.has("from") {
        let named = table.list("from", |text| Ok(text.to_owned()))?;
        let found: Vec<_> = named.iter().map(|name| named_step(table, drafts, name)).collect();
        found.into_iter().collect::<Option<Vec<_>>>()?
    } else {
        drafts.iter().filter(|draft| draft.is_build && !draft.outputs.is_empty()).collect()
    };
    // A step that is wrong in itself is told of there; what it would have left is not known.
    let unsure = drafts.iter().any(|draft| draft.step.is_none());
    if steps.is_empty() && !unsure && !table.has("source") {
        refuse_nothing(table, drafts);
        return None;
    }
    Some(steps)
}

fn named_step<'d>(table: &Table<'_>, drafts: &'d [Draft], name: &Placed<String>) -> Option<&'d Draft> {
    let Some(draft) = drafts.iter().find(|draft| draft.key.value == name.value) else {
        let names = || drafts.iter().map(|draft| draft.key.value.as_str());
        let help = match closest(&name.value, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the file's steps: {}", listed(names())),
        };
        let message = format!("the package is made from {}, which is no step", quoted(&name.value));
        table.problems().add(Problem::at(name.place.clone(), message, "no step has this name", help));
        return None;
    };
    if draft.outputs.is_empty() {
        if draft.step.is_some() {
            table.problems().add(without_outputs(name, draft));
        }
        return None;
    }
    Some(draft)
}

fn without_outputs(name: &Placed<String>, draft: &Draft) -> Problem {
    Problem::at(
        name.place.clone(),
        format!("the package is made from step `{}`, which has no outputs", name.value),
        "this step leaves nothing to pack",
        format!("say in `[steps.{}]` what it leaves: `outputs = [\"...\"]`", name.value),
    )
    .and_at(draft.key.place.clone(), "the step is here")
}

fn refuse_nothing(table: &Table<'_>, drafts: &[Draft]) {
    let builds: Vec<_> = drafts.iter().filter(|draft| draft.is_build).collect();
    let help = match builds.as_slice() {
        [] => "name the steps whose outputs are packed: `from = [\"...\"]`; or files of the source: `source = [\"**\"]`"
            .to_owned(),
        [first, ..] => format!("say in `[steps.{}]` what it leaves: `outputs = [\"...\"]`", first.key.value),
    };
    let label = if table.has("from") {
        "`from` names no step"
    } else if builds.is_empty() {
        "no step is of kind build, and nothing else is named"
    } else {
        "no step of kind build has outputs"
    };
    table.problems().add(Problem::at(table.place(), "the package would be empty", label, help));
}

/// Complains where none of what the steps leave can lie below the package's root.
fn refuse_empty_root(table: &Table<'_>, root: &Placed<staith_model::RelPath>, from: &[&Draft]) {
    let outputs = || from.iter().flat_map(|draft| &draft.outputs).map(|output| output.value.as_str());
    if outputs().next().is_none() || outputs().any(|output| may_lie_below(output, root.value.as_str())) {
        return;
    }
    table.problems().add(Problem::at(
        root.place.clone(),
        format!("`root` of the package holds no output: nothing can be below `{}`", root.value),
        "no step of the package leaves anything here",
        format!("the outputs are {}; leave `root` out for the whole workspace", listed(outputs())),
    ));
}
