//! What steps write, as they write it, to the end of their run.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use staith_builder::step_log::LogReader;
use staith_model::{AttemptId, Exit, Name, RunId, service::RunView};
use staith_server::streams::Listed;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    list,
    log::{self, Shown},
};
use crate::{
    client::{Piece, Stream, people::People},
    interrupt,
    output::{OutputMode, Problem},
};

/// How often it is looked for streams that have begun.
const LOOK: Duration = Duration::from_millis(500);
/// Pieces that wait to be shown; then the server waits.
const WAITING: usize = 16;

/// A log, among others.
type Key = (AttemptId, Name);

/// What comes of one log.
enum News {
    Bytes(Vec<u8>),
    /// All of it is here; what is missing.
    End(Result<Option<&'static str>, Problem>),
}

struct Followers {
    people: People,
    all: JoinSet<Result<(), Problem>>,
    known: BTreeSet<Key>,
    sender: mpsc::Sender<(Key, News)>,
}

pub(super) async fn follow(
    people: People,
    run: RunId,
    step: Option<Name>,
    raw: bool,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let stop = interrupt::listen_for_an_end()?;
    let (sender, mut news) = mpsc::channel(WAITING);
    let mut followers =
        Followers { people: people.clone(), all: JoinSet::new(), known: BTreeSet::new(), sender };
    let mut readers: BTreeMap<Key, LogReader<VecDeque<u8>>> = BTreeMap::new();
    let mut shown = Shown::on_stdout(raw, step.iter(), mode);
    let mut exit = Exit::Passed;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Err(interrupt::stopped("the run goes on")),
            Some((key, news)) = news.recv() => {
                let reader = readers.entry(key.clone()).or_insert_with(|| LogReader::of(VecDeque::new()));
                match news {
                    News::Bytes(bytes) => shown.add(&key.1, reader, &bytes)?,
                    News::End(missing) => exit = shown.ended(&key.1, reader, missing, exit)?,
                }
                shown.flush();
            }
            Some(ended) = followers.all.join_next(), if !followers.all.is_empty() => {
                ended.map_err(|panicked| Problem::bug(panicked.to_string()))??;
            }
            _ = look.tick() => {
                // Asked first: what begins before the run is over is then listed.
                let view: RunView = people.get_again(&format!("/api/v1/runs/{run}")).await?;
                let new = followers.take_up(list(&people, &run).await?, step.as_ref());
                if view.run.state.is_over() && !new && followers.all.is_empty() && news.is_empty() {
                    break;
                }
            }
        }
        if shown.is_gone() {
            break;
        }
    }
    shown.finish()?;
    Ok(exit)
}

impl Followers {
    /// Follows those that are new. Whether any are.
    fn take_up(&mut self, streams: Vec<Listed>, step: Option<&Name>) -> bool {
        let before = self.known.len();
        for listed in streams {
            let Some(of) = log::step_of(&listed) else { continue };
            let key = (listed.attempt.clone(), of);
            if step.is_none_or(|step| *step == key.1) && self.known.insert(key.clone()) {
                self.all.spawn(each(self.people.clone(), key, listed, self.sender.clone()));
            }
        }
        self.known.len() > before
    }
}

/// Brings one log, from its beginning to its end.
async fn each(
    people: People,
    key: Key,
    listed: Listed,
    to: mpsc::Sender<(Key, News)>,
) -> Result<(), Problem> {
    let mut stream = Stream::of(&listed.attempt, &listed.name);
    loop {
        let news = match stream.next(&people).await? {
            Piece::Bytes(bytes) => News::Bytes(bytes),
            Piece::End(end) => News::End(log::missing(&key.1, &stream, &end, false, listed.divergent)),
        };
        let is_end = matches!(news, News::End(_));
        if to.send((key.clone(), news)).await.is_err() || is_end {
            return Ok(());
        }
    }
}
