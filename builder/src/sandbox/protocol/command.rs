//! What the engine says once the step runs: a byte, and what belongs to it.

use std::{
    ffi::OsString,
    io::{self, Read},
};

use super::{frame, read_block};

/// What the engine says once the step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// SIGTERM to every process of the step.
    Terminate,
    /// SIGKILL to every process of the step.
    Kill,
    /// A connection to a port of the sandbox's loopback interface.
    Connect {
        /// Whether to `::1` and not to `127.0.0.1`.
        by_v6: bool,
        /// Where the program listens.
        port: u16,
    },
    /// A program beside the step's own, in the same sandbox. One at a time.
    Check(Vec<OsString>),
    /// SIGKILL to the check that runs, if one does.
    EndCheck,
}

impl Command {
    /// Ready to be sent.
    pub(in super::super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Terminate => b"T".to_vec(),
            Self::Kill => b"K".to_vec(),
            Self::Connect { by_v6, port } => {
                let [low, high] = port.to_le_bytes();
                vec![if *by_v6 { b'6' } else { b'4' }, low, high]
            }
            Self::Check(argv) => [b"C".to_vec(), frame(argv)?].concat(),
            Self::EndCheck => b"E".to_vec(),
        })
    }

    /// Reads the next one. End of file, an error and what is no command are the same as [`Command::Kill`]: whoever is on
    /// the other side can't be understood any more.
    pub(in super::super) fn read(from: &mut impl Read) -> Self {
        Self::try_read(from).unwrap_or(Self::Kill)
    }

    fn try_read(from: &mut impl Read) -> io::Result<Self> {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        match kind[0] {
            b'T' => Ok(Self::Terminate),
            b'K' => Ok(Self::Kill),
            family @ (b'4' | b'6') => {
                let mut port = [0; 2];
                from.read_exact(&mut port)?;
                Ok(Self::Connect { by_v6: family == b'6', port: u16::from_le_bytes(port) })
            }
            b'C' => Ok(Self::Check(serde_json::from_slice(&read_block(from)?)?)),
            b'E' => Ok(Self::EndCheck),
            other => Err(io::Error::other(format!("{other} is no command"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_arrive_as_they_were() {
        let sent = [
            Command::Terminate,
            Command::Connect { by_v6: false, port: 5432 },
            Command::Check(vec!["pg_isready".into(), "-q".into()]),
            Command::Connect { by_v6: true, port: u16::MAX },
            Command::EndCheck,
            Command::Kill,
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|command| command.to_bytes().unwrap()).collect();
        let mut from = &bytes[..];
        assert!(sent.iter().all(|command| Command::read(&mut from) == *command));
        assert_eq!(Command::read(&mut from), Command::Kill, "nobody is there any more");
    }

    proptest! {
        #[test]
        fn what_is_no_command_ends_the_step(bytes: Vec<u8>) {
            let mut from = &bytes[..];
            while Command::read(&mut from) != Command::Kill {}
        }
    }
}
