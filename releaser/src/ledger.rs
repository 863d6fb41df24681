//! The ledger of an environment: everything that happened there, in one file that only grows.
//!
//! What is true of an environment is a fold over its ledger; nothing else is kept that could contradict it. Each entry carries the
//! hash of the one before, so that nothing can be altered, removed or exchanged without that being seen
//! (docs/decisions/019-one-ledger-per-environment.md). In reading order:
//!
//! 1. `entry`: an entry, and the one way in which it is written as a line. `who`: who appended it.
//! 2. `file`: who may use the file when, and its lines from the end. `torn`: what an interrupted write left.
//! 3. `chain`: all lines from the beginning. `checkpoint`: heads that are signed. `verify`: whether all is as it was written.
//!
//! Everything here blocks, for as long as the disk takes to make an entry durable. Several processes and threads may use one ledger.

mod chain;
mod checkpoint;
mod entry;
mod error;
mod file;
mod torn;
mod verify;
mod who;

#[cfg(test)]
mod tests;

use std::{
    marker::PhantomData,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Digest, Name};
use staith_packager::seal::key::{PrivateKey, PublicKey};

use self::{
    chain::is_torn,
    entry::{NotAnEntry, beginning},
    file::{Backward, Held, LONGEST_LINE, LineAt},
};

pub use checkpoint::Checkpoint;
pub use entry::{Entry, Head, RawEntry};
pub use error::LedgerError;
pub use verify::{Flaw, FlawKind, Verification};
pub use who::Who;

/// The file of an environment's ledger, in its directory.
pub const FILE: &str = "ledger.jsonl";

/// A log of events of one kind. Cheap to make and to clone: the file is opened when it is used.
#[derive(Debug)]
pub struct Ledger<E> {
    path: PathBuf,
    about: String,
    signs: Option<(Arc<PrivateKey>, u64)>,
    events: PhantomData<fn(&E) -> E>,
}

impl<E> Clone for Ledger<E> {
    fn clone(&self) -> Self {
        let Self { path, about, signs, events } = self;
        Self { path: path.clone(), about: about.clone(), signs: signs.clone(), events: *events }
    }
}

impl<E: Serialize + DeserializeOwned> Ledger<E> {
    /// The ledger in this file, which is made with the first entry. `about` is what it is the ledger of, such as
    /// `shop/production`; its hash is where the chain begins, so that one ledger can't be shown in place of another.
    pub fn open(path: &Path, about: &str) -> Self {
        Self { path: path.to_owned(), about: about.to_owned(), signs: None, events: PhantomData }
    }

    /// The ledger of an environment that is kept in `directory`.
    pub fn of_environment(directory: &Path, project: &Name, environment: &Name) -> Self {
        Self::open(&directory.join(FILE), &format!("{project}/{environment}"))
    }

