//! `targets` and `inventory`: the machines of an environment.

use staith_model::{Access, Inventory, Name, NotAnAddress, Target};
use toml::{Spanned, de::DeValue};

use super::{
    super::{
        commands::arguments,
        keys::{ACCOUNT, HOST_KEY, Keys, MACHINE, NAME, NAMES, PATH, SETTINGS, Shape, TEXT, key},
        problems::{Problem, quoted},
        suggest::{closest, listed},
        values::{self, Understood, complaint},
        walk::{Placed, Table},
    },
    settings, windows,
};

pub(super) const SHAPE: Shape =
    Shape::List { of: &Shape::Either(&[Shape::Text(&MACHINE), Shape::Table(&KEYS)]), filled: true };

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "host",
            Shape::Text(&MACHINE),
            "this, `local` or `pull`",
            "Where it is: a host's name, an address, or an alias of OpenSSH's configuration, which applies.",
        ),
        key("user", Shape::Text(&ACCOUNT), "OpenSSH's configuration", "The account to log in as."),
        key(
            "port",
            Shape::Whole { least: 1, most: 65535 },
            "OpenSSH's configuration",
            "The port of its ssh server.",
        ),
        key(
            "host-key",
            Shape::Text(&HOST_KEY),
            "the known hosts",
            "The host's key, pinned: `\"SHA256:...\"` or `\"ssh-ed25519 AAAA...\"`.",
        ),
        key(
            "become",
            Shape::Word(&["sudo"]),
            "nobody else",
            "How the account that logs in becomes the superuser: `sudo`, which must not ask for a password. Units of systemd for the \
             whole machine and services of other accounts need it.",
        ),
        key(
            "site",
            Shape::Text(&TEXT),
            "none",
            "A Windows machine: the IIS site that gets the release. Windows machines are not verified; see \
             [releases.md](releases.md#windows-machines-not-verified-against-a-real-one).",
        ),
        key(
            "app-pool",
            Shape::Text(&TEXT),
            "that of the site",
            "A Windows machine: the application pool that is recycled.",
        ),
        key(
            "windows-service",
            Shape::Text(&TEXT),
            "none",
            "A Windows machine: a service that is there already and runs from `current`; stopped before a switch, and started after.",
        ),
        key(
            "way",
            Shape::Word(&["directory", "msdeploy"]),
            "`\"directory\"`",
            "A Windows machine: the site's path is switched to the release's folder, or the machine's own `msdeploy.exe` changes the \
             files in the site's folder, which is not done at one instant.",
        ),
        key("local", Shape::Truth, "`false`", "This machine itself."),
        key(
            "pull",
            Shape::Truth,
            "`false`",
            "A registered runner on the machine asks the server for its deployments; nothing connects to the machine. See [releases.md](releases.md#machines-that-pull).",
        ),
        key(
            "name",
            Shape::Text(&NAME),
            "the host's name",
            "What people call it; unique in its environment, and the server's name for HAProxy.",
        ),
        key("pool", Shape::Text(&NAME), "none", "Its pool, where the strategy has pools."),
        key(
            "tags",
            NAMES,
            "none",
            "For choosing among machines: `staith targets --tag`, `staith targets check --tag`.",
        ),
        key("roles", NAMES, "none", "What the machine is. Hooks and variables may be for some roles only."),
        key("variables", SETTINGS, "none", "Variables of this machine alone; they win over all others."),
        key(
            "serves-at",
            Shape::Text(&TEXT),
            "its host, and the environment's port",
            "Host and port at which others reach the application: `\"10.0.0.3:8080\"`. On this machine, also the port on which it \
             listens, since several targets may be this one; each then has a folder of its own below the environment's.",
        ),
    ],
    elsewhere: &[
        ("address", "host"),
        ("hostname", "host"),
        ("ip", "host"),
        ("ssh", "host"),
        ("username", "user"),
        ("host_key", "host-key"),
        ("hostkey", "host-key"),
        ("fingerprint", "host-key"),
        ("sudo", "become"),
        ("superuser", "become"),
        ("role", "roles"),
        ("tag", "tags"),
        ("vars", "variables"),
        ("serves_at", "serves-at"),
        ("group", "roles"),
        ("label", "name"),
        ("app_pool", "app-pool"),
        ("pool-name", "app-pool"),
        ("windows_service", "windows-service"),
        ("service", "windows-service"),
        ("iis", "site"),
        ("website", "site"),
    ],
};

pub(in crate::pipeline) const INVENTORY_KEYS: Keys = Keys {
    known: &[
        key(
            "command",
            Shape::List { of: &Shape::Text(&TEXT), filled: true },
            "this or `file`",
            "A program, run in the project's folder, that prints the machines as JSON.",
        ),
        key(
            "file",
            Shape::Text(&PATH),
            "this or `command`",
            "A file of the project with the machines, as JSON or TOML.",
        ),
    ],
    elsewhere: &[("run", "command"), ("script", "command"), ("path", "file"), ("source", "file")],
};

