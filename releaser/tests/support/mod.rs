//! What the tests of the proxy and the keeper share.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it, as a module of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

pub mod app;
pub mod client;
pub mod environment;
pub mod load;
pub mod proxied;

use std::{future::Future, time::Duration};

/// Waits until something is the case; the one place where a test waits by the clock.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(),
        "waited in vain until {what}"
    );
}
