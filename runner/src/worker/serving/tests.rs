//! A server, machines that pull from it, and the deployer's end, all in this process; only the machines' programs are others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use machine_support::{Here, Tree, contract::contract, order, release_of, stage};
use staith_model::service::{EnrolmentAsked, RunnerChange};
use staith_releaser::{
    fleet::{
        machine::{Machine as _, MachineError},
        remote::RemoteMachine,
    },
    host::{Done, Staged},
};
use staith_server::{
    clock::Clock,
    serve::{Entrances, serve as serves},
    site::Site,
    store::{Actor, Sqlite},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    client::Address,
    home::Home,
    tunnel::Through,
    worker::{identity::register, session::Sessions},
};

#[path = "../../../../releaser/tests/machine_support/mod.rs"]
mod machine_support;

/// A server.
struct House {
    site: Site,
    address: SocketAddr,
    token: Secret,
    place: TempDir,
}

impl House {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&place.path().join("staith.db")).unwrap());
        let site = Site::new(store, place.path().to_owned(), Clock::of_this_machine());
        let network = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = network.local_addr().unwrap();
        let token = Secret::new(site.deployer.let_in().unwrap());
        let entrances = Entrances { network, tls: None, control: None };
        tokio::spawn(serves(site.clone(), entrances, CancellationToken::new()));
        Self { site, address, token, place }
    }

    fn client(&self, at: SocketAddr) -> Client {
        Client::new(&Self::address(at)).unwrap()
    }

    fn address(at: SocketAddr) -> Address {
        Address::parse(&format!("http://{at}"), None, false).unwrap()
    }

    /// A host that is registered as the machine `name`, and asks the server at an address of its own.
    async fn host(&self, name: &str, at: SocketAddr) -> Host {
        let target: TargetOf = format!("shop/production/{name}").parse().unwrap();
        let asked = EnrolmentAsked {
            pool: "default".parse().unwrap(),
            labels: Default::default(),
            ephemeral: false,
            valid_millis: None,
            target: Some(target.clone()),
        };
        let code =
            staith_server::enrolment::make_code(&self.site, asked, Actor::server()).await.unwrap().code;
        let nth = std::fs::read_dir(self.place.path()).unwrap().count();
        let rooms = Rooms::of(&Home::at(self.place.path().join(format!("home-{name}-{nth}"))));
        let (server, called) = (Self::address(at), name.parse().unwrap());
        let registered =
            register(&rooms, server, &Secret::new(code), called, Default::default()).await.unwrap();
        assert_eq!(registered.target.as_ref(), Some(&target));
        let client = self.client(at);
        Host { rooms, registration: registered, target, client, running: None }
    }

    /// The deployer's way to it.
    fn machine(&self, name: &str, folder: &str, at: SocketAddr) -> RemoteMachine {
        let through = Through {
            client: self.client(at),
            token: self.token.clone(),
            project: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
        };
        RemoteMachine::new(name, through.to(&name.parse().unwrap()), folder)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.site.stop.cancel();
    }
}

/// A host that is a machine.
struct Host {
    rooms: Rooms,
    registration: crate::worker::Registration,
    target: TargetOf,
    client: Client,
    running: Option<JoinHandle<Result<(), Problem>>>,
}

