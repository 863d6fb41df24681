//! Makes what was written to many streams durable together: one sync of the disk and one transaction, for all that came meanwhile.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use staith_model::{AttemptId, RunId};
use tokio::{sync::Notify, task::spawn_blocking, time::Instant};

use super::{
    StreamName,
    desk::Inner,
    open::{Durable, Lost, Open},
};
use crate::store::{Growth, StoreError};

/// Syncs begin at least so long after each other, so that they have something to share.
const BETWEEN: Duration = Duration::from_millis(50);
/// So many bytes are made durable without waiting.
const ENOUGH: u64 = 256 << 10;
/// From so many files on, one sync of their file system costs less than one of each.
const MANY: usize = 24;

/// Which stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) run: RunId,
    pub(super) attempt: AttemptId,
    pub(super) name: StreamName,
}

impl Key {
    pub(super) fn path(&self, streams: &Path) -> PathBuf {
        streams.join(self.run.as_str()).join(self.attempt.as_str()).join(self.name.to_string())
    }
}

/// Streams with bytes that are not durable.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    waiting: Mutex<Waiting>,
    enough: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    streams: Vec<Arc<Open>>,
    bytes: u64,
    somebody_syncs: bool,
}

/// A stream as it is synced: all before `length` was written when it was looked at.
struct Batched {
    open: Arc<Open>,
    file: Arc<File>,
    length: u64,
    is_new: bool,
}

impl Dirty {
    /// Says that so many bytes were written to a stream. `is_first`: it is not waiting yet. Whether the caller must see to it
    /// that somebody syncs.
    pub(super) fn add(&self, stream: &Arc<Open>, bytes: u64, is_first: bool) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if is_first {
            waiting.streams.push(Arc::clone(stream));
        }
        waiting.bytes += bytes;
        if waiting.bytes >= ENOUGH {
            self.enough.notify_one();
        }
        !std::mem::replace(&mut waiting.somebody_syncs, true)
    }

    /// What waits; if nothing does, nobody syncs from now on.
    fn take(&self) -> Vec<Arc<Open>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes = 0;
        waiting.somebody_syncs = !waiting.streams.is_empty();
        std::mem::take(&mut waiting.streams)
    }
}

/// Syncs until nothing waits. One task at a time does this.
pub(super) async fn sync_all(desk: Arc<Inner>) {
    loop {
        let begun = Instant::now();
        let streams = desk.dirty.take();
        if streams.is_empty() {
            return;
        }
        sync(&desk, streams).await;
        desk.bell.ring();
        tokio::select! {
            () = tokio::time::sleep_until(begun + BETWEEN) => {}
            () = desk.dirty.enough.notified() => {}
        }
    }
}

async fn sync(desk: &Arc<Inner>, streams: Vec<Arc<Open>>) {
    let mut batch = Vec::with_capacity(streams.len());
    for open in streams.iter().map(Arc::clone) {
        let mut written = open.written.lock().await;
        written.is_dirty = false;
        let is_new = std::mem::replace(&mut written.is_new, false);
        let (file, length, gone) = (Arc::clone(&written.file), written.length, written.gone);
        drop(written);
        if !gone {
            batch.push(Batched { open, file, length, is_new });
        }
    }
    let dir = desk.dir.clone();
    let synced = spawn_blocking(move || {
        let answers = to_the_disk(&dir, &batch);
        (batch, answers)
    });
    match synced.await {
        Ok((batch, answers)) => count(desk, batch, answers).await,
        // The files are as unknown as after a crash.
        Err(panicked) => {
            for open in &streams {
                desk.give_up(open, Lost::Failed(panicked.to_string())).await;
            }
        }
    }
}

/// Brings the files to the disk. An answer for each.
fn to_the_disk(dir: &Path, batch: &[Batched]) -> Vec<io::Result<()>> {
    if batch.len() >= MANY {
        let all = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
        let again = |failed: &io::Error| io::Error::new(failed.kind(), failed.to_string());
        return batch.iter().map(|_| all.as_ref().map_err(again).copied()).collect();
    }
    let mut done = BTreeSet::new();
    batch.iter().map(|one| one.file.sync_data().and_then(|()| folders(dir, one, &mut done))).collect()
}

fn folders(dir: &Path, one: &Batched, done: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if !one.is_new {
        return Ok(());
    }
    let path = one.open.key.path(dir);
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(dir)) {
        if done.insert(folder.to_owned()) {
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(())
}

/// Writes down what is on the disk, and tells those who wait.
async fn count(desk: &Arc<Inner>, batch: Vec<Batched>, answers: Vec<io::Result<()>>) {
    let (mut kept, mut growths) = (Vec::new(), Vec::new());
    for (one, answer) in batch.into_iter().zip(answers) {
        match answer {
            Ok(()) => {
                let Key { attempt, name, .. } = one.open.key.clone();
                growths.push(Growth { attempt, name, fence: one.open.fence, length: one.length });
                kept.push(one);
            }
            Err(failed) => {
                let full = matches!(failed.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let lost = if full { Lost::Full } else { Lost::Failed(failed.to_string()) };
                desk.give_up(&one.open, lost).await;
            }
        }
    }
    match desk.store.grow_streams(growths).await {
        Ok(answers) => {
            for (one, answer) in kept.into_iter().zip(answers) {
                match answer {
                    Ok(()) => {
                        one.open.durable.send_replace(Durable { length: one.length, lost: None });
                    }
                    Err(refused) => desk.give_up(&one.open, lost(&refused)).await,
                }
            }
        }
        Err(failed) => {
            for one in kept {
                desk.give_up(&one.open, lost(&failed)).await;
            }
        }
    }
}

fn lost(error: &StoreError) -> Lost {
    match error {
        StoreError::Full => Lost::Full,
        StoreError::StaleFence { given, now } => Lost::Stale(*given, now.clone()),
        other => Lost::Failed(other.to_string()),
    }
}
