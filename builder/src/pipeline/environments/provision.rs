//! `provision`: what makes the machines of an environment, and takes them down.

use std::collections::BTreeMap;

use staith_model::{CloudInit, Provision, ProvisionTool};
use toml::de::DeValue;

use super::{
    super::{
        amounts,
        commands::arguments,
        keys::{DURATION, Keys, NAMES, PATH, PLAIN_WORD, REQUIRED, SECRETS, Shape, TEXT, VARIABLES, key},
        problems::{Problem, quoted},
        suggest::closest,
        values::{self, Understood, complaint},
        variables::{self, Variables},
        walk::Table,
    },
    seconds,
};

const KINDS: [&str; 3] = ["command", "terraform", "bicep"];
const OF_COMMANDS: [&str; 4] = ["plan", "apply", "outputs", "destroy"];
const OF_BICEP: [&str; 3] = ["template", "group", "stack"];
/// Clouds take their time, and what takes longer than this stands still.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3600;
const DEFAULT_TIME_TO_LIVE_SECONDS: u64 = 24 * 60 * 60;
const DEFAULT_WAIT_SECONDS: u64 = 600;

const PROGRAM: Shape = Shape::List { of: &Shape::Text(&TEXT), filled: true };

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "kind",
            Shape::Word(&KINDS),
            REQUIRED,
            "What makes the machines: programs, Terraform (or OpenTofu), or Bicep.",
        ),
        key(
            "folder",
            Shape::Text(&PATH),
            REQUIRED,
            "The folder of the project with everything that is needed for it. It is copied, so that what was made can be taken down \
             when the project is gone.",
        ),
        key(
            "program",
            Shape::Text(&TEXT),
            "`terraform`, or `az`",
            "The program, for `terraform` and `bicep`: `\"tofu\"`, or a path.",
        ),
        key(
            "plan",
            PROGRAM,
            "the command of `apply`",
            "`command`: a program that prints what would be done; nothing, if nothing has to be.",
        ),
        key(
            "apply",
            PROGRAM,
            "required for `command`",
            "`command`: the program that makes the machines. Giving it again must be right.",
        ),
        key(
            "outputs",
            PROGRAM,
            "no machines",
            "`command`: a program that prints the machines, as one of `inventory` does.",
        ),
        key(
            "destroy",
            PROGRAM,
            "required for `command`",
            "`command`: the program that takes all of it down. Giving it again must be right.",
        ),
        key("template", Shape::Text(&PATH), "required for `bicep`", "`bicep`: the template, below `folder`."),
        key("group", Shape::Text(&PLAIN_WORD), "required for `bicep`", "`bicep`: the resource group."),
        key(
            "stack",
            Shape::Text(&PLAIN_WORD),
            "none: `destroy` deletes the group",
            "`bicep`: the deployment stack that owns what is made, so that no more than that is taken down.",
        ),
        key(
            "variables",
            VARIABLES,
            "none",
            "Values for Terraform's variables, for parameters of the template, and for programs, in their environment.",
        ),
        key(
            "secrets",
            SECRETS,
            "none",
            "The same whose values are secrets, by the secrets' names. They are never on a command line.",
        ),
        key(
            "ephemeral",
            Shape::Truth,
            "`true` where there is `time-to-live`",
            "Whether all of it is taken down some time after it was made.",
        ),
        key(
            "time-to-live",
            Shape::Text(&DURATION),
            "`\"24h\"` where it is ephemeral",
            "How long it stays after it was last provisioned: `\"4h\"`. Then `staith env sweep` takes it down.",
        ),
        key(
            "cloud-init",
            Shape::Table(&CLOUD_INIT_KEYS),
            "nothing is awaited",
            "What new machines do at their first start, and how long that is waited for.",
        ),
        key("timeout", Shape::Text(&DURATION), "`\"1h\"`", "How long each program may run."),
    ],
    elsewhere: &[
        ("tool", "kind"),
        ("type", "kind"),
        ("path", "folder"),
        ("directory", "folder"),
        ("dir", "folder"),
        ("working-directory", "folder"),
        ("run", "apply"),
        ("create", "apply"),
        ("up", "apply"),
        ("down", "destroy"),
        ("delete", "destroy"),
        ("teardown", "destroy"),
        ("output", "outputs"),
        ("vars", "variables"),
        ("env", "variables"),
        ("parameters", "variables"),
        ("resource-group", "group"),
        ("ttl", "time-to-live"),
        ("time_to_live", "time-to-live"),
        ("expires", "time-to-live"),
        ("cloud_init", "cloud-init"),
        ("user-data", "cloud-init"),
    ],
};

