//! Carries bytes between two terminals. One thread waits for all that can happen and never blocks on the program.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, write},
};
use staith_builder::redact::MaskStream;

/// What was typed and the program has not read: of more, nothing is read until it does.
const MOST_TYPED: usize = 64 << 10;
/// As much of what may be the beginning of a secret is what a person typed by chance; it is shown at once.
const BY_CHANCE: usize = 4;
/// How long that is held back.
const SOON: Duration = Duration::from_millis(20);
/// How long more than that is held back: a program that writes a secret in parts does not take so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// What the relay is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Resize,
    HangUp,
    Finish,
}

impl Order {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Resize => b'r',
            Self::HangUp => b'h',
            Self::Finish => b'f',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Resize, Self::HangUp, Self::Finish].into_iter().find(|order| order.byte() == byte)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The program has closed its terminal, or it was hung up.
    ProgramIsGone,
    /// Nobody types or looks any more.
    UserIsGone,
}

/// Bytes between a program's terminal and a user's.
pub(super) struct Relay {
    /// Our end of the program's terminal; does not block.
    ours: OwnedFd,
    orders: OwnedFd,
    mask: MaskStream,
    typed: Vec<u8>,
}

/// What can be done now.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    typed: bool,
    shown: bool,
    taken: bool,
    order: bool,
}

impl Relay {
    pub(super) fn new(ours: OwnedFd, orders: OwnedFd, mask: MaskStream) -> Self {
        Self { ours, orders, mask, typed: Vec::new() }
    }

    /// Carries until one of the two is gone. What was held back is shown then.
    pub(super) fn carry(mut self, keys: BorrowedFd<'_>, screen: BorrowedFd<'_>) -> End {
        let end = loop {
            match self.carry_some(keys, screen) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(_) => break End::UserIsGone,
            }
        };
        let mut rest = Vec::new();
        self.mask.finish(&mut rest);
        match show(screen, &rest) {
            Ok(()) => end,
            Err(_) => End::UserIsGone,
        }
    }

    /// Waits until something happens. Errors are the user's terminal's.
    fn carry_some(&mut self, keys: BorrowedFd<'_>, screen: BorrowedFd<'_>) -> io::Result<Option<End>> {
        let Some(ready) = self.wait(keys)? else {
            let mut held = Vec::new();
            self.mask.release(&mut held);
            show(screen, &held)?;
            return Ok(None);
        };
        if ready.shown && !self.show_some(screen)? {
            return Ok(Some(End::ProgramIsGone));
        }
        if ready.order {
            match self.order() {
                Some(Order::Resize) => super::resize(self.ours.as_fd()),
                Some(Order::Finish) => {
                    self.show_rest(screen)?;
                    return Ok(Some(End::ProgramIsGone));
                }
                Some(Order::HangUp) => return Ok(Some(End::ProgramIsGone)),
                // Whoever gave orders is gone, by a panic.
                None => return Ok(Some(End::ProgramIsGone)),
            }
        }
        if ready.typed && !self.read_keys(keys)? {
            return Ok(Some(End::UserIsGone));
        }
        if ready.taken {
            self.hand_over();
        }
        Ok(None)
    }

    /// `None` when what is held back has waited long enough.
    fn wait(&self, keys: BorrowedFd<'_>) -> io::Result<Option<Ready>> {
        let mut program = PollFlags::IN;
        program.set(PollFlags::OUT, !self.typed.is_empty());
        let may_type = self.typed.len() < MOST_TYPED;
        let mut fds = vec![PollFd::new(&self.ours, program), PollFd::new(&self.orders, PollFlags::IN)];
        if may_type {
            fds.push(PollFd::from_borrowed_fd(keys, PollFlags::IN));
        }
        let patience = match self.mask.held() {
            0 => None,
            held if held < BY_CHANCE => Some(SOON),
            _ => Some(PATIENCE),
        };
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) => return Ok(None),
            Err(Errno::INTR) => return Ok(Some(Ready::default())),
            polled => polled?,
        };
        let happened = |at: usize| fds.get(at).map_or(PollFlags::empty(), PollFd::revents);
        let is_gone = PollFlags::HUP | PollFlags::ERR;
        Ok(Some(Ready {
            shown: happened(0).intersects(PollFlags::IN | is_gone),
            taken: happened(0).contains(PollFlags::OUT),
            order: happened(1).intersects(PollFlags::IN | is_gone),
            typed: happened(2).intersects(PollFlags::IN | is_gone),
        }))
    }

    /// Shows what the program wrote, as far as it is there; whether there may be more.
    fn show_some(&mut self, screen: BorrowedFd<'_>) -> io::Result<bool> {
        let mut bytes = [0; 16 << 10];
        let read = match read(&self.ours, &mut bytes) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            // What the system says once no program has the terminal any more.
            Err(_) => return Ok(false),
        };
        let mut masked = Vec::new();
        self.mask.push(&bytes[..read], &mut masked);
        show(screen, &masked)?;
        Ok(true)
    }

    /// Shows all that is there, without waiting for more.
    fn show_rest(&mut self, screen: BorrowedFd<'_>) -> io::Result<()> {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut fds = [PollFd::new(&self.ours, PollFlags::IN)];
            let is_there = matches!(poll(&mut fds, Some(&nothing)), Ok(1..));
            if !is_there || !fds[0].revents().contains(PollFlags::IN) || !self.show_some(screen)? {
                return Ok(());
            }
        }
    }

    fn order(&self) -> Option<Order> {
        let mut byte = [0];
        match read(&self.orders, &mut byte) {
            Ok(1) => Order::of(byte[0]),
            _ => None,
        }
    }

    /// Whether anybody types any more.
    fn read_keys(&mut self, keys: BorrowedFd<'_>) -> io::Result<bool> {
        let mut bytes = [0; 4 << 10];
        let read = match read(keys, &mut bytes) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(refused) => return Err(refused.into()),
        };
        self.typed.extend_from_slice(&bytes[..read]);
        Ok(true)
    }

    /// Gives the program what was typed, as far as it takes it.
    fn hand_over(&mut self) {
        match write(&self.ours, &self.typed) {
            Ok(taken) => drop(self.typed.drain(..taken)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It is gone, and so is what was meant for it.
            Err(_) => self.typed.clear(),
        }
    }
}

