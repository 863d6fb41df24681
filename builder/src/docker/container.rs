//! The whole configuration of a step's container, decided here and nowhere else: no default of the engine's is relied on
//! where it matters. Pure.

use std::{collections::HashMap, path::Path};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use staith_model::Network;

use super::{
    daemon::{Daemon, Dialect},
    first::First,
    limits::ContainerLimits,
};
use crate::{
    disk::entries_in_memory,
    engine::{Bind, StepSpec, WORKSPACE},
    sandbox::shared::{
        CONTROL, FOLDER, HOME, Internet, MASKED, Owner, READ_ONLY, TIDY, plan, shared_memory_limits,
    },
};

/// Labels by which what a killed process left is found.
pub(super) const LABEL_RUN: &str = "staith.run";
pub(super) const LABEL_OWNER: &str = "staith.owner";
pub(super) const LABEL_BOOT: &str = "staith.boot";

/// More descriptors than this make many programs slow, which loop over their number.
const DESCRIPTORS: u64 = 65_536;
const LOCKED_BYTES: i64 = 64 << 10;

/// What a container is made of, beside the step.
pub(super) struct Parts<'a> {
    pub(super) step: &'a StepSpec,
    pub(super) image: &'a str,
    pub(super) first: &'a First,
    pub(super) limits: &'a ContainerLimits,
    /// The engine's socket on this machine.
    pub(super) socket: &'a Path,
    /// A file that names the step's neighbours, where it has any.
    pub(super) hosts: Option<&'a Path>,
    /// The workspace.
    pub(super) workspace: Workspace<'a>,
    /// The profile of system calls: its text, or for Podman the path of the file that holds it.
    pub(super) profile: &'a str,
    pub(super) labels: HashMap<String, String>,
    /// This process's own limits on descriptors and processes, which an engine may be unable to exceed.
    pub(super) own_limits: (u64, u64),
}