/// `targets`; none where one of them is wrong.
pub(super) fn read(table: &Table<'_>) -> Option<Vec<Placed<Target>>> {
    if !table.has("targets") {
        return Some(Vec::new());
    }
    let items = table.items("targets", "machines", "\"web1.example.net\"")?;
    if items.is_empty() {
        table.filled_list("targets", |text| Ok(text.to_owned()));
        return None;
    }
    let mut found: Vec<Placed<Target>> = Vec::new();
    let mut is_right = true;
    for (index, item) in items.iter().enumerate() {
        let Some(target) = one(table, item, index) else {
            is_right = false;
            continue;
        };
        if let Some(first) = found.iter().find(|other| other.value.name == target.name) {
            let message = format!("two targets of {} are called `{}`", table.title(), target.name);
            let help = "give one of them another name: `{ host = \"...\", name = \"...\" }`";
            let problem = Problem::at(item.span(), message, "here again", help);
            table.problems().add(problem.and_at(first.place.clone(), "here first"));
        }
        found.push(Placed { value: target, place: item.span() });
    }
    is_right.then_some(found)
}

fn one(table: &Table<'_>, item: &Spanned<DeValue<'_>>, index: usize) -> Option<Target> {
    match item.get_ref() {
        DeValue::String(_) => {
            let access = table.understand("targets", item, |text| understood(Access::ssh(text)))?.value;
            let whose = format!("target {} of {}", index + 1, table.title());
            let name = usual_name(table, &whose, &access, item)?;
            Some(plain(name, access))
        }
        DeValue::Table(_) => {
            let title = format!("target {} of {}", index + 1, table.title());
            of_table(&Table::below(title, item, &KEYS, table.problems())?, item)
        }
        _ => {
            table.wrong_kind(
                "targets",
                item,
                "a machine",
                "write `\"user@host\"` or `{ host = \"...\" }`".into(),
            );
            None
        }
    }
}

fn plain(name: Name, access: Access) -> Target {
    Target {
        name,
        access,
        pool: None,
        tags: [].into(),
        roles: [].into(),
        variables: [].into(),
        serves_at: None,
    }
}

fn of_table(table: &Table<'_>, item: &Spanned<DeValue<'_>>) -> Option<Target> {
    let access = access(table);
    let name = match table.has("name") {
        true => table.text("name", values::name).map(|name| name.value),
        false => access.as_ref().and_then(|access| usual_name(table, table.title(), access, item)),
    };
    let names = |key| table.list(key, values::name).unwrap_or_default().into_iter().map(|name| name.value);
    Some(Target {
        pool: table.text("pool", values::name).map(|pool| pool.value),
        tags: names("tags").collect(),
        roles: names("roles").collect(),
        variables: settings::values(settings::variables(table, "variables")),
        serves_at: table.text("serves-at", |text| understood(Access::serves_at(text))).map(|at| at.value),
        ..plain(name?, access?)
    })
}

/// The one way to a machine that a table names.
fn access(table: &Table<'_>) -> Option<Access> {
    let local = table.truth("local") == Some(true);
    let pull = table.truth("pull") == Some(true);
    let host = table.has("host");
    let ways = usize::from(local) + usize::from(pull) + usize::from(host);
    if ways != 1 {
        let (message, label) = match ways {
            0 => ("says no way to the machine", "one of `host`, `local` and `pull` belongs in this table"),
            _ => ("says several ways to the machine", "`host`, `local` and `pull` exclude each other"),
        };
        let help = "write `{ host = \"web1\" }`, `{ local = true }`, or `{ pull = true, name = \"web1\" }`";
        table.problems().add(Problem::at(table.place(), format!("{} {message}", table.title()), label, help));
        return None;
    }
    if !host {
        refuse_keys_of_ssh(table);
        return Some(if local { Access::Local } else { Access::Pull });
    }
    let host = table.text("host", |text| understood(Access::ssh(text)))?;
    let Access::Ssh { host: address, user: within_user, port: within_port, .. } = host.value else {
        return None;
    };
    let user = table.text("user", |text| understood(Access::user(text))).map(|user| user.value);
    let port = table.number("port", 1, 65535).and_then(|port| u16::try_from(port).ok());
    if (user.is_some() && within_user.is_some()) || (port.is_some() && within_port.is_some()) {
        let twice = if user.is_some() && within_user.is_some() { "user" } else { "port" };
        table.problems().add(Problem::at(
            host.place,
            format!("`host` of {} says the {twice}, and so does `{twice}`", table.title()),
            "one of them is enough",
            format!("remove `{twice}`, or write the host alone"),
        ));
    }
    let host_key = table.text("host-key", |text| understood(Access::host_key(text))).map(|key| key.value);
    let (user, port) = (user.or(within_user), port.or(within_port));
    let (host, port) = (address, port);
    let gets = windows::read(table)?;
    if let Some(entry) = table.entry("become").filter(|_| gets.is_some()) {
        table.problems().add(Problem::at(
            entry.key_place,
            format!("{} is a Windows machine, which has no sudo", table.title()),
            "this belongs to a machine with a shell",
            "remove it, and log in as a user who may do what has to be done",
        ));
    }
    let superuser = table.has("become") && table.text("become", sudo)?.value;
    match gets {
        Some(gets) => Some(Access::Windows { host, user, port, host_key, gets }),
        None => Some(Access::Ssh { host, user, port, host_key, superuser }),
    }
}

