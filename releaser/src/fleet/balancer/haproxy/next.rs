//! What a node is to be told now. Pure: from what it says, who is to serve, and which members were declared down since this call began.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Server;

/// Servers of a backend by name.
pub(super) type Servers = BTreeMap<String, Server>;

/// Who is to serve, by weight.
pub(super) type To = BTreeMap<String, u32>;

/// A command for one server.
pub(super) fn set(backend: &str, server: &str, what: &str) -> String {
    format!("set server {backend}/{server} {what}")
}

/// Members that are to be brought in, without traffic: those that are in maintenance or have no weight yet. One that drains
/// and is up was under its check all the time, and needs nothing but to be admitted again.
pub(super) fn to_bring_in(servers: &Servers, to: &To, brought: &BTreeSet<String>) -> Vec<String> {
    let comes = |name: &&String| {
        servers.get(*name).is_some_and(|server| server.in_maintenance() || server.weight == 0)
            && !brought.contains(*name)
    };
    to.keys().filter(comes).cloned().collect()
}

/// The commands that bring one in. The weight comes first: there is no moment at which it is ready and has one. It is declared
/// down because HAProxy would take it for up until its check fails.
pub(super) fn bring_in(backend: &str, name: &str) -> Vec<String> {
    ["weight 0", "state ready", "health down"].map(|what| set(backend, name, what)).into()
}

/// Members that are not up; nothing is given to those that come, or taken from those that go, before there are none.
pub(super) fn waited_for(servers: &Servers, to: &To) -> BTreeSet<String> {
    let waits =
        |name: &&String| servers.get(*name).is_none_or(|server| !server.up || server.in_maintenance());
    to.keys().filter(waits).cloned().collect()
}

/// The commands that give all that are to serve their requests.
pub(super) fn admit(backend: &str, servers: &Servers, to: &To) -> Vec<String> {
    let mut commands = vec![];
    for (name, weight) in to {
        let Some(server) = servers.get(name) else { continue };
        if server.weight != *weight {
            commands.push(set(backend, name, &format!("weight {weight}")));
        }
        if server.is_draining() {
            commands.push(set(backend, name, "state ready"));
        }
    }
    commands
}

/// The commands that take new requests from all that go. Only for when all that come are admitted.
pub(super) fn drain(backend: &str, servers: &Servers, to: &To) -> Vec<String> {
    let goes = servers.iter().filter(|(name, server)| {
        !to.contains_key(*name) && !server.is_draining() && !server.in_maintenance()
    });
    goes.map(|(name, _)| set(backend, name, "state drain")).collect()
}

/// Members that go and were not retired yet, with the sessions that they have.
pub(super) fn leaving(servers: &Servers, to: &To) -> BTreeMap<String, u64> {
    let leaves = servers.iter().filter(|(name, server)| !to.contains_key(*name) && !server.in_maintenance());
    leaves.map(|(name, server)| (name.clone(), server.sessions)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether exactly these serve and nobody else is on the way in or out.
    fn is_settled(servers: &Servers, to: &To) -> bool {
        waited_for(servers, to).is_empty()
            && to.iter().all(|(name, weight)| {
                servers.get(name).is_some_and(|server| server.is_admitted() && server.weight == *weight)
            })
            && leaving(servers, to).is_empty()
    }

    fn server() -> impl Strategy<Value = Server> {
        (
            any::<bool>(),
            prop_oneof![Just(0u32), Just(1), Just(4), Just(5), Just(8), Just(12)],
            0u32..3,
            0u64..3,
        )
            .prop_map(|(up, admin, weight, sessions)| Server {
                up: up && admin & 1 == 0,
                admin,
                weight,
                checked: true,
                sessions,
                check: String::new(),
            })
    }

    /// HAProxy in a few lines, with checks that always pass.
    fn carry_out(servers: &mut Servers, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let server = servers.get_mut(words[2].split_once('/').unwrap().1).unwrap();
        match (words[3], words[4]) {
            ("weight", weight) => server.weight = weight.parse().unwrap(),
            ("state", "ready") => {
                server.admin &= !9;
                server.up = true;
            }
            ("state", "drain") => server.admin = server.admin & !1 | 8,
            ("state", "maint") => {
                server.admin |= 1;
                server.up = false;
            }
            ("health", "down") => server.up = false,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Killed after any command and begun again: it comes to what was asked, nobody is admitted who was not found up, and
        /// once somebody serves, somebody always does.
        #[test]
        fn it_converges_from_anywhere_and_is_never_without_a_server(
            mut servers in prop::collection::btree_map("[a-d]", server(), 2..5),
            choice in prop::collection::vec((0usize..4, 1u32..3), 1..4),
            kills in prop::collection::vec(0usize..4, 0..12),
        ) {
            let names: Vec<String> = servers.keys().cloned().collect();
            let to: To = choice.into_iter().map(|(at, weight)| (names[at % names.len()].clone(), weight)).collect();
            let serving = |servers: &Servers| servers.values().any(|server| server.is_admitted() && server.up);
            let mut served = serving(&servers);
            let (mut kills, mut brought) = (kills.into_iter(), BTreeSet::new());
            for _ in 0..100 {
                if is_settled(&servers, &to) { break; }
                let coming = to_bring_in(&servers, &to, &brought);
                let mut commands: Vec<String> = coming.iter().flat_map(|name| bring_in("app", name)).collect();
                brought.extend(coming);
                if commands.is_empty() {
                    if waited_for(&servers, &to).is_empty() {
                        commands = admit("app", &servers, &to);
                        if commands.is_empty() { commands = drain("app", &servers, &to); }
                        if commands.is_empty() {
                            commands = leaving(&servers, &to).keys().map(|name| set("app", name, "state maint")).collect();
                        }
                    } else {
                        // The checks pass.
                        servers.values_mut().filter(|server| !server.in_maintenance()).for_each(|server| server.up = true);
                    }
                }
                let done = match kills.next() { Some(kill) => { brought.clear(); kill.min(commands.len()) }, None => commands.len() };
                for command in &commands[..done] {
                    carry_out(&mut servers, command);
                    prop_assert!(!served || serving(&servers), "nobody serves after {command}");
                    served |= serving(&servers);
                }
            }
            prop_assert!(is_settled(&servers, &to), "{servers:?} {to:?}");
        }
    }
}
