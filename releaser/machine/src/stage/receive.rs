//! Takes contents as they come, and verifies each while it is written.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use flate2::{Decompress, FlushDecompress, Status};
use staith_model::{Digest, DigestStream, Entry};

use super::{Site, contents::entry_at};
use crate::{
    protocol::{
        Asked, Reply, Request,
        content::{self, Packing, Piece},
    },
    refusal::{self, Outcome},
    session::Said,
    tree::{self, is_executable, kept_mode},
    verified::Mark,
};

/// What came.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) marks: Vec<(u64, Mark)>,
    pub(super) bytes: u64,
}

type Job = (Arc<Vec<u8>>, Vec<Piece>);

/// What is to come.
pub(super) struct Coming<'a> {
    /// Places whose contents are not on the machine.
    pub(super) lacking: &'a [u32],
    /// Places whose contents come without being asked for; those that are not lacking are passed over.
    pub(super) ahead: HashSet<u32>,
    /// Whether others were asked for: the end of them is told.
    pub(super) asked: bool,
}

/// Takes what comes. `before` files are in place already.
pub(super) fn receive(site: &Site<'_>, coming: &Coming<'_>, before: u64) -> Outcome<Received> {
    if coming.lacking.is_empty() && coming.ahead.is_empty() {
        return Ok(Received::default());
    }
    let placed = AtomicU64::new(before);
    let outcomes = std::thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..tree::threads() {
            let (sender, jobs) = sync_channel::<Job>(4);
            let placed = &placed;
            workers.push(scope.spawn(move || Worker::new(site, placed).work(&jobs)));
            senders.push(sender);
        }
        let taken = take(site, coming, senders, &placed);
        let panicked = |_| Err(refusal::ours("a thread of the program ended unexpectedly"));
        let mut outcomes: Vec<_> =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked)).collect();
        // A worker's reason says more than that it was gone.
        outcomes.push(taken.map(|()| Received::default()));
        outcomes
    });
    let mut all = Received::default();
    for outcome in outcomes {
        let mut received = outcome?;
        all.marks.append(&mut received.marks);
        all.bytes += received.bytes;
    }
    Ok(all)
}

/// Hands out what comes; ends when all has come.
fn take(site: &Site<'_>, coming: &Coming<'_>, to: Vec<SyncSender<Job>>, placed: &AtomicU64) -> Outcome<()> {
    let lacking: HashSet<u32> = coming.lacking.iter().copied().collect();
    let mut open: HashSet<u32> = lacking.union(&coming.ahead).copied().collect();
    while coming.asked || !open.is_empty() {
        let frame = match site.session.next() {
            Some(Said::Content(frame)) => frame,
            Some(Said::Request(Request::Sent)) if open.is_empty() => return Ok(()),
            Some(Said::Request(Request::Sent)) => return Err(refusal::ours("not all contents came")),
            Some(Said::Request(_)) | None => return Err(Asked::Cancelled),
        };
        if site.session.flags().stop() {
            return Err(Asked::Cancelled);
        }
        let pieces = content::pieces(&frame).map_err(|error| refusal::ours(error.to_string()))?;
        let mut shares: Vec<Vec<Piece>> = vec![Vec::new(); to.len()];
        for piece in pieces {
            if !open.contains(&piece.place) {
                return Err(refusal::ours("a content came that was not asked for"));
            }
            if piece.last {
                open.remove(&piece.place);
            }
            if !lacking.contains(&piece.place) {
                continue;
            }
            shares[piece.place as usize % to.len()].push(piece);
        }
        let frame = Arc::new(frame);
        for (share, to) in shares.into_iter().zip(&to) {
            if !share.is_empty() && to.send((frame.clone(), share)).is_err() {
                return Err(refusal::ours("a thread of the program is gone"));
            }
        }
        site.session.say(&Reply::Placed { files: placed.load(Ordering::Relaxed) });
    }
    Ok(())
}

struct Worker<'a> {
    site: &'a Site<'a>,
    placed: &'a AtomicU64,
    inflate: Decompress,
    buffer: Vec<u8>,
    open: Option<Writing>,
    received: Received,
}

/// A file that is being written.
struct Writing {
    place: u32,
    at: PathBuf,
    file: File,
    hash: DigestStream,
    left: u64,
    digest: Digest,
    ended: bool,
}