    /// The same, which signs its head whenever that is `every` entries after the last that was signed.
    #[must_use]
    pub fn signed_every(self, every: u64, key: PrivateKey) -> Self {
        Self { signs: Some((Arc::new(key), every.max(1))), ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records an event. When this returns, the entry is on the disk and survives a loss of power. Reads no more of the file than its
    /// last line.
    ///
    /// # Errors
    /// See [`LedgerError`]. The event is not recorded then.
    pub fn append(&self, event: &E, who: &Who) -> Result<Entry<E>, LedgerError> {
        self.append_where(event, who, |_| Ok(()))
    }

    /// Records an event if the ledger still ends at `position`: for decisions that were made from what was read up to there.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] if others have appended; else as [`Ledger::append`]. The event is not recorded then.
    pub fn append_after(&self, position: u64, event: &E, who: &Who) -> Result<Entry<E>, LedgerError> {
        self.append_where(event, who, |head| {
            if head.position == position {
                return Ok(());
            }
            Err(LedgerError::Moved { path: self.path.clone(), expected: position, found: head.position })
        })
    }

    fn append_where(
        &self,
        event: &E,
        who: &Who,
        may: impl FnOnce(&Head) -> Result<(), LedgerError>,
    ) -> Result<Entry<E>, LedgerError> {
        let mut held = Held::alone(&self.path)?;
        let head = self.settle(&mut held)?;
        may(&head)?;
        let unwritable = |why: String| LedgerError::Unwritable { path: self.path.clone(), why };
        let mut line =
            entry::line(&head, unix_millis(), who, event).map_err(|why| unwritable(why.to_string()))?;
        if line.len() > LONGEST_LINE {
            return Err(unwritable(format!("it has {} bytes, and {LONGEST_LINE} are the most", line.len())));
        }
        // What can't be read again would make all that follows unreadable, for good.
        let raw = entry::parse(&line).map_err(|why| unwritable(format!("{why:?}")))?;
        let entry = entry::understand(&raw).map_err(|why| unwritable(format!("{why:?}")))?;
        line.push(b'\n');
        self.write(&held, &line)?;
        self.sign_if_due(&held, &entry.head());
        Ok(entry)
    }

    /// Writes at the end, durably or not at all.
    fn write(&self, held: &Held, line: &[u8]) -> Result<(), LedgerError> {
        let written = held.file.write_all_at(line, held.length).and_then(|()| held.file.sync_data());
        if let Err(refused) = written {
            // Nobody is told that it is recorded, so it must not be there. Should this fail too, what is left is torn, or is
            // an entry that nobody was told of.
            let _ = held.file.set_len(held.length).and_then(|()| held.file.sync_data());
            return Err(LedgerError::io("append to", &self.path)(refused));
        }
        if held.length == 0 {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            crate::host::durable::sync_folder(folder)
                .map_err(LedgerError::io("make durable the name of", &self.path))?;
        }
        Ok(())
    }

    /// The head after which to append; what an interrupted write left is completed or set aside.
    fn settle(&self, held: &mut Held) -> Result<Head, LedgerError> {
        let mut lines = held.backward();
        let Some(last) = self.line_before(&mut lines)? else { return Ok(self.beginning()) };
        if !is_torn(&last.bytes, last.is_ended) {
            return self.head_of(&last);
        }
        if let Ok(entry) = entry::parse(&last.bytes) {
            // It lacks nothing but its end. Perhaps somebody was told that it is recorded; then it has to stay.
            held.file
                .write_all_at(b"\n", held.length)
                .and_then(|()| held.file.sync_data())
                .map_err(LedgerError::io("complete the last line of", &self.path))?;
            held.length += 1;
            return Ok(entry.head());
        }
        let before = self.line_before(&mut lines)?;
        let head = before.map_or_else(|| Ok(self.beginning()), |line| self.head_of(&line))?;
        torn::move_aside(held, &head, last.offset, &last.bytes)
            .map_err(LedgerError::io("set aside an interrupted write of", &self.path))?;
        Ok(head)
    }

    fn beginning(&self) -> Head {
        Head { position: 0, hash: beginning(&self.about) }
    }

    fn line_before(&self, lines: &mut Backward<'_>) -> Result<Option<LineAt>, LedgerError> {
        lines.next().map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => self.damaged(Flaw {
                line: None,
                kind: FlawKind::Altered { position: 0, why: "a line of it has no end".to_owned() },
            }),
            _ => LedgerError::io("read", &self.path)(error),
        })
    }

    fn head_of(&self, line: &LineAt) -> Result<Head, LedgerError> {
        entry::parse(&line.bytes).map(|entry| entry.head()).map_err(|why| self.refused(why))
    }

