//! `staith env sweep --install`: a timer of systemd that gives the command.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use staith_model::Exit;

use crate::{
    cli::unit::{ensure, path, program, quoted},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Of both units.
const NAME: &str = "staith-sweep";

/// Whose systemd gives the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    /// The machine's: who installs it is the superuser.
    System,
    /// The account's own, which runs while somebody is logged in, or always where that was said (`loginctl enable-linger`).
    User,
}

impl Manager {
    fn of_this_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::System } else { Self::User }
    }

    /// Where it finds units.
    fn directory(self) -> Result<PathBuf, Problem> {
        let below_home = || Some(PathBuf::from(env::var_os("HOME")?).join(".config"));
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        match self {
            Self::System => Ok(PathBuf::from("/etc/systemd/system")),
            Self::User => {
                config.or_else(below_home).map(|config| config.join("systemd/user")).ok_or_else(|| {
                    Problem::new(Exit::Usage, "nothing says where this account's units are")
                        .with_why("neither HOME nor XDG_CONFIG_HOME is set")
                        .with_remedy("name a directory with `--to`")
                })
            }
        }
    }

    /// What it is told when the units are written.
    fn words(self) -> [Vec<&'static str>; 2] {
        let words = |what: &[&'static str]| match self {
            Self::System => what.to_vec(),
            Self::User => [&["--user"], what].concat(),
        };
        [words(&["daemon-reload"]), words(&["enable", "--now", "staith-sweep.timer"])]
    }

    /// What else keeps a machine from being the only one that knows of it.
    const fn remark(self) -> Option<&'static str> {
        match self {
            Self::System => None,
            Self::User => Some("`loginctl enable-linger` has it go on when nobody is logged in"),
        }
    }
}

/// Writes the units for this home, and has systemd begin; with a directory, they are only written there.
pub(super) fn install(to: Option<&Path>, mode: OutputMode) -> Result<Exit, Problem> {
    let (home, manager) = (Home::find()?, Manager::of_this_process());
    let this = env::current_exe().map_err(|refused| {
        Problem::bug(format!("the system does not say where this program is: {refused}"))
    })?;
    let directory = match to {
        Some(to) => to.to_owned(),
        None => manager.directory()?,
    };
    let service = service(manager, &this, home.path(), &passed_on())?;
    let files = [(format!("{NAME}.service"), service.as_str()), (format!("{NAME}.timer"), TIMER)];
    if to.is_none() {
        fs::create_dir_all(&directory).map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", directory.display()))
                .with_why(refused.to_string())
        })?;
    }
    for (name, text) in &files {
        ensure(&directory.join(name), text)?;
    }
    if to.is_none() {
        for words in manager.words() {
            tell(&words)?;
        }
    }
    let written: Vec<PathBuf> = files.iter().map(|(name, _)| directory.join(name)).collect();
    let remark = manager.remark().filter(|_| to.is_none());
    output::sweep_installed(&written, to.is_none(), remark, mode)
        .map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

/// What the command goes by beside its home: which programs are found, and how machines are reached.
fn passed_on() -> Vec<(&'static str, String)> {
    let named = ["PATH", "STAITH_SSH_CONFIG"].into_iter();
    named.filter_map(|name| Some((name, env::var(name).ok()?))).collect()
}

fn tell(words: &[&str]) -> Result<(), Problem> {
    let given = format!("systemctl {}", words.join(" "));
    let failed = |why: String| {
        Problem::new(Exit::Environment, format!("the units are written, and `{given}` failed"))
            .with_why(why)
            .with_remedy(
                "give it by hand where systemd runs; elsewhere have something else give `staith env sweep` every few minutes",
            )
    };
    let came = Command::new("systemctl").args(words).output().map_err(|error| failed(error.to_string()))?;
    if came.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&came.stderr).trim().to_owned();
    Err(failed(if said.is_empty() { came.status.to_string() } else { said }))
}

