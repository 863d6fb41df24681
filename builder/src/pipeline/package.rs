//! The `[package]` table, or the tables `[package.NAME]` where there are several.

use std::ops::Range;

use staith_model::Name;

use super::{
    PackageSpec,
    condition::{self, Known},
    keys::{CONDITION, GLOBS, Key, Keys, NAME, NAMES, PATH, Shape, key},
    outputs::may_lie_below,
    parameters::Parameter,
    problems::{Problem, Problems, quoted},
    steps::Draft,
    suggest::{closest, listed},
    values::{self, texts},
    walk::{Entry, Placed, Table, in_file_order},
};

/// One package, or several by their names.
pub(super) const SHAPE: Shape = Shape::Either(&[
    Shape::Table(&KEYS),
    Shape::Named { names: &NAME, of: &Shape::Table(&NAMED_KEYS), filled: true, most: None },
]);

const FROM: Key =
    key("from", NAMES, "the steps of kind `build` that have outputs", "Steps whose own outputs are packed.");
const ROOT: Key = key(
    "root",
    Shape::Text(&PATH),
    "the project's folder",
    "The folder whose content becomes the root of the package.",
);
const INCLUDE: Key = key("include", GLOBS, "all outputs", "Which outputs are packed, relative to `root`.");
const EXCLUDE: Key = key("exclude", GLOBS, "none", "Which are not, relative to `root`.");
const SOURCE: Key = key(
    "source",
    GLOBS,
    "none",
    "Source files that are packed beside the outputs, relative to the project's folder.",
);
const WHEN: Key = key(
    "when",
    Shape::Text(&CONDITION),
    "always",
    "A condition on what is known before the run: without it there is no package.",
);
const PARAMETERS: Key = key(
    "parameters",
    Shape::Text(&PATH),
    "none",
    "A file that declares what can be set when the package is applied, in the form of Web Deploy's `parameters.xml`: one that \
     the steps leave, or one of the source, relative to the project's folder.",
);
const ELSEWHERE: &[(&str, &str)] = &[
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
    ("params", "parameters"),
    ("declarations", "parameters"),
    ("if", "when"),
    ("condition", "when"),
];

/// Of the one `[package]`.
pub(super) const KEYS: Keys = Keys {
    known: &[
        key("name", Shape::Text(&NAME), "the project's", "What the package is called."),
        FROM,
        ROOT,
        INCLUDE,
        EXCLUDE,
        SOURCE,
        PARAMETERS,
        WHEN,
    ],
    elsewhere: ELSEWHERE,
};

/// Of each `[package.NAME]`: its name is that of the table.
const NAMED_KEYS: Keys =
    Keys { known: &[FROM, ROOT, INCLUDE, EXCLUDE, SOURCE, PARAMETERS, WHEN], elsewhere: ELSEWHERE };

/// The packages that the file asks for.
#[derive(Default)]
pub(super) struct Packages {
    /// Those that are right, in the order of the file.
    pub(super) specs: Vec<PackageSpec>,
    /// The names of all whose names are right, in the order of the file.
    pub(super) names: Vec<Name>,
}

/// What of the file the packages are made from.
struct Context<'a> {
    drafts: &'a [Draft],
    parameters: &'a [Parameter],
}

/// The packages that the file asks for; `project` names the only one where it has no name of its own.
pub(super) fn read(
    file: &Table<'_>,
    drafts: &[Draft],
    project: Option<&Name>,
    parameters: &[Parameter],
) -> Packages {
    let Some(entry) = file.entry("package") else { return Packages::default() };
    let context = Context { drafts, parameters };
    let inside = entry.value.get_ref().as_table().map(in_file_order).unwrap_or_default();
    // No key of a package is a table, so a table in it is a package of this name.
    let (named, keys): (Vec<_>, Vec<_>) =
        inside.into_iter().partition(|inner| inner.value.get_ref().is_table());
    if named.is_empty() {
        return only(&entry, project, &context, file.problems());
    }
    if let Some(key) = keys.first() {
        refuse_mixture(key, &named[0], file.problems());
    }
    let mut packages = Packages::default();
    for entry in &named {
        several(entry, &context, file.problems(), &mut packages);
    }
    packages
}

/// The package of a `[package]` without tables.
fn only(entry: &Entry<'_>, project: Option<&Name>, context: &Context<'_>, problems: &Problems) -> Packages {
    let Some(table) = Table::below("the package".into(), entry.value, &KEYS, problems) else {
        return Packages::default();
    };
    let name = table.text("name", values::name).map(|name| name.value).or_else(|| project.cloned());
    let spec = spec(&table, name.clone(), context);
    Packages { specs: spec.into_iter().collect(), names: name.into_iter().collect() }
}

