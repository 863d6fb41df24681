//! The user's own terminal, lent to a program in a sandbox: the program gets a terminal of its own, and what is typed and shown
//! goes between the two.
//!
//! A map: [`Terminal`] is the user's, in raw mode as long as it is lent. [`Lent`] is the program's, and `relay` carries bytes
//! between them, on a thread of its own.

mod relay;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};
use staith_builder::redact::MaskStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::relay::{Order, Relay};

/// How long the last of the output may take when the user's terminal does not take it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whether a person sits here: somebody types, and somebody sees.
pub(crate) fn is_there() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// The user's terminal in raw mode: each key goes to the program, Ctrl-C as well. It is as it was when this is dropped, also by
/// a panic.
struct Raw {
    before: Termios,
}

impl Raw {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// A terminal for a program, and the user's, which it is connected to until this is dropped or [taken back](Self::take_back).
pub(crate) struct Lent {
    orders: OwnedFd,
    over: Option<oneshot::Receiver<()>>,
    _raw: Raw,
}

impl Lent {
    /// Lends the user's terminal. The second is what the program gets: drop it once the program has it. When the user's terminal
    /// goes away, `gone` is cancelled.
    ///
    /// # Errors
    /// The system refuses a pseudo terminal.
    pub(crate) fn out(mask: MaskStream, gone: CancellationToken) -> io::Result<(Self, Arc<OwnedFd>)> {
        let (ours, theirs) = pair()?;
        // The same keys mean the same as outside.
        tcsetattr(&theirs, OptionalActions::Now, &tcgetattr(stdin())?)?;
        resize(ours.as_fd());
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        let (heard, orders) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let raw = Raw::new()?;
        let (done, over) = oneshot::channel();
        let relay = Relay::new(ours, heard, mask);
        std::thread::Builder::new().name("staith-terminal".to_owned()).spawn(move || {
            if relay.carry(stdin(), stdout()) == relay::End::UserIsGone {
                gone.cancel();
            }
            let _ = done.send(());
        })?;
        Ok((Self { orders, over: Some(over), _raw: raw }, Arc::new(theirs)))
    }

    /// The user's terminal has another size now, and so does the program's.
    pub(crate) fn resize(&self) {
        self.order(Order::Resize);
    }

    /// Hangs up: the program's terminal is gone, which shells and what they run end of. The user's is raw until this is dropped.
    pub(crate) fn hang_up(&self) {
        self.order(Order::HangUp);
    }

    /// The program has ended: shows the last of what it wrote, and gives the terminal back. Does not wait long for a terminal
    /// that takes nothing.
    pub(crate) async fn take_back(mut self) {
        self.order(Order::Finish);
        if let Some(over) = self.over.take() {
            let _ = tokio::time::timeout(LAST_WORDS, over).await;
        }
    }

    fn order(&self, order: Order) {
        // Whoever has ended needs no orders.
        let _ = rustix::io::write(&self.orders, &[order.byte()]);
    }
}

/// A pseudo terminal: our end and the program's.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    // Asked of our end and not opened by its name, so that it is its other end wherever that name leads to.
    let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((ours, theirs))
}

/// Makes a terminal as large as the user's. Whoever runs in it is told by the kernel.
fn resize(ours: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(stdin()) {
        let _ = tcsetwinsize(ours, size);
    }
}
