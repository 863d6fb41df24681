//! Environments of machines.

use staith_model::{Access, FleetEnvironment, Name, Provision, ReleaseSetting, Rollout, Service, Target};

use super::{
    super::{
        keys::{
            DURATION, FOLDER_OF_MACHINE, GLOBS, Keys, NAME, REQUIRED, SETTING_SECRETS, SETTINGS, Shape, key,
        },
        package,
        problems::Problem,
        values,
        values::{Understood, complaint},
        walk::{Placed, Table},
    },
    count, health, hooks,
    order::AFTER,
    provision, rollout, schema, seconds, service, settings, targets, traffic,
};

const DEFAULT_DRAIN_SECONDS: u64 = 30;
const DEFAULT_KEPT_RELEASES: u32 = 3;

pub(in crate::pipeline) const KEYS: Keys = Keys {
    known: &[
        key(
            "targets",
            targets::SHAPE,
            "those of `inventory` and `provision`",
            "The machines, in the order in which they are served: `\"host\"`, `\"user@host:port\"`, or tables.",
        ),
        key(
            "inventory",
            Shape::Table(&targets::INVENTORY_KEYS),
            "none",
            "What names more machines when a deployment is planned. They come after those of `targets`.",
        ),
        key(
            "provision",
            Shape::Table(&provision::KEYS),
            "the machines are there",
            "What makes the machines before a deployment, and takes them down. Those that it names come after those of `targets`.",
        ),
        AFTER,
        key(
            "package",
            Shape::Text(&NAME),
            "the only package",
            "Which package is released here; has to be said where the file has several.",
        ),
        key("service", service::SHAPE, REQUIRED, "How a release is started and stopped on a machine."),
        key(
            "folder",
            Shape::Text(&FOLDER_OF_MACHINE),
            "`/srv/` and the project's name",
            "The folder on each machine that holds the releases, and `current`, which points to one of them. Nobody else may write \
             there.",
        ),
        key(
            "port",
            Shape::Whole { least: 1, most: 65535 },
            "none",
            "The port that the application listens on; health is asked of it.",
        ),
        key(
            "health",
            Shape::Table(&health::FLEET_KEYS),
            "the service runs",
            "How a machine proves that it serves the release. Needs `port`.",
        ),
        key(
            "strategy",
            rollout::SHAPE,
            "`{ rolling = { max-unavailable = \"25%\" } }`",
            "In which order machines change: `\"all-at-once\"`, `\"rolling\"`, or a table.",
        ),
        key(
            "traffic",
            Shape::Table(&traffic::KEYS),
            "not Staith's concern",
            "Who sends requests to the machines: one provider.",
        ),
        key(
            "drain",
            Shape::Text(&DURATION),
            "`\"30s\"`",
            "How long requests in flight are given when traffic has moved away; may be `\"0s\"`.",
        ),
        key(
            "keep",
            Shape::Whole { least: 0, most: 1000 },
            "`3`",
            "Releases kept on each machine beside the current one, 0 to 1000; going back to one of them moves no bytes.",
        ),
        key(
            "variables",
            SETTINGS,
            "none",
            "Values for `#{NAME}#` in `render` and in the service's `env`, for settings in JSON and XML, and for the package's \
             parameters. A release keeps them by value.",
        ),
        key(
            "role-variables",
            Shape::Named { names: &NAME, of: &SETTINGS, filled: false, most: None },
            "none",
            "The same for machines of a role: `[environments.NAME.role-variables.web]`. They win over `variables`; those of a \
             target win over both.",
        ),
        key(
            "secrets",
            SETTING_SECRETS,
            "none",
            "Variables whose values are secrets, by the secrets' names. The service gets those that can be variables of an \
             environment. Values are never in the file, nor in a release.",
        ),
        key(
            "render",
            GLOBS,
            "none",
            "Files of the package that get values when they are put on a machine: globs.",
        ),
        key(
            "hooks",
            Shape::List { of: &Shape::Table(&hooks::KEYS), filled: true },
            "none",
            "Programs of the package that run on machines around the switch.",
        ),
        schema::CHANGE,
        schema::FLOOR,
    ],
    elsewhere: &[
        ("target", "targets"),
        ("host", "targets"),
        ("hosts", "targets"),
        ("ssh", "targets"),
        ("vm", "targets"),
        ("vms", "targets"),
        ("server", "targets"),
        ("servers", "targets"),
        ("machines", "targets"),
        ("artifact", "package"),
        ("path", "folder"),
        ("directory", "folder"),
        ("deploy-to", "folder"),
        ("deploy_to", "folder"),
        ("systemd", "service"),
        ("unit", "service"),
        ("command", "service"),
        ("process", "service"),
        ("healthcheck", "health"),
        ("health-check", "health"),
        ("health_check", "health"),
        ("rollout", "strategy"),
        ("deployment", "strategy"),
        ("balancer", "traffic"),
        ("load-balancer", "traffic"),
        ("loadbalancer", "traffic"),
        ("proxy", "traffic"),
        ("haproxy", "traffic"),
        ("vars", "variables"),
        ("parameters", "variables"),
        ("settings", "variables"),
        ("role_variables", "role-variables"),
        ("rendered", "render"),
        ("templates", "render"),
        ("transform", "render"),
        ("hook", "hooks"),
        ("floor", "rollback-floor"),
        ("rollback_floor", "rollback-floor"),
        ("needs", "after"),
        ("infrastructure", "provision"),
        ("terraform", "provision"),
        ("bicep", "provision"),
    ],
};

