//! `staith runner install`.

use std::{
    env,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::Exit;

use crate::{
    cli::unit::{self, path, quoted, write},
    home::Home,
    output::{self, OutputMode, Problem},
    worker::{Registration, Rooms},
};

/// Write a unit for systemd that keeps this home's runner running
///
/// Nothing is started or enabled: that is for whoever looks after the host, and the unit's first lines say how. A host that is registered
/// as a machine of an environment gets a unit that lets deployments write there.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to; standard output if not given. A file that is there is not replaced
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Jobs that may run at once
    #[arg(long, short, value_name = "NUMBER", default_value = "1")]
    jobs: NonZeroUsize,
    /// The user that the runner is; whoever systemd starts it as, if not given, which is root
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let program = env::current_exe().map_err(|refused| {
            Problem::bug(format!("the system does not say where this program is: {refused}"))
        })?;
        // A host that is not registered yet will build, as far as is known.
        let registration = Registration::find(&Rooms::of(&home))?;
        let form = match registration.is_some_and(|registration| registration.target.is_some()) {
            true => UNIT_OF_A_TARGET,
            false => UNIT,
        };
        let unit = unit(form, &program, home.path(), self.jobs, self.user.as_deref())?;
        let Some(to) = self.to else {
            return output::text(&unit).map(|()| Exit::Passed).map_err(|lost| Problem::unwritable(&lost));
        };
        write(&to, &unit)?;
        output::runner_installed(&to, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// A user's name in a unit, where it can't be quoted.
fn user_name(text: &str) -> Result<&str, Problem> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(is_fine) {
        return Err(Problem::new(Exit::Usage, format!("`{}` is no name of a user", text.escape_debug())));
    }
    Ok(text)
}

fn unit(
    form: &str,
    program: &Path,
    home: &Path,
    jobs: NonZeroUsize,
    user: Option<&str>,
) -> Result<String, Problem> {
    let user = match user {
        None => String::new(),
        Some(user) => format!("User={}\n", user_name(user)?),
    };
    Ok(form
        .replace("@PROGRAM@", &unit::program(program)?)
        .replace("@HOME@", &quoted(&format!("STAITH_HOME={}", path(home)?))?)
        .replace("@WRITABLE@", &quoted(path(home)?)?)
        .replace("@JOBS@", &jobs.to_string())
        .replace("@USER@\n", &user))
}

/// What a runner needs is little, and what it starts needs more: sandboxes are made of namespaces, mounts and control groups, so
/// those are not taken away, and nothing lies over parts of /proc: the kernel gives no new one then. Each sandbox has a name of its own, which
/// `ProtectHostname` forbids. Jobs outlive the runner's own
/// process (`KillMode`), and whoever is killed for memory takes nobody along (`OOMPolicy`).
const UNIT: &str = "\
# Written by `staith runner install`. To use it: put it at /etc/systemd/system/staith-runner.service, then
#   systemctl daemon-reload && systemctl enable --now staith-runner
# `staith runner drain` lets it finish what it has; `systemctl restart staith-runner` leaves jobs running, and takes them up again.
[Unit]
Description=Staith runner
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=@PROGRAM@ runner start --jobs @JOBS@
Environment=@HOME@
@USER@
Restart=on-failure
RestartSec=2s
# Jobs are kept by processes of their own, which a restart leaves alone.
KillMode=process
TimeoutStopSec=20s
# Steps get control groups of their own below the unit's.
Delegate=yes
OOMPolicy=continue
LimitNOFILE=65536
# What is nobody else's to read is made so. Steps are another user, who has to reach what they work on.
UMask=0022

# Only its home is its own to write.
ProtectSystem=strict
ReadWritePaths=@WRITABLE@
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelModules=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
CapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_RAWIO CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND

[Install]
WantedBy=multi-user.target
";

/// What a deployment does on a machine is what the account may: it writes where applications are, and units, and asks systemd. Its
/// hooks see the machine as it is. Services that it supervises itself outlive the runner (`KillMode`).
const UNIT_OF_A_TARGET: &str = "\
# Written by `staith runner install`, for a machine that pulls its deployments. To use it: put it at /etc/systemd/system/staith-runner.service, then
#   systemctl daemon-reload && systemctl enable --now staith-runner
[Unit]
Description=Staith runner, for deployments to this machine
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=@PROGRAM@ runner start
Environment=@HOME@
@USER@
Restart=on-failure
RestartSec=2s
# Another runner with this machine's key has begun: each would end the other for ever.
RestartPreventExitStatus=41
KillMode=process
TimeoutStopSec=20s
OOMPolicy=continue
LimitNOFILE=65536
UMask=0077

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::*;

    /// What a build host's unit must say, line by line, with why.
    const HARDENED: [(&str, &str); 12] = [
        ("ProtectSystem=strict", "the system is not its own to write"),
        ("ReadWritePaths=\"/srv/staith\"", "its home is"),
        ("ProtectHome=read-only", "nor are homes"),
        ("PrivateTmp=yes", "nobody sees or makes its temporary files"),
        ("ProtectKernelModules=yes", "it loads nothing into the kernel"),
        ("RestrictRealtime=yes", "it takes no processor for itself alone"),
        ("LockPersonality=yes", "nobody becomes another kind of system"),
        ("SystemCallArchitectures=native", "only calls that filters know"),
        (
            "CapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_RAWIO CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND",
            "nobody below it has these, whoever it is",
        ),
        ("UMask=0022", "steps, which are another user, reach what they work on"),
        ("KillMode=process", "a restart leaves jobs alone"),
        ("Delegate=yes", "steps have control groups below its own"),
    ];

    #[test]
    fn each_line_that_hardens_a_build_host_is_in_its_service() {
        let unit =
            unit(UNIT, Path::new("/usr/bin/staith"), Path::new("/srv/staith"), NonZeroUsize::MIN, None)
                .unwrap();
        let (_, service) = unit.split_once("[Service]\n").unwrap();
        let (service, _) = service.split_once("\n[Install]").unwrap();
        for (line, why) in HARDENED {
            assert_eq!(
                service.lines().filter(|there| *there == line).count(),
                1,
                "`{line}`, so that {why}:\n{unit}"
            );
        }
        // A second line of the same key would add to it or take it back.
        for key in ["ReadWritePaths=", "CapabilityBoundingSet=", "ProtectSystem=", "AmbientCapabilities="] {
            assert!(unit.lines().filter(|line| line.starts_with(key)).count() <= 1, "`{key}`:\n{unit}");
        }
    }

    #[test]
    fn what_systemd_would_take_for_something_else_is_escaped() {
        let one = NonZeroUsize::MIN;
        let unit = unit(UNIT, Path::new("/opt/a b/$x%y\"z/staith"), Path::new("/srv/100%"), one, Some("ci"))
            .unwrap();
        assert!(unit.contains("ExecStart=\"/opt/a b/$$x%%y\\\"z/staith\" runner start --jobs 1\n"), "{unit}");
        assert!(unit.contains("Environment=\"STAITH_HOME=/srv/100%%\"\nUser=ci\nRestart="), "{unit}");
        assert!(unit.contains("KillMode=process\n") && !unit.contains('@'), "{unit}");
        let target = super::unit(UNIT_OF_A_TARGET, Path::new("/a"), Path::new("/h"), one, None).unwrap();
        assert!(target.contains("ExecStart=\"/a\" runner start\n") && !target.contains('@'), "{target}");
        assert!(!target.contains("ProtectSystem"), "a deployment writes where the application is");
        assert!(super::unit(UNIT, Path::new("/a"), Path::new("/h"), one, Some("ci\nRoot=x")).is_err());
        assert!(
            super::unit(UNIT, Path::new("/a\nExecStartPre=/bin/sh"), Path::new("/h"), one, None).is_err()
        );
    }
}
