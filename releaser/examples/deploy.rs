//! What a deployment does with each machine, as a process of its own: for `benches/compare/deploy`.
//!
//! `deploy SITE WORK HOST...`. `SITE` is a folder: `ssh_config` has the hosts, `package.zip` is what is deployed (a link: what it
//! leads to is the release's name), `machines/HOST` is the application's folder on a host, `programs` is where they keep the
//! program, and `home` and `opened` are what this process remembers from one run to the next. `WORK` is
//!
//! - `deploy`: reach, observe, stage, switch and tidy each host, all at once;
//! - `kept`: look at the hosts, then the same over the connections that are open by then, with the time of that alone as an
//!   event `redeployed`;
//! - `back`: switch each host to the release before;
//! - `swap`: look at the hosts, then have HAProxy at `SITE/haproxy.sock` send the requests of its backend `app` to them and to nobody
//!   else, with the time of that alone as an event `swapped`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for measurements"
)]

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::try_join_all;
use staith_model::{DeploymentId, Digest, Service};
use staith_packager::web_deploy::Openings;
use staith_releaser::{
    fleet::{
        balancer::{
            Balancer as _, Shift,
            haproxy::{Dial, HaProxy, NodeSpec},
        },
        machine::{Load, Machine, MachineError, Order},
        remote::{Memory, RemoteMachine},
        ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay},
        way::Way,
    },
    host::{PackageFiles, SealedPackage},
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [site, work, hosts @ ..] = arguments.as_slice() else { panic!("SITE WORK HOST...") };
    let site = PathBuf::from(site);
    let machines = machines(&site, hosts);
    match work.as_str() {
        "deploy" => deploy(&site, &machines).await,
        "kept" => {
            try_join_all(machines.iter().map(Machine::observe)).await.expect("they are looked at");
            let began = Instant::now();
            deploy(&site, &machines).await;
            said("redeployed", began.elapsed());
        }
        "back" => drop(try_join_all(machines.iter().map(back)).await.expect("they go back")),
        "swap" => swap(&site, &machines, hosts).await,
        other => panic!("`{other}` is no work"),
    }
}

fn said(event: &str, took: Duration) {
    println!("{{\"event\": \"{event}\", \"millis\": {:.3}}}", took.as_secs_f64() * 1000.0);
}

fn machines(site: &Path, hosts: &[String]) -> Vec<RemoteMachine> {
    let client =
        SshClient::new(SshOptions { config: Some(site.join("ssh_config")), ..SshOptions::default() });
    let program = Arc::new(Program::embedded());
    let reached = |host: &String| {
        let folder = site.join("machines").join(host).display().to_string();
        let way = SshWay {
            target: host.clone(),
            destination: Destination::of(host.clone()),
            client: client.clone(),
            program: Arc::clone(&program),
            arguments: vec!["serve".into(), "--folder".into(), folder.clone()],
            places: Places { programs: vec![site.join("programs").display().to_string()], units: Vec::new() },
            superuser: false,
        };
        RemoteMachine::new(host.clone(), Way::Ssh(Box::new(way)), folder)
            .remembering(Memory::new(site.join("home")))
    };
    hosts.iter().map(reached).collect()
}

/// What is brought to all machines.
struct Cargo {
    load: Load,
    files: Arc<SealedPackage>,
}

async fn deploy(site: &Path, machines: &[RemoteMachine]) {
    let cargo = OnceCell::new();
    try_join_all(machines.iter().map(|machine| bring(machine, site, &cargo))).await.expect("it is deployed");
}

async fn cargo(site: &Path) -> Cargo {
    let place = site.join("package.zip").canonicalize().expect("there is a package");
    let release = Digest::of(place.as_os_str().as_encoded_bytes());
    let openings = Openings::new(site.join("opened"));
    let opening = tokio::task::spawn_blocking(move || {
        let file = File::open(&place).expect("there is a package");
        Arc::new(SealedPackage::from(openings.open(file, &place).expect("it is one of ours")))
    });
    let files = opening.await.expect("it is opened");
    let load = Load {
        every_byte: false,
        release,
        manifest: Arc::new(files.manifest().clone()),
        service: Service::Files,
        secrets: Vec::new(),
        private: BTreeSet::new(),
    };
    Cargo { load, files }
}

async fn bring(machine: &RemoteMachine, site: &Path, all: &OnceCell<Cargo>) -> Result<(), MachineError> {
    // The package is opened while machines are reached, as `staith` does.
    let (there, Cargo { load, files }) = tokio::join!(machine.observe(), all.get_or_init(|| cargo(site)));
    let order = order(there?.epoch + 1);
    machine.stage(&order, load, files.clone(), Arc::new(|_| ()), CancellationToken::new()).await?;
    machine.switch(&order, Some(&load.release)).await?;
    machine.retain(&order, &BTreeSet::from([load.release])).await?;
    Ok(())
}

async fn back(machine: &RemoteMachine) -> Result<(), MachineError> {
    let there = machine.observe().await?;
    machine.switch(&order(there.epoch + 1), there.previous.as_ref()).await?;
    Ok(())
}

async fn swap(site: &Path, machines: &[RemoteMachine], hosts: &[String]) {
    try_join_all(machines.iter().map(Machine::observe)).await.expect("they are looked at");
    let began = Instant::now();
    let runtime = Dial::parse(&format!("unix:{}", site.join("haproxy.sock").display())).expect("a socket");
    let nodes = vec![NodeSpec { runtime, master: None, keep: None }];
    let proxy = HaProxy::new(nodes, "app").expect("there is a node");
    let to = hosts.iter().map(|host| (host.parse().expect("a name"), 1)).collect();
    let shift = Shift { to, patience: Duration::from_secs(30), drain: Duration::from_secs(1) };
    // Of both pools, and machines were not deployed to equally often: what counts up here is the time.
    let epoch = since_1970().as_millis().try_into().expect("a number");
    let shifted = proxy.serve(&order(epoch), &shift).await.expect("they serve");
    assert!(!shifted.already, "nothing was left to do");
    said("swapped", began.elapsed());
}

fn order(epoch: u64) -> Order {
    let operation = Digest::of(&since_1970().as_nanos().to_le_bytes());
    Order { epoch, deployment: DeploymentId::new(1, [7; 10]), operation }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970")
}