/// The environment of a table, the package that is released to it, and what makes its machines.
pub(super) fn environment(
    name: Option<Name>,
    table: &Table<'_>,
    packages: &[Name],
    project: Option<&Name>,
) -> Option<(FleetEnvironment, Name, Option<Provision>)> {
    let package = package::of_environment(table, packages);
    let inventory = targets::inventory(table);
    let targets = targets::read(table);
    refuse_nobody(table);
    let (rollout, pools) = rollout::read(table);
    let traffic = traffic::read(table);
    let has_inventory = table.has("inventory");
    let provision = provision::read(table);
    // Others name machines when a deployment is planned.
    let others_name = has_inventory || table.has("provision");
    if let Some(targets) = &targets {
        targets::refuse_pools(table, targets, pools.as_ref(), others_name);
    }
    refuse_missing_traffic(table, rollout.as_ref());
    // Any machine may have any role where others name the machines.
    let roles = targets.as_ref().filter(|_| !others_name).map(|targets| targets::roles(targets));
    let setting = setting(table, project, roles.as_deref());
    if let (Some(setting), Some(targets)) = (&setting, &targets) {
        refuse_shared_ports(table, setting, targets);
    }
    // Where something else can't be read, targets that say where they serve are believed to say their ports.
    let is_portless = |target: &Target| match &setting {
        Some(setting) => setting.port_on(target).is_none(),
        None => target.serves_at.is_none(),
    };
    let is_any = |targets: &Vec<_>| targets.iter().any(|target: &Placed<Target>| is_portless(&target.value));
    if others_name || targets.as_ref().is_none_or(is_any) {
        refuse_portless_health(table);
    }
    let targets = targets?.into_iter().map(|target| target.value).collect();
    let environment = FleetEnvironment {
        name: name?,
        targets,
        inventory: if has_inventory { Some(inventory?) } else { None },
        setting: setting?,
        rollout: rollout?,
        traffic: if table.has("traffic") { Some(traffic?) } else { None },
        drain_seconds: seconds(table, "drain", 0, DEFAULT_DRAIN_SECONDS),
        keep_releases: count(table, "keep", 0, 1000, DEFAULT_KEPT_RELEASES),
    };
    let provision = if table.has("provision") { Some(provision?) } else { None };
    Some((environment, package?, provision))
}

fn setting(table: &Table<'_>, project: Option<&Name>, roles: Option<&[Name]>) -> Option<ReleaseSetting> {
    let service = service::read(table, project);
    let folder = match table.has("folder") {
        true => table.text("folder", folder).map(|folder| folder.value),
        false => project.map(|project| format!("/srv/{project}")),
    };
    let port = table.number("port", 1, 65535).and_then(|port| u16::try_from(port).ok());
    let health = health::of_machines(table);
    let variables = settings::variables(table, "variables");
    let role_variables = settings::of_roles(table, roles);
    let secrets = settings::secrets(table, &variables, &role_variables);
    let hooks = hooks::read(table, roles);
    let schema = schema::read(table);
    let (health, min_healthy_seconds) = health?;
    let service: Service = service?;
    Some(ReleaseSetting {
        folder: folder?,
        service,
        health,
        port,
        min_healthy_seconds,
        variables: settings::values(variables),
        role_variables: role_variables.into_iter().map(|(role, of)| (role, settings::values(of))).collect(),
        secrets,
        rendered: values::texts(table.filled_list("render", values::glob).unwrap_or_default()),
        hooks: hooks?,
        schema: schema?,
    })
}

