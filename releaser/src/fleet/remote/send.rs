//! Manifests and contents on their way to a machine.

use std::{
    io::{self, Read as _, Write},
    sync::Arc,
};

use flate2::{Compression, write::DeflateEncoder};
use staith_machine::protocol::{
    Asked, FrameError, Lacks, ManifestBy, Reply, Request, Stage,
    content::{Frame, GOOD_FRAME, MANIFEST, Packing},
    delta::{self, Delta},
    encode,
};
use staith_model::{Blame, Entry, Manifest, RelPath};
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc::{Sender, channel},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, hear},
    is_cancelled,
    meaning::Errand,
    off_thread,
};
use crate::{
    fleet::machine::{Load, MachineError},
    host::{PackageFiles, Progress, StageProgress},
};

/// Frames that may be ready before they are sent.
const AHEAD: usize = 4;

/// What is to be brought to a machine.
pub(super) struct Delivery<'a> {
    pub(super) target: &'a str,
    pub(super) errand: Errand,
    pub(super) load: &'a Load,
    pub(super) files: Arc<dyn PackageFiles>,
    pub(super) progress: Progress,
    pub(super) cancel: CancellationToken,
}

impl Delivery<'_> {
    /// Brings it, with the manifest in the way that `stage` says. The conversation is in order again when this returns, unless it is an
    /// error.
    pub(super) async fn attempt(
        &self,
        connection: &mut Connection,
        stage: &Stage,
        base: Option<&Manifest>,
    ) -> Result<Reply, MachineError> {
        if self.cancel.is_cancelled() {
            return Ok(Reply::Not(Asked::Cancelled));
        }
        let broken = |error: FrameError| self.errand.unexpected(self.target, &error.to_string());
        let mut first = encode(&Request::Stage(Box::new(stage.clone()))).map_err(broken)?;
        let manifest = match (stage.by, base) {
            (ManifestBy::Digest, _) => None,
            (ManifestBy::Delta(_), Some(base)) => {
                Some(delta::pack(&Delta::between(base, &self.load.manifest)).map_err(broken)?)
            }
            (ManifestBy::Delta(_) | ManifestBy::Whole, _) => {
                let manifest = self.load.manifest.clone();
                let packed = off_thread(move || delta::pack(&*manifest)).await;
                Some(packed.map_err(|why| self.errand.unexpected(self.target, &why))?.map_err(broken)?)
            }
        };
        for frame in manifest.iter().flat_map(|packed| frames_of(packed)) {
            first.extend_from_slice(&frame.map_err(broken)?);
        }
        let (to, from) = (&mut connection.to, &mut connection.from);
        let told = async {
            to.write_all(&first).await?;
            to.flush().await
        };
        told.await.map_err(|error| self.errand.lost(self.target, &error))?;
        let asked_to_stop =
            [encode(&Request::Cancel).map_err(broken)?, encode(&Request::Abandon).map_err(broken)?];
        let mut unasked = !stage.ahead.entries.is_empty();
        let mut source = if unasked { Some(self.source(&stage.ahead)?) } else { None };
        let mut asked: Option<Lacks> = None;
        let mut stopping = false;
        let mut outgoing: Vec<u8> = Vec::new();
        let mut sent = 0;
        let mut failure = None;
        let mut incoming = Box::pin(next(from));
        loop {
            let wants_frame = sent == outgoing.len() && source.is_some() && !stopping;
            tokio::select! {
                biased;
                (reply, stream) = &mut incoming => {
                    let reply = reply.map_err(|error| match error {
                        FrameError::Broken(error) => self.errand.lost(self.target, &error),
                        other => self.errand.unexpected(self.target, &other.to_string()),
                    })?;
                    match &reply {
                        Reply::Lacks(lacks) if asked.is_none() => {
                            if !unasked {
                                source = Some(self.source(lacks)?);
                            }
                            asked = Some(lacks.clone());
                        }
                        Reply::Placed { files } => self.tell_progress(*files),
                        end if end.ends() => {
                            drop(incoming);
                            // A frame that was begun has to be ended, or the next request would be taken for its rest.
                            to.write_all(&outgoing[sent..]).await.map_err(|error| self.errand.lost(self.target, &error))?;
                            if matches!(end, Reply::Staged { .. }) {
                                self.tell_progress(self.load.manifest.files() as u64);
                            }
                            return match failure {
                                Some(failure) if is_cancelled(end) => Err(failure),
                                _ => Ok(reply),
                            };
                        }
                        other => return Err(self.errand.unexpected(self.target, &format!("{other:?}"))),
                    }
                    incoming = Box::pin(next(stream));
                }
                () = self.cancel.cancelled(), if !stopping => {
                    stopping = true;
                    asked_to_stop.iter().for_each(|frame| outgoing.extend_from_slice(frame));
                }
                wrote = to.write(&outgoing[sent..]), if sent < outgoing.len() => {
                    sent += wrote.map_err(|error| self.errand.lost(self.target, &error))?;
                    if sent == outgoing.len() {
                        to.flush().await.map_err(|error| self.errand.lost(self.target, &error))?;
                    }
                }
                frame = ready(&mut source), if wants_frame => {
                    sent = 0;
                    outgoing = match frame {
                        Some(Ok(frame)) => frame,
                        Some(Err(why)) => {
                            stopping = true;
                            failure = Some(why);
                            asked_to_stop.concat()
                        }
                        // What was sent unasked has no end of its own; what was asked for meanwhile comes next.
                        None if unasked => {
                            unasked = false;
                            source = asked.as_ref().map(|lacks| self.source(lacks)).transpose()?;
                            Vec::new()
                        }
                        None => {
                            stopping = true;
                            encode(&Request::Sent).map_err(broken)?
                        }
                    };
                }
            }
        }
    }

    fn tell_progress(&self, files: u64) {
        (self.progress)(StageProgress { files, of_files: self.load.manifest.files() as u64 });
    }

    /// Begins to pack what is lacking, on a thread of its own, a few frames ahead of the sending.
    fn source(&self, lacks: &Lacks) -> Result<Source, MachineError> {
        let manifest = self.load.manifest.clone();
        let all = u32::try_from(manifest.entries.len()).unwrap_or(u32::MAX);
        let wanted: Vec<u32> = lacks.places(all).collect();
        let (to, frames) = channel(AHEAD);
        let (files, target, errand) = (self.files.clone(), self.target.to_owned(), self.errand);
        tokio::task::spawn_blocking(move || {
            let entries: Vec<(&RelPath, &Entry)> = manifest.entries.iter().collect();
            let mut packer = Packer { files: &*files, to: &to, frame: Frame::default() };
            let packed = wanted.into_iter().try_for_each(|place| {
                let Some((path, Entry::File { .. })) = entries.get(place as usize) else {
                    return Err(Stop::Because(errand.unexpected(&target, "it asked for what is no file")));
                };
                packer.file(place, path).map_err(|stop| stop.about(&target, errand, path))
            });
            match packed.and_then(|()| packer.flush()) {
                Ok(()) | Err(Stop::Gone) => {}
                Err(Stop::Because(why)) => drop(to.blocking_send(Err(why))),
                Err(Stop::Package(why)) => drop(to.blocking_send(Err(errand.unexpected(&target, &why)))),
            }
        });
        Ok(Source { frames })
    }
}

