//! The life of a tunnel, as a state machine. Pure.

use bytes::Bytes;

use super::pipe::{Gap, Pipe};

/// Who is at an end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The process that deploys.
    Deployer,
    /// The machine's runner, for the program there.
    Machine,
}

/// A tunnel.
#[derive(Debug)]
pub(crate) enum Tunnel {
    /// The deployer wants it; the machine has not said that the program runs.
    Offered,
    /// Both are there.
    Open {
        /// To the machine.
        down: Pipe,
        /// To the deployer.
        up: Pipe,
    },
    /// It is over. What the program said last is kept until the deployer has heard it.
    Ended {
        /// How it ended.
        end: End,
        /// To the deployer.
        up: Pipe,
    },
}

/// How a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The program on the machine has said all that it had to say.
    Finished,
    /// The deployer wants no more.
    Left,
    /// Something went wrong.
    Broken(String),
}

/// What happens to a tunnel.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The program runs.
    Taken,
    /// One side says bytes.
    Said {
        /// Which.
        by: Side,
        /// Of the first of them.
        offset: u64,
        /// They.
        bytes: &'a [u8],
    },
    /// One side has all bytes before an offset, and asks for more.
    Asked {
        /// Which.
        by: Side,
        /// Of the first that it lacks.
        offset: u64,
    },
    /// It is to be over.
    End(End),
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is so.
    Done,
    /// Bytes were taken up to this offset: not all, where there was no room.
    Next(u64),
    /// Bytes for whoever asked: none, where none are there yet.
    Bytes(Bytes),
}

/// Why nothing comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Not {
    /// It is over.
    Ended(End),
    /// The offset does not follow.
    Gap(Gap),
}

impl From<Gap> for Not {
    fn from(gap: Gap) -> Self {
        Self::Gap(gap)
    }
}

impl Tunnel {
    /// What becomes of it, and what comes of it. The one place where a tunnel changes.
    pub(crate) fn after(self, event: Event<'_>) -> (Self, Result<Came, Not>) {
        match (self, event) {
            (Self::Offered, Event::Taken) => {
                (Self::Open { down: Pipe::default(), up: Pipe::default() }, Ok(Came::Done))
            }
            // Who serves it has taken it.
            (
                Self::Offered,
                event @ (Event::Said { by: Side::Machine, .. } | Event::Asked { by: Side::Machine, .. }),
            ) => Self::Open { down: Pipe::default(), up: Pipe::default() }.after(event),
            (Self::Offered, Event::Said { .. }) => (Self::Offered, Ok(Came::Next(0))),
            (Self::Offered, Event::Asked { .. }) => (Self::Offered, Ok(Came::Bytes(Bytes::new()))),
            (Self::Offered, Event::End(end)) => (Self::Ended { end, up: Pipe::default() }, Ok(Came::Done)),
            (open @ Self::Open { .. }, Event::Taken) => (open, Ok(Came::Done)),
            (Self::Open { mut down, mut up }, Event::Said { by, offset, bytes }) => {
                let pipe = if by == Side::Deployer { &mut down } else { &mut up };
                let next = pipe.put(offset, bytes);
                (Self::Open { down, up }, next.map(Came::Next).map_err(Not::from))
            }
            (Self::Open { mut down, mut up }, Event::Asked { by, offset }) => {
                let pipe = if by == Side::Machine { &mut down } else { &mut up };
                let bytes = pipe.got(offset);
                (Self::Open { down, up }, bytes.map(Came::Bytes).map_err(Not::from))
            }
            (Self::Open { up, .. }, Event::End(end)) => (Self::Ended { end, up }, Ok(Came::Done)),
            (Self::Ended { end: End::Finished, mut up }, Event::Asked { by: Side::Deployer, offset }) => {
                let rest = match up.got(offset) {
                    Ok(rest) if rest.is_empty() => Err(Not::Ended(End::Finished)),
                    rest => rest.map(Came::Bytes).map_err(Not::from),
                };
                (Self::Ended { end: End::Finished, up }, rest)
            }
            // The first end is the one that counts; that it is over is no news.
            (ended @ Self::Ended { .. }, Event::End(_)) => (ended, Ok(Came::Done)),
            (Self::Ended { end, up }, _) => (Self::Ended { end: end.clone(), up }, Err(Not::Ended(end))),
        }
    }

    /// Another one after everything that somebody may wait for.
    pub(crate) fn mark(&self) -> (u8, [u64; 4]) {
        let of = |pipe: &Pipe| (pipe.start(), pipe.next());
        match self {
            Self::Offered => (0, [0; 4]),
            Self::Open { down, up } => {
                let ((begun, said), (heard, told)) = (of(down), of(up));
                (1, [begun, said, heard, told])
            }
            Self::Ended { up, .. } => (2, [0, 0, up.start(), up.next()]),
        }
    }

    /// Whether the program is to run.
    pub(crate) const fn is_wanted(&self) -> bool {
        matches!(self, Self::Offered | Self::Open { .. })
    }

    /// Whether a side that says more has to wait.
    pub(crate) fn is_full(&self, by: Side) -> bool {
        match (self, by) {
            (Self::Offered, Side::Deployer) => true,
            (Self::Open { down, .. }, Side::Deployer) => down.is_full(),
            (Self::Open { up, .. }, Side::Machine) => up.is_full(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
