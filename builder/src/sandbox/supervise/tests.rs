//! A step's end from facts, and sandboxes that say what they should not: in a container the image has a say in that.

use std::{
    io::{IoSlice, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{
    super::protocol::{CheckEnd, frame, send_report},
    *,
};
use crate::engine::{Gate, Gatekeeper, Neighbour, gate};

#[test]
fn facts_come_before_exit_codes() {
    let ended = |report, verdict, oom| conclude(Some(report), verdict, oom).unwrap();
    assert_eq!(ended(Report::Exited(0), None, true), StepExit::OutOfMemory);
    assert_eq!(ended(Report::Exited(0), Some(Verdict::TimedOut), false), StepExit::TimedOut);
    assert_eq!(ended(Report::Exited(137), None, false), StepExit::Code(137));
    assert_eq!(ended(Report::Signalled(9), Some(Verdict::Cancelled), true), StepExit::Cancelled);
    assert_eq!(conclude(None, None, true).unwrap(), StepExit::OutOfMemory);
    assert!(matches!(conclude(None, None, false), Err(EngineError::Lost(_))));
}

/// A sandbox that the test plays.
struct Sandbox(UnixStream);

impl Sandbox {
    fn says(&mut self, report: &Report) {
        send_report(&mut self.0, report).unwrap();
    }

    fn gives(&mut self, report: &Report, socket: BorrowedFd<'_>) {
        self.gives_with(&frame(report).unwrap(), socket);
    }

    fn gives_with(&mut self, bytes: &[u8], socket: BorrowedFd<'_>) {
        let descriptors = [socket];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty()).unwrap();
    }
}

/// The engine's side of a step with a neighbour.
struct Watched {
    gate: Gate,
    keeper: Gatekeeper,
    connection: Connection,
    cancel: CancellationToken,
    watch: Watch,
    _place: tempfile::TempDir,
}

fn played() -> (Sandbox, Watched) {
    let place = tempfile::tempdir().unwrap();
    let mut step = probe::trial(place.path());
    fs::create_dir(&step.upper).unwrap();
    let (gate, _, keeper) = gate();
    step.gate = Some(keeper.clone());
    let address = [127, 0, 0, 2].into();
    step.neighbours = vec![Neighbour { name: "db".parse().unwrap(), address, ports: vec![80] }];
    let (ours, sandbox) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let (connection, cancel) = (Connection::over(ours).unwrap(), CancellationToken::new());
    let watch = Watch::new(&step, None, cancel.clone(), CancellationToken::new()).unwrap();
    (Sandbox(sandbox), Watched { gate, keeper, connection, cancel, watch, _place: place })
}

impl Watched {
    async fn ends(mut self) -> Result<StepExit, EngineError> {
        let ended = self.watch.until_ended(&mut self.connection, || {}).await;
        conclude(ended?, None, false)
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

const NEIGHBOUR: Report = Report::Listening(Listener::Neighbour { number: 0, port: 80 });

#[tokio::test]
async fn what_nobody_asked_for_loses_the_sandbox() {
    for report in [
        Report::Checked(CheckEnd::Code(0)),
        Report::Unconnected(111),
        Report::Connecting,
        Report::Listening(Listener::Proxy),
        Report::Listening(Listener::Neighbour { number: 0, port: 81 }),
        Report::Listening(Listener::Neighbour { number: 1, port: 80 }),
        Report::Listening(Listener::Neighbour { number: usize::MAX, port: 80 }),
    ] {
        let (mut sandbox, watched) = played();
        sandbox.says(&Report::Started);
        sandbox.gives(&report, listener().as_fd());
        let ended = watched.ends().await;
        assert!(matches!(&ended, Err(EngineError::Lost(_))), "{report:?}: {ended:?}");
    }
}

async fn is_lost(play: impl FnOnce(&mut Sandbox)) {
    let (mut sandbox, watched) = played();
    play(&mut sandbox);
    let ended = watched.ends().await;
    assert!(matches!(&ended, Err(EngineError::Lost(_))), "{ended:?}");
}

#[tokio::test]
async fn sockets_are_what_they_should_be_and_no_more_than_were_asked_for() {
    // None came.
    is_lost(|sandbox| sandbox.says(&NEIGHBOUR)).await;
    // One that is none of the internet's.
    let (other, _end) = UnixStream::pair().unwrap();
    is_lost(|sandbox| sandbox.gives(&NEIGHBOUR, other.as_fd())).await;
    is_lost(|sandbox| {
        sandbox.gives(&NEIGHBOUR, listener().as_fd());
        sandbox.gives(&NEIGHBOUR, listener().as_fd());
    })
    .await;
    // More and more of them, with a report that never ends.
    is_lost(|sandbox| {
        sandbox.0.write_all(&1000_u32.to_le_bytes()).unwrap();
        (0..100).for_each(|_| sandbox.gives_with(b"x", listener().as_fd()));
    })
    .await;
    // A report that is longer than any.
    is_lost(|sandbox| sandbox.0.write_all(&(64_u32 << 20).to_le_bytes()).unwrap()).await;
}

/// Each report has its own socket, also where it is torn, so that the next socket is here before its own end is.
#[tokio::test]
async fn sockets_keep_the_order_of_their_reports() {
    let (mut sandbox, Watched { mut connection, .. }) = played();
    let listeners = [listener(), listener(), listener()];
    // One reading takes 4096 bytes.
    (0..4096 / frame(&Report::Survivors(1)).unwrap().len()).for_each(|_| sandbox.says(&Report::Survivors(1)));
    for (number, listener) in listeners.iter().enumerate() {
        let what = Listener::Neighbour { number, port: 80 };
        sandbox.gives(&Report::Listening(what), listener.as_fd());
    }
    let mut taken = Vec::new();
    while taken.len() < listeners.len() {
        if let Some(Report::Listening(_)) = connection.next().await.unwrap() {
            taken.push(TcpListener::from(connection.take_socket().unwrap()).local_addr().unwrap());
        }
    }
    assert_eq!(taken, listeners.map(|listener| listener.local_addr().unwrap()));
}

/// One that neither listens nor obeys does not keep us from the time, whatever is asked of it.
#[tokio::test(start_paused = true)]
async fn a_sandbox_that_takes_nothing_is_ended_from_outside() {
    let (mut sandbox, Watched { gate, keeper, mut connection, cancel, mut watch, .. }) = played();
    sandbox.says(&Report::Started);
    let ask = |_| {
        let gate = gate.clone();
        tokio::spawn(async move {
            let argv = vec!["x".repeat(60 << 10).into()];
            let (checked, connected) = tokio::join!(gate.check(argv), gate.connect(80));
            assert!(checked.is_err() && connected.is_err());
        })
    };
    let asks: Vec<_> = (0..100).map(ask).collect();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    });
    // It is gone when it is killed, as a container is.
    let mut sandbox = Some(sandbox);
    let ended = watch.until_ended(&mut connection, || drop(sandbox.take())).await.unwrap();
    assert!(ended.is_none() && sandbox.is_none());
    for ask in asks {
        ask.await.unwrap();
    }
    assert!(gate.connect(80).await.is_err(), "although somebody still has the keeper's half");
    drop(keeper);
}

/// The address of the older kind comes first, and the other only where nobody listens there.
#[tokio::test(flavor = "multi_thread")]
async fn connections_and_checks_are_answered_in_their_order() {
    let (mut sandbox, watched) = played();
    let (gate, server) = (watched.gate.clone(), listener());
    let address = server.local_addr().unwrap();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let play = tokio::task::spawn_blocking(move || {
        let refused = Report::Unconnected(libc::ECONNREFUSED);
        let hears = |sandbox: &mut Sandbox, command: Command| {
            assert_eq!(Command::read(&mut sandbox.0), command);
        };
        sandbox.says(&Report::Started);
        hears(&mut sandbox, Command::Connect { by_v6: false, port: 7 });
        sandbox.says(&refused);
        hears(&mut sandbox, Command::Connect { by_v6: true, port: 7 });
        let stream = std::net::TcpStream::connect(address).unwrap();
        sandbox.gives(&Report::Connecting, stream.as_fd());
        hears(&mut sandbox, Command::Connect { by_v6: false, port: 8 });
        sandbox.says(&refused);
        hears(&mut sandbox, Command::Connect { by_v6: true, port: 8 });
        sandbox.says(&Report::Unconnected(libc::EADDRNOTAVAIL));
        hears(&mut sandbox, Command::Check(vec!["x".into()]));
        sandbox.says(&Report::Checked(CheckEnd::Code(3)));
        // One that is given up is ended, and the next waits for its end.
        hears(&mut sandbox, Command::Check(vec!["y".into()]));
        begun.send(()).unwrap();
        hears(&mut sandbox, Command::EndCheck);
        sandbox.says(&Report::Checked(CheckEnd::Signal(9)));
        hears(&mut sandbox, Command::Check(vec!["z".into()]));
        sandbox.says(&Report::Checked(CheckEnd::Code(4)));
        sandbox.says(&Report::Exited(0));
    });
    let asks = async move {
        assert_eq!(gate.connect(7).await.unwrap().peer_addr().unwrap(), address);
        let refused = gate.connect(8).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(gate.check(vec!["x".into()]).await.unwrap(), StepExit::Code(3));
        tokio::select! {
            ended = gate.check(vec!["y".into()]) => panic!("{ended:?}"),
            begun = has_begun => begun.unwrap(),
        }
        assert_eq!(gate.check(vec!["z".into()]).await.unwrap(), StepExit::Code(4));
    };
    let (ended, (), played) = tokio::join!(watched.ends(), asks, play);
    played.unwrap();
    assert_eq!(ended.unwrap(), StepExit::Code(0));
}
