//! The `[steps.*]` tables.

use std::collections::BTreeMap;

use staith_model::{Name, Network, StepKind};

use super::{
    Step, bars, commands,
    condition::{self, Known, When},
    hosts, images,
    matrix::{self, Matrix, Variant},
    parameters::Parameter,
    placement,
    problems::{Problem, Problems, quoted},
    resources::{self, Defaults},
    retries,
    services::Services,
    step_keys::KEYS,
    template,
    values::{self, Complaint, texts},
    variables,
    walk::{Entry, Placed, Table, in_file_order},
};

/// A step's layer is one of overlayfs's lower directories, and those are limited; no person oversees as many steps.
pub(super) const MOST_STEPS: usize = 200;
const DEFAULT_TIMEOUT_SECONDS: u64 = 30 * 60;

/// What finds problems in a step's output.
pub const KNOWN_MATCHERS: [&str; 10] =
    ["gcc", "go", "rustc", "msbuild", "csc", "tsc", "eslint", "python", "php", "generic"];

/// What a file says of all its steps together.
pub(super) struct Context<'c> {
    pub(super) defaults: &'c Defaults,
    pub(super) services: &'c Services,
    pub(super) parameters: &'c [Parameter],
}

/// A step as far as it could be read; what others refer to is kept even where the step itself is wrong.
pub(super) struct Draft {
    /// The table's key, be it a name or not.
    pub(super) key: Placed<String>,
    pub(super) needs: Vec<Placed<String>>,
    pub(super) outputs: Vec<Placed<String>>,
    pub(super) is_build: bool,
    pub(super) when: Option<Placed<When>>,
    pub(super) matrix: Matrix,
    /// None where the step has a problem.
    pub(super) step: Option<Step>,
}

/// All steps, in the order of the file.
pub(super) fn read<'t>(file: &Table<'t>, context: &Context<'_>) -> Vec<Draft> {
    let Some(steps) = file.entry("steps") else {
        file.missing("steps", "[steps.build]` with `run = \"...\"");
        return Vec::new();
    };
    let Some(entries) = steps.value.get_ref().as_table() else {
        file.wrong_kind(
            "steps",
            steps.value,
            "a table",
            "each step is a table by its name: `[steps.build]`".into(),
        );
        return Vec::new();
    };
    let entries = in_file_order(entries);
    if entries.is_empty() {
        let help = "add a step: `[steps.build]` with `run = \"...\"`";
        file.problems().add(Problem::at(
            steps.key_place,
            "there are no steps",
            "nothing is in this table",
            help,
        ));
    }
    if let Some(beyond) = entries.get(MOST_STEPS) {
        let message = format!("there are {} steps; {MOST_STEPS} is the most", entries.len());
        let help = "let one step run several commands";
        file.problems().add(Problem::at(beyond.key_place.clone(), message, "one too many", help));
        return Vec::new();
    }
    entries.into_iter().map(|entry| draft(entry, file.problems(), context)).collect()
}

fn draft<'t>(entry: Entry<'t>, problems: &'t Problems, context: &Context<'_>) -> Draft {
    let key = Placed { value: entry.key.to_owned(), place: entry.key_place.clone() };
    let Some(table) = Table::below(format!("step `{}`", entry.key), entry.value, &KEYS, problems) else {
        return Draft {
            key,
            needs: Vec::new(),
            outputs: Vec::new(),
            is_build: false,
            when: None,
            matrix: Matrix::default(),
            step: None,
        };
    };
    let needs = table.list("needs", |text| Ok(text.to_owned())).unwrap_or_default();
    let matrix = matrix::read(&table, entry.key);
    let known = Known { parameters: context.parameters, matrix: &matrix.dimensions, outcomes: true };
    let when = condition::read(&table, &known);
    let outputs = globs(&table, "outputs", &matrix);
    let step = read_step(&entry, &table, &outputs, context, &matrix);
    let kind = table.entry("kind").and_then(|kind| kind.value.get_ref().as_str());
    let is_build = kind.unwrap_or(entry.key) == "build";
    let step = step.map(|step| Step { when: when.as_ref().map(|when| when.value.clone()), ..step });
    Draft { key, needs, outputs, is_build, when, matrix, step }
}

/// Globs in which values of the matrix may stand. Whatever the values, the globs stay in the workspace.
fn globs(table: &Table<'_>, key: &str, matrix: &Matrix) -> Vec<Placed<String>> {
    let globs = table.filled_list(key, values::glob).unwrap_or_default();
    for glob in &globs {
        for flaw in template::check_glob(&glob.value, &matrix.dimensions) {
            table.complain_inside(key, glob.place.clone(), flaw);
        }
        if let Some(complaint) = matrix.variants.iter().find_map(|variant| unfit(&glob.value, variant)) {
            table.complain(key, glob.place.clone(), complaint);
        }
    }
    globs
}

/// What is wrong with a glob once the values of a variant stand in it.
fn unfit(glob: &str, variant: &Variant) -> Option<Complaint> {
    let special = |value: &&String| value.contains(['*', '?', '[', ']', '{', '}', ',', '!', '\\', '/']);
    let value = template::dimensions(glob).filter_map(|name| variant.values.get(name)).find(special);
    if let Some(value) = value {
        return Some(Complaint {
            what: format!("has {} put into it", quoted(value)),
            label: "this value would not be read as a plain name here".into(),
            help: "name the files after a dimension with plainer values".into(),
        });
    }
    values::glob(&template::fill(glob, &variant.values, &BTreeMap::new())).err()
}