struct Source {
    frames: tokio::sync::mpsc::Receiver<Result<Vec<u8>, MachineError>>,
}

async fn ready(source: &mut Option<Source>) -> Option<Result<Vec<u8>, MachineError>> {
    match source {
        Some(source) => source.frames.recv().await,
        None => std::future::pending().await,
    }
}

/// The next reply, with the stream that it came from: reading a frame must not be interrupted half-way.
async fn next<F: tokio::io::AsyncRead + Unpin>(from: &mut F) -> (Result<Reply, FrameError>, &mut F) {
    (hear(from).await, from)
}

fn frames_of(packed: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, FrameError>> {
    let pieces = packed.chunks(GOOD_FRAME);
    let last = pieces.len().saturating_sub(1);
    pieces.enumerate().map(move |(nth, piece)| {
        let mut frame = Frame::default();
        frame.push(MANIFEST, Packing::Deflated, nth == last, piece);
        frame.close()
    })
}

/// Why packing ended.
enum Stop {
    /// Nobody waits for it any more.
    Gone,
    /// The package.
    Package(String),
    /// Something else.
    Because(MachineError),
}

impl Stop {
    fn about(self, target: &str, errand: Errand, path: &RelPath) -> Self {
        match self {
            Self::Package(why) => Self::Because(errand.refused(
                target,
                Asked::Impossible {
                    why: format!("`{path}` can't be read from the package: {why}"),
                    remedy: "make the package again; this file of it is damaged".into(),
                    blame: Blame::Project,
                },
            )),
            other => other,
        }
    }
}

/// Puts files into frames.
struct Packer<'a> {
    files: &'a dyn PackageFiles,
    to: &'a Sender<Result<Vec<u8>, MachineError>>,
    frame: Frame,
}

