//! Whether this host can isolate a step: found out by isolating one, not by reading settings. Settings are read only to
//! tell people what to change.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    sync::Arc,
    time::Duration,
};

use staith_model::{Digest, Limits, Network};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Shared, host,
    protocol::{SetupError, Stage},
    supervise, sys,
};
use crate::engine::{Capabilities, EngineError, StepExit, StepSpec, Support};

/// Far longer than a sandbox takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this host gives. A trial that succeeded is remembered until something changes that it depended on: each step's own
/// sandbox is made in full or not at all, so the memory saves time and weakens nothing.
pub(super) async fn probe(shared: &Arc<Shared>) -> Result<Capabilities, EngineError> {
    let cgroups = shared.cgroups().await?;
    // Its identity is part of the circumstances; if it can't be made, the trial says so.
    let _ = fs::create_dir_all(&shared.state);
    let mark = shared.state.join(format!("tried-{}", circumstances(shared).hex()));
    if !mark.exists() {
        try_one(shared).await?;
        // Without the mark the next run tries again: slower, not wrong.
        let _ = forget_marks(&shared.state).and_then(|()| fs::write(mark, ""));
    }
    Ok(Capabilities {
        file_owner: shared.as_root.then_some(shared.outside),
        memory_limit: cgroups.memory.clone(),
        // The kernel's limit per user namespace holds on every host.
        process_limit: Support::Enforced,
        cpu_limit: cgroups.cpu.clone(),
        landlock_abi: sys::landlock_abi(),
    })
}

/// All that a trial's outcome depends on, as far as it can be seen: the boot, the kernel and its settings, this program, who
/// runs it, where its state is, and the control group that it is in.
fn circumstances(shared: &Shared) -> Digest {
    let file = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel =
        ["/proc/sys/kernel/random/boot_id", "/proc/version", "/proc/self/cgroup", "/proc/self/uid_map"]
            .map(text);
    let facts = format!("{:?}", Facts::of_this_host());
    let program = shared.helper.first().and_then(|program| file(Path::new(program)));
    let place = fs::metadata(&shared.state).ok().map(|found| (found.dev(), found.ino()));
    Digest::of_value("staith.trial.v1", &(kernel, facts, program, place, shared.outside))
}