pub(in crate::pipeline) const CLOUD_INIT_KEYS: Keys = Keys {
    known: &[
        key(
            "template",
            Shape::Text(&PATH),
            "none",
            "A file below `folder` in which `#{NAME}#` stands for `variables` and `secrets`.",
        ),
        key(
            "machines",
            NAMES,
            "none",
            "Machines for which it is rendered into `$STAITH_USER_DATA/NAME` before anything is planned.",
        ),
        key(
            "wait",
            Shape::Text(&DURATION),
            "`\"10m\"`",
            "How long all machines have to answer and to be done; `\"0s\"` waits for nothing.",
        ),
    ],
    elsewhere: &[("file", "template"), ("user-data", "template"), ("timeout", "wait"), ("hosts", "machines")],
};

/// `provision` of an environment; none where it is absent or wrong.
pub(super) fn read(environment: &Table<'_>) -> Option<Provision> {
    let entry = environment.entry("provision")?;
    let title = format!("the provision of {}", environment.title());
    let table = Table::below(title, entry.value, &KEYS, environment.problems())?;
    let kind = table.required("kind", "kind = \"terraform\"", kind);
    let folder = table.required("folder", "folder = \"infra\"", values::relative);
    let tool = kind.and_then(|kind| {
        refuse_keys_of_others(&table, kind.value);
        tool(&table, kind.value)
    });
    let plain = variables::named(
        &table,
        "variables",
        "write `variables = { size = \"small\" }`",
        variables::step_variable,
        values::plain,
    );
    let secrets = secrets(&table, &plain);
    let cloud_init = cloud_init(&table);
    let time_to_live_seconds = time_to_live(&table);
    Some(Provision {
        folder: folder?.value.into(),
        tool: tool?,
        time_to_live_seconds,
        variables: variables::values(plain),
        secrets,
        cloud_init: if table.has("cloud-init") { Some(cloud_init?) } else { None },
        timeout_seconds: seconds(&table, "timeout", 1, DEFAULT_TIMEOUT_SECONDS),
    })
}

fn kind(text: &str) -> Understood<&'static str> {
    match KINDS.iter().find(|kind| **kind == text) {
        Some(kind) => Ok(kind),
        None => complaint(
            "has an unknown value",
            format!("{} is no kind of provision", quoted(text)),
            match closest(text, KINDS.iter().copied()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None if matches!(text, "tofu" | "opentofu") => {
                    "write kind = \"terraform\" and program = \"tofu\"".to_owned()
                }
                None => "write \"command\", \"terraform\" or \"bicep\"".to_owned(),
            },
        ),
    }
}

fn refuse_keys_of_others(table: &Table<'_>, kind: &str) {
    let others: &[&str] = match kind {
        "command" => &["program", "template", "group", "stack"],
        "terraform" => &["plan", "apply", "outputs", "destroy", "template", "group", "stack"],
        _ => &OF_COMMANDS,
    };
    for entry in others.iter().filter_map(|key| table.entry(key)) {
        let whose = if OF_COMMANDS.contains(&entry.key) {
            "command"
        } else if OF_BICEP.contains(&entry.key) {
            "bicep"
        } else {
            "terraform and bicep"
        };
        table.problems().add(Problem::at(
            entry.key_place.clone(),
            format!("`{}` of {} means nothing to `{kind}`", entry.key, table.title()),
            format!("this is a key of {whose}"),
            "remove it, or choose another `kind`",
        ));
    }
}

fn tool(table: &Table<'_>, kind: &str) -> Option<ProvisionTool> {
    match kind {
        "command" => {
            let plan = optional(table, "plan");
            let outputs = optional(table, "outputs");
            let apply = program(table, "apply", "apply = [\"./create\"]");
            let destroy = program(table, "destroy", "destroy = [\"./destroy\"]");
            Some(ProvisionTool::Command { plan: plan?, apply: apply?, outputs: outputs?, destroy: destroy? })
        }
        "terraform" => Some(ProvisionTool::Terraform { program: named_program(table, "terraform")? }),
        _ => {
            let template = table.required("template", "template = \"main.bicep\"", values::relative);
            let group = table.required("group", "group = \"shop-qa\"", azure_name);
            let stack = match table.has("stack") {
                true => Some(table.text("stack", azure_name)?.value),
                false => None,
            };
            let program = named_program(table, "az")?;
            Some(ProvisionTool::Bicep {
                program,
                template: template?.value.into(),
                group: group?.value,
                stack,
            })
        }
    }
}

