//! A release's files on their way to a Windows machine.

use std::{
    io::{self, Write},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::DeflateEncoder};
use staith_model::{Blame, Entry, Manifest, RelPath};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::{
    meaning::Errand,
    package::{PACKAGE, Packed},
    session::Session,
    words::{Not, Reply, Request},
};
use crate::{
    fleet::machine::{Load, MachineError, Order},
    host::{PackageFiles, Progress, StageProgress, Staged},
};

/// Packed bytes in a line: a multiple of three, so that only a file's last line is padded.
const PIECE: usize = 48 << 10;

/// Lines that may be ready before they are sent.
const AHEAD: usize = 4;

/// The last line of data: all was sent, or it is given up.
const END: &[u8] = b"E\n";
const GIVEN_UP: &[u8] = b"X\n";

/// What is to be brought to a machine.
pub(super) struct Delivery<'a> {
    pub(super) target: &'a str,
    pub(super) errand: Errand,
    pub(super) load: &'a Load,
    pub(super) files: Arc<dyn PackageFiles>,
    pub(super) progress: Progress,
    pub(super) cancel: CancellationToken,
}

/// Files as they lie on the machine: the release's own, or its package.
struct Goods {
    manifest: Arc<Manifest>,
    files: Arc<dyn PackageFiles>,
}

impl Delivery<'_> {
    /// Brings it; as a package for `site` where msdeploy is to apply it. The conversation is in order again when this returns, unless
    /// contact was lost.
    pub(super) async fn attempt(
        &self,
        session: &mut Session,
        order: &Order,
        site: Option<&str>,
    ) -> Result<Staged, MachineError> {
        let manifest = self.load.manifest.digest().hex();
        let has_secrets = !self.load.private.is_empty();
        let private = match site {
            Some(_) if has_secrets => vec![PACKAGE],
            Some(_) => Vec::new(),
            None => self.load.private.iter().map(RelPath::as_str).collect(),
        };
        let (operation, release) = (order.operation.hex(), self.load.release.hex());
        let request =
            Request::Stage { epoch: order.epoch, operation, release, manifest: manifest.clone(), private };
        match session.ask(self.target, self.errand, &request).await? {
            Reply::Staged { .. } => return Ok(Staged { already: true, files: 0, bytes: 0 }),
            Reply::Send => session.settled = false,
            other => return Err(self.other(other)),
        }
        let goods = match self.goods(site).await {
            Ok(goods) => goods,
            Err(why) => return self.give_up(session, why).await,
        };
        let lines = list(&manifest, &goods.manifest)
            .map_err(|error| self.errand.unexpected(self.target, &error.to_string()))?;
        session.send(self.target, self.errand, &lines).await?;
        let places = match session.hear(self.target, self.errand).await? {
            Reply::Lacks { places } => places,
            other => return Err(self.end(session, other)),
        };
        self.contents(session, &goods, places).await
    }

    async fn goods(&self, site: Option<&str>) -> Result<Goods, MachineError> {
        let (files, manifest) = (Arc::clone(&self.files), Arc::clone(&self.load.manifest));
        let Some(site) = site.map(str::to_owned) else { return Ok(Goods { manifest, files }) };
        let load = self.load.clone();
        let packing = tokio::task::spawn_blocking(move || Packed::of(&load, &*files, &site));
        let packed =
            packing.await.map_err(|error| self.errand.unexpected(self.target, &error.to_string()))?;
        let packed = packed
            .map_err(|why| self.unreadable(&format!("the package for msdeploy can't be made: {why}")))?;
        Ok(Goods { manifest: Arc::new(packed.manifest().clone()), files: Arc::new(packed) })
    }

    async fn contents(
        &self,
        session: &mut Session,
        goods: &Goods,
        places: Vec<u32>,
    ) -> Result<Staged, MachineError> {
        let wanted = match wanted(&goods.manifest, &places) {
            Some(wanted) => wanted,
            None => return Err(self.errand.unexpected(self.target, "it asked for what is no file")),
        };
        let all = goods.manifest.files() as u64;
        let (files, bytes) = (wanted.len() as u64, wanted.iter().map(|one| one.size).sum());
        let mut done = all.saturating_sub(files);
        let mut lines = pack(Arc::clone(&goods.files), wanted);
        loop {
            let line = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return self.give_up(session, MachineError::Cancelled).await,
                line = lines.recv() => line,
            };
            match line {
                None => break,
                Some(Ok(line)) => {
                    session.send(self.target, self.errand, &line.bytes).await?;
                    done += u64::from(line.last);
                    (self.progress)(StageProgress { files: done.min(all), of_files: all });
                }
                Some(Err(why)) => return self.give_up(session, self.unreadable(&why)).await,
            }
        }
        match session.ask_line(self.target, self.errand, END).await? {
            Reply::Staged { already } => {
                session.settled = true;
                Ok(Staged { already, files, bytes })
            }
            other => Err(self.end(session, other)),
        }
    }

    /// Tells the machine that nothing more comes, and gives `why`.
    async fn give_up(&self, session: &mut Session, why: MachineError) -> Result<Staged, MachineError> {
        match session.ask_line(self.target, self.errand, GIVEN_UP).await? {
            Reply::Not(Not::Cancelled) => {
                session.settled = true;
                Err(why)
            }
            other => Err(self.end(session, other)),
        }
    }

    /// A reply that ends the data.
    fn end(&self, session: &mut Session, reply: Reply) -> MachineError {
        session.settled = matches!(reply, Reply::Not(_));
        self.other(reply)
    }

    fn other(&self, reply: Reply) -> MachineError {
        match reply {
            Reply::Not(why) => self.errand.refused(self.target, why),
            other => self.errand.unexpected(self.target, &format!("{other:?}")),
        }
    }

    fn unreadable(&self, why: &str) -> MachineError {
        MachineError::Refused {
            target: self.target.into(),
            what: self.errand.what,
            why: why.into(),
            remedy: "make the package again; a file of it is damaged".into(),
            blame: Blame::Project,
        }
    }
}

