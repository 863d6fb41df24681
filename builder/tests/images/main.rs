//! Images from a registry on loopback, from archives and from directories, and steps that run in them; as root and as an
//! ordinary user.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod from_registry;
mod local;
mod parts;
mod server;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use staith_builder::{
    addresses::Caution,
    engine::{Engine as _, EngineError, Image, ImageSpec},
    sandbox::BuiltInSandbox,
};
use support::{bench::helper, ordinary_user};

/// An engine with all that it keeps in `place`, which uses images below `place/shared`.
fn engine(place: &Path) -> BuiltInSandbox {
    let shared = place.join("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let engine = BuiltInSandbox::new(helper(), place.join("state")).allowing_images_below(vec![shared]);
    // Where the tests' own registries are.
    engine.with_caution(Caution::allowing(["127.0.0.1"]))
}

async fn image(engine: &BuiltInSandbox, reference: &str) -> Result<Image, EngineError> {
    let wanted = ImageSpec { reference: Some(reference.to_owned()), tools: Vec::new() };
    engine.image(&wanted, &|_| {}).await
}

/// Why an image could not be had, and what to do.
async fn refusal(engine: &BuiltInSandbox, reference: &str) -> String {
    match image(engine, reference).await {
        Err(EngineError::ImageMissing { why, remedy, .. }) => format!("{why} / {remedy}"),
        other => panic!("{other:?}"),
    }
}

/// The most bytes that were told of, and of how many.
async fn progress(engine: &BuiltInSandbox, reference: &str) -> (u64, u64) {
    let told: Arc<(AtomicU64, AtomicU64)> = Arc::default();
    let wanted = ImageSpec { reference: Some(reference.to_owned()), tools: Vec::new() };
    let hear = |fetched: staith_builder::engine::ImageFetched| {
        told.0.fetch_max(fetched.bytes, Ordering::Relaxed);
        told.1.fetch_max(fetched.of_bytes.unwrap_or(0), Ordering::Relaxed);
    };
    engine.image(&wanted, &hear).await.unwrap();
    (told.0.load(Ordering::Relaxed), told.1.load(Ordering::Relaxed))
}

#[test]
fn the_same_as_an_ordinary_user() {
    ordinary_user::run_again("the_same_as_an_ordinary_user");
}