    fn damaged(&self, flaw: Flaw) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), flaw }
    }

    fn refused(&self, why: NotAnEntry) -> LedgerError {
        match why {
            NotAnEntry::Unknown { position, why } => {
                LedgerError::Unknown { path: self.path.clone(), position, why }
            }
            NotAnEntry::Altered(why) => self.whole_chain_says().unwrap_or_else(|| {
                self.damaged(Flaw {
                    line: None,
                    kind: FlawKind::Altered { position: 0, why: why.to_owned() },
                })
            }),
        }
    }

    /// What is first wrong with the whole: said better than what shows at one line.
    fn whole_chain_says(&self) -> Option<LedgerError> {
        let held = Held::unlocked(&self.path)?;
        let walked = chain::walk(&held, &self.about, |_| ()).ok()?;
        walked.flaws.into_iter().next().map(|flaw| self.damaged(flaw))
    }

    /// All entries, the whole chain checked.
    ///
    /// # Errors
    /// See [`LedgerError`]. Of a ledger that is damaged nothing is given.
    pub fn read(&self) -> Result<Vec<Entry<E>>, LedgerError> {
        let Some(held) = Held::shared(&self.path)? else { return Ok(Vec::new()) };
        let mut raw = Vec::new();
        let walked = chain::walk(&held, &self.about, |entry| raw.push(entry))?;
        let is_torn = |flaw: &Flaw| matches!(flaw.kind, FlawKind::Torn { .. });
        if let Some(flaw) = walked.flaws.into_iter().find(|flaw| !is_torn(flaw)) {
            return Err(self.damaged(flaw));
        }
        raw.iter().map(|raw| entry::understand(raw).map_err(|why| self.refused(why))).collect()
    }

    /// The entries after `position`, which are checked to be one chain. Costs as much as they are long: for looking again and again.
    ///
    /// # Errors
    /// See [`LedgerError`]; a ledger that ends before `position` is damaged.
    pub fn since(&self, position: u64) -> Result<Vec<Entry<E>>, LedgerError> {
        let Some(held) = Held::shared(&self.path)? else {
            return if position == 0 { Ok(Vec::new()) } else { Err(self.shorter(0, position)) };
        };
        let mut lines = held.backward();
        let mut found: Vec<RawEntry> = Vec::new();
        let mut reached = self.beginning();
        let mut next = self.last_entry(&mut lines)?;
        while let Some(entry) = next {
            if let Some(after) = found.last()
                && (after.previous != entry.hash || after.position != entry.position.saturating_add(1))
            {
                return Err(self.broken_before(after.position));
            }
            if entry.position <= position {
                reached = entry.head();
                break;
            }
            found.push(entry);
            next = self.entry_before(&mut lines)?;
        }
        if let Some(first) = found.last()
            && (first.previous != reached.hash || first.position != reached.position + 1)
        {
            return Err(self.broken_before(first.position));
        }
        if reached.position < position {
            return Err(self.shorter(reached.position, position));
        }
        found.iter().rev().map(|raw| entry::understand(raw).map_err(|why| self.refused(why))).collect()
    }

    fn broken_before(&self, position: u64) -> LedgerError {
        self.whole_chain_says()
            .unwrap_or_else(|| self.damaged(Flaw { line: None, kind: FlawKind::Replaced { position } }))
    }

    fn shorter(&self, ends: u64, position: u64) -> LedgerError {
        self.damaged(Flaw { line: None, kind: FlawKind::Removed { from: ends + 1, to: position } })
    }

    /// The last entry's place and hash, read from the last lines only.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn head(&self) -> Result<Head, LedgerError> {
        let Some(held) = Held::shared(&self.path)? else { return Ok(self.beginning()) };
        let mut lines = held.backward();
        Ok(self.last_entry(&mut lines)?.map_or_else(|| self.beginning(), |entry| entry.head()))
    }

    /// The last entry. What an interrupted write left is none.
    fn last_entry(&self, lines: &mut Backward<'_>) -> Result<Option<RawEntry>, LedgerError> {
        let Some(last) = self.line_before(lines)? else { return Ok(None) };
        match entry::parse(&last.bytes) {
            Err(_) if is_torn(&last.bytes, last.is_ended) => self.entry_before(lines),
            entry => entry.map(Some).map_err(|why| self.refused(why)),
        }
    }

    fn entry_before(&self, lines: &mut Backward<'_>) -> Result<Option<RawEntry>, LedgerError> {
        let Some(line) = self.line_before(lines)? else { return Ok(None) };
        entry::parse(&line.bytes).map(Some).map_err(|why| self.refused(why))
    }

    /// Looks at all of it: the chain, signed heads against `keys` (those that are trusted, and the host's own), and a head that
    /// somebody remembers. Needs nothing but the files, and no idea of what the events say.
    ///
    /// # Errors
    /// The files can't be read. What is wrong with what they say is no error but an answer.
    pub fn verify(
        &self,
        keys: &[PublicKey],
        remembered: Option<&Digest>,
    ) -> Result<Verification, LedgerError> {
        verify::verify(&self.path, &self.about, keys, remembered)
    }

    /// Signs the head now; `None` where there is no entry yet.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn checkpoint(&self, key: &PrivateKey) -> Result<Option<Checkpoint>, LedgerError> {
        let mut held = Held::alone(&self.path)?;
        let head = self.settle(&mut held)?;
        if head.position == 0 {
            return Ok(None);
        }
        checkpoint::sign(&held, &self.about, &head, unix_millis(), key).map(Some)
    }

    /// An entry is recorded whether or not its head can be signed: one that can't is signed with the next.
    fn sign_if_due(&self, held: &Held, head: &Head) {
        let Some((key, every)) = &self.signs else { return };
        let signed = checkpoint::newest(&self.path).and_then(|newest| {
            if head.position.saturating_sub(newest) < *every {
                return Ok(());
            }
            checkpoint::sign(held, &self.about, head, unix_millis(), key).map(|_| ())
        });
        if let Err(refused) = signed {
            tracing::warn!(ledger = %self.path.display(), %refused, "the ledger's head is not signed");
        }
    }
}

/// Milliseconds since 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
