//! The engine on the other end of the socket: where it is, and what it can isolate.

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{SystemInfo, SystemVersion},
};

use super::{file_owner, why};
use crate::{
    engine::{Capabilities, EngineError, Support},
    sandbox::shared::{self, UNPRIVILEGED_ID},
};

/// Seconds in which an engine has to begin its answer. Making a container takes a fraction of one on an idle machine.
const PATIENCE: u64 = 120;
const HOW_TO_GET_ONE: &str = "install and start Docker (`apt-get install docker.io`, https://docs.docker.com/engine/install) or \
                              Podman (`systemctl --user enable --now podman.socket`), set DOCKER_HOST to its socket \
                              (`unix:///path`), or leave `--engine` out: the built-in sandbox needs neither";

/// Which program speaks the interface. Podman understands it with small differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Docker,
    Podman,
}

/// An engine that answered and can isolate steps.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) api: Docker,
    pub(super) dialect: Dialect,
    pub(super) capabilities: Capabilities,
    /// The user and group of a step, as the container's configuration names them.
    pub(super) user: (u32, u32),
    /// Whether the engine's own users stand for other ones of the host unless it is told not to.
    pub(super) remaps_users: bool,
    /// Whether what the engine's root makes on the host can be removed by this process.
    pub(super) makes_files_of_ours: bool,
    /// Processors that the engine may use.
    pub(super) processors: i64,
}

impl Daemon {
    /// Finds one, asks what it can do, and judges that.
    pub(super) async fn find(host: Option<&str>) -> Result<Self, EngineError> {
        let mut last = None;
        for socket in sockets(host)? {
            match Self::ask(&socket).await {
                Ok((api, version, info)) => return Self::judge(api, &socket, &version, &info),
                Err(error) => last = Some((socket, error)),
            }
        }
        Err(match last {
            None => EngineError::Unsupported {
                what: "no container engine was found: neither DOCKER_HOST nor any of the usual sockets"
                    .to_owned(),
                remedy: HOW_TO_GET_ONE.to_owned(),
            },
            Some((socket, error)) => unreachable(&socket, &error),
        })
    }

    async fn ask(socket: &Path) -> Result<(Docker, SystemVersion, SystemInfo), bollard::errors::Error> {
        let api = Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE, API_DEFAULT_VERSION)?;
        // From here on in the newest form that both understand.
        let api = api.negotiate_version().await?;
        let (version, info) = (api.version().await?, api.info().await?);
        Ok((api, version, info))
    }

    fn judge(
        api: Docker,
        socket: &Path,
        version: &SystemVersion,
        info: &SystemInfo,
    ) -> Result<Self, EngineError> {
        let components = version.components.iter().flatten();
        let is_podman = components.map(|part| part.name.as_str()).any(|name| name.contains("Podman"));
        let facts = Facts::of(info);
        let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = fs::metadata(socket).map_or(caller.0, |found| found.uid());
        if let Some((what, remedy)) = facts.obstacle(&kernel(), caller.0, owner) {
            return Err(EngineError::Unsupported { what, remedy });
        }
        let user = match (facts.rootless, caller.0) {
            // Its root is the caller on the host.
            (true, _) => (0, 0),
            (false, 0) => (UNPRIVILEGED_ID, UNPRIVILEGED_ID),
            (false, _) => caller,
        };
        Ok(Self {
            api,
            dialect: if is_podman { Dialect::Podman } else { Dialect::Docker },
            capabilities: Capabilities {
                file_owner: file_owner(),
                memory_limit: facts.memory.clone(),
                process_limit: facts.processes.clone(),
                cpu_limit: facts.cpu.clone(),
                landlock_abi: shared::landlock_abi(),
            },
            user,
            remaps_users: facts.remaps_users,
            makes_files_of_ours: caller.0 == 0 || facts.rootless,
            processors: info.ncpu.unwrap_or(1),
        })
    }
}

/// Where to look: the place that was named, or each usual one that is there.
fn sockets(host: Option<&str>) -> Result<Vec<PathBuf>, EngineError> {
    let Some(host) = host else {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let of_user = ["docker.sock", "podman/podman.sock"];
        let mut all = vec![PathBuf::from("/var/run/docker.sock"), PathBuf::from("/run/podman/podman.sock")];
        all.extend(runtime.iter().flat_map(|place| of_user.map(|name| place.join(name))));
        all.retain(|socket| socket.exists());
        return Ok(all);
    };
    match host.strip_prefix("unix://") {
        Some(path) => Ok(vec![PathBuf::from(path)]),
        None if host.starts_with('/') => Ok(vec![PathBuf::from(host)]),
        None => Err(EngineError::Unsupported {
            what: format!(
                "DOCKER_HOST is `{host}`, an engine behind a network: a step's workspace is a stack of directories of this \
                 machine, which such an engine can't see"
            ),
            remedy: "run Staith on the engine's machine, use the engine of this one (DOCKER_HOST=unix:///path/to/its.sock), \
                     or leave `--engine` out"
                .to_owned(),
        }),
    }
}