/// Forgets that a trial succeeded: before another is remembered, and when a sandbox could not be made all the same.
pub(super) fn forget_marks(state: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("tried-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Runs a small step in a sandbox with all that steps can ask for.
async fn try_one(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let scratch = scratch(shared).map_err(|error| EngineError::Setup {
        doing: format!("making a directory to try the sandbox in, below {}", shared.state.display()),
        why: error.to_string(),
    })?;
    let (output, mut said) = mpsc::channel(16);
    let step = trial(scratch.path());
    let watched = supervise::supervise(
        Arc::clone(shared),
        step,
        output,
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let mut heard = Vec::new();
    let listen = async {
        while let Some(chunk) = said.recv().await {
            heard.extend(chunk.bytes);
        }
    };
    let (exit, ()) = tokio::join!(watched, listen);
    match exit? {
        StepExit::Code(0) => Ok(()),
        other => Err(EngineError::Unsupported {
            what: format!("a trial step ended with {other:?}: {}", String::from_utf8_lossy(&heard)),
            remedy: "run it by hand with STAITH_LOG=debug, and report this".to_owned(),
        }),
    }
}

/// Layers for the trial, in the state directory because that is where steps have theirs.
pub(super) fn scratch(shared: &Shared) -> io::Result<tempfile::TempDir> {
    fs::create_dir_all(&shared.state)?;
    let scratch = tempfile::Builder::new().prefix("probe-").tempdir_in(&shared.state)?;
    for name in ["lower", "upper", "work"] {
        let directory = scratch.path().join(name);
        fs::create_dir(&directory)?;
        if shared.as_root {
            chown(&directory, Some(shared.outside.0), Some(shared.outside.1))?;
        }
    }
    Ok(scratch)
}

pub(super) fn trial(scratch: &Path) -> StepSpec {
    StepSpec {
        label: "probe".to_owned(),
        image: host::bare_image(),
        lowers: vec![scratch.join("lower")],
        upper: scratch.join("upper"),
        work: scratch.join("work"),
        goes_on: false,
        workdir: None,
        argv: ["/bin/sh", "-c", "echo tried > /workspace/tried"].map(OsString::from).to_vec(),
        env: [].into(),
        secrets: [].into(),
        network: Network::Loopback,
        allow: Vec::new(),
        timeout: PATIENCE,
        limits: Limits::default(),
        neighbours: Vec::new(),
        gate: None,
        terminal: None,
    }
}

/// Facts about the host that decide which remedy helps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Facts {
    as_root: bool,
    in_container: bool,
    /// `kernel.unprivileged_userns_clone` of Debian's kernels.
    userns_clone: Option<i64>,
    /// `user.max_user_namespaces`.
    max_user_namespaces: Option<i64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` of Ubuntu.
    apparmor_restricts: Option<i64>,
}

impl Facts {
    fn of_this_host() -> Self {
        let setting = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        // What container engines leave, and what systemd tells its children.
        let in_container = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
            || std::env::var_os("container").is_some();
        Self {
            as_root: rustix::process::geteuid().is_root(),
            in_container,
            userns_clone: setting("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: setting("/proc/sys/user/max_user_namespaces"),
            apparmor_restricts: setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        }
    }

    fn remedy(&self, error: &SetupError) -> Option<String> {
        match error.stage {
            Stage::Namespaces | Stage::Identity => Some(self.remedy_for_namespaces(error.errno)),
            Stage::Proc if self.in_container => Some(
                "the container masks parts of /proc; start it with `--security-opt systempaths=unconfined`"
                    .to_owned(),
            ),
            // With AppArmor's restriction the namespace can be made, and then nothing may be done in it.
            Stage::Network | Stage::Root | Stage::Proc
                if matches!(error.errno, libc::EPERM | libc::EACCES) =>
            {
                Some(self.remedy_for_namespaces(error.errno))
            }
            Stage::Root if error.errno == libc::ENOSYS => {
                Some("Linux 5.12 or newer is needed; update the kernel".to_owned())
            }
            _ => None,
        }
    }

    fn remedy_for_namespaces(&self, errno: i32) -> String {
        let text = if self.max_user_namespaces == Some(0) {
            "user namespaces are turned off: `sysctl -w user.max_user_namespaces=15000`"
        } else if !self.as_root && self.userns_clone == Some(0) {
            "ordinary users may not make user namespaces: `sysctl -w kernel.unprivileged_userns_clone=1`, or run as root"
        } else if !self.as_root && self.apparmor_restricts == Some(1) {
            "AppArmor forbids user namespaces to programs without a profile. Put \
             `abi <abi/4.0>, profile staith /usr/local/bin/staith flags=(unconfined) { userns, }` (with the path of \
             this program) into /etc/apparmor.d/staith and run `apparmor_parser -r /etc/apparmor.d/staith`, or run as root"
        } else if self.in_container {
            "the container forbids it; start it with `--security-opt seccomp=unconfined --security-opt \
             systempaths=unconfined --security-opt apparmor=unconfined`, or run on the host"
        } else if errno == libc::ENOSPC || errno == libc::EUSERS {
            "the host's limit of namespaces is reached: raise `user.max_user_namespaces` and its like in /proc/sys/user"
        } else if errno == libc::ENOSYS || errno == libc::EINVAL {
            "Linux 5.12 or newer with user namespaces (CONFIG_USER_NS) is needed; update the kernel"
        } else {
            "allow user namespaces (CONFIG_USER_NS, security modules), or run as root"
        };
        text.to_owned()
    }
}

/// From what failed to what a person can do about it.
pub(super) fn diagnose(error: &SetupError) -> EngineError {
    if error.stage == Stage::Workspace && error.errno == libc::EINVAL {
        return EngineError::Unsupported {
            what: format!(
                "{error}: the file system that holds the step's upper directory can't be the upper layer of an overlay \
                 (it may be an overlay itself, as in a container, or a network file system)"
            ),
            remedy: "set the state directory to one on another file system, such as ext4, xfs or tmpfs"
                .to_owned(),
        };
    }
    match Facts::of_this_host().remedy(error) {
        Some(remedy) => EngineError::Unsupported { what: error.to_string(), remedy },
        None => EngineError::Setup { doing: error.doing.clone(), why: error.why.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(stage: Stage, errno: i32) -> SetupError {
        SetupError { stage, doing: "x".to_owned(), why: "y".to_owned(), errno }
    }

    #[test]
    fn each_known_obstacle_has_its_remedy() {
        let refused = error(Stage::Namespaces, libc::EPERM);
        let remedy = |facts: Facts| facts.remedy(&refused).unwrap();
        let base = Facts::default();
        assert!(
            remedy(Facts { max_user_namespaces: Some(0), ..base.clone() }).contains("max_user_namespaces")
        );
        assert!(
            remedy(Facts { userns_clone: Some(0), ..base.clone() }).contains("unprivileged_userns_clone")
        );
        assert!(
            remedy(Facts { apparmor_restricts: Some(1), ..base.clone() }).contains("/etc/apparmor.d/staith")
        );
        assert!(remedy(Facts { in_container: true, ..base.clone() }).contains("seccomp=unconfined"));
        let as_root = Facts { as_root: true, userns_clone: Some(0), apparmor_restricts: Some(1), ..base };
        assert!(!remedy(as_root).contains("apparmor.d"));
    }

    #[test]
    fn an_upper_that_can_not_be_one_names_the_state_directory() {
        let EngineError::Unsupported { remedy, .. } = diagnose(&error(Stage::Workspace, libc::EINVAL)) else {
            panic!()
        };
        assert!(remedy.contains("state directory"));
    }
}
