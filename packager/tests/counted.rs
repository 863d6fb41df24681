//! A connection is closed when nothing passes over it any more, and not before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use staith_packager::registry::listen::Counted;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep},
};

#[tokio::test(start_paused = true)]
async fn what_passes_in_either_direction_keeps_a_connection() {
    let (near, mut far) = tokio::io::duplex(64);
    let (mut near, passed) = Counted::new(near);
    let (idle, began) = (Duration::from_secs(300), Instant::now());
    let talk = async {
        for _ in 0..3 {
            sleep(idle * 9 / 10).await;
            far.write_all(b"x").await.unwrap();
            near.read_u8().await.unwrap();
            sleep(idle * 9 / 10).await;
            near.write_all(b"y").await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = talk => {}
        () = passed.stalls(idle) => {}
    }
    let lasted = began.elapsed();
    assert!(lasted >= idle * 6 && lasted <= idle * 8, "{lasted:?}");
}
