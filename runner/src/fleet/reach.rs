//! How machines are spoken to.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{Access, FleetEnvironment, Name, Target};
use staith_releaser::fleet::{
    machine::Machine,
    provision::Reach,
    remote::{Memory, RemoteMachine},
    ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay},
    way::{Child, Way},
    windows::{OverSsh, WindowsMachine},
};

use crate::tunnel::Through;

/// Each machine, not contacted yet; without those that pull, where there is no server between. `pulls` is the way to those.
pub(super) fn machines(
    environment: &FleetEnvironment,
    targets: &[Target],
    memory: &Memory,
    pulls: Option<&Through>,
) -> BTreeMap<Name, Arc<dyn Machine>> {
    let client = SshClient::new(ssh_options());
    let program = Arc::new(Program::embedded());
    let reached = |target: &Target| -> Option<(Name, Arc<dyn Machine>)> {
        let (name, folder) = (target.name.to_string(), environment.folder_on(target));
        if let Access::Windows { gets, .. } = &target.access {
            let by = OverSsh { destination: Destination::of_access(&target.access)?, client: client.clone() };
            let machine = WindowsMachine::new(name, &folder, gets.clone(), by);
            return Some((target.name.clone(), Arc::new(machine)));
        }
        let way = match &target.access {
            Access::Pull => {
                let machine = RemoteMachine::new(name, pulls?.to(&target.name), folder);
                return Some((target.name.clone(), Arc::new(machine.remembering(memory.clone()))));
            }
            Access::Local => Way::Child(Child::default()),
            Access::Ssh { superuser, .. } => Way::Ssh(Box::new(SshWay {
                target: name.clone(),
                destination: Destination::of_access(&target.access)?,
                client: client.clone(),
                program: Arc::clone(&program),
                arguments: vec!["serve".into(), "--folder".into(), folder.clone()],
                places: Places::default(),
                superuser: *superuser,
            })),
            Access::Windows { .. } => return None,
        };
        let machine = RemoteMachine::new(name, way, folder).remembering(memory.clone());
        Some((target.name.clone(), Arc::new(machine)))
    };
    targets.iter().filter_map(reached).collect()
}

/// How each machine is asked whether it is ready; those that are not reached from here are left out.
pub(super) fn asked(targets: &[Target]) -> Vec<(Name, Reach)> {
    let client = SshClient::new(ssh_options());
    let reached = |target: &Target| match &target.access {
        Access::Local => Some((target.name.clone(), Reach::Here)),
        Access::Ssh { .. } => {
            let to = Destination::of_access(&target.access)?;
            Some((target.name.clone(), Reach::Ssh(client.clone(), to)))
        }
        Access::Pull | Access::Windows { .. } => None,
    };
    targets.iter().filter_map(reached).collect()
}

/// As OpenSSH is configured for this user, or as the file says that `STAITH_SSH_CONFIG` names.
pub(super) fn ssh_options() -> SshOptions {
    let config = std::env::var_os("STAITH_SSH_CONFIG").filter(|path| !path.is_empty()).map(Into::into);
    SshOptions { config, ..SshOptions::default() }
}
