//! From what a step asks for to what its sandbox is told. Pure, but for looking at the machine's memory and
//! making the place for an image's changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use staith_model::{Limits, Network};

use super::super::{
    HOME, Shared,
    cgroup::{Cgroups, GroupLimits},
    protocol::{PROXY_PORT, Program, Request},
};
use crate::{
    engine::{Bind, EngineError, Neighbour, Root, StepSpec, Support, WORKSPACE},
    images,
};

/// Processes and threads of a step that says nothing else: more than any build needs, fewer than harm the host.
pub(crate) const DEFAULT_PROCESSES: u64 = 4096;
/// Of the machine's memory, what a step that says nothing else may have, in hundredths. Steps run beside each other and an
/// engine does not know how many, so this is a bound for one that runs wild and no promise that all fit.
pub(crate) const DEFAULT_MEMORY_SHARE: u64 = 50;
/// Of the machine's memory, what temporary files may take, in hundredths; they count as the step's memory too.
pub(crate) const SCRATCH_SHARE: u64 = 25;

/// The limits of the step's control group, and the number of its processes.
///
/// # Errors
/// A limit that the step names can't be enforced. Defaults that can't be are left out: `probe` says so.
pub(super) fn limits(cgroups: &Cgroups, asked: &Limits) -> Result<(GroupLimits, u64), EngineError> {
    let memory = match (&cgroups.memory, asked.memory) {
        (Support::Enforced, bytes) => Some(bytes.unwrap_or_else(|| share_of_memory(DEFAULT_MEMORY_SHARE))),
        (Support::Absent(_), None) => None,
        (Support::Absent(why), Some(_)) => return Err(unenforceable("memory", why)),
    };
    let cpu_milli = match (&cgroups.cpu, asked.cpu_milli) {
        (Support::Absent(why), Some(_)) => return Err(unenforceable("processor time", why)),
        (_, asked) => asked,
    };
    let processes = asked.processes.unwrap_or(DEFAULT_PROCESSES).max(1);
    // The kernel's limit per user holds without any control group; with one it is one more wall.
    let group = (cgroups.processes == Support::Enforced).then_some(processes);
    Ok((GroupLimits { memory, processes: group, cpu_milli }, processes))
}

/// Looks for what can be known to fail before anything is made for the step.
///
/// # Errors
/// Its directories are not as they have to be, its neighbours can't be had, or nothing is to be run.
pub(crate) fn check(step: &StepSpec) -> Result<(), EngineError> {
    check_fresh(step)?;
    check_neighbours(step).map_err(|why| EngineError::Setup {
        doing: "looking at who the step's neighbours are".to_owned(),
        why,
    })?;
    if step.argv.is_empty() && step.image.command.is_empty() {
        return Err(EngineError::Unsupported {
            what: "there is nothing to run: no command is named, and the image says of none that it is run in it"
                .to_owned(),
            remedy: "name one (`run`), or use an image with an entry point or a command".to_owned(),
        });
    }
    Ok(())
}

fn check_neighbours(step: &StepSpec) -> Result<(), String> {
    if step.neighbours.is_empty() {
        return Ok(());
    }
    if step.network == Network::None {
        return Err(
            "the step has no network at all, and so can't reach any; `network` has to be `loopback` at least"
                .to_owned(),
        );
    }
    if step.gate.is_none() {
        return Err(
            "there is no gate through which connections to them could go; this is a bug in Staith".to_owned()
        );
    }
    let mut all = BTreeSet::new();
    for Neighbour { name, address, ports } in &step.neighbours {
        let name = name.as_str();
        if !address.is_loopback() || *address == Ipv4Addr::LOCALHOST {
            return Err(format!("{name} has the address {address}, which is none of a neighbour's"));
        }
        if let Some(port) = ports.iter().find(|port| **port == 0 || !all.insert((*address, **port))) {
            return Err(format!(
                "{name} has the port {port} at {address}, which is none or is taken already"
            ));
        }
    }
    Ok(())
}