/// Refuses names that two steps of a plan would have, and more steps than a plan may have.
pub(super) fn refuse_crowds(drafts: &[Draft], problems: &Problems) {
    let mut names: BTreeMap<&str, &Draft> =
        drafts.iter().map(|draft| (draft.key.value.as_str(), draft)).collect();
    let mut count = 0;
    for draft in drafts {
        count += draft.matrix.variants.len().max(1);
        for variant in &draft.matrix.variants {
            if let Some(other) = names.insert(variant.name.as_str(), draft) {
                let message = format!("two steps would be called `{}`", variant.name);
                let label = format!("a variant of `{}` is called so", draft.key.value);
                let problem = Problem::at(
                    draft.matrix.place.clone(),
                    message,
                    label,
                    "give one of the steps another name",
                );
                problems.add(problem.and_at(other.key.place.clone(), "this one too"));
            }
        }
        if count > MOST_STEPS && count - draft.matrix.variants.len().max(1) <= MOST_STEPS {
            let place = if draft.matrix.variants.is_empty() { &draft.key.place } else { &draft.matrix.place };
            let message = format!("a plan of this file has more than {MOST_STEPS} steps");
            let help = "let one step run several commands, or test fewer values together";
            problems.add(Problem::at(place.clone(), message, "here it becomes too many", help));
        }
    }
}

fn read_step(
    entry: &Entry<'_>,
    table: &Table<'_>,
    outputs: &[Placed<String>],
    context: &Context<'_>,
    matrix: &Matrix,
) -> Option<Step> {
    let defaults = context.defaults;
    let known = Known { parameters: context.parameters, matrix: &matrix.dimensions, outcomes: true };
    let name = step_name(entry, table.problems());
    let command = commands::required(table);
    commands::refuse_templates(table, &known);
    let kind = table.text("kind", values::name).map(|kind| kind.value);
    let inputs = table.filled_list("inputs", values::glob);
    let reports = globs(table, "reports", matrix);
    let matcher = table.text("matcher", matcher);
    let (coverage, findings) = (bars::coverage(table), bars::findings(table));
    let limits = resources::limits(table, &defaults.limits);
    let network = network(table, defaults);
    let allow = hosts::allow(table, network);
    let services = services(table, network, context.services);
    let timeout = resources::timeout(table).or(defaults.timeout_seconds);
    let workdir = table.text("workdir", values::relative);
    let variables = variables::env(table, variables::step_variable);
    variables::check_templates(table, &variables, &known);
    refuse_own_variables(table, &variables, matrix);
    let secrets = variables::secrets(table, &variables);
    let image = images::or_inherited(table, &defaults.image);
    let (runner, variants) = placement::of_step(table, &defaults.runner, matrix);
    images::check_templates(table, &known, &matrix.variants);
    let retry = retries::read(table);
    let may_fail = table.truth("continue-on-failure").unwrap_or(false);
    let name = name?;
    Some(Step {
        kind: step_kind(kind.unwrap_or_else(|| name.clone())),
        name,
        command: command?,
        workdir: workdir.map(|workdir| workdir.value),
        needs: Vec::new(),
        inputs: texts(inputs.unwrap_or_default()),
        outputs: texts(outputs.to_vec()),
        reports: texts(reports),
        env: env(defaults, variables, &secrets),
        network,
        timeout_seconds: timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        limits,
        image,
        secrets,
        allow,
        retry,
        may_fail,
        services,
        matcher: matcher.map(|matcher| matcher.value),
        coverage,
        findings,
        runner,
        when: None,
        variants,
    })
}

/// A variable that a value of the matrix is given in can't be set to something else.
fn refuse_own_variables(table: &Table<'_>, variables: &variables::Variables, matrix: &Matrix) {
    for dimension in &matrix.dimensions {
        let name = matrix::variable(&dimension.name);
        if let Some(value) = variables.get(&name) {
            let complaint = Complaint {
                what: format!("sets `{name}`"),
                label: "the value of the matrix is in this variable".into(),
                help: "choose another name".into(),
            };
            table.complain("env", value.place.clone(), complaint);
        }
    }
}

/// The variables that a step inherits, its own on top; a secret takes the place of what it inherits.
fn env(
    defaults: &Defaults,
    own: variables::Variables,
    secrets: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env = defaults.env.clone();
    env.retain(|name, _| !secrets.contains_key(name));
    env.extend(variables::values(own));
    env
}

fn network(table: &Table<'_>, defaults: &Defaults) -> Network {
    let own = resources::network(table).map(|network| network.value);
    own.or(defaults.network.as_ref().map(|network| network.value)).unwrap_or(Network::Loopback)
}

fn services(table: &Table<'_>, network: Network, known: &Services) -> Vec<Name> {
    if let Some(entry) = table.entry("services").filter(|_| network == Network::None) {
        table.problems().add(Problem::at(
            entry.key_place,
            "the step names services, but has no network",
            "no service could be reached",
            "write `network = \"loopback\"`, or remove `services`",
        ));
    }
    known.of_step(table)
}

fn matcher(text: &str) -> values::Understood<String> {
    values::choice(text, &KNOWN_MATCHERS.map(|name| (name, name))).map(str::to_owned)
}

fn step_name(entry: &Entry<'_>, problems: &Problems) -> Option<staith_model::Name> {
    values::name(entry.key)
        .map_err(|complaint| {
            let message = format!("a step's name {}", complaint.what);
            problems.add(Problem::at(entry.key_place.clone(), message, complaint.label, complaint.help));
        })
        .ok()
}

fn step_kind(name: staith_model::Name) -> StepKind {
    match name.as_str() {
        "lint" => StepKind::Lint,
        "restore" => StepKind::Restore,
        "build" => StepKind::Build,
        "unit-test" => StepKind::UnitTest,
        "integration-test" => StepKind::IntegrationTest,
        _ => StepKind::Other(name),
    }
}
