//! The questions about steps and layers, one by one. Layers go in pieces, through a file: they may be larger than memory.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Seek as _, SeekFrom, Write},
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::Duration,
};

use staith_builder::layers::{LayerStore, NotTaken};
use staith_model::{
    Digest, DigestStream, Name,
    service::{LARGEST_LAYER, LAYER_PIECE, SentLayer, StepCame, StepGiven},
};
use tokio::time::sleep;

use super::{Asker, contact::Contact};
use crate::client::{Ask, Patience, Refused};

/// How long an answer about a step is waited for: a step is waiting.
const ASKING: Duration = Duration::from_secs(5);
/// How long a piece may be on its way: a slow link has its time.
const ON_THE_WAY: Duration = Duration::from_secs(110);
/// How often the same is asked again when the server is away.
const TRIES: u32 = 5;

/// The way to the server and back, and how it has been with it.
#[derive(Debug, Clone)]
pub(super) struct Passage(pub(super) Asker, pub(super) Arc<Contact>);

/// A layer in the form in which it travels.
pub(super) struct Packed {
    pub(super) layer: SentLayer,
    file: Arc<File>,
}

/// Why a layer is not here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unbrought {
    /// The server does not give it.
    #[error(transparent)]
    Refused(Refused),
    /// What came is not what was to come.
    #[error("what another runner left came damaged: {0}")]
    Damaged(String),
    /// This host can't take it.
    #[error("what another runner left can't be kept: {0}")]
    Here(String),
}

impl Unbrought {
    /// Whether what the server has is to be replaced.
    pub(super) const fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl Passage {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/attempts/{}/{rest}", self.0.attempt)
    }

    /// What a step with this key came to, if the server knows.
    pub(super) async fn known(&self, key: &Digest) -> Result<Option<StepCame>, Refused> {
        let ask = Ask::get(self.path(&format!("known/{key}"))).with(&self.0.token).within(ASKING);
        match self.0.client.value(&ask).await {
            Err(refused) if refused.status() == Some(404) => Ok(None),
            answered => answered.map(Some),
        }
    }

    /// What a step of the run came to.
    pub(super) async fn of_run(&self, step: &Name) -> Result<StepCame, Refused> {
        let ask = Ask::get(self.path(&format!("steps/{step}")));
        let bytes = self.patiently(ask).await?;
        serde_json::from_slice(&bytes).map_err(|bad| Refused::Strange {
            server: "the server".to_owned(),
            why: format!("its answer can't be read: {bad}"),
        })
    }

