//! The engine's side of a gate: what is asked through it goes to the sandbox, and what the sandbox answers goes back.
//!
//! Each answer belongs to the oldest question of its kind, so no question needs a number. A sandbox that answers what nobody
//! asked is lost.

use std::{collections::VecDeque, ffi::OsString, future::pending, io, net::TcpStream as StdStream};

use tokio::{
    io::Interest,
    net::TcpStream,
    sync::{OwnedMutexGuard, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    super::protocol::{CheckEnd, Command},
    connection::Connection,
};
use crate::engine::{Ask, EngineError, Gatekeeper, StepExit};

/// Connections that are being made at once. More wait to be asked for.
const MAX_CONNECTS: usize = 64;
/// Checks that wait for the one that runs. What is asked after them waits too, whatever it is.
const MAX_CHECKS: usize = 64;
/// Bytes of a check's arguments: far more than any has, and little enough to be sent at once.
const MAX_ARGUMENTS: usize = 64 << 10;

type Answer<T> = oneshot::Sender<io::Result<T>>;

/// The owner's questions and how far they are. Once this is dropped, all questions, also later ones, are answered with the
/// sandbox's end.
#[derive(Default)]
pub(super) struct Door {
    asks: Option<OwnedMutexGuard<mpsc::Receiver<Ask>>>,
    /// Whether the program runs: what is asked before waits.
    is_open: bool,
    /// Questions to which the sandbox has not given a socket yet, the oldest first.
    connects: VecDeque<Connect>,
    /// Sockets that are being connected.
    connecting: JoinSet<Connected>,
    /// Who waits for the check that runs. `Some(None)` where it has been given up and its end is awaited.
    checking: Option<Option<Answer<StepExit>>>,
    checks: VecDeque<(Vec<OsString>, Answer<StepExit>)>,
}

struct Connect {
    port: u16,
    by_v6: bool,
    answer: Answer<TcpStream>,
}

/// Something that the owner did, or that has come to its end out here.
pub(super) enum Happened {
    Asked(Ask),
    /// A connection was made, or was not.
    Connected(Connected),
    /// Nobody waits for the check that runs any more.
    CheckGivenUp,
}

pub(super) struct Connected(Connect, io::Result<TcpStream>);

impl Door {
    /// # Errors
    /// Another sandbox has it.
    pub(super) fn of(gate: Option<&Gatekeeper>) -> Result<Self, EngineError> {
        let Some(gate) = gate else { return Ok(Self::default()) };
        let asks = gate.asks.clone().try_lock_owned().map_err(|_| EngineError::Setup {
            doing: "opening the step's gate".to_owned(),
            why: "another sandbox has it; each needs one of its own".to_owned(),
        })?;
        let mut door = Self::default();
        door.asks = Some(asks);
        Ok(door)
    }

    /// The program runs.
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// What happens next. Cancel-safe; waits for ever where there is no gate.
    pub(super) async fn next(&mut self) -> Happened {
        let has_room = self.is_open
            && self.connects.len() + self.connecting.len() < MAX_CONNECTS
            && self.checks.len() < MAX_CHECKS;
        tokio::select! {
            Some(ask) = next_ask(self.asks.as_deref_mut()), if has_room => Happened::Asked(ask),
            Some(Ok(connected)) = self.connecting.join_next() => Happened::Connected(connected),
            // Where no check runs, or nobody has asked, it never is; so this can always be waited for.
            () = given_up(self.checking.as_mut()) => Happened::CheckGivenUp,
        }
    }

    pub(super) fn act(&mut self, happened: Happened, connection: &mut Connection) {
        match happened {
            Happened::Asked(Ask::Connect { port, answer }) => {
                self.connect(Connect { port, by_v6: false, answer }, connection);
            }
            Happened::Asked(Ask::Check { argv, answer }) => {
                let length: usize = argv.iter().map(|argument| argument.len() + 1).sum();
                if argv.is_empty() || length > MAX_ARGUMENTS {
                    let why =
                        format!("a check has a program, and arguments of at most {MAX_ARGUMENTS} bytes");
                    let _ = answer.send(Err(io::Error::new(io::ErrorKind::InvalidInput, why)));
                } else {
                    self.checks.push_back((argv, answer));
                    self.check_next(connection);
                }
            }
            Happened::Connected(Connected(connect, made)) => self.connected(connect, made, connection),
            Happened::CheckGivenUp => {
                self.checking = Some(None);
                connection.tell(&Command::EndCheck);
            }
        }
    }

    fn connect(&mut self, connect: Connect, connection: &mut Connection) {
        connection.tell(&Command::Connect { by_v6: connect.by_v6, port: connect.port });
        self.connects.push_back(connect);
    }

    /// The sandbox gave the socket of the oldest question; whether there was one.
    pub(super) fn connecting(&mut self, socket: StdStream) -> bool {
        let Some(mut connect) = self.connects.pop_front() else { return false };
        self.connecting.spawn(async move {
            let made = tokio::select! {
                made = when_connected(socket) => made,
                // Nobody wants it any more.
                () = connect.answer.closed() => Err(io::ErrorKind::Interrupted.into()),
            };
            Connected(connect, made)
        });
        true
    }

    /// The sandbox gave no socket for the oldest question; whether there was one.
    pub(super) fn unconnected(&mut self, errno: i32, connection: &mut Connection) -> bool {
        let Some(connect) = self.connects.pop_front() else { return false };
        self.connected(connect, Err(io::Error::from_raw_os_error(errno)), connection);
        true
    }

    fn connected(&mut self, connect: Connect, made: io::Result<TcpStream>, connection: &mut Connection) {
        match made {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !connect.by_v6 => {
                self.connect(Connect { by_v6: true, ..connect }, connection);
            }
            // That this host has no such addresses says nothing of the program.
            Err(error) if connect.by_v6 && error.kind() != io::ErrorKind::ConnectionRefused => {
                let _ = connect.answer.send(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            made => drop(connect.answer.send(made)),
        }
    }

    /// The check has ended; whether there was one.
    pub(super) fn checked(&mut self, end: CheckEnd, connection: &mut Connection) -> bool {
        let Some(answer) = self.checking.take() else { return false };
        if let Some(answer) = answer {
            let _ = answer.send(Ok(match end {
                CheckEnd::Code(code) => StepExit::Code(code),
                CheckEnd::Signal(signal) => StepExit::Signal(signal),
                CheckEnd::NotStarted { program, why } => StepExit::NotStarted { program, why },
            }));
        }
        self.check_next(connection);
        true
    }

    fn check_next(&mut self, connection: &mut Connection) {
        while self.checking.is_none() {
            let Some((argv, answer)) = self.checks.pop_front() else { return };
            if !answer.is_closed() {
                connection.tell(&Command::Check(argv));
                self.checking = Some(Some(answer));
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let Some(asks) = &mut self.asks else { return };
        asks.close();
        while asks.try_recv().is_ok() {}
    }
}

async fn next_ask(asks: Option<&mut mpsc::Receiver<Ask>>) -> Option<Ask> {
    asks?.recv().await
}

async fn given_up(checking: Option<&mut Option<Answer<StepExit>>>) {
    match checking {
        Some(Some(answer)) => answer.closed().await,
        _ => pending().await,
    }
}

/// Waits until a connection that was begun is made, or is not.
async fn when_connected(socket: StdStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from_std(socket)?;
    loop {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                // The kernel spoke too early: wait for its next word.
                let _ = stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
            Err(error) => return Err(error),
            Ok(_) => {
                // Whoever speaks through a gate wants an answer to each word; none is held back to be sent with the next.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
        }
    }
}