/// Writes all of it; waits where the user's terminal waits.
fn show(screen: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(screen, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(screen, PollFlags::OUT)];
                match poll(&mut fds, None) {
                    Err(Errno::INTR) | Ok(_) => {}
                    Err(refused) => return Err(refused.into()),
                }
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _, thread};

    use rustix::{pipe::pipe, termios::tcgetwinsize};
    use staith_builder::redact::Masker;
    use staith_model::Secret;

    use super::*;

    /// A relay that runs, with its four ends: the program's terminal, the keys, the screen, and the orders.
    fn relay(mask: MaskStream) -> (OwnedFd, OwnedFd, std::fs::File, OwnedFd, thread::JoinHandle<End>) {
        let (ours, theirs) = super::super::pair().unwrap();
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::NONBLOCK).unwrap();
        let ((keys, hand), (eye, screen), (heard, orders)) =
            (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
        let relay = Relay::new(ours, heard, mask);
        let running = thread::spawn(move || relay.carry(keys.as_fd(), screen.as_fd()));
        (theirs, hand, eye.into(), orders, running)
    }

    fn sees(eye: &mut std::fs::File, text: &str) {
        let mut seen = vec![0; text.len()];
        eye.read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), text);
    }

    #[test]
    fn what_is_typed_is_read_and_what_is_written_is_seen() {
        let (theirs, hand, mut eye, orders, running) = relay(Masker::default().stream());
        write(&hand, b"ls\n").unwrap();
        let mut line = [0; 8];
        assert_eq!(read(&theirs, &mut line).unwrap(), 3);
        sees(&mut eye, "ls\r\n");
        write(&theirs, b"a b").unwrap();
        sees(&mut eye, "a b");
        assert_eq!(tcgetwinsize(&theirs).unwrap().ws_row, 0);
        write(&theirs, b"last").unwrap();
        write(&orders, &[Order::Finish.byte()]).unwrap();
        assert_eq!(running.join().unwrap(), End::ProgramIsGone);
        let mut rest = String::new();
        eye.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "last");
    }

    #[test]
    fn a_secret_is_masked_and_its_first_letters_come_when_nothing_follows() {
        let secrets = BTreeMap::from([("t".to_owned(), Secret::new("tok-91f3c2"))]);
        let (theirs, _hand, mut eye, orders, running) = relay(Masker::new(&secrets).unwrap().stream());
        write(&theirs, b"it is tok-91").unwrap();
        write(&theirs, b"f3c2!").unwrap();
        sees(&mut eye, "it is ***!");
        // A person who types the letter waits for it, and for nothing that follows.
        write(&theirs, b"t").unwrap();
        sees(&mut eye, "t");
        drop(orders);
        assert_eq!(running.join().unwrap(), End::ProgramIsGone);
    }

    #[test]
    fn a_user_who_goes_away_ends_it_and_so_does_hanging_up() {
        let (_theirs, hand, _eye, _orders, running) = relay(Masker::default().stream());
        drop(hand);
        assert_eq!(running.join().unwrap(), End::UserIsGone);
        let (theirs, _hand, _eye, orders, running) = relay(Masker::default().stream());
        write(&orders, &[Order::HangUp.byte()]).unwrap();
        assert_eq!(running.join().unwrap(), End::ProgramIsGone);
        assert_eq!(read(&theirs, &mut [0; 1]).ok(), Some(0).filter(|_| true), "its terminal is gone");
    }
}
