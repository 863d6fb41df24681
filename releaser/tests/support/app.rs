//! An application within the test: says which release it is, and does what it is told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// A running application. It ends, with all its connections, when this is dropped.
pub struct App {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    end: CancellationToken,
}

/// What the application noticed.
pub struct Seen {
    release: String,
    /// Answers to `/gate` wait until this is true.
    pub gate: watch::Sender<bool>,
    /// Requests that have arrived.
    pub arrived: AtomicUsize,
    /// Bodies that were received to their end, in bytes.
    pub bodies: Mutex<Vec<usize>>,
    /// Requests whose client went away before the answer.
    pub abandoned: AtomicUsize,
    /// The last request's line and headers.
    pub last: Mutex<String>,
}

impl App {
    pub async fn start(release: impl ToString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, release)
    }

    pub fn on(listener: TcpListener, release: impl ToString) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            release: release.to_string(),
            gate: watch::Sender::new(false),
            arrived: AtomicUsize::new(0),
            bodies: Mutex::default(),
            abandoned: AtomicUsize::new(0),
            last: Mutex::default(),
        });
        let end = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::clone(&seen), end.clone()));
        Self { address, seen, end }
    }

    /// Ends at once, as a killed process does: the port is closed and every connection with it.
    pub fn kill(&self) {
        self.end.cancel();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>, end: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            () = end.cancelled() => break,
        };
        stream.set_nodelay(true).unwrap();
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&seen), request));
            let _ =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn answer(seen: Arc<Seen>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    seen.arrived.fetch_add(1, Ordering::SeqCst);
    *seen.last.lock().unwrap() = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
    let path = request.uri().path().to_owned();
    let response = Response::builder().header("x-release", &seen.release);
    let whole = |text: String| Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let response = match path.as_str() {
        "/gate" => {
            let abandoned = Abandoned(&seen);
            seen.gate.subscribe().wait_for(|open| *open).await.unwrap();
            std::mem::forget(abandoned);
            response.body(whole(seen.release.clone()))
        }
        "/echo" => {
            let length = request.headers().get("content-length").cloned();
            let response = length
                .into_iter()
                .fold(response, |response, length| response.header("content-length", length));
            response.body(request.into_body().boxed())
        }
        "/swallow" => {
            let length = swallow(request.into_body()).await;
            length.iter().for_each(|length| seen.bodies.lock().unwrap().push(*length));
            response.body(whole(length.map_or_else(|| "cut".to_owned(), |length| length.to_string())))
        }
        "/endless" => {
            let frames = std::iter::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10]))));
            response.body(Frames(frames).boxed())
        }
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
                    stream.write_all(&byte.map(|byte| byte.to_ascii_uppercase())).await.unwrap();
                }
            });
            response
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "shout")
                .body(whole(String::new()))
        }
        "/nothing" => response.status(204).body(whole(String::new())),
        "/unchanged" => response.status(304).header("etag", "\"1\"").body(whole(String::new())),
        "/hop" => response
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .body(whole("hop".into())),
        _ => response.body(whole(seen.release.clone())),
    };
    Ok(response.unwrap())
}

async fn swallow(mut body: Incoming) -> Option<usize> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(length)
}

/// Counts a request that is dropped before it is answered.
struct Abandoned<'a>(&'a Seen);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.0.abandoned.fetch_add(1, Ordering::SeqCst);
    }
}

struct Frames<I>(I);

type FrameResult = Result<Frame<Bytes>, hyper::Error>;

impl<I: Iterator<Item = FrameResult> + Unpin> Frames<I> {
    fn next(&mut self) -> Option<FrameResult> {
        self.0.next()
    }
}

impl<I: Iterator<Item = FrameResult> + Unpin> hyper::body::Body for Frames<I> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<FrameResult>> {
        std::task::Poll::Ready(self.next())
    }
}