    /// Brings what a step left into the store, if it is not there.
    pub(super) async fn bring(&self, came: &StepCame, layers: &Arc<LayerStore>) -> Result<(), Unbrought> {
        let Some(sent) = came.layer else { return Ok(()) };
        if layers.path(&sent.layer).is_some() {
            return Ok(());
        }
        if sent.length > LARGEST_LAYER {
            return Err(Unbrought::Here(format!("it is longer than {LARGEST_LAYER} bytes")));
        }
        let here = |error: io::Error| Unbrought::Here(error.to_string());
        let mut file = tempfile::tempfile_in(&self.0.scratch).map_err(here)?;
        let mut there = 0;
        while there < sent.length {
            let ask =
                Ask::get(self.path(&format!("layers/{}?offset={there}", sent.blob))).waiting(ON_THE_WAY);
            let piece = self.patiently(ask).await.map_err(Unbrought::Refused)?;
            if piece.is_empty() || there + piece.len() as u64 > sent.length {
                return Err(Unbrought::Damaged("it is not as long as it was".to_owned()));
            }
            file.write_all(&piece).map_err(here)?;
            there += piece.len() as u64;
        }
        let (store, wanted) = (Arc::clone(layers), sent.layer);
        let taking = tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(0)).map_err(NotTaken::Reading)?;
            store.take(&wanted, &mut BufReader::new(file))
        });
        match taking.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wrong @ NotTaken::Wrong { .. })) => Err(Unbrought::Damaged(wrong.to_string())),
            Ok(Err(other)) => Err(Unbrought::Here(other.to_string())),
            Err(panicked) => Err(Unbrought::Here(panicked.to_string())),
        }
    }

    /// Writes a layer down as it travels, into a file without a name.
    pub(super) async fn pack(&self, layer: &Digest, layers: &Arc<LayerStore>) -> Result<Packed, String> {
        let (store, layer, scratch) = (Arc::clone(layers), *layer, self.0.scratch.clone());
        let packing = tokio::task::spawn_blocking(move || {
            let file = tempfile::tempfile_in(&scratch).map_err(|refused| refused.to_string())?;
            let (blob, length) = {
                let to = BufWriter::new(&file);
                let mut counting = Counting { to, digest: DigestStream::new(), length: 0 };
                store.send(&layer, &mut counting).map_err(|error| error.to_string())?;
                counting.to.flush().map_err(|refused| refused.to_string())?;
                (counting.digest.finish(), counting.length)
            };
            let layer = SentLayer { layer, blob, length };
            Ok(Packed { layer, file: Arc::new(file) })
        });
        packing.await.unwrap_or_else(|panicked| Err(panicked.to_string()))
    }

    /// Tells what a step came to; sends what it left if the server has it not, or `again`.
    pub(super) async fn tell(
        &self,
        step: &Name,
        given: &StepGiven,
        packed: Option<Packed>,
        again: bool,
    ) -> Result<(), String> {
        if !again {
            match (self.note(step, given).await, &packed) {
                (Err(refused), Some(_)) if refused.is("no-such-layer") => {}
                (told, _) => return told.map_err(|refused| refused.to_string()),
            }
        }
        if let Some(packed) = packed {
            self.send(&packed).await?;
        }
        self.note(step, given).await.map_err(|refused| refused.to_string())
    }

    async fn note(&self, step: &Name, given: &StepGiven) -> Result<(), Refused> {
        let body = serde_json::to_vec(given).unwrap_or_default();
        self.patiently(Ask::put(self.path(&format!("steps/{step}")), body).waiting(ON_THE_WAY))
            .await
            .map(drop)
    }

    async fn send(&self, packed: &Packed) -> Result<(), String> {
        let length = packed.layer.length;
        let mut there = 0;
        loop {
            let size = usize::try_from((length - there).min(LAYER_PIECE)).unwrap_or(usize::MAX);
            let mut piece = vec![0; size];
            packed.file.read_exact_at(&mut piece, there).map_err(|refused| refused.to_string())?;
            let ask = Ask::put(self.path(&format!("layer?offset={there}")), piece).waiting(ON_THE_WAY);
            match self.patiently(ask).await {
                Ok(_) => there += size as u64,
                // An answer was lost: it has more than was known.
                Err(Refused::Said(said))
                    if said.kind == "wrong-offset" && said.next == Some(there + size as u64) =>
                {
                    there += size as u64;
                }
                Err(refused) => return Err(refused.to_string()),
            }
            if there == length {
                return Ok(());
            }
        }
    }

    async fn patiently(&self, ask: Ask) -> Result<Vec<u8>, Refused> {
        let (ask, mut patience) = (ask.with(&self.0.token), Patience::default());
        let mut tries = 0;
        loop {
            match self.0.client.bytes(&ask).await {
                Err(refused) if refused.may_pass() && tries < TRIES => {
                    tries += 1;
                    sleep(patience.failed()).await;
                }
                answered => {
                    self.1.heard();
                    return answered;
                }
            }
        }
    }
}

/// Something to write to that knows what it has.
struct Counting<W> {
    to: W,
    digest: DigestStream,
    length: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length + bytes.len() as u64 > LARGEST_LAYER {
            return Err(io::Error::other(format!("a layer of more than {LARGEST_LAYER} bytes is not sent")));
        }
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