fn refuse_nobody(table: &Table<'_>) {
    if !["targets", "inventory", "provision"].iter().any(|key| table.has(key)) {
        table.missing("targets", "targets = [\"web1.example.net\"]");
    }
}

fn refuse_portless_health(table: &Table<'_>) {
    if let Some(entry) = table.entry("health").filter(|_| !table.has("port")) {
        table.problems().add(Problem::at(
            entry.key_place,
            format!("`health` of {} asks a port that is not said", table.title()),
            "the check is asked on the machine itself",
            "add the port that the application listens on: `port = 8080`",
        ));
    }
}

/// Two targets that are this machine can't both listen on one port.
fn refuse_shared_ports(table: &Table<'_>, setting: &ReleaseSetting, targets: &[Placed<Target>]) {
    let mut taken: Vec<(u16, &Placed<Target>)> = Vec::new();
    for target in targets.iter().filter(|target| target.value.access == Access::Local) {
        let Some(port) = setting.port_on(&target.value) else { continue };
        if let Some((_, first)) = taken.iter().find(|(other, _)| *other == port) {
            let problem = Problem::at(
                target.place.clone(),
                format!("two targets of {} are this machine and listen on port {port}", table.title()),
                "this one as well",
                "give each a port of its own: `serves-at = \"127.0.0.1:9001\"`; the program gets it as `PORT` where Staith keeps it \
                 running, or say it in its `variables`",
            );
            table.problems().add(problem.and_at(first.place.clone(), "this one"));
        }
        taken.push((port, target));
    }
}

fn refuse_missing_traffic(table: &Table<'_>, rollout: Option<&Rollout>) {
    let Some(entry) = table.entry("strategy").filter(|_| !table.has("traffic")) else { return };
    if matches!(rollout, Some(Rollout::BlueGreen { .. })) {
        table.problems().add(Problem::at(
            entry.key_place,
            format!("the strategy of {} moves traffic, and nothing says who sends it", table.title()),
            "blue and green differ by who gets requests",
            "add `traffic`: `traffic = { haproxy = { nodes = [\"unix:/run/haproxy/admin.sock\"], backend = \"shop\" } }`",
        ));
    }
}

/// A folder on a machine: absolute, plain, and none of the system's own.
fn folder(text: &str) -> Understood<String> {
    const OF_THE_SYSTEM: [&str; 14] = [
        "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin", "sys", "usr",
        "tmp",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+@".contains(c);
    let drive = text.get(1..3) == Some(":/") && text.starts_with(|c: char| c.is_ascii_alphabetic());
    let below = if drive { text.get(3..) } else { text.strip_prefix('/') };
    let parts: Vec<&str> = below.unwrap_or_default().split('/').collect();
    let is_plain = below.is_some_and(|below| below.chars().all(plain))
        && parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
    if !is_plain {
        return complaint(
            "is not a folder's path",
            "this is no absolute path of plain characters",
            "write the folder's whole path, for example \"/srv/shop\": letters, digits, `-`, `_`, `.`, `+`, `@`, without `..` and \
             without `/` at the end",
        );
    }
    let own = text.starts_with("/usr/local/") || drive;
    if !own && (parts.len() < 2 || OF_THE_SYSTEM.contains(&parts[0])) {
        return complaint(
            "is a folder of the system",
            "releases get a folder of their own, in which files come and go",
            "choose one below `/srv`, `/opt` or `/var`, for example \"/srv/shop\"",
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_get_a_folder_of_their_own() {
        for good in ["/srv/shop", "/opt/a/b", "/var/www/shop", "/usr/local/shop", "C:/sites/shop"] {
            assert!(folder(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "srv/x",
            "/srv",
            "/etc/x",
            "/srv/../etc",
            "/srv/a b",
            "/srv/x/",
            "/usr/bin/x",
            "/srv/$x",
            "/srv/x\n",
        ] {
            assert!(folder(bad).is_err(), "{bad:?}");
        }
    }
}
