//! The registry by its protocol. `blobs` and `manifests` follow the conformance tests of OCI Distribution, each test with the name
//! of those that it stands for; `beyond` is what they don't ask.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod beyond;
mod blobs;
mod manifests;
mod memory;
mod wire;

use std::{io::Write, net::Shutdown, sync::Arc, time::Duration};

use memory::Memory;
use serde_json::{Value, json};
use staith_model::Digest;
use staith_packager::registry::{
    Options,
    access::{Asked, Open, ReadOnly, Verdict, Wish},
    manifest::{IMAGE, INDEX},
};
use wire::{Answer, Served};

fn open() -> (Memory, Served) {
    with(Options::default())
}

fn with(options: Options) -> (Memory, Served) {
    let shelf = Memory::default();
    let served = Served::over(Arc::new(shelf.clone()), Open, options);
    (shelf, served)
}

/// Bytes that differ at each place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[track_caller]
fn push_blob(served: &Served, name: &str, blob: &[u8]) -> Digest {
    let digest = Digest::of(blob);
    served.ask("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], blob).is(201);
    digest
}

fn part(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

fn artifact(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": "application/vnd.example",
        "config": part("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [part("application/zip", layer)],
    })
}

#[track_caller]
fn push(served: &Served, to: &str, manifest: &Value) -> (Digest, Answer) {
    let bytes = manifest.to_string();
    let kind = manifest["mediaType"].as_str().unwrap_or(IMAGE);
    (Digest::of(bytes.as_bytes()), served.ask("PUT", to, &[("Content-Type", kind)], bytes.as_bytes()))
}

/// Pushes an artifact of one layer with its blobs.
#[track_caller]
fn publish(served: &Served, name: &str, tag: &str, layer: &[u8]) -> Digest {
    push_blob(served, name, b"{}");
    push_blob(served, name, layer);
    let (digest, answer) = push(served, &format!("/v2/{name}/manifests/{tag}"), &artifact(layer));
    answer.is(201);
    digest
}

#[track_caller]
fn begin(served: &Served) -> String {
    let answer = served.ask("POST", "/v2/shop/blobs/uploads/", &[], &[]).is(202);
    answer.location()
}

#[track_caller]
fn pulls(served: &Served, blob: &[u8]) {
    let digest = Digest::of(blob).to_string();
    let path = format!("/v2/shop/blobs/{digest}");
    let length = blob.len().to_string();
    let head = served.ask("HEAD", &path, &[], &[]).is(200);
    let head = head.has("docker-content-digest", &digest).has("content-length", &length);
    assert!(head.body.is_empty());
    let answer = served.get(&path).is(200).has("docker-content-digest", &digest);
    assert!(answer.body == blob && answer.is_whole);
}

/// Sends a chunk with its range.
#[track_caller]
fn chunk(served: &Served, place: &str, at: usize, bytes: &[u8]) -> Answer {
    let range = format!("{at}-{}", at + bytes.len() - 1);
    served.ask("PATCH", place, &[("Content-Range", &range)], bytes)
}
