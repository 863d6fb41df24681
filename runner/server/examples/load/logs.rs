//! Attempts that write as fast as they may, and as many people who read along.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    asking::Connection,
    claims::{Job, claim},
    ground::Ground,
};

/// What a runner sends at once.
const PIECE: usize = 256 << 10;
const LINE: &[u8] = b"a line of text as programs print it, not long and not short, with \"some\" quotes\n";

/// Lines until a piece is full.
fn piece() -> Vec<u8> {
    LINE.iter().copied().cycle().take(PIECE).collect()
}

async fn writes(address: String, job: Arc<Job>, until: Instant, written: Arc<AtomicU64>) {
    let mut connection = Connection::open(&address).await;
    let (piece, mut offset) = (piece(), 0);
    while Instant::now() < until {
        job.put(&mut connection, offset, &piece).await;
        offset += piece.len() as u64;
        written.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) async fn load(streams: u64, seconds: u64) {
    let ground = Ground::with(streams, streams).await;
    let server = ground.serve();
    let mut jobs = Vec::new();
    for runner in 0..streams {
        let mut connection = Connection::open(&server.address).await;
        jobs.push(Arc::new(claim(&mut connection, runner, &format!("{runner}")).await));
    }
    let (written, heard) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for job in &jobs {
        // There is a stream to read once it has something.
        job.put(&mut Connection::open(&server.address).await, 0, b"").await;
    }
    let (began, processor) = (Instant::now(), server.processor());
    let until = began + Duration::from_secs(seconds);
    let mut writers = Vec::new();
    for job in &jobs {
        let (address, admin) = (server.address.clone(), server.admin.clone());
        let path = format!("/api/v1/attempts/{}/streams/events", job.attempt);
        let heard = Arc::clone(&heard);
        writers.push(tokio::spawn(writes(address.clone(), Arc::clone(job), until, Arc::clone(&written))));
        tokio::spawn(async move { Connection::open(&address).await.follow(&path, &admin, &heard).await });
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    let (written, heard) = (written.load(Ordering::Relaxed) as f64, heard.load(Ordering::Relaxed) as f64);
    println!(
        "server, logs of {streams} attempts with a reader each: {:.0} MB/s taken and durable, {:.0} MB/s given to readers (goal 100)",
        written / took / 1e6,
        heard / took / 1e6
    );
    println!(
        "# server: {:.2} processors, resident at most {} KiB (goal 153600)",
        (server.processor() - processor) / took,
        server.memory("VmHWM:")
    );
}
