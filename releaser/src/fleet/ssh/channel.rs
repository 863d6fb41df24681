//! A channel of a connection as a pair of streams that tell how they ended.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture, WaitForCancellationFutureOwned};

use super::{connection::Connection, transport::keep_last};

/// How much of a program's standard error is kept.
const LAST_WORDS: usize = 8 << 10;

/// What is known of how a channel ended.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The last of what the program wrote to its standard error.
    pub(super) said: Vec<u8>,
    /// Its exit code, or the signal that ended it.
    pub(super) status: Option<String>,
    /// Whether it was exit code 0.
    pub(super) well: bool,
    /// Whether the other side closed the channel, as opposed to the connection having broken.
    closed: bool,
}

impl End {
    /// For people: `exit code 127: sh: 1: no: not found`.
    pub(super) fn describe(&self) -> String {
        let said = String::from_utf8_lossy(&self.said);
        let said = said.trim();
        let status = self.status.as_deref().unwrap_or("no exit code");
        if said.is_empty() { status.to_owned() } else { format!("{status}: {}", said.replace('\n', "; ")) }
    }
}

/// Closes the channel when the last half of it goes.
struct Closing {
    half: Option<ChannelWriteHalf<Msg>>,
    runtime: Handle,
    connection: Arc<Connection>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            // Ends at once: the session takes the message, or is gone.
            let connection = Arc::clone(&self.connection);
            self.runtime.spawn(async move {
                let _ = half.close().await;
                drop(connection);
            });
        }
    }
}

/// What comes from a channel.
pub(super) struct ChannelReader {
    next: ReusableBoxFuture<'static, (ChannelReadHalf, Option<ChannelMsg>)>,
    rest: Bytes,
    finished: bool,
    /// Whether the end of the output is told only once it is known how the program ended.
    program: bool,
    end: Arc<Mutex<End>>,
    gone: CancellationToken,
    closing: Arc<Closing>,
}

/// What goes into a channel. Dropping it tells the other side that nothing more comes.
pub(super) struct ChannelWriter {
    inner: Pin<Box<dyn AsyncWrite + Send>>,
    ended: bool,
    /// Without it, whoever waits for the other side to take more would wait for ever once that is gone.
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    closing: Arc<Closing>,
}

async fn next(mut half: ChannelReadHalf) -> (ChannelReadHalf, Option<ChannelMsg>) {
    let message = half.wait().await;
    (half, message)
}

/// Makes streams of a channel, which keep its connection. `program` where a program's end is to be told.
pub(super) fn streams(
    channel: Channel<Msg>,
    connection: Arc<Connection>,
    program: bool,
) -> (ChannelReader, ChannelWriter) {
    let (read, write) = channel.split();
    let inner = Box::pin(write.make_writer());
    let gone = connection.ending();
    let waiting = Box::pin(gone.clone().cancelled_owned());
    let closing = Arc::new(Closing { half: Some(write), runtime: Handle::current(), connection });
    let reader = ChannelReader {
        next: ReusableBoxFuture::new(next(read)),
        rest: Bytes::new(),
        finished: false,
        program,
        end: Arc::default(),
        gone,
        closing: Arc::clone(&closing),
    };
    (reader, ChannelWriter { inner, ended: false, gone: waiting, closing })
}

impl ChannelReader {
    /// How it ended, as far as that is known.
    pub(super) fn end(&self) -> Arc<Mutex<End>> {
        Arc::clone(&self.end)
    }

    fn take_in(&mut self, message: Option<ChannelMsg>) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        match message {
            Some(ChannelMsg::Data { data }) => self.rest = data,
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => keep_last(&mut end.said, &data, LAST_WORDS),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                end.status = Some(format!("exit code {exit_status}"));
                end.well = exit_status == 0;
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                end.status = Some(format!("ended by the signal {signal_name:?}"));
            }
            Some(ChannelMsg::Failure) => end.status = Some("the server refuses to run a program".into()),
            Some(ChannelMsg::Eof) if !self.program => {
                end.closed = true;
                self.finished = true;
            }
            Some(ChannelMsg::Close) => {
                end.closed = true;
                self.finished = true;
                self.gone.cancel();
            }
            None => self.finished = true,
            Some(_) => {}
        }
    }

    /// The end of the stream, as whoever reads it sees it.
    fn ending(&self) -> io::Result<()> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if !end.closed {
            let why = self.closing.connection.fate();
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                format!("the connection broke: {why}"),
            ));
        }
        if self.program && !end.well {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                format!("the program ended: {}", end.describe()),
            ));
        }
        Ok(())
    }
}

impl AsyncRead for ChannelReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.rest.is_empty() {
                let length = self.rest.len().min(into.remaining());
                into.put_slice(&self.rest.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if self.finished {
                return Poll::Ready(self.ending());
            }
            let (half, message) = ready!(self.next.poll(cx));
            self.next.set(next(half));
            self.take_in(message);
        }
    }
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // russh takes an empty write for a mistake.
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more")));
        }
        self.inner.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(self.inner.as_mut().poll_shutdown(cx));
        self.ended = true;
        Poll::Ready(done)
    }
}

impl Drop for ChannelWriter {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let closing = Arc::clone(&self.closing);
        self.closing.runtime.clone().spawn(async move {
            if let Some(half) = &closing.half {
                let _ = half.eof().await;
            }
        });
    }
}

/// Both directions of a channel as one stream.
pub(super) struct ChannelDuplex {
    /// What comes.
    pub(super) from: ChannelReader,
    /// What goes.
    pub(super) to: ChannelWriter,
}

impl AsyncRead for ChannelDuplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from).poll_read(cx, into)
    }
}

impl AsyncWrite for ChannelDuplex {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}
