//! Which kind of environment a table describes, and what belongs into neither.

use super::{
    super::{
        keys::Keys,
        problems::{Problem, Problems, quoted},
        suggest::listed,
        walk::{Entry, in_file_order},
    },
    FLEET_KEYS, KEYS,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Local,
    Fleet,
}

/// Words by which people describe machines, beside the keys themselves.
const OF_MACHINES: [&str; 9] =
    ["targets", "inventory", "host", "hosts", "ssh", "target", "vm", "server", "servers"];

/// What protects an environment, whatever other tools call it.
const PROTECTION: [&str; 26] = [
    "approval",
    "approvals",
    "approvers",
    "reviewers",
    "required-reviewers",
    "required_reviewers",
    "checks",
    "check",
    "gates",
    "gate",
    "branches",
    "branch",
    "windows",
    "window",
    "freeze",
    "freezes",
    "hours",
    "schedule",
    "queue",
    "lock",
    "concurrency",
    "protection",
    "protected",
    "protect",
    "manual",
    "wait-timer",
];

/// What a table describes: what names its machines decides, then what it says of them, and the rest is on this machine.
pub(super) fn of(entry: &Entry<'_>) -> Kind {
    let keys = keys_of(entry);
    let has = |words: &[&str]| keys.iter().any(|entry| words.contains(&entry.key));
    let is_of_machines = |entry: &Entry<'_>| only(&FLEET_KEYS, &KEYS, entry.key);
    if has(&OF_MACHINES[..2])
        || (!has(&["listen", "run"]) && (has(&OF_MACHINES) || keys.iter().any(is_of_machines)))
    {
        Kind::Fleet
    } else {
        Kind::Local
    }
}

fn keys_of<'t>(entry: &Entry<'t>) -> Vec<Entry<'t>> {
    entry.value.get_ref().as_table().map(in_file_order).unwrap_or_default()
}

fn only(one: &Keys, other: &Keys, key: &str) -> bool {
    one.names().any(|name| name == key) && !other.names().any(|name| name == key)
}

/// Complains about keys of the other kind; says whether there are any. One complaint tells it all.
pub(super) fn refuse_mixture(entry: &Entry<'_>, kind: Kind, problems: &Problems) -> bool {
    let (own, other) = match kind {
        Kind::Local => (&KEYS, &FLEET_KEYS),
        Kind::Fleet => (&FLEET_KEYS, &KEYS),
    };
    let keys = keys_of(entry);
    // What means something else here is told better where keys are read.
    let is_other_word = |key: &str| own.elsewhere.iter().any(|(word, _)| *word == key);
    let foreign = || keys.iter().filter(|entry| only(other, own, entry.key) && !is_other_word(entry.key));
    let Some(first) = foreign().next() else { return false };
    let tells = match kind {
        Kind::Local => keys.iter().find(|entry| ["listen", "run"].contains(&entry.key)),
        Kind::Fleet => {
            keys.iter().find(|entry| OF_MACHINES.contains(&entry.key) || only(own, other, entry.key))
        }
    };
    let (is, label, instead) = match kind {
        Kind::Local => ("is on this machine", "this belongs to an environment of machines", "`targets`"),
        Kind::Fleet => {
            ("has machines", "this belongs to an environment on this machine", "`listen` and `run`")
        }
    };
    let names = |keys: &Keys, than: &Keys| listed(keys.names().filter(|name| only(keys, than, name)));
    let problem = Problem::at(
        first.key_place.clone(),
        format!("environment `{}` {is}, and `{}` is of the other kind", entry.key, first.key),
        label,
        format!(
            "remove {}, or say {instead} in another environment; only on this machine: {}; only of machines: {}",
            listed(foreign().map(|entry| entry.key)),
            names(&KEYS, &FLEET_KEYS),
            names(&FLEET_KEYS, &KEYS),
        ),
    );
    problems.add(match tells {
        Some(tells) => problem.and_at(tells.key_place.clone(), "this says which kind it is"),
        None => problem,
    });
    true
}

/// Complains about what protects an environment; says whether there is something.
pub(super) fn refuse_protection(entry: &Entry<'_>, problems: &Problems) -> bool {
    let mut found = false;
    for key in keys_of(entry).into_iter().filter(|key| PROTECTION.contains(&key.key)) {
        found = true;
        problems.add(Problem::at(
            key.key_place,
            format!("{} of environment `{}` can't be said in this file", quoted(key.key), entry.key),
            "who may change this file could take the protection away",
            "approvals, checks, branches, windows and queues are kept where no pull request reaches them: in `config.toml` of \
             the home of who deploys; remove it here",
        ));
    }
    found
}
