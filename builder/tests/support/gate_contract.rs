//! The contract of [`Engine`] where something goes in or out while a step runs: connections, checks, a terminal.

use std::{io, time::Duration};

use staith_builder::engine::{
    Arrival, Engine, EngineError, Gate, Neighbour, OutputChunk, StepExit, StepSpec, gate,
};
use staith_model::Network;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, eventually, processes_with};

/// A step that runs beside a test which talks with it.
pub struct Beside<'a> {
    pub gate: &'a Gate,
    pub arrivals: &'a mut mpsc::Receiver<Arrival>,
    pub cancel: CancellationToken,
    said: &'a mut mpsc::UnboundedReceiver<OutputChunk>,
    heard: String,
}

impl Beside<'_> {
    /// Waits until the step has said this.
    pub async fn hears(&mut self, what: &str) {
        while !self.heard.contains(what) {
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.said.recv()).await;
            let chunk =
                chunk.unwrap_or_else(|_| panic!("waited in vain for `{what}` after `{}`", self.heard));
            let chunk = chunk.unwrap_or_else(|| panic!("it ended before `{what}`, after `{}`", self.heard));
            self.heard.push_str(&String::from_utf8_lossy(&chunk.bytes));
        }
    }
}

/// Runs a step with a gate and a test beside it; how the step ended, and what it said.
pub async fn run_beside(
    engine: &dyn Engine,
    mut step: StepSpec,
    test: impl AsyncFnOnce(&mut Beside<'_>),
) -> (StepExit, String) {
    let (owner, mut arrivals, keeper) = gate();
    step.gate = Some(keeper);
    let (output, mut said) = mpsc::channel(16);
    // A step whose output nobody takes waits, and the test may just then wait for something else.
    let (take, mut taken) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(chunk) = said.recv().await {
            let _ = take.send(chunk);
        }
    });
    let cancel = CancellationToken::new();
    let talk = async {
        let mut beside = Beside {
            gate: &owner,
            arrivals: &mut arrivals,
            cancel: cancel.clone(),
            said: &mut taken,
            heard: String::new(),
        };
        test(&mut beside).await;
        while let Some(chunk) = beside.said.recv().await {
            beside.heard.push_str(&String::from_utf8_lossy(&chunk.bytes));
        }
        beside.heard
    };
    let (exit, heard) = tokio::join!(engine.run(step, output, cancel.clone()), talk);
    // Whoever asks now is told at once, whatever of the gate somebody still keeps.
    assert_eq!(owner.connect(1).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(owner.check(vec!["true".into()]).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
    (exit.unwrap(), heard)
}

/// Sends all of a text, ends that half, and gives what comes back until the other half ends.
async fn exchange(mut stream: TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Answers each connection with what it sent, in capitals, once that has ended.
const SHOUTS: &str = "
import socket, threading
def answer(client):
    text = b''
    while piece := client.recv(65536):
        text += piece
    client.sendall(text.upper())
    client.close()
def serve(server):
    while True:
        threading.Thread(target=answer, args=(server.accept()[0],)).start()
servers = [socket.create_server(('127.0.0.1', port)) for port in (7000, 80)]
try:
    servers.append(socket.create_server(('::1', 7001), family=socket.AF_INET6))
except OSError:
    pass
for server in servers:
    threading.Thread(target=serve, args=(server,)).start()
print('serves at', len(servers), 'addresses', flush=True)
";

pub async fn a_program_is_reached_through_the_gate(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.argv(&["/usr/bin/python3", "-c", SHOUTS]);
    step.network = Network::Loopback;
    let (exit, _) = run_beside(engine, step, async |beside| {
        // Before the program is there, too: this waits until it was started, and then it may be refused.
        let _ = beside.gate.connect(7000).await;
        beside.hears(" addresses\n").await;
        // Docker gives a container no address of the newer kind.
        let has_v6 = beside.heard.contains("at 3 ");
        for port in if has_v6 { &[7000, 80, 7001][..] } else { &[7000, 80] } {
            let port = *port;
            let stream = beside.gate.connect(port).await.unwrap();
            assert_eq!(exchange(stream, "hello").await, "HELLO", "{port}");
        }
        let big = "x".repeat(3_000_000);
        let stream = beside.gate.connect(7000).await.unwrap();
        assert!(exchange(stream, &big).await == big.to_uppercase(), "all of it, both ways");
        let many: Vec<_> = (0..100)
            .map(|number: u32| {
                let gate = beside.gate.clone();
                tokio::spawn(async move {
                    exchange(gate.connect(7000).await.unwrap(), &format!("n{number}")).await
                })
            })
            .collect();
        for (number, one) in many.into_iter().enumerate() {
            assert_eq!(one.await.unwrap(), format!("N{number}"), "each has its own");
        }
        let refused = beside.gate.connect(7002).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        beside.cancel.cancel();
    })
    .await;
    assert_eq!(exit, StepExit::Cancelled);
}

fn neighbour(name: &str, address: [u8; 4], ports: &[u16]) -> Neighbour {
    Neighbour { name: name.parse().unwrap(), address: address.into(), ports: ports.to_vec() }
}

/// Says something to each place that it is given, and what comes back.
const ASKS: &str = "
import socket, sys
for place in sys.argv[1:]:
    host, port = place.split(':')
    try:
        server = socket.create_connection((host, int(port)))
    except OSError as error:
        print(place, type(error).__name__)
        continue
    server.sendall(b'hello')
    server.shutdown(socket.SHUT_WR)
    answer = b''
    while piece := server.recv(65536):
        answer += piece
    print(place, answer.decode())
";

pub async fn neighbours_are_reached_by_name(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    for network in [Network::Loopback, Network::Outbound] {
        let places = ["db:5432", "cache:5432", "db:80", "db:81", "cache:80", "localhost:5432"];
        let argv = [&["/usr/bin/python3", "-c", ASKS][..], &places].concat();
        let mut step = bench.argv(&argv);
        step.network = network;
        step.neighbours =
            vec![neighbour("db", [127, 0, 0, 2], &[5432, 80]), neighbour("cache", [127, 9, 0, 1], &[5432])];
        let (exit, said) = run_beside(engine, step, async |beside| {
            for _ in 0..3 {
                let Some(mut arrival) = beside.arrivals.recv().await else { return };
                let mut text = String::new();
                arrival.stream.read_to_string(&mut text).await.unwrap();
                let answer = format!("{} at {} heard {text}", arrival.neighbour.as_str(), arrival.port);
                // More than fits on the way.
                let rest = " and more".repeat(100_000);
                arrival.stream.write_all(answer.as_bytes()).await.unwrap();
                arrival.stream.write_all(rest.as_bytes()).await.unwrap();
            }
        })
        .await;
        assert_eq!(exit, StepExit::Code(0), "{said}");
        let said = said.replace(" and more", "");
        let lines: Vec<&str> = said.lines().collect();
        let refused =
            ["db:81", "cache:80", "localhost:5432"].map(|place| format!("{place} ConnectionRefusedError"));
        assert_eq!(
            lines,
            [
                "db:5432 db at 5432 heard hello",
                "cache:5432 cache at 5432 heard hello",
                "db:80 db at 80 heard hello",
                &refused[0],
                &refused[1],
                &refused[2],
            ],
            "{network:?}"
        );
    }
    let mut step = bench.argv(&["cat", "/etc/hosts"]);
    step.network = Network::Loopback;
    step.neighbours = vec![neighbour("db", [127, 0, 0, 2], &[])];
    let (_, hosts) = run_beside(engine, step, async |_| {}).await;
    assert_eq!(hosts, "127.0.0.1 localhost staith\n::1 localhost\n127.0.0.2 db\n");
}

pub async fn neighbours_that_can_not_be_had_are_an_error(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (_owner, _arrivals, keeper) = gate();
    for (network, address, keeper, named) in [
        (Network::None, [127, 0, 0, 2], Some(keeper.clone()), "`network`"),
        (Network::Loopback, [127, 0, 0, 1], Some(keeper.clone()), "127.0.0.1"),
        (Network::Loopback, [10, 0, 0, 1], Some(keeper.clone()), "10.0.0.1"),
        (Network::Loopback, [127, 0, 0, 2], None, "gate"),
    ] {
        let mut step = bench.shell("echo ran");
        (step.network, step.gate) = (network, keeper);
        step.neighbours = vec![neighbour("db", address, &[80])];
        let (output, mut said) = mpsc::channel(16);
        let refused = engine.run(step, output, CancellationToken::new()).await;
        assert!(
            matches!(&refused, Err(EngineError::Setup { why, .. }) if why.contains(named)),
            "{refused:?}"
        );
        assert!(said.recv().await.is_none(), "nothing was started");
    }
}

fn argv(script: &str) -> Vec<std::ffi::OsString> {
    ["/bin/sh", "-c", script].map(Into::into).to_vec()
}

pub async fn checks_run_beside_the_program(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    // What confines it, as the kernel says it.
    let confined = "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp)' /proc/self/status";
    let mut step = bench.shell(&format!(
        "echo mark > /tmp/mark; mkdir sub; echo $$ > pid; {confined} > confined; echo ready; exec sleep 1000"
    ));
    step.env = [("GREETING".to_owned(), "hello".to_owned())].into();
    let (exit, said) = run_beside(engine, step, async |beside| {
        let check = async |script: &str| beside.gate.check(argv(script)).await.unwrap();
        for code in [0, 7, 255] {
            assert_eq!(check(&format!("exit {code}")).await, StepExit::Code(code));
        }
        assert_eq!(check("kill -USR1 $$").await, StepExit::Signal(10));
        beside.hears("ready\n").await;
        let check = async |script: &str| beside.gate.check(argv(script)).await.unwrap();
        for script in [
            "test \"$(cat /tmp/mark)\" = mark",
            "test \"$PWD\" = /workspace && test -d sub",
            "test \"$GREETING\" = hello",
            // The program's process can be seen and signalled, and what it has open looked at.
            "kill -0 $(cat pid) && ls -l /proc/$(cat pid)/exe",
            &format!("test \"$({confined})\" = \"$(cat confined)\""),
            // There is nothing to read.
            "! read -r line",
            "test ! -t 0",
        ] {
            assert_eq!(check(script).await, StepExit::Code(0), "{script}");
        }
        check("echo from the check; echo odd >&2").await;
        beside.hears("from the check\n").await;
        beside.hears("odd\n").await;
        let absent = beside.gate.check(vec!["no-such-program".into()]).await.unwrap();
        assert!(
            matches!(&absent, StepExit::NotStarted { program, .. } if program == "no-such-program"),
            "{absent:?}"
        );
        for nonsense in [vec![], vec!["true".into(), "x".repeat(1 << 20).into()]] {
            let refused = beside.gate.check(nonsense).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        // Asked at once, run one after another.
        let each = "mkdir /tmp/one || exit 1; sleep 0.01; rmdir /tmp/one || rm -r /tmp/one";
        let all = (0..8).map(|_| {
            let gate = beside.gate.clone();
            tokio::spawn(async move { gate.check(argv(each)).await.unwrap() })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), StepExit::Code(0));
        }
        beside.cancel.cancel();
    })
    .await;
    assert_eq!(exit, StepExit::Cancelled, "{said}");
}

pub async fn a_check_that_hangs_is_ended(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let marker = super::engine_contract::marker("check");
    let step = bench.shell("until test -e end; do sleep 0.01; done");
    let (exit, said) = run_beside(engine, step, async |beside| {
        let hangs =
            |then: &str| argv(&format!("trap '' TERM; echo begun {then}; {then}; sleep 1000; : {marker}"));
        let given_up = beside.gate.clone();
        let first = tokio::spawn({
            let argv = hangs("true");
            async move { given_up.check(argv).await }
        });
        beside.hears("begun true\n").await;
        assert!(!processes_with(&marker).is_empty());
        // Nobody waits for it any more.
        first.abort();
        assert_eq!(
            beside.gate.check(argv("exit 3")).await.unwrap(),
            StepExit::Code(3),
            "the next has its turn"
        );
        eventually("the check to be gone", || processes_with(&marker).is_empty()).await;
        let outlived = beside.gate.check(hangs("touch end")).await.unwrap_err();
        assert_eq!(outlived.kind(), io::ErrorKind::NotConnected);
        assert_eq!(processes_with(&marker), [0_u32; 0]);
    })
    .await;
    assert_eq!(exit, StepExit::Code(0), "{said}");
    assert!(!said.contains("staith: "), "nothing of the program's was left: {said}");
}

pub async fn one_gate_is_one_sandboxs(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (owner, _arrivals, keeper) = gate();
    let step =
        || StepSpec { gate: Some(keeper.clone()), ..bench.shell("until test -e end; do sleep 0.01; done") };
    let (output, _said) = mpsc::channel(16);
    let first = engine.run(step(), output.clone(), CancellationToken::new());
    let then = async {
        assert_eq!(owner.check(argv("true")).await.unwrap(), StepExit::Code(0));
        let refused = engine.run(step(), output.clone(), CancellationToken::new()).await;
        assert!(
            matches!(&refused, Err(EngineError::Setup { why, .. }) if why.contains("another")),
            "{refused:?}"
        );
        // The end of the program may be the sooner one.
        let _ = owner.check(argv("touch end")).await;
    };
    let (exit, ()) = tokio::join!(first, then);
    assert_eq!(exit.unwrap(), StepExit::Code(0));
}

pub async fn nothing_to_run_is_an_error(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let mut step = bench.argv(&[]);
    let (output, _said) = mpsc::channel(16);
    let refused = engine.run(step, output, CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().contains("nothing to run") && refused.remedy().is_some(), "{refused}");
    step = bench.argv(&[]);
    step.image.command = ["/bin/sh", "-c", "pwd; echo $0", "as the image says"].map(Into::into).to_vec();
    assert_eq!(bench.run(engine, step.clone()).await.stdout, "/\nas the image says\n");
    let fresh = bench.argv(&[]);
    step = StepSpec { upper: fresh.upper, work: fresh.work, lowers: fresh.lowers, ..step };
    step.image.workdir = Some("/tmp".into());
    assert_eq!(bench.run(engine, step).await.stdout, "/tmp\nas the image says\n");
}
