//! Bodies stream through: what a proxy needs does not grow with them. A test program of its own, because it measures
//! the whole process.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{fs, net::SocketAddr};

use staith_releaser::proxy::Limits;
use support::{client::read_until, proxied::proxied, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const SIZE: usize = 64 << 20;

/// Client, proxy and program are one process here, so this bounds all three: a tenth of the body and some for tests.
const ROOM: usize = 24 << 20;

fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_bodies() {
    let (address, app) = proxied(Limits::default()).await;
    let before = most_memory();
    download(address).await;
    for chunked in [false, true] {
        upload(address, chunked).await;
    }
    assert_eq!(*app.seen.bodies.lock().unwrap(), [SIZE, SIZE]);
    // A client that does not read stops the program, not the proxy: what is sent and not read stays bounded.
    let _stalled = start_download(address).await;
    for _ in 0..4 {
        download(address).await;
    }
    let grown = most_memory() - before;
    assert!(grown < ROOM, "{} MiB more for bodies of {} MiB", grown >> 20, SIZE >> 20);
    until("nobody has given up", || async {
        app.seen.abandoned.load(std::sync::atomic::Ordering::SeqCst) == 0
    })
    .await;
}

async fn start_download(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    stream
}

async fn download(address: SocketAddr) {
    let stream = start_download(address).await;
    let read = tokio::io::copy(&mut stream.take(SIZE as u64), &mut tokio::io::sink()).await.unwrap();
    assert_eq!(read, SIZE as u64);
}

async fn upload(address: SocketAddr, chunked: bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
    let head = format!("POST /swallow HTTP/1.1\r\nHost: a\r\n{framing}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..SIZE / piece.len() {
        if chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        }
        stream.write_all(&piece).await.unwrap();
        if chunked {
            stream.write_all(b"\r\n").await.unwrap();
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&SIZE.to_string()), "{answer}");
}