impl Host {
    fn starts(&mut self, program: Child) -> CancellationToken {
        let sessions = Sessions::new(self.rooms.clone(), self.registration.clone());
        let (rooms, target, client) = (self.rooms.clone(), self.target.clone(), self.client.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let serving = async move {
            Serving { rooms, target, client, sessions, program, told: &|_| {} }.work(&until).await
        };
        self.running = Some(tokio::spawn(serving));
        stop
    }

    /// As if it were killed: it says nothing more.
    fn dies(&mut self) {
        self.running.take().unwrap().abort();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// A machine that holds nothing yet, with all that is to live as long; both ends ask at this address.
async fn machine(house: &House, name: String, at: SocketAddr) -> (RemoteMachine, (Here, Host)) {
    let (here, mut host) = (Here::new(), house.host(&name, at).await);
    host.starts(here.child.clone());
    let machine = house.machine(&name, here.folder().to_str().unwrap(), at);
    (machine, (here, host))
}

fn counted() -> impl Fn() -> String {
    let nth = std::cell::Cell::new(0);
    move || {
        nth.set(nth.get() + 1);
        format!("web-{}", nth.get())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_pulls_is_a_machine() {
    let (house, name) = (House::new().await, counted());
    contract(|| machine(&house, name(), house.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_all_the_time_change_nothing() {
    let (house, name) = (House::new().await, counted());
    let at = breaking(house.address).await;
    contract(|| machine(&house, name(), at)).await;
}

/// Passes connections on, and breaks each after some answers' bytes: some before the answer to a question has come whole.
async fn breaking(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Answers without contents have some 400 bytes.
        for most in [900_usize, 150, 60_000, 700, 6000].into_iter().cycle() {
            let Ok((client, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(server).await else { return };
                let ((mut asks, mut told), (mut answers, mut hears)) =
                    (client.into_split(), server.into_split());
                let there = tokio::spawn(async move { tokio::io::copy(&mut asks, &mut hears).await });
                let (mut piece, mut passed) = ([0; 512], 0);
                while let Ok(length @ 1..) = answers.read(&mut piece).await {
                    passed += length;
                    if passed > most || told.write_all(&piece[..length]).await.is_err() {
                        break;
                    }
                }
                there.abort();
            });
        }
    });
    at
}

fn big() -> Tree {
    let mut tree = Tree::default();
    let mut word = 1_u64;
    for nth in 0..200 {
        let bytes: Vec<u8> = (0..32_768)
            .map(|_| {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (word >> 56) as u8
            })
            .collect();
        tree.add(&format!("file-{nth}"), 0o644, &bytes);
    }
    tree
}

/// Asks until contact is made.
async fn staged(machine: &RemoteMachine, tree: &Tree) -> Staged {
    let asked = async {
        loop {
            match stage(machine, &order(1), &tree.load("a"), tree).await {
                Ok(staged) => return staged,
                Err(lost) if lost.is_lost() => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(Duration::from_secs(60), asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_while_files_come_is_followed_by_another_and_they_come() {
    let house = House::new().await;
    let (here, mut host) = (Here::new(), house.host("web-1", house.address).await);
    host.starts(here.child.clone());
    let machine = Arc::new(house.machine("web-1", here.folder().to_str().unwrap(), house.address));
    let tree = big();
    let (asked, files) = (Arc::clone(&machine), tree.clone());
    let staging = tokio::spawn(async move { stage(&*asked, &order(1), &files.load("a"), &files).await });
    while tree.asked.lock().unwrap().len() < 40 {
        assert!(!staging.is_finished());
        sleep(Duration::from_millis(1)).await;
    }
    host.dies();
    host.starts(here.child.clone());
    let lost = timeout(Duration::from_secs(10), staging).await.unwrap().unwrap();
    let lost = lost.map_err(|error| (error.is_lost(), error.to_string()));
    if let Err((is_lost, why)) = lost {
        assert!(is_lost && why.contains("started anew"), "{why}");
    }
    let whole = staged(&machine, &tree).await;
    assert!(whole.already || whole.files == 200, "{whole:?}");
    machine.switch(&order(1), Some(&release_of("a"))).await.unwrap();
    assert_eq!(machine.observe().await.unwrap().current, Some(release_of("a")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_there_is_told_of_within_seconds() {
    let house = House::new().await;
    let began = tokio::time::Instant::now();
    let machine = house.machine("web-1", "/nowhere", house.address);
    let told = machine.observe().await.unwrap_err().to_string();
    assert!(told.contains("no host is registered as shop/production/web-1"), "{told}");
    assert!(told.contains("runner-code --target shop/production/web-1"), "{told}");
    let host = house.host("web-1", house.address).await;
    let told = machine.observe().await.unwrap_err();
    assert!(matches!(told, MachineError::Unreachable { .. }), "{told:?}");
    let told = told.to_string();
    assert!(told.contains("last heard of") && told.contains("runner start"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let runner = &host.registration.runner;
    house.site.store.change_runner(runner, RunnerChange::Drain, Actor::server(), 1).await.unwrap();
    let told = machine.observe().await.unwrap_err().to_string();
    assert!(told.contains("take nothing new"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_ends_the_conversation_and_the_runner() {
    let house = House::new().await;
    let (here, mut host) = (Here::new(), house.host("web-1", house.address).await);
    host.starts(here.child.clone());
    let machine = house.machine("web-1", here.folder().to_str().unwrap(), house.address);
    machine.observe().await.unwrap();
    // Another host becomes the machine; the first one's key counts for nothing from then on.
    let mut other = house.host("web-1", house.address).await;
    let gone = timeout(Duration::from_secs(10), host.running.take().unwrap()).await.unwrap().unwrap();
    assert!(gone.unwrap_err().what.contains("revoked"));
    let lost = machine.switch(&order(1), None).await.unwrap_err();
    assert!(lost.is_lost() && lost.to_string().contains("revoked"), "{lost}");
    other.starts(here.child.clone());
    assert_eq!(machine.switch(&order(1), None).await.unwrap(), Done::ALREADY);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runners_of_one_machine_the_first_ends() {
    let house = House::new().await;
    let (here, mut host) = (Here::new(), house.host("web-1", house.address).await);
    host.starts(here.child.clone());
    let machine = house.machine("web-1", here.folder().to_str().unwrap(), house.address);
    machine.observe().await.unwrap();
    let first = host.running.take().unwrap();
    host.starts(here.child.clone());
    let ended = timeout(Duration::from_secs(10), first).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.exit, Exit::NeedsDecision, "{ended:?}");
    machine.observe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_told_to_end_says_so() {
    let house = House::new().await;
    let (here, mut host) = (Here::new(), house.host("web-1", house.address).await);
    let stop = host.starts(here.child.clone());
    let machine = house.machine("web-1", here.folder().to_str().unwrap(), house.address);
    machine.observe().await.unwrap();
    stop.cancel();
    timeout(Duration::from_secs(5), host.running.take().unwrap()).await.unwrap().unwrap().unwrap();
    let lost = machine.switch(&order(1), None).await.unwrap_err();
    assert!(lost.is_lost() && lost.to_string().contains("told to end"), "{lost}");
}
