//! Attempts to get out of the built-in sandbox, on the host's own root and on an image's, as root and as an ordinary user.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use support::{bench::built_in, escape, ordinary_user, rootfs::InImage};

/// Rows about what of the host's own root a step can change: an image is the step's own, and its changes go with it.
const OF_THE_HOSTS_ROOT: [&str; 5] =
    ["a file in /usr", "a file in /etc", "/etc/passwd", "a file in /etc/ssl/certs", "a file in /lib"];

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_is_closed() {
    let place = tempfile::tempdir().unwrap();
    escape::close_every_way_out(&built_in(place.path()), escape::table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_of_an_image_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let rows = escape::table().into_iter().filter(|row| !OF_THE_HOSTS_ROOT.contains(&row.what)).collect();
    escape::close_every_way_out(&InImage::new(place.path()), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_hurt_only_themselves() {
    let place = tempfile::tempdir().unwrap();
    escape::bombs_hurt_only_themselves(&built_in(place.path())).await;
}

#[test]
fn the_same_as_an_ordinary_user() {
    ordinary_user::run_again("the_same_as_an_ordinary_user");
}