impl Packer<'_> {
    fn file(&mut self, place: u32, path: &RelPath) -> Result<(), Stop> {
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| Stop::Package(error.to_string());
        if let Some(mut content) = self.files.packed_file(path).map_err(unreadable)? {
            let packing = if content.deflated { Packing::Deflated } else { Packing::Stored };
            return self.stream(place, packing, content.length, &mut content.bytes);
        }
        let rest = {
            let pieces = Pieces { packer: self, place, kept: Vec::new(), stop: None };
            let mut encoder = DeflateEncoder::new(pieces, Compression::new(3));
            let copied = copy_into(&mut encoder, path);
            let finished = copied.and_then(|()| encoder.try_finish().map_err(Into::into));
            let pieces = encoder.get_mut();
            if let Some(stop) = pieces.stop.take() {
                return Err(stop);
            }
            finished.map_err(unreadable)?;
            std::mem::take(&mut pieces.kept)
        };
        self.piece(place, Packing::Deflated, true, &rest)
    }

    fn stream(
        &mut self,
        place: u32,
        packing: Packing,
        length: u64,
        from: &mut dyn io::Read,
    ) -> Result<(), Stop> {
        let mut left = length;
        loop {
            let size = left.min(GOOD_FRAME as u64);
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(GOOD_FRAME));
            from.take(size).read_to_end(&mut bytes).map_err(|error| Stop::Package(error.to_string()))?;
            if (bytes.len() as u64) < size {
                return Err(Stop::Package("it is shorter than it says".into()));
            }
            left -= size;
            self.piece(place, packing, left == 0, &bytes)?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    fn piece(&mut self, place: u32, packing: Packing, last: bool, bytes: &[u8]) -> Result<(), Stop> {
        self.frame.push(place, packing, last, bytes);
        if self.frame.len() >= GOOD_FRAME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let frame = std::mem::take(&mut self.frame);
        if frame.is_empty() {
            return Ok(());
        }
        let frame = frame.close().map_err(|error| Stop::Package(error.to_string()))?;
        self.to.blocking_send(Ok(frame)).map_err(|_| Stop::Gone)
    }
}

fn copy_into(
    encoder: &mut DeflateEncoder<Pieces<'_, '_>>,
    path: &RelPath,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let files = encoder.get_ref().packer.files;
    files.copy_file(path, encoder)
}

/// Deflated bytes as they come out of the encoder.
struct Pieces<'p, 'f> {
    packer: &'p mut Packer<'f>,
    place: u32,
    kept: Vec<u8>,
    stop: Option<Stop>,
}

impl Write for Pieces<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() >= GOOD_FRAME {
            let piece = std::mem::take(&mut self.kept);
            if let Err(stop) = self.packer.piece(self.place, Packing::Deflated, false, &piece) {
                self.stop = Some(stop);
                return Err(io::Error::other("stopped"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
