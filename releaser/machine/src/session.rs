//! A conversation over two streams: frames are read while work goes on, so that a cancellation or a hang-up is noticed.

use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::protocol::{Asked, Kind, Reply, Request, encode, read_frame};

/// Frames that may wait to be worked on: enough to keep the stream busy, few enough to bound memory.
const WAITING: usize = 8;

/// Whether what is being done should end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    cancelled: Arc<AtomicBool>,
    hung_up: Arc<AtomicBool>,
}

impl Flags {
    /// Whether to end at the next safe point.
    pub(crate) fn stop(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) || self.hung_up.load(Ordering::Acquire)
    }

    /// Whether a cancellation has come. A hang-up is none: it says nothing about what is wanted.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// What came.
#[derive(Debug)]
pub(crate) enum Said {
    Request(Request),
    Content(Vec<u8>),
}

/// One end of a conversation.
pub(crate) struct Session {
    said: Mutex<Receiver<Said>>,
    to: Mutex<Box<dyn Write + Send>>,
    flags: Flags,
}

impl Session {
    /// Begins to read. The reading thread ends with the stream.
    pub(crate) fn begin(from: impl Read + Send + 'static, to: impl Write + Send + 'static) -> Self {
        let (sender, said) = sync_channel(WAITING);
        let flags = Flags::default();
        let reader = flags.clone();
        std::thread::spawn(move || {
            read(from, &sender, &reader);
            reader.hung_up.store(true, Ordering::Release);
        });
        Self { said: Mutex::new(said), to: Mutex::new(Box::new(to)), flags }
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }

    /// What comes next; `None` once the stream has ended.
    pub(crate) fn next(&self) -> Option<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }

    /// The next request. Content that nobody waits for any more (its staging was refused) is dropped.
    pub(crate) fn next_request(&self) -> Option<Request> {
        loop {
            match self.next()? {
                Said::Request(Request::Sent | Request::Abandon) | Said::Content(_) => {}
                Said::Request(request) => return Some(request),
            }
        }
    }

    /// Says something. Somebody who has hung up is not told; that is noticed when the next request is waited for.
    pub(crate) fn say(&self, reply: &Reply) {
        let frame = encode(reply).or_else(|error| {
            encode(&Reply::Not(crate::refusal::ours(format!("a reply can't be sent: {error}"))))
        });
        let Ok(frame) = frame else { return };
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = to.write_all(&frame).and_then(|()| to.flush());
    }

    /// Says why something was not done.
    pub(crate) fn refuse(&self, why: Asked) {
        self.say(&Reply::Not(why));
    }
}

fn read(mut from: impl Read, to: &SyncSender<Said>, flags: &Flags) {
    // A stream that is garbled ends the conversation as its end does: who talks nonsense can't be answered.
    while let Ok(Some((kind, bytes))) = read_frame(&mut from) {
        let said = match kind {
            Kind::Content => Said::Content(bytes),
            Kind::Message => match serde_json::from_slice(&bytes) {
                Ok(Request::Cancel) => {
                    flags.cancelled.store(true, Ordering::Release);
                    continue;
                }
                Ok(request) => {
                    if !matches!(request, Request::Sent | Request::Abandon) {
                        // A cancellation is about what was asked before it.
                        flags.cancelled.store(false, Ordering::Release);
                    }
                    Said::Request(request)
                }
                Err(_) => return,
            },
        };
        if to.send(said).is_err() {
            return;
        }
    }
}