/// The list of a release's files, as the machine keeps it: the digest of its manifest, then an entry on each line. Packed, in lines of
/// data.
fn list(digest: &str, manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    write!(packer, "{digest}")?;
    for (path, entry) in entries(manifest) {
        match entry {
            Entry::File { size, digest, .. } => write!(packer, "\nF {} {size} {path}", digest.hex())?,
            _ => write!(packer, "\nD {path}")?,
        }
    }
    let mut lines = Vec::new();
    for piece in packer.finish()?.chunks(PIECE) {
        writeln!(lines, "M {}", STANDARD.encode(piece))?;
    }
    lines.extend_from_slice(b"M.\n");
    Ok(lines)
}

/// What has a place in the list.
fn entries(manifest: &Manifest) -> impl Iterator<Item = (&RelPath, &Entry)> {
    manifest.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Symlink { .. }))
}

/// A file that the machine lacks.
struct Wanted {
    place: u32,
    path: RelPath,
    size: u64,
}

/// None where a place is no file's.
fn wanted(manifest: &Manifest, places: &[u32]) -> Option<Vec<Wanted>> {
    let entries: Vec<_> = entries(manifest).collect();
    let of = |place: &u32| match entries.get(*place as usize) {
        Some((path, Entry::File { size, .. })) => {
            Some(Wanted { place: *place, path: (*path).clone(), size: *size })
        }
        _ => None,
    };
    places.iter().map(of).collect()
}

/// A line of data.
struct Line {
    bytes: Vec<u8>,
    /// Whether a file ends with it.
    last: bool,
}

/// Packs files on a thread of its own, a few lines ahead of the sending.
fn pack(files: Arc<dyn PackageFiles>, wanted: Vec<Wanted>) -> Receiver<Result<Line, String>> {
    let (to, lines) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for one in wanted {
            let mut pieces = Pieces { place: one.place, kept: Vec::new(), to: &to };
            let mut packer = DeflateEncoder::new(&mut pieces, Compression::new(3));
            let packed = files.copy_file(&one.path, &mut packer).and_then(|()| Ok(packer.try_finish()?));
            drop(packer);
            let packed = packed.and_then(|()| Ok(pieces.send(true)?));
            if let Err(why) = packed {
                // Nobody waits for it where nobody takes the lines.
                let _ =
                    to.blocking_send(Err(format!("`{}` can't be read from the package: {why}", one.path)));
                return;
            }
        }
    });
    lines
}

/// Packed bytes of one file, line by line.
struct Pieces<'a> {
    place: u32,
    kept: Vec<u8>,
    to: &'a Sender<Result<Line, String>>,
}

impl Pieces<'_> {
    fn send(&mut self, last: bool) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.kept.len() / 3 * 4 + 32);
        writeln!(bytes, "C {} {} {}", self.place, u8::from(last), STANDARD.encode(&self.kept))?;
        self.kept.clear();
        self.to.blocking_send(Ok(Line { bytes, last })).map_err(|_| io::Error::other("nobody takes it"))
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.kept.len();
        let taken = bytes.len().min(room);
        self.kept.extend_from_slice(&bytes[..taken]);
        if self.kept.len() == PIECE {
            self.send(false)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