/// One of several packages.
fn several(entry: &Entry<'_>, context: &Context<'_>, problems: &Problems, into: &mut Packages) {
    let name = values::name(entry.key).map_err(|complaint| {
        let message = format!("a package's name {}", complaint.what);
        problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
    });
    let title = format!("package `{}`", entry.key);
    let Some(table) = Table::below(title, entry.value, &NAMED_KEYS, problems) else { return };
    into.specs.extend(spec(&table, name.clone().ok(), context));
    into.names.extend(name);
}

fn refuse_mixture(key: &Entry<'_>, named: &Entry<'_>, problems: &Problems) {
    let problem = Problem::at(
        key.key_place.clone(),
        format!("{} stands in `[package]`, which holds packages by their names", quoted(key.key)),
        "this would belong to a package without a name",
        format!(
            "one package is `[package]`, several are `[package.NAME]` each: put this into `[package.{}]`, or into a \
             `[package.NAME]` of its own",
            named.key
        ),
    );
    problems.add(problem.and_at(named.key_place.clone(), "a package by its name"));
}

fn spec(table: &Table<'_>, name: Option<Name>, context: &Context<'_>) -> Option<PackageSpec> {
    let root = table.text("root", values::relative);
    let include = table.filled_list("include", values::glob).unwrap_or_default();
    let exclude = table.filled_list("exclude", values::glob).unwrap_or_default();
    let source = table.filled_list("source", values::glob).unwrap_or_default();
    let declared = table.text("parameters", values::relative);
    let known = Known { parameters: context.parameters, matrix: &[], outcomes: false };
    let when = condition::read(table, &known);
    let from = from(table, context.drafts)?;
    if let Some(root) = &root {
        refuse_empty_root(table, root, &from);
    }
    Some(PackageSpec {
        name: name?,
        from: from.iter().filter_map(|draft| draft.key.value.parse().ok()).collect(),
        root: root.map(|root| root.value),
        include: texts(include),
        exclude: texts(exclude),
        source: texts(source),
        parameters: declared.map(|path| path.value),
        when: when.map(|when| when.value),
    })
}

/// Which package a release to the environment of this table takes: the one that it names, or the only one.
pub(super) fn of_environment(table: &Table<'_>, packages: &[Name]) -> Option<Name> {
    if !table.has("package") {
        return match packages {
            [] => None,
            [one] => Some(one.clone()),
            [first, ..] => {
                refuse_ambiguity(table, first, packages);
                None
            }
        };
    }
    let named = table.text("package", values::name)?;
    // Packages that are wrong in themselves are told of there.
    if !packages.is_empty() && !packages.contains(&named.value) {
        refuse_stranger(table, &named.value, named.place, packages);
        return None;
    }
    Some(named.value)
}

fn refuse_ambiguity(table: &Table<'_>, first: &Name, packages: &[Name]) {
    table.problems().add(Problem::at(
        table.place(),
        format!("{} does not say which package it takes", table.title()),
        format!("it could be any of {}", listed(packages.iter().map(Name::as_str))),
        format!("name the one that is released here: `package = \"{first}\"`"),
    ));
}

fn refuse_stranger(table: &Table<'_>, named: &Name, place: Range<usize>, packages: &[Name]) {
    let names = || packages.iter().map(Name::as_str);
    let help = match closest(named.as_str(), names()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the file's packages: {}", listed(names())),
    };
    let message = format!("{} takes package `{named}`, which the file has not", table.title());
    table.problems().add(Problem::at(place, message, "no package has this name", help));
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
        let message = format!("{} is made from {}, which is no step", table.title(), quoted(&name.value));
        table.problems().add(Problem::at(name.place.clone(), message, "no step has this name", help));
        return None;
    };
    if draft.outputs.is_empty() {
        if draft.step.is_some() {
            table.problems().add(without_outputs(table, name, draft));
        }
        return None;
    }
    Some(draft)
}

fn without_outputs(table: &Table<'_>, name: &Placed<String>, draft: &Draft) -> Problem {
    Problem::at(
        name.place.clone(),
        format!("{} is made from step `{}`, which has no outputs", table.title(), name.value),
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
    let message = format!("{} would be empty", table.title());
    table.problems().add(Problem::at(table.place(), message, label, help));
}

/// Complains where none of what the steps leave can lie below the package's root.
fn refuse_empty_root(table: &Table<'_>, root: &Placed<staith_model::RelPath>, from: &[&Draft]) {
    let outputs = || from.iter().flat_map(|draft| &draft.outputs).map(|output| output.value.as_str());
    if outputs().next().is_none() || outputs().any(|output| may_lie_below(output, root.value.as_str())) {
        return;
    }
    table.problems().add(Problem::at(
        root.place.clone(),
        format!("`root` of {} holds no output: nothing can be below `{}`", table.title(), root.value),
        "no step of the package leaves anything here",
        format!("the outputs are {}; leave `root` out for the whole workspace", listed(outputs())),
    ));
}
