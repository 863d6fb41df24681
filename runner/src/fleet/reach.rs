//! How machines are spoken to.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{Access, FleetEnvironment, Name, Target};
use staith_releaser::fleet::{
    machine::Machine,
    program,
    remote::RemoteMachine,
    ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay},
    way::{Child, Way},
};

/// Each machine, not contacted yet.
pub(super) fn machines(
    environment: &FleetEnvironment,
    targets: &[Target],
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
        let machine = RemoteMachine::new(target.name.to_string(), way, folder.clone());
        Some((target.name.clone(), Arc::new(machine)))
    };
    targets.iter().filter_map(reached).collect()
}

/// As OpenSSH is configured for this user, or as the file says that `STAITH_SSH_CONFIG` names.
pub(super) fn ssh_options() -> SshOptions {
    let config = std::env::var_os("STAITH_SSH_CONFIG").filter(|path| !path.is_empty()).map(Into::into);
    SshOptions { config, ..SshOptions::default() }
}