fn refuse_keys_of_ssh(table: &Table<'_>) {
    for key in ["user", "port", "host-key", "become"].into_iter().chain(windows::KEYS) {
        if let Some(entry) = table.entry(key) {
            table.problems().add(Problem::at(
                entry.key_place,
                format!("`{key}` of {} says how to log in, and nobody logs in there", table.title()),
                "this belongs to a machine with a `host`",
                "remove it",
            ));
        }
    }
}

fn sudo(text: &str) -> Understood<bool> {
    match text {
        "sudo" => Ok(true),
        _ => complaint(
            "has an unknown value",
            format!("{} is no way to become the superuser", quoted(text)),
            "write \"sudo\", or leave it out",
        ),
    }
}

fn usual_name(table: &Table<'_>, whose: &str, access: &Access, item: &Spanned<DeValue<'_>>) -> Option<Name> {
    let name = access.usual_name();
    if name.is_none() {
        table.problems().add(Problem::at(
            item.span(),
            format!("{whose} has no name"),
            "nothing here could be its name",
            "add one: `{ ..., name = \"web1\" }`",
        ));
    }
    name
}

pub(super) fn understood<T>(read: Result<T, NotAnAddress>) -> Understood<T> {
    read.or_else(|wrong| complaint(format!("is wrong: {wrong}"), wrong.what, wrong.remedy))
}

/// `inventory` of an environment.
pub(super) fn inventory(table: &Table<'_>) -> Option<Inventory> {
    let entry = table.entry("inventory")?;
    let title = format!("the inventory of {}", table.title());
    let inventory = Table::below(title, entry.value, &INVENTORY_KEYS, table.problems())?;
    match (inventory.has("command"), inventory.has("file")) {
        (true, false) => {
            let command = inventory.entry("command")?;
            if command.value.get_ref().is_str() {
                inventory.wrong_kind(
                    "command",
                    command.value,
                    "a list",
                    "write `command = [\"./hosts\"]`: no shell reads it".into(),
                );
                return None;
            }
            arguments(&inventory, "command").map(Inventory::Command)
        }
        (false, true) => {
            inventory.text("file", values::relative).map(|file| Inventory::File(file.value.into()))
        }
        _ => {
            let message = format!("{} needs one of `command` and `file`", inventory.title());
            let help =
                "write `inventory = { command = [\"./hosts\"] }` or `inventory = { file = \"hosts.json\" }`";
            table.problems().add(Problem::at(
                inventory.place(),
                message,
                "exactly one of them belongs here",
                help,
            ));
            None
        }
    }
}

/// All roles of the targets.
pub(super) fn roles(targets: &[Placed<Target>]) -> Vec<Name> {
    let mut roles: Vec<Name> = targets.iter().flat_map(|target| target.value.roles.iter().cloned()).collect();
    roles.sort();
    roles.dedup();
    roles
}

/// Complains about pools that the strategy does not know, and about pools without machines. `pools` is none where the strategy has
/// none.
pub(super) fn refuse_pools(
    table: &Table<'_>,
    targets: &[Placed<Target>],
    pools: Option<&[Name; 2]>,
    has_inventory: bool,
) {
    for target in targets {
        let (name, pool) = (&target.value.name, &target.value.pool);
        let (message, label, help) = match (pool, pools) {
            (None, None) => continue,
            (Some(pool), Some(pools)) if pools.contains(pool) => continue,
            (Some(pool), Some(pools)) => (
                format!("target `{name}` is in pool `{pool}`, which the strategy has not"),
                "the strategy knows no such pool",
                match closest(pool.as_str(), pools.iter().map(Name::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("its pools are {}", listed(pools)),
                },
            ),
            (Some(pool), None) => (
                format!("target `{name}` is in pool `{pool}`, and the strategy has no pools"),
                "this would mean nothing",
                format!(
                    "remove `pool`, or add `strategy = {{ blue-green = {{ pools = [\"{pool}\", \"...\"] }} }}`"
                ),
            ),
            (None, Some(pools)) => (
                format!("target `{name}` is in no pool, and the strategy has two"),
                "it would never get a release",
                format!("say its pool: `pool = \"{}\"`", pools[0]),
            ),
        };
        table.problems().add(Problem::at(target.place.clone(), message, label, help));
    }
    let Some(pools) = pools.filter(|_| !has_inventory && !targets.is_empty()) else { return };
    for pool in pools {
        if !targets.iter().any(|target| target.value.pool.as_ref() == Some(pool)) {
            let place = table.entry("targets").map_or(table.place(), |entry| entry.key_place);
            table.problems().add(Problem::at(
                place,
                format!("no target of {} is in pool `{pool}`", table.title()),
                "one of these has to be",
                format!("say so in a target: `{{ host = \"...\", pool = \"{pool}\" }}`"),
            ));
        }
    }
}
