//! How machines and traffic providers are spoken to.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{Access, Exit, FleetEnvironment, Name, Secret, Target, TrafficSpec};
use staith_releaser::fleet::{
    balancer::{
        Balancer,
        haproxy::{Dial, HaProxy, NodeSpec},
    },
    machine::Machine,
    program,
    remote::{Memory, RemoteMachine},
    ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay},
    way::{Child, Way},
};

use crate::output::Problem;

/// Each machine, not contacted yet.
pub(super) fn machines(
    environment: &FleetEnvironment,
    targets: &[Target],
    memory: &Memory,
) -> BTreeMap<Name, Arc<dyn Machine>> {
    let client = SshClient::new(ssh_options());
    let program = Arc::new(Program::new(program::bytes(), program::digest()));
    let folder = &environment.setting.folder;
    let reached = |target: &Target| -> Option<(Name, Arc<dyn Machine>)> {
        let way = match &target.access {
            Access::Local => Way::Child(Child::default()),
            Access::Ssh { .. } => Way::Ssh(Box::new(SshWay {
                target: target.name.to_string(),
                destination: Destination::of_access(&target.access)?,
                client: client.clone(),
                program: Arc::clone(&program),
                arguments: vec!["serve".into(), "--folder".into(), folder.clone()],
                places: Places::default(),
                superuser: false,
            })),
            // Nobody speaks to these from here yet: planning says so.
            Access::Pull | Access::Windows { .. } => return None,
        };
        let machine =
            RemoteMachine::new(target.name.to_string(), way, folder.clone()).remembering(memory.clone());
        Some((target.name.clone(), Arc::new(machine)))
    };
    targets.iter().filter_map(reached).collect()
}

/// As OpenSSH is configured for this user, or as the file says that `STAITH_SSH_CONFIG` names.
fn ssh_options() -> SshOptions {
    let config = std::env::var_os("STAITH_SSH_CONFIG").filter(|path| !path.is_empty()).map(Into::into);
    SshOptions { config, ..SshOptions::default() }
}

/// Who balances, not contacted yet.
///
/// # Errors
/// What the environment says of it can't be understood (20).
pub(super) async fn balancer(
    environment: &FleetEnvironment,
    _targets: &[Target],
    _secrets: &BTreeMap<String, Secret>,
) -> Result<Option<Arc<dyn Balancer>>, Problem> {
    let Some(traffic) = &environment.traffic else { return Ok(None) };
    match traffic {
        TrafficSpec::Haproxy { nodes, backend, .. } => {
            let mut specs = Vec::new();
            for node in nodes {
                let dial = Dial::parse(node).ok_or_else(|| {
                    Problem::new(
                        Exit::Configuration,
                        format!("`{node}` is no address of HAProxy's runtime API"),
                    )
                    .with_remedy("write unix:/run/haproxy/admin.sock or tcp:HOST:PORT")
                })?;
                specs.push(NodeSpec { runtime: dial, master: None, keep: None });
            }
            Ok(HaProxy::new(specs, backend).map(|haproxy| Arc::new(haproxy) as Arc<dyn Balancer>))
        }
        TrafficSpec::BuiltIn { .. } | TrafficSpec::Dns { .. } | TrafficSpec::TrafficManager { .. } => {
            Err(Problem::new(
                Exit::Configuration,
                format!(
                    "the traffic provider of environment `{}` is not part of this version",
                    environment.name
                ),
            )
            .with_remedy(
                "HAProxy is; or leave `traffic` out and let machines be taken out of traffic by hooks",
            ))
        }
    }
}
