//! What streams through, in both directions, without being kept.

use std::{
    error::Error,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::{Either, Empty, Full};
use hyper::{
    Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
};
use tokio::time::{Sleep, sleep};

use super::{route::Claim, upstream::Sender};

/// What a request carries to the program.
pub(super) type RequestBody = Either<Patient, Empty<Bytes>>;

/// What an answer carries to the client: the program's, or a sentence of ours.
pub(super) type ResponseBody = Either<Claimed, Full<Bytes>>;

/// The program's answer. The request is in flight until this ends or is dropped.
pub(super) struct Claimed {
    inner: Incoming,
    held: Option<(Claim, Sender, SocketAddr)>,
}

impl Claimed {
    /// An answer whose connection is used again when it was read to its end.
    pub(super) fn response(
        response: Response<Incoming>,
        claim: Claim,
        sender: Sender,
        address: SocketAddr,
    ) -> Response<Self> {
        response.map(|inner| {
            let mut claimed = Self { inner, held: Some((claim, sender, address)) };
            claimed.release_at_end();
            claimed
        })
    }

    fn release_at_end(&mut self) {
        if self.inner.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((claim, sender, address)) = self.held.take() {
            claim.upstream().give_back(sender, address);
        }
    }
}

// Dropped before its end, the answer takes its connection with it: the client is gone, and the program is told so.
impl Body for Claimed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            None => this.release(),
            Some(Ok(_)) => this.release_at_end(),
            Some(Err(_)) => this.held = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A client's body whose pieces come soon enough after each other. A client that is waited for takes up a connection of
/// the program's; one that waits for the program is not hurried.
pub(super) struct Patient {
    inner: Incoming,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) const fn new(inner: Incoming, patience: Duration) -> Self {
        Self { inner, patience, waiting: None }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = this.patience;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err("the client stopped sending its body".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