/// Overlay's answer to left-overs of another mount is the same "invalid argument" as to so much else.
///
/// # Errors
/// The upper or the work directory is not there, or not empty where it has to be.
fn check_fresh(step: &StepSpec) -> Result<(), EngineError> {
    for (directory, has_to_be_empty) in [(&step.upper, !step.goes_on), (&step.work, true)] {
        let doing =
            || format!("looking at {}, in which the step's changes are to be kept", directory.display());
        let first = std::fs::read_dir(directory)
            .map_err(|error| EngineError::Setup { doing: doing(), why: error.to_string() })?
            .next();
        if has_to_be_empty && first.is_some() {
            let why = "it is not empty; each step needs a fresh one".to_owned();
            return Err(EngineError::Setup { doing: doing(), why });
        }
    }
    Ok(())
}

fn unenforceable(limit: &str, why: &str) -> EngineError {
    EngineError::Unsupported {
        what: format!("the step names a limit on {limit}, and it can't be enforced here: {why}"),
        remedy: "run Staith as root or in a delegated cgroup v2 group \
                 (`systemd-run --user --scope -p Delegate=yes staith ...`), or leave the limit out"
            .to_owned(),
    }
}

/// So many hundredths of this machine's memory, in bytes.
pub(crate) fn share_of_memory(hundredths: u64) -> u64 {
    // Without /proc/meminfo nothing else would work either; 1 GiB keeps this total.
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    total.unwrap_or(1 << 20) * 1024 / 100 * hundredths
}

/// What the sandbox is told, but for its control group.
pub(super) fn request(shared: &Shared, step: &StepSpec, processes: u64) -> Request {
    let scratch = share_of_memory(SCRATCH_SHARE);
    Request {
        outside: shared.outside,
        as_root: shared.as_root,
        cgroup_v1_tasks: Vec::new(),
        cgroup_v2: None,
        image: layers(&step.image.root).to_vec(),
        image_upper: image_directory(step).join("upper"),
        image_work: image_directory(step).join("work"),
        binds: binds(step).into_iter().map(|bind| (bind.host, bind.inside)).collect(),
        lowers: step.lowers.clone(),
        upper: step.upper.clone(),
        work: step.work.clone(),
        scratch_bytes: [step.limits.memory, step.limits.disk].into_iter().flatten().fold(scratch, u64::min),
        network: step.network,
        neighbours: step.neighbours.clone(),
        program: program(step, Some(processes)),
    }
}

/// What to start in whatever kind of sandbox.
pub(crate) fn program(step: &StepSpec, processes: Option<u64>) -> Program {
    let of_image = step.argv.is_empty();
    let workdir = match &step.workdir {
        Some(workdir) => Path::new(WORKSPACE).join(workdir.as_str()),
        None if of_image => step.image.workdir.clone().unwrap_or_else(|| PathBuf::from("/")),
        None => PathBuf::from(WORKSPACE),
    };
    Program {
        processes,
        longest_file: step.limits.disk,
        in_image: step.image.root != Root::Host,
        workdir,
        argv: if of_image { &step.image.command } else { &step.argv }.clone(),
        path: step.image.path.clone(),
        env: environment(step),
        on_terminal: step.terminal.is_some(),
        has_gate: step.gate.is_some(),
    }
}

/// The image's layers; none of the host's own root.
fn layers(root: &Root) -> &[PathBuf] {
    match root {
        Root::Layers(layers) => layers,
        Root::Host | Root::InEngine(_) => &[],
    }
}

/// Where what a step changes of its image goes: beside overlay's own, so that whoever removes that removes this too.
pub(super) fn image_directory(step: &StepSpec) -> PathBuf {
    step.work.join("image")
}

/// What a step has changed of its image, where it has one.
pub(super) fn written_of_image(step: &StepSpec) -> Option<PathBuf> {
    matches!(step.image.root, Root::Layers(_)).then(|| image_directory(step).join("upper"))
}

