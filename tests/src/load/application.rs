//! Applications behind a balancer: each says which release it is, counts what it was told to write, and can be killed.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
};

use super::RELEASE;

/// The header that names a write; a write that came twice was sent twice by somebody in between.
pub const KEY: &str = "idempotency-key";

#[derive(Debug, Default)]
struct Shared {
    release: Mutex<String>,
    writes: Mutex<BTreeMap<String, u64>>,
    sick: AtomicBool,
}

/// An application on an address of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Application {
    /// Where it listens, also after it was killed and started again.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Application {
    /// An application that serves a release on a free port.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(release: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut one = Self { address, shared: Arc::default(), running: None };
        one.becomes(release);
        one.revive();
        one
    }

    /// Makes it another release from the next request on.
    ///
    /// # Panics
    /// A thread of it panicked.
    pub fn becomes(&self, release: &str) {
        release.clone_into(&mut self.shared.release.lock().unwrap());
    }

    /// Whether it accepts connections, takes its time and then fails, whatever it is asked.
    pub fn sickens(&self, sick: bool) {
        self.shared.sick.store(sick, Ordering::SeqCst);
    }

    /// Ends it at once: its connections are cut and its port refuses others.
    ///
    /// # Panics
    /// It panicked.
    pub fn kill(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// Its port was taken by another program.
    pub fn revive(&mut self) {
        self.kill();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&self.shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        self.running = Some((stop, thread));
    }

    /// How often each write came.
    ///
    /// # Panics
    /// A thread of it panicked.
    pub fn writes(&self) -> BTreeMap<String, u64> {
        self.shared.writes.lock().unwrap().clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
        connections.spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Agrees to another protocol, in which every byte comes back.
fn echo(mut request: Request<Incoming>, release: String) -> Response<Full<Bytes>> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let (mut stream, mut bytes) = (TokioIo::new(upgraded), [0; 64]);
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            if stream.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    });
    let agreed =
        Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
    agreed.header(RELEASE, release).body(Full::default()).unwrap()
}

/// `/long/MILLIS` takes its time, `/tunnel` changes the protocol; everything else is answered at once. The body is the path, so that answers can't be mixed up.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let release = shared.release.lock().unwrap().clone();
    if let Some(key) = request.headers().get(KEY).and_then(|key| key.to_str().ok()) {
        *shared.writes.lock().unwrap().entry(key.to_owned()).or_default() += 1;
    }
    if shared.sick.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        return Ok(Response::builder().status(500).header(RELEASE, release).body(Full::from(path)).unwrap());
    }
    if path == "/tunnel" {
        return Ok(echo(request, release));
    }
    if let Some(millis) = path.strip_prefix("/long/").and_then(|millis| millis.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    Ok(Response::builder().header(RELEASE, release).body(Full::from(path)).unwrap())
}