fn service(
    manager: Manager,
    this: &Path,
    home: &Path,
    passed_on: &[(&str, String)],
) -> Result<String, Problem> {
    let mut environment = format!("Environment={}\n", quoted(&format!("STAITH_HOME={}", path(home)?))?);
    for (name, value) in passed_on {
        environment += &format!("Environment={}\n", quoted(&format!("{name}={value}"))?);
    }
    let (network, hardened) = match manager {
        Manager::System => (NETWORK, HARDENED),
        Manager::User => ("", ""),
    };
    Ok(SERVICE
        .replace("@NETWORK@\n", network)
        .replace("@HARDENED@\n", hardened)
        .replace("@PROGRAM@", &program(this)?)
        .replace("@ENVIRONMENT@\n", &environment))
}

/// What takes machines down is what a project gave for it (Terraform, `az`, programs), as the account that made them: it keeps sign-ins
/// and caches in that account's home, and machines may be this one. So the file system stays writable but for the system's programs.
const SERVICE: &str = "\
# Written by `staith env sweep --install`, with staith-sweep.timer. What it could not do is told by `systemctl status staith-sweep` and
# tried again by the next; exit code 30 means that something is still there.
[Unit]
Description=Staith: takes down machines whose time is up
@NETWORK@

[Service]
Type=oneshot
ExecStart=@PROGRAM@ env sweep
@ENVIRONMENT@
# Who stops it stops Staith, which asks the program that it started to end, and waits for it.
KillMode=mixed
TimeoutStopSec=5min
OOMPolicy=continue
UMask=0077

NoNewPrivileges=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
@HARDENED@
";

const NETWORK: &str = "Wants=network-online.target\nAfter=network-online.target\n";

/// What an account's own systemd can't give everywhere: it needs namespaces, or capabilities to take away.
const HARDENED: &str = "\
ProtectSystem=yes
PrivateTmp=yes
ProtectKernelModules=yes
ProtectHostname=yes
CapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_RAWIO CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND
";

/// A sweep that is still under way is not begun again.
const TIMER: &str = "\
# Written by `staith env sweep --install`, with staith-sweep.service.
[Unit]
Description=Staith: looks every five minutes which machines have had their time

[Timer]
OnCalendar=*:0/5
Persistent=true
RandomizedDelaySec=30s

[Install]
WantedBy=timers.target
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_say_which_home_and_which_programs_and_escape_what_systemd_would_take_for_something_else() {
        let (this, home) = (Path::new("/opt/a b/$x%y\"z/staith"), Path::new("/srv/100%"));
        let passed = [("PATH", "/opt/tofu:/usr/bin".to_owned())];
        let unit = service(Manager::System, this, home, &passed).unwrap();
        assert!(unit.contains("ExecStart=\"/opt/a b/$$x%%y\\\"z/staith\" env sweep\n"), "{unit}");
        let environment =
            "Environment=\"STAITH_HOME=/srv/100%%\"\nEnvironment=\"PATH=/opt/tofu:/usr/bin\"\n#";
        assert!(unit.contains(environment) && !unit.contains('@'), "{unit}");
        assert!(
            unit.contains("\nProtectSystem=yes\n") && unit.contains("\nAfter=network-online.target\n"),
            "{unit}"
        );
        // What an account's own systemd can't do would keep the unit from starting.
        let unit = service(Manager::User, this, home, &passed).unwrap();
        assert!(unit.contains("\nNoNewPrivileges=yes\n") && !unit.contains('@'), "{unit}");
        assert!(!unit.contains("Protect") && !unit.contains("network-online"), "{unit}");
        let lines = Path::new("/a\nExecStartPre=/bin/sh");
        assert!(service(Manager::User, lines, home, &[]).is_err());
        assert!(service(Manager::User, this, lines, &[]).is_err());
        assert!(service(Manager::User, this, home, &[("PATH", "/a\nUser=root".to_owned())]).is_err());
    }

    #[test]
    fn each_systemd_is_told_in_its_own_words() {
        assert_eq!(Manager::System.words()[1], ["enable", "--now", "staith-sweep.timer"]);
        assert_eq!(Manager::User.words()[0], ["--user", "daemon-reload"]);
        assert!(Manager::User.remark().is_some() && Manager::System.remark().is_none());
    }
}