/// Makes that place, when the step has an image.
///
/// # Errors
/// The file system refused, or the image is another engine's.
pub(super) fn make_image_directory(shared: &Shared, step: &StepSpec) -> Result<(), EngineError> {
    let failed = |why: String| EngineError::Setup {
        doing: "making a place for what the step changes of its image".to_owned(),
        why,
    };
    match &step.image.root {
        Root::Host => return Ok(()),
        Root::InEngine(name) => return Err(failed(format!("the image {name} is another engine's"))),
        Root::Layers(_) => {}
    }
    let top = image_directory(step);
    for directory in [&top, &top.join("upper"), &top.join("work")] {
        let made = fs::create_dir(directory).and_then(|()| match shared.as_root {
            true => chown(directory, Some(shared.outside.0), Some(shared.outside.1)),
            false => Ok(()),
        });
        made.map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// Where a step finds the authorities that this host trusts, if it has them in one file.
fn authorities(root: &Root) -> Option<&'static str> {
    match (root, shown_authorities(root)) {
        (Root::Layers(layers), _) => images::has_authorities(layers).then_some(images::AUTHORITIES),
        (_, Some(_)) => Some(images::AUTHORITIES),
        (Root::Host, None) => SHOWN_ANYWAY.into_iter().find(|path| Path::new(path).is_file()),
        (Root::InEngine(_), None) => None,
    }
}

/// What the host's own root shows of authorities.
const SHOWN_ANYWAY: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// The host's file of authorities, where a step would not see it otherwise: the host's own root shows the system's, and not one
/// that `SSL_CERT_FILE` names; a container shows none.
fn shown_authorities(root: &Root) -> Option<PathBuf> {
    let bundle = || images::authorities_of_the_host();
    match root {
        Root::Host => bundle().filter(|path| !SHOWN_ANYWAY.iter().any(|shown| Path::new(shown) == path)),
        // Staith's own layer has them.
        Root::Layers(_) => None,
        Root::InEngine(_) => bundle(),
    }
}

/// What a step sees beside its root, read-only: what its image says, and the host's authorities where it goes outside.
pub(crate) fn binds(step: &StepSpec) -> Vec<Bind> {
    let bundle = if step.network == Network::Outbound { shown_authorities(&step.image.root) } else { None };
    let bundle = bundle.map(|host| Bind { host, inside: images::AUTHORITIES.into() });
    step.image.binds.iter().cloned().chain(bundle).collect()
}

/// What programs read that have authorities of their own, or look where an image has none.
const NAMES_OF_AUTHORITIES: [&str; 9] = [
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];

/// What is reached without the proxy: it leads to nobody in here.
fn not_by_proxy(neighbours: &[Neighbour]) -> String {
    let mut all = "localhost,127.0.0.1,::1".to_owned();
    for Neighbour { name, address, .. } in neighbours {
        all.push_str(&format!(",{},{address}", name.as_str()));
    }
    all
}

/// The step's whole environment, its secrets among it: the request goes through a socket that nobody else holds, never over a
/// command line or a file. What the step says wins over what the tools need, and that over what holds for all.
fn environment(step: &StepSpec) -> Vec<OsString> {
    let path: Vec<&str> = step.image.path.iter().filter_map(|directory| directory.to_str()).collect();
    let mut all = BTreeMap::from([
        ("HOME", HOME.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", path.join(":")),
        ("TMPDIR", "/tmp".to_owned()),
        ("USER", "builder".to_owned()),
    ]);
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    if step.network == Network::Outbound {
        // Programs disagree on the spelling.
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            all.insert(name, proxy.clone());
        }
        for name in ["no_proxy", "NO_PROXY"] {
            all.insert(name, not_by_proxy(&step.neighbours));
        }
        if let Some(authorities) = authorities(&step.image.root) {
            all.extend(NAMES_OF_AUTHORITIES.map(|name| (name, authorities.to_owned())));
        }
    }
    let said = step.image.env.iter().chain(&step.env);
    all.extend(said.map(|(name, value)| (name.as_str(), value.clone())));
    all.retain(|name, _| !step.secrets.contains_key(*name));
    let plain = all.into_iter().map(|(name, value)| OsString::from(format!("{name}={value}")));
    let secret = step
        .secrets
        .iter()
        .map(|(name, secret)| secret.expose_to(|value| OsString::from(format!("{name}={value}"))));
    plain.chain(secret).collect()
}