fn named_program(table: &Table<'_>, usual: &str) -> Option<String> {
    if !table.has("program") {
        return Some(usual.to_owned());
    }
    let said = table.text("program", |text| match text.trim().is_empty() || text.starts_with('-') {
        true => complaint("names no program", "nothing is called so", format!("write \"{usual}\"")),
        false => values::plain(text),
    });
    said.map(|program| program.value)
}

/// `None` where it is wrong; `Some(None)` where it is absent.
fn optional(table: &Table<'_>, key: &'static str) -> Option<Option<Vec<String>>> {
    if table.has(key) { program(table, key, "").map(Some) } else { Some(None) }
}

fn program(table: &Table<'_>, key: &'static str, example: &str) -> Option<Vec<String>> {
    let Some(entry) = table.entry(key) else {
        table.missing(key, example);
        return None;
    };
    if entry.value.get_ref().is_str() {
        let help = format!("write `{key} = [\"./{key}\"]`: no shell reads it");
        table.wrong_kind(key, entry.value, "a list", help);
        return None;
    }
    arguments(table, key)
}

/// What Azure allows of groups and stacks, as far as it matters on a command line.
fn azure_name(text: &str) -> Understood<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.()".contains(c);
    if (1..=90).contains(&text.len())
        && text.chars().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('.')
    {
        return Ok(text.to_owned());
    }
    complaint(
        "is not a name in Azure",
        format!("{} can't be a resource group or a stack", quoted(text)),
        "write letters, digits, `-`, `_`, `.` and parentheses; 90 at most",
    )
}

fn secrets(table: &Table<'_>, plain: &Variables) -> BTreeMap<String, String> {
    let Some(entry) = table.entry("secrets") else { return BTreeMap::new() };
    let help = "write `secrets = { token = \"cloud/token\" }`";
    let found = match entry.value.get_ref() {
        DeValue::Array(_) => variables::listed(table),
        DeValue::Table(_) => {
            variables::named(table, "secrets", help, variables::step_variable, variables::secret)
        }
        _ => {
            table.wrong_kind("secrets", entry.value, "a list or a table", help.into());
            return BTreeMap::new();
        }
    };
    for (name, secret) in &found {
        if let Some(twice) = plain.get(name) {
            let problem = Problem::at(
                secret.place.clone(),
                format!("variable `{name}` is both a secret and a plain value"),
                "this is where its value would come from",
                "remove one of them",
            );
            table.problems().add(problem.and_at(twice.place.clone(), "and from here, too"));
        }
    }
    variables::values(found)
}

fn cloud_init(table: &Table<'_>) -> Option<CloudInit> {
    let entry = table.entry("cloud-init")?;
    let title = format!("`cloud-init` of {}", table.title());
    let inner = Table::below(title, entry.value, &CLOUD_INIT_KEYS, table.problems())?;
    let template = match inner.has("template") {
        true => Some(inner.text("template", values::relative)?.value.into()),
        false => None,
    };
    let machines = inner.list("machines", values::name);
    if let Some(machines) = inner.entry("machines").filter(|_| template.is_none()) {
        inner.problems().add(Problem::at(
            machines.key_place,
            format!("{} names machines, and no template for them", inner.title()),
            "nothing could be rendered for these",
            "add `template = \"user-data.yaml\"`",
        ));
    }
    let wait = seconds(&inner, "wait", 0, DEFAULT_WAIT_SECONDS);
    Some(CloudInit {
        template,
        machines: machines.unwrap_or_default().into_iter().map(|name| name.value).collect(),
        wait_seconds: (wait > 0).then_some(wait),
    })
}

fn time_to_live(table: &Table<'_>) -> Option<u64> {
    let said = table.text("time-to-live", |text| amounts::seconds_of_days(text, 1)).map(|said| said.value);
    match table.truth("ephemeral") {
        Some(false) if table.has("time-to-live") => {
            let entry = table.entry("ephemeral")?;
            table.problems().add(Problem::at(
                entry.key_place,
                format!("{} is to stay, and has a `time-to-live`", table.title()),
                "these contradict each other",
                "remove one of them",
            ));
            None
        }
        Some(true) => Some(said.unwrap_or(DEFAULT_TIME_TO_LIVE_SECONDS)),
        Some(false) => None,
        None => said,
    }
}