/// How the engine is told of the workspace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Workspace<'a> {
    /// As a volume that is made and removed with the container, by overlay's options.
    Inline(&'a str),
    /// As a volume that was made before, by its name.
    Named(&'a str),
}

/// Which profile suits what a step may reach. A container's loopback is always up, so for no network at all it is the
/// profile that refuses it.
pub(super) fn internet(network: Network) -> Internet {
    match network {
        Network::None => Internet::Refused,
        Network::Loopback | Network::Outbound => Internet::Allowed,
    }
}

/// Labels for everything that is made for a step.
pub(super) fn labels(run: &str, owner: Owner, boot: &str) -> HashMap<String, String> {
    [(LABEL_RUN, run.to_owned()), (LABEL_OWNER, owner.to_string()), (LABEL_BOOT, boot.to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The configuration. Neither arguments, nor environment, nor secrets of the step are in it.
pub(super) fn body(daemon: &Daemon, parts: &Parts<'_>) -> ContainerCreateBody {
    let (user, group) = daemon.user;
    ContainerCreateBody {
        hostname: Some("staith".to_owned()),
        user: Some(format!("{user}:{group}")),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        tty: Some(false),
        open_stdin: Some(false),
        env: Some(undo(&parts.step.image.env)),
        cmd: Some(Vec::new()),
        // The image's own would be run beside the step, by the engine.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        image: Some(parts.image.to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(parts.first.entrypoint.clone()),
        labels: Some(parts.labels.clone()),
        host_config: Some(host(daemon, parts)),
        ..ContainerCreateBody::default()
    }
}

/// A container of the same kind that only empties overlay's own directory: no workspace, no socket, and the engine's root,
/// which owns what is there.
pub(super) fn tidying(daemon: &Daemon, parts: &Parts<'_>, work: &Path) -> ContainerCreateBody {
    let mut body = body(daemon, parts);
    body.user = Some("0:0".to_owned());
    if let Some(last) = body.entrypoint.as_mut().and_then(|entrypoint| entrypoint.last_mut()) {
        *last = TIDY.to_owned();
    }
    if let Some(host) = &mut body.host_config {
        host.mounts = Some(vec![
            bind(&parts.first.folder, Path::new(FOLDER), true),
            bind(work, Path::new(WORKSPACE), false),
        ]);
    }
    body
}

/// Variables of the image by which a loader can be led astray, made empty for the first process. The step gets them.
fn undo(image: &std::collections::BTreeMap<String, String>) -> Vec<String> {
    let leads = |name: &&String| name.starts_with("LD_") || *name == "GLIBC_TUNABLES";
    image.keys().filter(leads).map(|name| format!("{name}=")).collect()
}

fn host(daemon: &Daemon, parts: &Parts<'_>) -> HostConfig {
    let limits = parts.limits;
    let docker = daemon.dialect == Dialect::Docker;
    let proc = |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("/proc/{name}")).collect() };
    let mut masked = proc(&MASKED);
    masked.push("/sys".to_owned());
    let mut security = vec!["no-new-privileges".to_owned(), format!("seccomp={}", parts.profile)];
    if !docker {
        security.push(format!("mask={}", masked.join(":")));
    }
    HostConfig {
        memory: limits.memory,
        // Together with swap: none of it.
        memory_swap: limits.memory,
        nano_cpus: limits.nano_cpus,
        pids_limit: limits.processes,
        oom_kill_disable: Some(false),
        init: Some(false),
        ulimits: Some(ulimits(parts.own_limits)),
        shm_size: Some(i64::try_from(limits.scratch).unwrap_or(i64::MAX)),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        network_mode: Some("none".to_owned()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        mounts: Some(mounts(daemon, parts)),
        tmpfs: Some(scratch(daemon, limits.scratch)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        publish_all_ports: Some(false),
        // The step may write where its user may; all of it is thrown away with the container. Unless there is a bound on what it
        // writes, for what it changes of the image can't be measured.
        readonly_rootfs: Some(parts.step.limits.disk.is_some()),
        security_opt: Some(security),
        sysctls: Some(settings(daemon, parts.step.gate.is_some(), limits.scratch)),
        userns_mode: daemon.remaps_users.then(|| "host".to_owned()),
        masked_paths: docker.then_some(masked),
        readonly_paths: docker.then(|| proc(&READ_ONLY)),
        ..HostConfig::default()
    }
}

/// What the kernel keeps for each network and for each IPC namespace.
///
/// What runs behind a gate may listen at any port, such as a web server at 80: the network is its own. Docker says so by
/// itself. Shared memory is bounded where the engine runs as root; without root only some kernels let it.
fn settings(daemon: &Daemon, has_gate: bool, bytes: u64) -> HashMap<String, String> {
    let mut settings = HashMap::new();
    if has_gate && daemon.dialect == Dialect::Podman {
        settings.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    if daemon.user.0 != 0 {
        let named = |(name, value)| (format!("kernel.{name}"), value);
        settings.extend(shared_memory_limits(bytes).map(named));
    }
    settings
}

fn ulimits((descriptors, processes): (u64, u64)) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, most: i64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(most),
        hard: Some(most),
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    vec![
        limit("core", 0),
        limit("nofile", number(descriptors.min(DESCRIPTORS))),
        limit("memlock", LOCKED_BYTES),
        // Counted over all containers of the user; the control group has the step's own limit.
        limit("nproc", number(processes)),
    ]
}

fn scratch(daemon: &Daemon, bytes: u64) -> HashMap<String, String> {
    let (user, group) = daemon.user;
    let options = |mode: &str| match daemon.dialect {
        Dialect::Docker => {
            let entries = entries_in_memory(bytes);
            format!(
                "rw,nosuid,nodev,exec,size={bytes},nr_inodes={entries},mode={mode},uid={user},gid={group}"
            )
        }
        // Podman takes no owner here, and fills such directories from the image unless told not to.
        Dialect::Podman => format!("rw,nosuid,nodev,exec,size={bytes},mode=1777,notmpcopyup"),
    };
    [("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "0755"), (HOME, "0755")]
        .map(|(path, mode)| (path.to_owned(), options(mode)))
        .into()
}

fn mounts(daemon: &Daemon, parts: &Parts<'_>) -> Vec<Mount> {
    let inside = |name: &str| Path::new(FOLDER).join(name);
    let mut all = vec![
        workspace(parts),
        bind(&parts.first.folder, Path::new(FOLDER), true),
        bind(parts.socket, &inside(CONTROL), false),
    ];
    // The engine's root has a name in every image.
    if daemon.user.0 != 0 {
        for name in ["passwd", "group"] {
            all.push(bind(&parts.first.folder.join(name), &Path::new("/etc").join(name), true));
        }
    }
    if let Some(hosts) = parts.hosts {
        all.push(bind(hosts, Path::new("/etc/hosts"), true));
    }
    all.extend(plan::binds(parts.step).iter().map(|Bind { host, inside }| bind(host, inside, true)));
    all
}

fn bind(host: &Path, inside: &Path, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(host.display().to_string()),
        target: Some(inside.display().to_string()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn workspace(parts: &Parts<'_>) -> Mount {
    let (source, driver) = match parts.workspace {
        Workspace::Named(name) => (Some(name.to_owned()), None),
        Workspace::Inline(options) => (None, Some(options)),
    };
    let driver = driver.map(|options| MountVolumeOptionsDriverConfig {
        name: Some("local".to_owned()),
        options: Some(overlay_volume(options)),
    });
    let options = MountVolumeOptions {
        no_copy: Some(true),
        labels: driver.as_ref().map(|_| parts.labels.clone()),
        driver_config: driver,
        ..MountVolumeOptions::default()
    };
    Mount {
        typ: Some(MountType::VOLUME),
        source,
        target: Some(WORKSPACE.to_owned()),
        read_only: Some(false),
        volume_options: Some(options),
        ..Mount::default()
    }
}

/// What the engine's `local` volumes are told to mount.
pub(super) fn overlay_volume(options: &str) -> HashMap<String, String> {
    [("type", "overlay"), ("device", "overlay"), ("o", options)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