fn unreachable(socket: &Path, error: &bollard::errors::Error) -> EngineError {
    let refused = fs::metadata(socket).is_ok()
        && rustix::fs::access(socket, rustix::fs::Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS);
    let remedy = if refused {
        "this user may not use it: use an engine of the user's own (rootless Docker or Podman), or add the user to the group \
         `docker`, which is as good as being root"
            .to_owned()
    } else {
        HOW_TO_GET_ONE.to_owned()
    };
    EngineError::Unsupported {
        what: format!("the container engine at {} can't be reached: {}", socket.display(), why(error)),
        remedy,
    }
}

/// Name of the kernel, as far as an engine tells its own.
fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// What an engine says of itself, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    system: String,
    architecture: String,
    kernel: String,
    filters_calls: bool,
    rootless: bool,
    remaps_users: bool,
    memory: Support,
    processes: Support,
    cpu: Support,
}

impl Facts {
    fn of(info: &SystemInfo) -> Self {
        let says = |option: &str| {
            let options = info.security_options.iter().flatten();
            options
                .flat_map(|text| text.split(','))
                .any(|part| part.strip_prefix("name=") == Some(option) || part == option)
        };
        let support = |given: Option<bool>, what: &str| match given {
            Some(true) => Support::Enforced,
            _ => Support::Absent(format!(
                "the container engine says that it can't limit {what} on this machine"
            )),
        };
        Self {
            system: info.os_type.clone().unwrap_or_default(),
            architecture: info.architecture.clone().unwrap_or_default(),
            kernel: info.kernel_version.clone().unwrap_or_default(),
            filters_calls: says("seccomp"),
            rootless: says("rootless"),
            remaps_users: says("userns"),
            memory: support(info.memory_limit, "memory"),
            processes: support(info.pids_limit, "processes"),
            cpu: support(info.cpu_cfs_quota, "processor time"),
        }
    }

    /// Why steps can't be run by it, and what helps.
    fn obstacle(&self, own_kernel: &str, caller: u32, socket_owner: u32) -> Option<(String, String)> {
        let built_in = "or leave `--engine` out";
        let own = match env::consts::ARCH {
            "x86_64" => ["x86_64", "amd64"],
            _ => ["aarch64", "arm64"],
        };
        if self.system != "linux" || !own.contains(&self.architecture.as_str()) {
            let what =
                format!("the container engine runs {} containers for {}", self.system, self.architecture);
            return Some((what, format!("use one for Linux and this processor, {built_in}")));
        }
        if self.kernel != own_kernel {
            let what = format!(
                "the container engine runs on another kernel ({}, this is {own_kernel}), so on another machine or in a virtual \
                 one, which can't see this machine's directories",
                self.kernel
            );
            return Some((what, format!("use an engine of this machine itself, {built_in}")));
        }
        if !self.filters_calls {
            let what = "the container engine can't filter system calls (seccomp)".to_owned();
            return Some((what, format!("use an engine and a kernel with seccomp, {built_in}")));
        }
        if self.rootless && socket_owner != caller {
            let what = format!("the container engine belongs to user {socket_owner}, this is user {caller}");
            return Some((what, format!("use an engine of this user or one that runs as root, {built_in}")));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> SystemInfo {
        SystemInfo {
            os_type: Some("linux".to_owned()),
            architecture: Some(env::consts::ARCH.to_owned()),
            kernel_version: Some("6.1.0".to_owned()),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned()]),
            memory_limit: Some(true),
            pids_limit: Some(true),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn an_engine_of_this_machine_will_do() {
        let facts = Facts::of(&info());
        assert_eq!(facts.obstacle("6.1.0", 0, 0), None);
        assert_eq!(facts.memory, Support::Enforced);
        assert!(matches!(&facts.cpu, Support::Absent(why) if why.contains("processor time")));
    }

    #[test]
    fn each_obstacle_is_named() {
        let rootless = Some(vec!["name=seccomp".to_owned(), "name=rootless".to_owned()]);
        for (info, named) in [
            (SystemInfo { kernel_version: Some("6.2.0-linuxkit".to_owned()), ..info() }, "6.2.0-linuxkit"),
            (SystemInfo { architecture: Some("riscv64".to_owned()), ..info() }, "riscv64"),
            (SystemInfo { os_type: Some("windows".to_owned()), ..info() }, "windows"),
            (SystemInfo { security_options: None, ..info() }, "seccomp"),
            (SystemInfo { security_options: rootless, ..info() }, "user 7"),
        ] {
            let (what, remedy) = Facts::of(&info).obstacle("6.1.0", 1000, 7).unwrap();
            assert!(what.contains(named) && !remedy.is_empty(), "{what}");
        }
    }

    #[test]
    fn an_engine_behind_a_network_is_refused_with_the_reason() {
        for host in ["tcp://127.0.0.1:2375", "ssh://build@example.org", "https://example.org:2376"] {
            let Err(EngineError::Unsupported { what, remedy }) = sockets(Some(host)) else {
                panic!("{host}")
            };
            assert!(what.contains(host) && remedy.contains("unix://"), "{what} {remedy}");
        }
        assert_eq!(sockets(Some("unix:///x/y.sock")).unwrap(), [PathBuf::from("/x/y.sock")]);
    }

    #[tokio::test]
    async fn a_missing_engine_says_how_to_get_one() {
        let Err(EngineError::Unsupported { what, remedy }) =
            Daemon::find(Some("unix:///not/on/this/machine")).await
        else {
            panic!()
        };
        assert!(what.contains("/not/on/this/machine") && remedy.contains("docker.io"), "{what} {remedy}");
    }
}
