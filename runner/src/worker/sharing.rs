//! What steps came to, from other runners and for them, by way of the server.
//!
//! Nothing that goes wrong here fails a job: what can't be had is made here, and what can't be brought there is made there. What comes is
//! verified byte by byte before it is used. What goes is sent beside the steps, by one task, and waited for at the end for some time only.

mod contact;
mod passage;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use staith_builder::{
    cache::{Elsewhere, Made, StepPassed, StepRecord},
    layers::LayerStore,
};
use staith_model::{
    Digest, Name, Secret,
    service::{StepCame, StepGiven},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{contact::Contact, passage::Passage};
use crate::client::{Client, Refused};

/// Steps that wait to be told. A plan has fewer.
const WAITING: usize = 1_000;
/// A server that did not answer is not asked again for so long: each step would wait for it.
const NOT_ASKED: Duration = Duration::from_secs(30);
/// How long the end of a job waits for what is still to be sent.
const LAST: Duration = Duration::from_secs(10 * 60);

/// The attempt for which is asked.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) token: Secret,
    pub(super) attempt: String,
    pub(super) fence: u64,
    /// Where layers lie on their way.
    pub(super) scratch: PathBuf,
}

/// The server as somebody who knows of steps.
#[derive(Debug)]
pub(super) struct Sharing {
    passage: Passage,
    /// Steps of whose results other jobs of the run are in need.
    given: BTreeSet<Name>,
    queue: mpsc::Sender<Telling>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    away_since: Option<Instant>,
    /// Keys whose layers came with wrong bytes: what the server has is to be replaced.
    damaged: BTreeSet<Digest>,
}

/// What is to be told.
#[derive(Debug)]
enum Telling {
    Step(Box<Told>),
    /// Nothing more comes.
    End,
}

#[derive(Debug)]
struct Told {
    step: Name,
    key: Option<Digest>,
    record: StepRecord,
    layers: Arc<LayerStore>,
    /// Whether the layer is sent, whatever the server says that it has.
    again: bool,
}

/// What is still on its way to the server.
pub(super) struct Outgoing {
    queue: mpsc::Sender<Telling>,
    task: JoinHandle<()>,
    contact: Arc<Contact>,
    /// Whether other jobs of the run begin with it. Else it saves time at most, and a server that is away is not waited for.
    is_needed: bool,
}

impl Sharing {
    /// Begins; what is to be sent is sent by a task of its own.
    pub(super) fn begin(asker: Asker, given: BTreeSet<Name>) -> (Arc<Self>, Outgoing) {
        let (queue, tellings) = mpsc::channel(WAITING);
        let contact = Arc::new(Contact::begin());
        let passage = Passage(asker, Arc::clone(&contact));
        let task = tokio::spawn(tell_all(passage.clone(), tellings));
        let outgoing = Outgoing { queue: queue.clone(), task, contact, is_needed: !given.is_empty() };
        (Arc::new(Self { passage, given, queue, state: Mutex::default() }), outgoing)
    }

    /// What a step of another job of the run came to; what it left is in the store after this.
    ///
    /// # Errors
    /// The server has it not, or is away; what it has is damaged.
    pub(super) async fn of_run(&self, step: &Name, layers: &Arc<LayerStore>) -> Result<StepRecord, String> {
        let came = self.passage.of_run(step).await.map_err(|refused| refused.to_string())?;
        self.passage.bring(&came, layers).await.map_err(|unbrought| unbrought.to_string())?;
        Ok(record(came))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self) -> bool {
        self.state().away_since.is_some_and(|since| since.elapsed() < NOT_ASKED)
    }

    fn note_away(&self, refused: &Refused) {
        tracing::info!(%refused, "the server can't say what is known of a step");
        if refused.may_pass() {
            self.state().away_since = Some(Instant::now());
            self.passage.1.lost();
        }
    }
}

#[async_trait]
impl Elsewhere for Sharing {
    async fn find(&self, key: &Digest, layers: &Arc<LayerStore>) -> Option<StepRecord> {
        if self.is_away() {
            return None;
        }
        let came = match self.passage.known(key).await {
            Ok(came) => came?,
            Err(refused) => {
                self.note_away(&refused);
                return None;
            }
        };
        match self.passage.bring(&came, layers).await {
            Ok(()) => Some(record(came)),
            Err(unbrought) => {
                tracing::warn!(%unbrought, %key, "what another runner left is not used; the step is run");
                if unbrought.is_damaged() {
                    self.state().damaged.insert(*key);
                }
                None
            }
        }
    }

    fn passed(&self, passed: StepPassed<'_>, layers: &Arc<LayerStore>) {
        let is_needed = self.given.contains(passed.step);
        let key = passed.key.filter(|_| passed.ran).copied();
        if key.is_none() && !is_needed {
            return;
        }
        let told = Told {
            step: passed.step.clone(),
            key: passed.key.copied(),
            record: passed.record.clone(),
            layers: Arc::clone(layers),
            again: key.is_some_and(|key| self.state().damaged.contains(&key)),
        };
        if let Err(full) = self.queue.try_send(Telling::Step(Box::new(told))) {
            tracing::warn!(%full, step = %passed.step, "what the step came to is not told to other runners");
        }
    }
}

impl Outgoing {
    /// Waits until all that was told is sent, or nobody waits for the job any more. What no other job of the run needs is not waited for
    /// while the server is away: what the job came to would be told too late.
    pub(super) async fn finish(mut self, unwanted: &CancellationToken) {
        let all = async {
            if self.queue.send(Telling::End).await.is_ok() {
                let _ = (&mut self.task).await;
            }
        };
        let (is_needed, contact) = (self.is_needed, Arc::clone(&self.contact));
        let in_vain = async {
            match is_needed {
                true => std::future::pending().await,
                false => contact.quiet().await,
            }
        };
        let sent = tokio::select! {
            sent = timeout(LAST, all) => sent.is_ok(),
            () = unwanted.cancelled() => false,
            () = in_vain => false,
        };
        if !sent {
            tracing::warn!("what steps left was not sent whole; other runners make it again");
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tell_all(passage: Passage, mut tellings: mpsc::Receiver<Telling>) {
    while let Some(Telling::Step(told)) = tellings.recv().await {
        if let Err(untold) = tell(&passage, &told).await {
            tracing::info!(untold, step = %told.step, "what the step came to is not told to other runners");
        }
    }
}

async fn tell(passage: &Passage, told: &Told) -> Result<(), String> {
    let packed = match &told.record.layer {
        None => None,
        Some(layer) => {
            passage.1.at_work();
            let packed = passage.pack(layer, &told.layers).await;
            passage.1.heard();
            Some(packed?)
        }
    };
    let Some(made) = &told.record.made else { return Err("nobody knows where it was run".to_owned()) };
    let given = StepGiven {
        fence: passage.0.fence,
        key: told.key,
        came: StepCame {
            layer: packed.as_ref().map(|packed| packed.layer),
            results: told.record.results.clone(),
            millis: told.record.millis,
            run: made.run.clone(),
            at: made.at,
        },
    };
    passage.tell(&told.step, &given, packed, told.again).await
}

fn record(came: StepCame) -> StepRecord {
    StepRecord {
        layer: came.layer.map(|sent| sent.layer),
        results: came.results,
        millis: came.millis,
        made: Some(Made { run: came.run, at: came.at }),
    }
}
