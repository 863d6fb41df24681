//! The one thread that writes.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::reserve::Reserve;
use crate::store::StoreError;

/// The most pieces of work that are committed together: bounds how long the first one waits.
const MOST_TOGETHER: usize = 256;

/// Work, and what is to be told once it is durable. Called with a connection it works and keeps its answer; called with the end of the
/// transaction it gives the answer away.
trait Work: Send {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), ()>;
    fn tell(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Asked<T, F> {
    work: Option<F>,
    answer: Option<Result<T, StoreError>>,
    to: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Work for Asked<T, F> {
    fn carry_out(&mut self, connection: &Connection) -> Result<(), ()> {
        let Some(work) = self.work.take() else { return Err(()) };
        let answer = work(connection);
        let went_well = answer.is_ok();
        self.answer = Some(answer);
        if went_well { Ok(()) } else { Err(()) }
    }

    fn tell(self: Box<Self>, committed: Result<(), StoreError>) {
        let never = || Err(StoreError::Failed("the work was not carried out".to_owned()));
        let answer = match (self.answer.unwrap_or_else(never), committed) {
            (Ok(_), Err(lost)) => Err(lost),
            (answer, _) => answer,
        };
        // Whoever asked may have gone away.
        let _ = self.to.send(answer);
    }
}

/// Hands work to the thread. Dropped, it lets the thread finish what it has.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `failed` is cancelled when what is durable is not known any more; from then on nothing is written.
    /// A full disk gets the `reserve`.
    pub(super) fn start(
        connection: Connection,
        failed: CancellationToken,
        reserve: Arc<Reserve>,
    ) -> Result<Self, StoreError> {
        let (queue, work) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_all(&connection, &work, &failed, &reserve))
            .map_err(|refused| StoreError::Failed(refused.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = || StoreError::Failed("the database is closed".to_owned());
        let (to, answer) = oneshot::channel();
        let asked = Asked { work: Some(work), answer: None, to };
        self.queue.as_ref().ok_or_else(ended)?.send(Box::new(asked)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It panics with nobody to tell; what it wrote is whole.
            let _ = thread.join();
        }
    }
}

fn write_all(
    connection: &Connection,
    work: &mpsc::Receiver<Box<dyn Work>>,
    failed: &CancellationToken,
    reserve: &Reserve,
) {
    while let Ok(first) = work.recv() {
        let mut together = vec![first];
        together.extend(work.try_iter().take(MOST_TOGETHER - 1));
        let committed = if failed.is_cancelled() {
            Err(StoreError::Failed("it failed before".to_owned()))
        } else {
            commit(connection, &mut together)
        };
        let lost = committed.err();
        if matches!(lost, Some(StoreError::Full)) {
            // Who is told that the disk is full asks again, if it is about something that goes on.
            reserve.give_up();
        }
        // A system that once could not make something durable may say the next time that it has, and not have. What is on the disk is
        // known only to who opens it anew.
        if lost.as_ref().is_some_and(|lost| !matches!(lost, StoreError::Full)) {
            failed.cancel();
        }
        for asked in together {
            asked.tell(lost.as_ref().map_or(Ok(()), |lost| Err(again(lost))));
        }
    }
}

/// Each piece of work in a savepoint of its own, all of them in one transaction.
fn commit(connection: &Connection, together: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = each(connection, together).and_then(|()| Ok(connection.execute_batch("COMMIT")?));
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    done
}

fn each(connection: &Connection, together: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    for asked in together {
        connection.execute_batch("SAVEPOINT work")?;
        if asked.carry_out(connection).is_err() {
            // Some failures end the whole transaction; then nothing of it happened.
            if connection.is_autocommit() {
                return Err(StoreError::Full);
            }
            connection.execute_batch("ROLLBACK TO work")?;
        }
        connection.execute_batch("RELEASE work")?;
    }
    Ok(())
}

fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        other => StoreError::Failed(other.to_string()),
    }
}