impl<'a> Worker<'a> {
    fn new(site: &'a Site<'a>, placed: &'a AtomicU64) -> Self {
        let (inflate, buffer) = (Decompress::new(false), vec![0; 128 << 10]);
        Self { site, placed, inflate, buffer, open: None, received: Received::default() }
    }

    fn work(mut self, jobs: &Receiver<Job>) -> Outcome<Received> {
        for (frame, pieces) in jobs {
            for piece in pieces {
                self.piece(&piece, &frame[piece.bytes.clone()])?;
            }
        }
        match self.open {
            None => Ok(self.received),
            Some(_) => Err(Asked::Cancelled),
        }
    }

    fn piece(&mut self, piece: &Piece, bytes: &[u8]) -> Outcome<()> {
        let mut writing = match self.open.take() {
            Some(writing) if writing.place == piece.place => writing,
            Some(_) => return Err(refusal::ours("pieces of two files came between each other")),
            None => {
                self.inflate.reset(false);
                self.create(piece.place)?
            }
        };
        match piece.packing {
            Packing::Stored => writing.put(bytes)?,
            Packing::Deflated => self.unpack(&mut writing, bytes)?,
        }
        if !piece.last {
            self.open = Some(writing);
            return Ok(());
        }
        if writing.left > 0 || (piece.packing == Packing::Deflated && !writing.ended) {
            return Err(not_as_promised(&writing, "shorter than promised"));
        }
        self.finish(writing)
    }

    fn create(&self, place: u32) -> Outcome<Writing> {
        let Some((path, Entry::File { mode, size, digest })) = entry_at(self.site, place) else {
            return Err(refusal::ours("a content came for what is no file"));
        };
        let at = self.site.scratch.join(path.as_str());
        let private = self.site.stage.private.contains(path);
        let kept = if private { 0o600 } else { kept_mode(is_executable(*mode)) };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(kept);
        let file = options.open(&at).map_err(refusal::io("create", &at))?;
        if private {
            self.close_to_others(&file, is_executable(*mode)).map_err(refusal::io("make private", &at))?;
        }
        let hash = DigestStream::new();
        Ok(Writing { place, at, file, hash, left: *size, digest: *digest, ended: false })
    }

    fn close_to_others(&self, file: &File, executable: bool) -> io::Result<()> {
        let mode = match self.site.private.group {
            Some(group) => {
                std::os::unix::fs::fchown(file, Some(0), Some(group))?;
                if executable { 0o750 } else { 0o640 }
            }
            None if executable => 0o700,
            None => 0o600,
        };
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn unpack(&mut self, writing: &mut Writing, mut bytes: &[u8]) -> Outcome<()> {
        loop {
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(bytes, &mut self.buffer, FlushDecompress::None)
                .map_err(|_| not_as_promised(writing, "packed in a way that can't be read"))?;
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            let made = usize::try_from(self.inflate.total_out() - made).unwrap_or(usize::MAX);
            bytes = bytes.get(read..).unwrap_or_default();
            writing.put(self.buffer.get(..made).unwrap_or_default())?;
            if status == Status::StreamEnd {
                writing.ended = true;
                return if bytes.is_empty() {
                    Ok(())
                } else {
                    Err(not_as_promised(writing, "longer than promised"))
                };
            }
            if read == 0 && made == 0 {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, writing: Writing) -> Outcome<()> {
        let digest = writing.hash.clone().finish();
        if digest != writing.digest {
            return Err(not_as_promised(&writing, "different from what was promised"));
        }
        let metadata = writing.file.metadata().map_err(refusal::io("look at", &writing.at))?;
        self.received.marks.push((metadata.ino(), Mark::of(&metadata, digest)));
        self.received.bytes += metadata.len();
        self.placed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Writing {
    fn put(&mut self, bytes: &[u8]) -> Outcome<()> {
        // A hostile package can't fill the disk.
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(not_as_promised(self, "longer than promised"));
        };
        self.left = left;
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(refusal::io("write", &self.at))
    }
}

fn not_as_promised(writing: &Writing, how: &str) -> Asked {
    let name = writing.at.file_name().unwrap_or_default().to_string_lossy();
    refusal::project(
        format!("the content of `{name}` is {how}"),
        "make the package again; this file of it is damaged",
    )
}
