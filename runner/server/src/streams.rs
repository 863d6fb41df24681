//! The bytes that attempts send: events and logs, addressed by offset. A map, in reading order:
//!
//! 1. [`StreamName`]: what there is. [`Caps`]: how much of it.
//! 2. [`Desk`]: takes bytes and closes streams. `open`: one stream that is being written. `syncing`: many streams are made durable
//!    together.
//! 3. `take`: the requests of attempts. `give`: what people read; `follow`: as it comes.
//!
//! A stream is a file below `streams/RUN/ATTEMPT/`. The file may be longer than what counts: its length in the database is the truth,
//! written after the bytes are on the disk and before they are acknowledged. Whoever opens the file after a crash cuts it there, so
//! nobody ever reads a byte that could go away.

mod desk;
mod follow;
mod give;
mod name;
mod open;
mod refusal;
mod syncing;
mod take;

pub use self::{
    desk::{Caps, Desk, Reached},
    give::Listed,
    name::{NotAStream, StreamName},
    refusal::StreamRefusal,
};

use axum::{
    Router,
    routing::{get, post, put},
};

use crate::site::Site;

/// The requests about streams.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/attempts/{attempt}/streams/{name}", put(take::put).get(give::get))
        .route("/api/v1/attempts/{attempt}/streams/{name}/close", post(take::close))
        .route("/api/v1/runs/{run}/streams", get(give::list))
}
