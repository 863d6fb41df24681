//! Servers of the tests' own, and a bucket that fails when it is told to.

#![allow(unreachable_pub, reason = "every test crate uses its own part")]

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use base64::Engine as _;
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    aws::{AmazonS3, AmazonS3Builder},
    azure::{MicrosoftAzure, MicrosoftAzureBuilder},
    multipart::{MultipartStore, PartId},
    path::Path as Key,
};
use tempfile::TempDir;

/// Threads that drive the network for all tests of a process.
pub fn runtime() -> &'static tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
        })
        .handle()
}

/// A server on loopback, which ends when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    process: Child,
    _place: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tool(path: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools").join(path);
    assert!(tool.exists(), "{} is not installed; `tests/run` does that", tool.display());
    tool
}

impl Server {
    fn start(program: &str, arguments: impl Fn(SocketAddr, &Path) -> Vec<String>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(tool(program))
            .args(arguments(address, place.path()))
            .env("AZURITE_TELEMETRY", "false")
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { address, process, _place: place };
        while TcpStream::connect(address).is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "{program} ended");
            std::thread::yield_now();
        }
        server
    }

    /// Amazon's S3, as moto has it.
    pub fn s3() -> Self {
        let server = Self::start("moto/bin/moto_server", |at, _| {
            vec!["-H".into(), at.ip().to_string(), "-p".into(), at.port().to_string()]
        });
        server.ask("PUT /packages HTTP/1.1\r\n");
        server
    }

    /// Azure Blob, as Microsoft's own emulator has it.
    pub fn azure() -> Self {
        let server = Self::start("azurite/node_modules/.bin/azurite-blob", |at, place| {
            let (port, place) = (at.port().to_string(), place.display().to_string());
            [
                "--blobHost",
                "127.0.0.1",
                "--blobPort",
                &port,
                "--location",
                &place,
                "--silent",
                "--skipApiVersionCheck",
            ]
            .map(str::to_owned)
            .into()
        });
        let date = Command::new("date")
            .args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let date = String::from_utf8(date.stdout).unwrap().trim().to_owned();
        let said = format!(
            "x-ms-date:{date}\nx-ms-version:2021-12-02\n/{ACCOUNT}/{ACCOUNT}/packages\nrestype:container"
        );
        let said = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\n{said}");
        let base64 = base64::engine::general_purpose::STANDARD;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &base64.decode(KEY).unwrap());
        let signature = base64.encode(ring::hmac::sign(&key, said.as_bytes()));
        server.ask(&format!(
            "PUT /{ACCOUNT}/packages?restype=container HTTP/1.1\r\nx-ms-date: {date}\r\nx-ms-version: 2021-12-02\r\n\
             Authorization: SharedKey {ACCOUNT}:{signature}\r\n"
        ));
        server
    }

    fn ask(&self, head: &str) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let rest = format!("Host: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    pub fn s3_client(&self) -> AmazonS3 {
        let _ = rustls::crypto::ring::default_provider().install_default();
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id("ada")
            .with_secret_access_key("secret")
            .with_bucket_name("packages")
            .build()
            .unwrap()
    }

    pub fn azure_client(&self) -> MicrosoftAzure {
        let _ = rustls::crypto::ring::default_provider().install_default();
        MicrosoftAzureBuilder::new()
            .with_endpoint(format!("http://{}/{ACCOUNT}", self.address))
            .with_allow_http(true)
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_container_name("packages")
            .build()
            .unwrap()
    }
}

// What the emulator knows by default; they are in its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A bucket whose connection breaks after so many parts.
#[derive(Debug)]
pub struct Breaking<S> {
    inner: Arc<S>,
    /// Parts that still arrive.
    pub left: AtomicI64,
    /// Parts that have arrived.
    pub arrived: AtomicUsize,
}

impl<S> Breaking<S> {
    pub fn after(left: i64, inner: S) -> Arc<Self> {
        Arc::new(Self { inner: Arc::new(inner), left: AtomicI64::new(left), arrived: AtomicUsize::new(0) })
    }
}

impl<S: fmt::Display> fmt::Display for Breaking<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl<S: ObjectStore> ObjectStore for Breaking<S> {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }
    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }
    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }
    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait::async_trait]
impl<S: MultipartStore> MultipartStore for Breaking<S> {
    async fn create_multipart(&self, key: &Key) -> Result<MultipartId> {
        self.inner.create_multipart(key).await
    }
    async fn put_part(&self, key: &Key, id: &MultipartId, number: usize, data: PutPayload) -> Result<PartId> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(object_store::Error::Generic {
                store: "test",
                source: "the connection broke".into(),
            });
        }
        let part = self.inner.put_part(key, id, number, data).await?;
        self.arrived.fetch_add(1, Ordering::SeqCst);
        Ok(part)
    }
    async fn complete_multipart(&self, key: &Key, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.inner.complete_multipart(key, id, parts).await
    }
    async fn abort_multipart(&self, key: &Key, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(key, id).await
    }
}
