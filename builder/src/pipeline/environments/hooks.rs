//! `hooks`: programs that run on machines around the switch.

use staith_model::{Hook, HookPoint, Name};

use super::{
    super::{
        commands::arguments,
        keys::{DURATION, Keys, NAME, NAMES, REQUIRED, Shape, TEXT, key},
        problems::Problem,
        values::{self, Complaint},
        walk::Table,
    },
    seconds, settings,
};

const DEFAULT_TIMEOUT_SECONDS: u64 = 600;

const POINTS: [(&str, HookPoint); 4] = [
    ("before-switch", HookPoint::BeforeSwitch),
    ("before-restart", HookPoint::BeforeRestart),
    ("after-restart", HookPoint::AfterRestart),
    ("after-switch", HookPoint::AfterSwitch),
];

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key("name", Shape::Text(&NAME), REQUIRED, "What people call it; unique in its environment."),
        key(
            "at",
            Shape::Word(&["before-switch", "before-restart", "after-restart", "after-switch"]),
            REQUIRED,
            "`before-switch`: after all machines have the files, before any of them changes. `before-restart`: on a machine out of \
             traffic, before it changes. `after-restart`: on a machine that is healthy, before it gets traffic. `after-switch`: \
             after the last machine; if it fails, the deployment goes back.",
        ),
        key(
            "run",
            Shape::List { of: &Shape::Text(&TEXT), filled: true },
            REQUIRED,
            "Program and arguments, run in the release's folder. A program with a `/` is looked for in the package, any other in the \
             machine's `PATH`.",
        ),
        key(
            "once",
            Shape::Truth,
            "`false`",
            "Runs on the first machine only, rather than on each: a migration of a database.",
        ),
        key(
            "repeatable",
            Shape::Truth,
            "`false`",
            "Running it a second time is harmless. If it is not, and contact was lost for good while it ran, a person decides.",
        ),
        key("roles", NAMES, "all machines", "Runs on machines of these roles only."),
        key("timeout", Shape::Text(&DURATION), "`\"10m\"`", "Time after which it is ended, and has failed."),
    ],
    elsewhere: &[
        ("when", "at"),
        ("on", "at"),
        ("point", "at"),
        ("command", "run"),
        ("cmd", "run"),
        ("script", "run"),
        ("idempotent", "repeatable"),
        ("run-once", "once"),
        ("run_once", "once"),
        ("role", "roles"),
    ],
};

/// All hooks, in the order of the file; none of the answer where one of them is wrong.
pub(super) fn read(table: &Table<'_>, roles: Option<&[Name]>) -> Option<Vec<Hook>> {
    if !table.has("hooks") {
        return Some(Vec::new());
    }
    let example = "{ name = \"migrate\", at = \"before-switch\", run = [\"./migrate\"] }";
    let items = table.items("hooks", "tables", example)?;
    let mut hooks: Vec<Hook> = Vec::new();
    let mut is_right = true;
    for (index, item) in items.iter().enumerate() {
        let title = format!("hook {} of {}", index + 1, table.title());
        let read = Table::below(title, item, &KEYS, table.problems()).and_then(|hook| one(&hook, roles));
        is_right &= read.is_some();
        let Some(hook) = read else { continue };
        if hooks.iter().any(|other| other.name == hook.name) {
            let message = format!("two hooks of {} are called `{}`", table.title(), hook.name);
            let problem = Problem::at(item.span(), message, "here again", "give each hook a name of its own");
            table.problems().add(problem);
        }
        hooks.push(hook);
    }
    is_right.then_some(hooks)
}

fn one(table: &Table<'_>, roles: Option<&[Name]>) -> Option<Hook> {
    let name = table.required("name", "name = \"migrate\"", values::name);
    let at = table.required("at", "at = \"before-switch\"", |text| values::choice(text, &POINTS));
    let command = program(table, "run", "run = [\"./migrate\"]");
    let only = table.list("roles", values::name).unwrap_or_default();
    for role in &only {
        settings::refuse_stranger(table, "roles", &role.value, role.place.clone(), roles);
    }
    Some(Hook {
        name: name?.value,
        at: at?.value,
        command: command?,
        repeatable: table.truth("repeatable").unwrap_or(false),
        once: table.truth("once").unwrap_or(false),
        roles: only.into_iter().map(|role| role.value).collect(),
        timeout_seconds: seconds(table, "timeout", 1, DEFAULT_TIMEOUT_SECONDS),
    })
}

/// A program and its arguments, where the program can exist: in the package, or on the machine.
pub(super) fn program(table: &Table<'_>, key: &str, example: &str) -> Option<Vec<String>> {
    let Some(entry) = table.entry(key) else {
        table.missing(key, example);
        return None;
    };
    if entry.value.get_ref().is_str() {
        table.wrong_kind(key, entry.value, "a list", format!("write `{example}`: no shell reads it"));
        return None;
    }
    let command = arguments(table, key)?;
    match impossible(command.first()?) {
        None => Some(command),
        Some(complaint) => {
            let place = entry.value.get_ref().as_array()?.first()?.span();
            table.complain(key, place, complaint);
            None
        }
    }
}

/// Why a program can be nowhere.
fn impossible(program: &str) -> Option<Complaint> {
    let complaint = |what: &str, label: &str, help: &str| {
        Some(Complaint { what: what.into(), label: label.into(), help: help.into() })
    };
    if program.split('/').any(|part| part == "..") {
        return complaint(
            "leads out of the release",
            "a program with a `/` is looked for in the package, which is all that is sure to be there",
            "name a file of the package, `./migrate`, or a program of the machine, by its name or its whole path",
        );
    }
    if program.ends_with('/') {
        return complaint("names a folder", "this can't be run", "name the program in it");
    }
    if program.starts_with('~') || program.contains(['$', '`']) {
        return complaint(
            "needs a shell",
            "no shell reads this text",
            "write the program's path as it is; where it must be a shell: `[\"/bin/sh\", \"-c\", \"...\"]`",
        );
    }
    let has_arguments = program.contains(char::is_whitespace);
    if has_arguments {
        return complaint(
            "has arguments in the program's name",
            "each argument is a text of its own",
            "write `[\"./migrate\", \"--now\"]`",
        );
    }
    None
}
