//! Large files in parts, each of which is written down when it has arrived, so that whoever sends the same file next goes on after
//! the last one.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use object_store::{PutPayload, multipart::PartId};
use serde::{Deserialize, Serialize};

use super::{Blobs as _, Bucket};
use crate::store::{
    StoreError, Tag,
    announce::random,
    record::{bytes_of, now, value_of},
};

/// Where it is written down how far files have come.
pub(super) const SENDING: &str = "uploads";

/// How far a file has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// Where it goes.
    key: String,
    /// The bucket's name for the upload.
    upload: String,
    /// Bytes of the file, and of each part but the last.
    size: u64,
    part: u64,
    /// The bucket's names for the parts that are there, in their order.
    done: Vec<String>,
    /// Who sends; whoever goes on writes its own.
    sender: String,
    /// When the last part arrived, in milliseconds since 1970.
    at: u64,
}

/// How sending ended.
pub(super) enum Sent {
    /// The file is there.
    Whole,
    /// What had been sent is of no use any more, or somebody else goes on with it.
    InVain,
}

impl Bucket {
    /// Sends a file in parts: those that are missing, if `goes_on` and somebody has begun.
    pub(super) fn send_in_parts(
        &self,
        key: &str,
        file: &mut File,
        size: u64,
        goes_on: bool,
    ) -> Result<Sent, StoreError> {
        let journal = journal_of(key);
        let before = if goes_on { self.progress(&journal)? } else { None };
        let began_before = before.as_ref().is_some_and(|(it, _)| it.size == size && it.part == self.part);
        let mut progress = match &before {
            Some((there, _)) if began_before => there.clone(),
            _ => self.begin(key, size)?,
        };
        progress.sender = random()?;
        if goes_on && !self.note(&journal, &mut progress, before.map(|(_, tag)| tag).as_ref())? {
            return Ok(Sent::InVain);
        }
        for number in progress.done.len()..parts_of(size, self.part) {
            match self.send(&progress, file, number)? {
                Some(part) => progress.done.push(part),
                None => return self.give_up(&journal, goes_on),
            }
            if goes_on && !self.note_next(&journal, &mut progress)? {
                return Ok(Sent::InVain);
            }
        }
        self.complete(&journal, &progress, goes_on)
    }

    fn begin(&self, key: &str, size: u64) -> Result<Progress, StoreError> {
        let path = self.path(key)?;
        let upload = self.runtime.block_on(self.multipart.create_multipart(&path));
        let upload = upload.map_err(|why| self.failed("begin to send", key, &why))?;
        let done = Vec::new();
        Ok(Progress {
            key: key.to_owned(),
            upload,
            size,
            part: self.part,
            done,
            sender: String::new(),
            at: now(),
        })
    }

    /// The bucket's name for a part that has arrived; `None` if it knows nothing of the upload any more.
    fn send(
        &self,
        progress: &Progress,
        file: &mut File,
        number: usize,
    ) -> Result<Option<String>, StoreError> {
        let from = number as u64 * self.part;
        let key = &progress.key;
        let bytes = piece(file, from, self.part.min(progress.size - from))
            .map_err(|why| self.failed("read what becomes", key, &why))?;
        let path = self.path(key)?;
        let put = self.multipart.put_part(&path, &progress.upload, number, PutPayload::from(bytes));
        match self.runtime.block_on(put) {
            Ok(part) => Ok(Some(part.content_id)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(why) => Err(self.failed("send a part of", key, &why)),
        }
    }

    fn complete(&self, journal: &str, progress: &Progress, goes_on: bool) -> Result<Sent, StoreError> {
        let path = self.path(&progress.key)?;
        let parts = progress.done.iter().map(|part| PartId { content_id: part.clone() }).collect();
        let completed =
            self.runtime.block_on(self.multipart.complete_multipart(&path, &progress.upload, parts));
        match completed {
            Ok(_) if goes_on => self.remove_journal(journal).map(|()| Sent::Whole),
            Ok(_) => Ok(Sent::Whole),
            // The bucket has thrown the parts away, or another sender has put its own in their places.
            Err(_) if goes_on => self.give_up(journal, true),
            Err(why) => Err(self.failed("put together", &progress.key, &why)),
        }
    }

    fn give_up(&self, journal: &str, goes_on: bool) -> Result<Sent, StoreError> {
        if goes_on {
            self.remove_journal(journal)?;
        }
        Ok(Sent::InVain)
    }

    fn remove_journal(&self, journal: &str) -> Result<(), StoreError> {
        let path = self.path(journal)?;
        match self.runtime.block_on(object_store::ObjectStoreExt::delete(&*self.objects, &path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(why) => Err(self.failed("remove", journal, &why)),
        }
    }

    fn progress(&self, journal: &str) -> Result<Option<(Progress, Tag)>, StoreError> {
        let Some(found) = self.read(journal, None)? else { return Ok(None) };
        let (json, tag) = found.whole().map_err(|why| self.failed("read", journal, &why))?;
        // What nobody understands any more is begun anew.
        Ok(value_of::<Progress>(&json).ok().map(|progress| (progress, tag)))
    }

    fn note(&self, journal: &str, progress: &mut Progress, before: Option<&Tag>) -> Result<bool, StoreError> {
        progress.at = now();
        self.replace(journal, &bytes_of(progress), before)
    }

    /// Writes the next part down, unless somebody else has taken over.
    fn note_next(&self, journal: &str, progress: &mut Progress) -> Result<bool, StoreError> {
        match self.progress(journal)? {
            Some((there, tag)) if there.sender == progress.sender => self.note(journal, progress, Some(&tag)),
            _ => Ok(false),
        }
    }

    /// Ends the upload that `key` tells of, if it is the key of such a thing.
    pub(super) fn abort_upload_of(&self, key: &str) -> Result<(), StoreError> {
        if !key.starts_with(SENDING) {
            return Ok(());
        }
        if let Some((progress, _)) = self.progress(key)? {
            let path = self.path(&progress.key)?;
            // It may be over already; a bucket forgets the rest by its own rules.
            let _ = self.runtime.block_on(self.multipart.abort_multipart(&path, &progress.upload));
        }
        Ok(())
    }
}

fn journal_of(key: &str) -> String {
    format!("{SENDING}/{}.json", key.replace('/', "-"))
}

const fn parts_of(size: u64, part: u64) -> usize {
    size.div_ceil(part) as usize
}

/// So many bytes of a file, from the byte `from` on.
pub(super) fn piece(file: &mut File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length as usize);
    file.seek(SeekFrom::Start(from))?;
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
