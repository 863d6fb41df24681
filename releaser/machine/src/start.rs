//! What a unit starts: it becomes the application that `current` points to.

use std::{convert::Infallible, fs, io, os::unix::process::CommandExt as _, path::Path, process::Command};

use rustix::process::{Gid, Uid};
use staith_model::Service;

use crate::{
    account,
    keep::{self, running::Running},
    layout::{Layout, release_of},
    protocol::Asked,
    refusal::{self, Outcome},
    run, spec,
    spec::Spec,
};

/// Becomes the application; returns only if that can't be done.
pub(crate) fn start(layout: &Layout) -> Outcome<Infallible> {
    let Err(why) = become_it(layout);
    // Whoever waits for a restart by us is told; systemd finds out by itself.
    if let Asked::Impossible { why, .. } = &why
        && keep::is_kept(layout)
    {
        let _ = Running::tell(layout, Some(why));
    }
    Err(why)
}

fn become_it(layout: &Layout) -> Outcome<Infallible> {
    let link = layout.current();
    // Once: what `current` points to a moment later is another start's concern.
    let target = fs::read_link(&link).map_err(refusal::io("read", &link))?;
    let release = target.file_name().and_then(|name| release_of(name.to_str()?));
    let deploy = "deploy a release to this machine";
    let release = release
        .ok_or_else(|| refusal::environment(format!("{} points to no release", link.display()), deploy))?;
    let home = layout.release(&release);
    let service = Spec::read(layout, &release)?.map(|spec| spec.service);
    let (command, env, user) = match service {
        Some(Service::Systemd { command, env, user, .. }) => (command, env, user),
        Some(Service::Supervised { command, env, user, .. }) => {
            Running::tell(layout, None).map_err(refusal::io("write", &layout.running()))?;
            (command, env, user)
        }
        _ => {
            let why = format!("the release at {} is not there, or is not run by Staith", home.display());
            return Err(refusal::environment(why, deploy));
        }
    };
    let name = command.first().map_or("", String::as_str);
    let mut program = Command::new(run::program(&home, name));
    program.args(command.iter().skip(1)).current_dir(&home).envs(&env);
    for (key, secret) in spec::secrets(layout, &release)? {
        secret.0.expose_to(|value| {
            program.env(&key, value);
        });
    }
    program.env("STAITH_RELEASE", release.to_string()).env("STAITH_FOLDER", layout.root());
    if let Some(user) = user.filter(|_| rustix::process::geteuid().is_root()) {
        become_account(&mut program, &user)?;
    }
    let error = program.exec();
    Err(cannot_start(name, &home, &error))
}

/// Takes an account's rights, for good. Nothing but this thread is there yet.
fn become_account(program: &mut Command, user: &str) -> Outcome<()> {
    let account = account::find(user)?;
    program.env("USER", user).env("LOGNAME", user).env("HOME", &account.home).env("SHELL", &account.shell);
    let groups: Vec<Gid> = account::groups(user, account.group).into_iter().map(Gid::from_raw).collect();
    let (own_user, own_group) = (Uid::from_raw(account.user), Gid::from_raw(account.group));
    let taken = rustix::thread::set_thread_groups(&groups)
        .and_then(|()| rustix::thread::set_thread_res_gid(own_group, own_group, own_group))
        .and_then(|()| rustix::thread::set_thread_res_uid(own_user, own_user, own_user));
    taken.map_err(|error| {
        refusal::environment(
            format!("can't take the rights of the account `{user}`: {error}"),
            "let the unit start this program as the superuser",
        )
    })
}

fn cannot_start(name: &str, home: &Path, error: &io::Error) -> crate::protocol::Asked {
    refusal::project(
        format!("`{name}` can't be started in {}: {error}", home.display()),
        "correct the service's command in runner.toml, or what the package holds",
    )
}
