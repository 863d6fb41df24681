//! The registry by its protocol. The first half follows the conformance tests of OCI Distribution, each test with the name
//! of those that it stands for; the second is what they don't ask.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

#[path = "registry/memory.rs"]
mod memory;
#[path = "registry/wire.rs"]
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

#[test]
fn ping() {
    let (_, served) = open();
    for path in ["/v2/", "/v2"] {
        served.get(path).is(200).has("docker-distribution-api-version", "registry/2.0");
    }
    served.ask("POST", "/v2/", &[], &[]).refuses(405, "UNSUPPORTED");
}

#[test]
fn blobs_get_missing() {
    let (_, served) = open();
    for method in ["GET", "HEAD"] {
        let answer = served.ask(method, &format!("/v2/shop/blobs/{}", Digest::of(b"none")), &[], &[]);
        assert_eq!(answer.status, 404);
    }
    served.get(&format!("/v2/shop/blobs/{}", Digest::of(b"none"))).refuses(404, "BLOB_UNKNOWN");
}

#[test]
fn blobs_post_only() {
    let (shelf, served) = open();
    let blob = bytes(512);
    let digest = Digest::of(&blob);
    let answer = served.ask("POST", &format!("/v2/shop/blobs/uploads/?digest={digest}"), &[], &blob).is(201);
    assert_eq!(answer.location(), format!("/v2/shop/blobs/{digest}"));
    pulls(&served, &blob);
    assert_eq!(shelf.uploads(), 0);
}

#[test]
fn blobs_post_put() {
    let (_, served) = open();
    let blob = bytes(512);
    let digest = Digest::of(&blob);
    let place = begin(&served);
    let answer = served.ask("PUT", &format!("{place}?digest={digest}"), &[], &blob).is(201);
    assert_eq!(answer.location(), format!("/v2/shop/blobs/{digest}"));
    pulls(&served, &blob);
}

/// A chunk with its range. Without `at`, a stream: no range and no length.
#[track_caller]
fn chunk(served: &Served, place: &str, at: usize, bytes: &[u8]) -> Answer {
    let range = format!("{at}-{}", at + bytes.len() - 1);
    served.ask("PATCH", place, &[("Content-Range", &range)], bytes)
}

#[test]
fn blobs_chunked_single_and_multi() {
    let (_, served) = open();
    for chunks in [1, 3] {
        let blob = bytes(chunks * 1024 - 5);
        let mut place = begin(&served);
        for (nth, part) in blob.chunks(1024).enumerate() {
            let answer = chunk(&served, &place, nth * 1024, part).is(202);
            let answer = answer.has("range", &format!("0-{}", nth * 1024 + part.len() - 1));
            place = answer.location();
        }
        served.ask("PUT", &format!("{place}?digest={}", Digest::of(&blob)), &[], &[]).is(201);
        pulls(&served, &blob);
    }
}

#[test]
fn blobs_chunked_multi_and_put_chunk() {
    let (_, served) = open();
    let blob = bytes(3 * 1024 - 5);
    let place = begin(&served);
    for (nth, part) in blob[..2048].chunks(1024).enumerate() {
        chunk(&served, &place, nth * 1024, part).is(202);
    }
    let to = format!("{place}?digest={}", Digest::of(&blob));
    let range = format!("2048-{}", blob.len() - 1);
    served.ask("PUT", &to, &[("Content-Range", &range)], &blob[2048..]).is(201);
    pulls(&served, &blob);
}

#[test]
fn blobs_chunked_out_of_order() {
    let (_, served) = open();
    let blob = bytes(3 * 1024 - 5);
    let place = begin(&served);
    chunk(&served, &place, 1024, &blob[1024..2048]).refuses(416, "BLOB_UPLOAD_INVALID");
    chunk(&served, &place, 0, &blob[..1024]).is(202);
    let refused = chunk(&served, &place, 2048, &blob[2048..]).refuses(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(refused.header("range"), Some("0-1023"));
    // The same chunk a second time is out of order as well.
    chunk(&served, &place, 0, &blob[..1024]).refuses(416, "BLOB_UPLOAD_INVALID");
    // As the specification says: ask where it stands, and go on there.
    let stands = served.get(&place).is(204).has("range", "0-1023");
    let place = stands.location();
    chunk(&served, &place, 1024, &blob[1024..2048]).is(202);
    let to = format!("{place}?digest={}", Digest::of(&blob));
    served
        .ask("PUT", &to, &[("Content-Range", "1024-2047")], &blob[1024..2048])
        .refuses(416, "BLOB_UPLOAD_INVALID");
    let range = format!("2048-{}", blob.len() - 1);
    served.ask("PUT", &to, &[("Content-Range", &range)], &blob[2048..]).is(201);
    pulls(&served, &blob);
}

#[test]
fn blobs_stream() {
    let (_, served) = open();
    let blob = bytes(600_000);
    let place = begin(&served);
    let mut stream = served.begin("PATCH", &place, &[("Transfer-Encoding", "chunked")], None);
    for part in blob.chunks(77_777) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).unwrap();
        stream.write_all(part).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    Answer::read(stream, false).is(202).has("range", "0-599999");
    served.ask("PUT", &format!("{place}?digest={}", Digest::of(&blob)), &[], &[]).is(201);
    pulls(&served, &blob);
}

#[test]
fn blobs_mount() {
    let (_, served) = open();
    let digest = push_blob(&served, "other", b"shared");
    let mount =
        |from: &str| served.ask("POST", &format!("/v2/shop/blobs/uploads/?mount={digest}{from}"), &[], &[]);
    // Neither what nobody has, nor without saying from where, nor from where it is not.
    let missing = Digest::of(b"missing");
    served.ask("POST", &format!("/v2/shop/blobs/uploads/?mount={missing}&from=other"), &[], &[]).is(202);
    for elsewhere in ["", "&from=third", "&from=..%2f..", "&from=a/b"] {
        let begun = mount(elsewhere).is(202);
        assert!(begun.location().starts_with("/v2/shop/blobs/uploads/"));
    }
    served.get(&format!("/v2/shop/blobs/{digest}")).refuses(404, "BLOB_UNKNOWN");
    let mounted = mount("&from=other").is(201);
    assert_eq!(mounted.location(), format!("/v2/shop/blobs/{digest}"));
    pulls(&served, b"shared");
}

#[test]
fn blobs_post_cancel() {
    let (shelf, served) = open();
    let place = begin(&served);
    chunk(&served, &place, 0, b"abc").is(202);
    served.ask("DELETE", &place, &[], &[]).is(204);
    assert_eq!(shelf.uploads(), 0);
    for method in ["GET", "DELETE", "PATCH"] {
        served.ask(method, &place, &[], &[]).refuses(404, "BLOB_UPLOAD_UNKNOWN");
    }
    served
        .ask("PUT", &format!("{place}?digest={}", Digest::of(b"abc")), &[], &[])
        .refuses(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn blobs_range_requests() {
    let (_, served) = open();
    let blob = bytes(2048);
    let path = format!("/v2/shop/blobs/{}", push_blob(&served, "shop", &blob));
    for (range, first, last) in [
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, 2047),
        ("bytes=-500", 1548, 2047),
        ("bytes=2000-5000", 2000, 2047),
    ] {
        let answer = served.ask("GET", &path, &[("Range", range)], &[]).is(206);
        let answer = answer.has("content-range", &format!("bytes {first}-{last}/2048"));
        assert!(answer.body == blob[first..=last] && answer.is_whole, "{range}");
    }
    for range in ["bytes=500-0", "bytes=5000-10000"] {
        served.ask("GET", &path, &[("Range", range)], &[]).is(416).has("content-range", "bytes */2048");
    }
    let tag = format!("\"{}\"", Digest::of(&blob));
    let go_on = |tag: &str| served.ask("GET", &path, &[("Range", "bytes=5-"), ("If-Range", tag)], &[]);
    go_on(&tag).is(206);
    go_on("\"another\"").is(200);
    served.ask("GET", &path, &[("If-None-Match", &tag)], &[]).is(304);
}

#[test]
fn blobs_empty_and_empty_json() {
    let (_, served) = open();
    for blob in [b"".as_slice(), b"{}"] {
        push_blob(&served, "shop", blob);
        pulls(&served, blob);
    }
    // Nothing in chunks: no chunk at all.
    let place = begin(&served);
    served.ask("PUT", &format!("{place}?digest={}", Digest::of(b"")), &[], &[]).is(201);
}

#[test]
fn blobs_bad_digest() {
    let (shelf, served) = open();
    let (blob, wrong) = (bytes(3000), Digest::of(b"another"));
    served
        .ask("POST", &format!("/v2/shop/blobs/uploads/?digest={wrong}"), &[], &blob)
        .refuses(400, "DIGEST_INVALID");
    let place = begin(&served);
    served.ask("PUT", &format!("{place}?digest={wrong}"), &[], &blob).refuses(400, "DIGEST_INVALID");
    let place = begin(&served);
    chunk(&served, &place, 0, &blob).is(202);
    served.ask("PUT", &format!("{place}?digest={wrong}"), &[], &[]).refuses(400, "DIGEST_INVALID");
    assert_eq!(shelf.uploads(), 0);
    served.get(&format!("/v2/shop/blobs/{wrong}")).refuses(404, "BLOB_UNKNOWN");
    for bad in ["sha512:00", "sha256:xyz", "md5:0", "", "sha256:../../x"] {
        let refuse = |path: String, method: &str| {
            served.ask(method, &path, &[], &blob).refuses(400, "DIGEST_INVALID");
        };
        refuse(format!("/v2/shop/blobs/uploads/?digest={bad}"), "POST");
        let place = begin(&served);
        refuse(format!("{place}?digest={bad}"), "PUT");
    }
    let place = begin(&served);
    served.ask("PUT", &place, &[], &[]).refuses(400, "DIGEST_INVALID");
    served
        .ask("POST", "/v2/shop/blobs/uploads/?digest-algorithm=sha512", &[], &[])
        .refuses(400, "DIGEST_INVALID");
}

#[test]
fn missing_manifest() {
    let (_, served) = open();
    served.get("/v2/shop/manifests/1.0").refuses(404, "NAME_UNKNOWN");
    publish(&served, "shop", "1.0", b"zip");
    served.get("/v2/shop/manifests/missing-tag").refuses(404, "MANIFEST_UNKNOWN");
    served.get(&format!("/v2/shop/manifests/{}", Digest::of(b"x"))).refuses(404, "MANIFEST_UNKNOWN");
}

#[test]
fn invalid_digest_format() {
    let (_, served) = open();
    publish(&served, "shop", "1.0", b"zip");
    served.get("/v2/shop/manifests/sha256:baddigeststring").refuses(400, "DIGEST_INVALID");
    let (_, answer) = push(&served, "/v2/shop/manifests/sha256:baddigeststring", &artifact(b"zip"));
    answer.refuses(400, "DIGEST_INVALID");
}

#[test]
fn manifests_by_digest_and_by_tag() {
    let (_, served) = open();
    let layer = bytes(100);
    publish(&served, "shop", "1.0", &layer);
    let (digest, answer) = push(&served, "/v2/shop/manifests/stable", &artifact(&layer));
    let answer = answer.is(201).has("docker-content-digest", &digest.to_string());
    assert_eq!(answer.location(), format!("/v2/shop/manifests/{digest}"));
    for reference in ["1.0".to_owned(), "stable".to_owned(), digest.to_string()] {
        let path = format!("/v2/shop/manifests/{reference}");
        let answer = served.get(&path).is(200).has("content-type", IMAGE);
        let answer = answer.has("docker-content-digest", &digest.to_string());
        assert_eq!(answer.body, artifact(&layer).to_string().as_bytes());
        let head =
            served.ask("HEAD", &path, &[], &[]).is(200).has("docker-content-digest", &digest.to_string());
        let head = head.has("content-length", &answer.body.len().to_string()).has("content-type", IMAGE);
        assert!(head.body.is_empty());
    }
    let (_, wrong) = push(&served, &format!("/v2/shop/manifests/{}", Digest::of(b"x")), &artifact(&layer));
    wrong.refuses(400, "DIGEST_INVALID");
}

#[test]
fn manifests_with_tags_as_parameters() {
    let (_, served) = open();
    let digest = publish(&served, "shop", "0.9", b"zip");
    let tags: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let (_, answer) =
        push(&served, &format!("/v2/shop/manifests/{digest}?{}", query.join("&")), &artifact(b"zip"));
    assert_eq!(answer.is(201).headers("oci-tag"), tags);
    served.get("/v2/shop/manifests/t11").is(200).has("docker-content-digest", &digest.to_string());
    let many = "tag=a&".repeat(40);
    push(&served, &format!("/v2/shop/manifests/{digest}?{many}"), &artifact(b"zip"))
        .1
        .refuses(414, "MANIFEST_INVALID");
}

#[test]
fn manifests_of_all_kinds() {
    let (_, served) = open();
    let image = publish(&served, "shop", "1.0", b"zip");
    let bytes = artifact(b"zip").to_string();
    let entry = json!({ "mediaType": IMAGE, "digest": image.to_string(), "size": bytes.len() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry], "custom": {"a": [1]} });
    let (of_index, answer) = push(&served, "/v2/shop/manifests/list", &index);
    answer.is(201);
    let nested = json!({ "schemaVersion": 2, "mediaType": INDEX, "artifactType": "application/x", "manifests": [
        { "mediaType": INDEX, "digest": of_index.to_string(), "size": index.to_string().len() } ] });
    push(&served, "/v2/shop/manifests/nested", &nested).1.is(201);
    served.get("/v2/shop/manifests/nested").is(200).has("content-type", INDEX);
    let mut no_layers = artifact(b"zip");
    no_layers["layers"] = json!([]);
    push(&served, "/v2/shop/manifests/no-layers", &no_layers).1.is(201);
    let mut data = artifact(b"zip");
    data["config"]["data"] = json!("e30=");
    data["customField"] = json!("kept");
    let (_, answer) = push(&served, "/v2/shop/manifests/data", &data);
    answer.is(201);
    assert_eq!(served.get("/v2/shop/manifests/data").json(), data);
    let mut foreign = artifact(b"elsewhere");
    foreign["layers"][0]["urls"] = json!(["https://example.org/layer"]);
    push(&served, "/v2/shop/manifests/foreign", &foreign).1.is(201);
}

#[test]
fn manifests_that_name_what_is_not_there() {
    let (_, served) = open();
    push_blob(&served, "shop", b"{}");
    push_blob(&served, "other", b"theirs");
    for layer in [b"missing".as_slice(), b"theirs"] {
        let (_, answer) = push(&served, "/v2/shop/manifests/1.0", &artifact(layer));
        answer.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    }
    push_blob(&served, "shop", b"zip");
    let mut wrong_size = artifact(b"zip");
    wrong_size["layers"][0]["size"] = json!(4);
    push(&served, "/v2/shop/manifests/1.0", &wrong_size).1.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [part(IMAGE, b"none")] });
    push(&served, "/v2/shop/manifests/1.0", &index).1.refuses(400, "MANIFEST_BLOB_UNKNOWN");
    served.get("/v2/shop/manifests/1.0").is(404);
}

#[test]
fn manifests_that_are_none() {
    let (_, served) = open();
    publish(&served, "shop", "1.0", b"zip");
    let put = |kind: &str, bytes: &[u8]| {
        served.ask("PUT", "/v2/shop/manifests/2.0", &[("Content-Type", kind)], bytes)
    };
    put(IMAGE, b"not json").refuses(400, "MANIFEST_INVALID");
    put(IMAGE, b"").refuses(400, "MANIFEST_INVALID");
    put(INDEX, artifact(b"zip").to_string().as_bytes()).refuses(400, "MANIFEST_INVALID");
    put("text/html", artifact(b"zip").to_string().as_bytes()).refuses(400, "MANIFEST_INVALID");
    put(IMAGE, &b"[".repeat(100_000)).refuses(400, "MANIFEST_INVALID");
    put(IMAGE, &vec![b' '; (4 << 20) + 1]).refuses(413, "SIZE_INVALID");
    // With parameters, and as large as it may be.
    let mut large = artifact(b"zip").to_string().into_bytes();
    large.resize(4 << 20, b' ');
    put(&format!("{IMAGE}; charset=utf-8"), &large).is(201);
    served.get("/v2/shop/manifests/2.0").is(200).has("content-type", IMAGE);
}

#[test]
fn tag_list() {
    let (_, served) = open();
    served.get("/v2/shop/tags/list").refuses(404, "NAME_UNKNOWN");
    for tag in ["b", "1.0", "a", "Z", "1.10", "1.2"] {
        publish(&served, "shop", tag, b"zip");
    }
    let list = |query: &str| {
        let answer =
            served.get(&format!("/v2/shop/tags/list{query}")).is(200).has("content-type", "application/json");
        let json = answer.json();
        assert_eq!(json["name"], "shop");
        (json["tags"].clone(), answer.header("link").map(str::to_owned))
    };
    let all = json!(["1.0", "1.10", "1.2", "Z", "a", "b"]);
    assert_eq!(list(""), (all.clone(), None));
    assert_eq!(list("?n=100"), (all, None));
    assert_eq!(list("?n=0"), (json!([]), None));
    assert_eq!(list("?last=1.2"), (json!(["Z", "a", "b"]), None));
    assert_eq!(list("?last=1.1"), (json!(["1.10", "1.2", "Z", "a", "b"]), None));
    assert_eq!(list("?n=2&last=zzz"), (json!([]), None));
    served.get("/v2/shop/tags/list?n=-1").refuses(400, "UNSUPPORTED");
    // Leaf through by the links alone.
    let (mut seen, mut next) = (Vec::new(), Some("?n=4".to_owned()));
    while let Some(query) = next {
        let (tags, link) = list(&query);
        seen.extend(tags.as_array().unwrap().clone());
        next = link.map(|link| {
            let (path, relation) = link.split_once("; ").unwrap();
            assert_eq!(relation, "rel=\"next\"");
            path.trim_matches(['<', '>']).strip_prefix("/v2/shop/tags/list").unwrap().to_owned()
        });
    }
    assert_eq!(seen.len(), 6);
}

#[test]
fn referrers() {
    let (_, served) = open();
    let subject = publish(&served, "shop", "1.0", b"zip");
    let path = format!("/v2/shop/referrers/{subject}");
    let empty = served.get(&path).is(200).has("content-type", INDEX).json();
    assert_eq!(empty, json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
    served.get("/v2/shop/referrers/sha256:bad").refuses(400, "DIGEST_INVALID");
    let about = |kind: Option<&str>, of: &Digest| {
        let mut manifest = artifact(b"zip");
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": of.to_string(), "size": 1 });
        manifest["annotations"] = json!({ "org.example": "kept" });
        match kind {
            Some(kind) => manifest["artifactType"] = json!(kind),
            None => drop(manifest.as_object_mut().unwrap().remove("artifactType")),
        }
        let bytes = manifest.to_string();
        let (digest, answer) =
            push(&served, &format!("/v2/shop/manifests/{}", Digest::of(bytes.as_bytes())), &manifest);
        answer.is(201).has("oci-subject", &of.to_string());
        (digest, bytes.len())
    };
    let (bill, size) = about(Some("application/vnd.bill+json"), &subject);
    about(None, &subject);
    // About something that is not there.
    let later = Digest::of(b"later");
    about(Some("application/x"), &later);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "subject": { "mediaType": IMAGE, "digest": subject.to_string(), "size": 1 } });
    push(&served, "/v2/shop/manifests/list", &index).1.is(201).has("oci-subject", &subject.to_string());
    let all = served.get(&path).is(200).json();
    let mut kinds: Vec<_> =
        all["manifests"].as_array().unwrap().iter().map(|entry| entry["artifactType"].as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [None, Some("application/vnd.bill+json"), Some("application/vnd.oci.empty.v1+json")]);
    let some = served.get(&format!("{path}?artifactType=application/vnd.bill%2Bjson")).is(200);
    let some = some.has("oci-filters-applied", "artifactType").json();
    assert_eq!(
        some["manifests"],
        json!([{ "mediaType": IMAGE, "digest": bill.to_string(), "size": size,
            "artifactType": "application/vnd.bill+json", "annotations": { "org.example": "kept" } }])
    );
    assert_eq!(
        served.get(&format!("/v2/shop/referrers/{later}")).json()["manifests"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn more_referrers_than_one_answer_holds_come_in_several() {
    let (_, served) = open();
    let subject = publish(&served, "shop", "1.0", b"zip");
    for n in 0..130 {
        let mut manifest = artifact(b"zip");
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject.to_string(), "size": 1 });
        manifest["annotations"] = json!({ "n": n.to_string() });
        let digest = Digest::of(manifest.to_string().as_bytes());
        push(&served, &format!("/v2/shop/manifests/{digest}"), &manifest).1.is(201);
    }
    let (mut seen, mut next) =
        (0, Some(format!("/v2/shop/referrers/{subject}?artifactType=application/vnd.example")));
    while let Some(path) = next {
        let answer = served.get(&path).is(200).has("oci-filters-applied", "artifactType");
        seen += answer.json()["manifests"].as_array().unwrap().len();
        next = answer.header("link").map(|link| link.split(['<', '>']).nth(1).unwrap().to_owned());
    }
    assert_eq!(seen, 130);
}

#[test]
fn deleting() {
    let (_, served) = open();
    let digest = publish(&served, "shop", "stable", b"zip");
    let paths = [
        "/v2/shop/manifests/stable".to_owned(),
        format!("/v2/shop/manifests/{digest}"),
        format!("/v2/shop/blobs/{}", Digest::of(b"zip")),
    ];
    for path in &paths {
        served.ask("DELETE", path, &[], &[]).refuses(405, "UNSUPPORTED");
        served.get(path).is(200);
    }
    let (_, served) = with(Options { deletion: true, ..Options::default() });
    publish(&served, "shop", "stable", b"zip");
    publish(&served, "shop", "other", b"zip");
    served.ask("DELETE", &paths[0], &[], &[]).is(202);
    served.get(&paths[0]).refuses(404, "MANIFEST_UNKNOWN");
    served.get(&paths[1]).is(200);
    served.ask("DELETE", &paths[1], &[], &[]).is(202);
    served.ask("DELETE", &paths[1], &[], &[]).refuses(404, "MANIFEST_UNKNOWN");
    served.get("/v2/shop/manifests/other").is(404);
    // Blobs go when they are collected.
    served.ask("DELETE", &paths[2], &[], &[]).refuses(405, "UNSUPPORTED");
}

// What the conformance tests do not ask.

#[test]
fn a_version_never_changes_its_meaning_and_a_channel_does() {
    let (_, served) = open();
    let first = publish(&served, "shop", "1.0", b"one");
    publish(&served, "shop", "stable", b"one");
    publish(&served, "shop", "1.0", b"one");
    push_blob(&served, "shop", b"two");
    let refused = push(&served, "/v2/shop/manifests/1.0", &artifact(b"two")).1.refuses(409, "DENIED");
    assert!(String::from_utf8_lossy(&refused.body).contains(&first.to_string()));
    served.get("/v2/shop/manifests/1.0").is(200).has("docker-content-digest", &first.to_string());
    let second = publish(&served, "shop", "stable", b"two");
    served.get("/v2/shop/manifests/stable").is(200).has("docker-content-digest", &second.to_string());
}

#[test]
fn a_flipped_bit_is_refused_and_not_served() {
    let (shelf, served) = open();
    let blob = bytes(100_000);
    let digest = push_blob(&served, "shop", &blob);
    shelf.damage(&digest);
    for headers in [&[][..], &[("Range", "bytes=99990-")]] {
        let answer = served.ask("GET", &format!("/v2/shop/blobs/{digest}"), headers, &[]).is(500);
        assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains("damaged"));
    }
}

#[test]
fn an_upload_goes_on_after_a_broken_connection() {
    let (_, served) = open();
    let blob = bytes(1_000_000);
    let place = begin(&served);
    let mut stream = served.begin("PATCH", &place, &[], Some(blob.len()));
    stream.write_all(&blob[..700_000]).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    // As soon as the server has seen that the connection is gone, nothing more is added.
    let here = loop {
        let stands = served.ask("PATCH", &place, &[], &[]);
        match stands.status {
            202 => {
                break stands.header("range").unwrap().split_once('-').unwrap().1.parse::<usize>().unwrap()
                    + 1;
            }
            status => assert_eq!(status, 429, "{stands:?}"),
        }
    };
    assert!((600_000..=700_000).contains(&here), "{here}");
    served.get(&place).is(204).has("range", &format!("0-{}", here - 1));
    chunk(&served, &place, here, &blob[here..]).is(202);
    served.ask("PUT", &format!("{place}?digest={}", Digest::of(&blob)), &[], &[]).is(201);
    pulls(&served, &blob);
}

#[test]
fn an_upload_has_one_writer_at_a_time() {
    let (_, served) = open();
    let place = begin(&served);
    let blob = bytes(400_000);
    let mut stream = served.begin("PATCH", &place, &[], Some(blob.len()));
    stream.write_all(&blob[..300_000]).unwrap();
    while served.get(&place).header("range") == Some("0-0") {}
    served.ask("PATCH", &place, &[], b"xx").refuses(429, "TOOMANYREQUESTS");
    stream.write_all(&blob[300_000..]).unwrap();
    Answer::read(stream, false).is(202).has("range", "0-399999");
    served.ask("PUT", &format!("{place}?digest={}", Digest::of(&blob)), &[], &[]).is(201);
}

#[test]
fn many_uploads_of_one_blob_at_once_are_one_blob() {
    let (shelf, served) = open();
    let blob = bytes(300_000);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| push_blob(&served, "shop", &blob));
        }
    });
    pulls(&served, &blob);
    assert_eq!(shelf.uploads(), 0);
}

#[test]
fn what_is_said_of_a_chunk_must_hold() {
    let (_, served) = open();
    let place = begin(&served);
    for range in ["0-1", "0-9"] {
        served.ask("PATCH", &place, &[("Content-Range", range)], b"abc").refuses(400, "SIZE_INVALID");
    }
    for range in ["abc", "2-0", "bytes */3", ""] {
        served.ask("PATCH", &place, &[("Content-Range", range)], b"abc").refuses(400, "BLOB_UPLOAD_INVALID");
    }
    served.ask("PATCH", &place, &[], b"abc").is(202).has("range", "0-2");
}

#[test]
fn silent_clients_and_large_blobs_are_cut_off() {
    let options = Options { patience: Duration::from_millis(50), largest_blob: 1000, ..Options::default() };
    let (_, served) = with(options);
    let place = begin(&served);
    let mut stream = served.begin("PATCH", &place, &[], Some(10));
    stream.write_all(b"abc").unwrap();
    Answer::read(stream, false).refuses(408, "BLOB_UPLOAD_INVALID");
    served.get(&place).is(204).has("range", "0-2");
    served.ask("PATCH", &place, &[], &bytes(998)).refuses(413, "SIZE_INVALID");
    let stream = served.begin("PUT", "/v2/shop/manifests/1.0", &[], Some(10));
    Answer::read(stream, false).is(408);
}

#[test]
fn names_lead_nowhere() {
    let (_, served) = open();
    for path in
        ["/v2/../etc/manifests/x", "/v2/..%2fetc/manifests/x", "/v2/a%00b/manifests/x", "/v2/A/manifests/x"]
    {
        let answer = served.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(answer.json()["errors"].is_array());
    }
    served.get("/v2/A/tags/list").refuses(400, "NAME_INVALID");
    served.get("/v2/a/b/tags/list").refuses(404, "NAME_UNKNOWN");
    served.get("/v2/shop/manifests/..").refuses(400, "MANIFEST_INVALID");
    served.get("/v2/shop/blobs/uploads/../../x").refuses(404, "UNSUPPORTED");
    served.get("/v2/shop/blobs/uploads/%2e%2e").refuses(400, "BLOB_UPLOAD_INVALID");
    served.get("/v2/_catalog").refuses(404, "UNSUPPORTED");
    let long = "x".repeat(20_000);
    served.ask("GET", "/v2/", &[("X-Long", &long)], &[]).refuses(431, "SIZE_INVALID");
}

#[test]
fn by_default_nobody_pushes() {
    let shelf = Memory::default();
    let writable = Served::over(Arc::new(shelf.clone()), Open, Options::default());
    let digest = publish(&writable, "shop", "1.0", b"zip");
    let served = Served::over(Arc::new(shelf.clone()), ReadOnly, Options::default());
    served.get("/v2/shop/manifests/1.0").is(200);
    pulls(&served, b"zip");
    served.ask("POST", "/v2/shop/blobs/uploads/", &[], &[]).refuses(403, "DENIED");
    served.ask("PUT", "/v2/shop/manifests/2.0", &[], b"{}").refuses(403, "DENIED");
    served.ask("DELETE", &format!("/v2/shop/manifests/{digest}"), &[], &[]).refuses(405, "UNSUPPORTED");
    assert_eq!(shelf.uploads(), 0);
}

#[test]
fn whoever_mounts_it_decides_who_may_do_what() {
    let shelf = Memory::default();
    let writable = Served::over(Arc::new(shelf.clone()), Open, Options::default());
    publish(&writable, "shop", "1.0", b"zip");
    let secret = push_blob(&writable, "secret", b"theirs");
    let access = |asked: &Asked<'_>| match (
        asked.headers.get("authorization"),
        asked.name.map(|name| name.as_str()),
    ) {
        (None, _) => Verdict::SignIn("Basic realm=\"staith\"".to_owned()),
        (Some(_), Some("secret")) => Verdict::Denied("not yours".to_owned()),
        (Some(_), _) if asked.wish == Wish::Remove => Verdict::Denied("no".to_owned()),
        _ => Verdict::Granted,
    };
    let served = Served::over(Arc::new(shelf), access, Options::default());
    for path in ["/v2/", "/v2/shop/manifests/1.0", "/v2/none/manifests/1.0"] {
        let answer = served.get(path).refuses(401, "UNAUTHORIZED");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"staith\""));
    }
    let known = [("Authorization", "Basic x")];
    served.ask("GET", "/v2/shop/manifests/1.0", &known, &[]).is(200);
    // The same answer whether it is there or not.
    for blob in [secret, Digest::of(b"none")] {
        served.ask("GET", &format!("/v2/secret/blobs/{blob}"), &known, &[]).refuses(403, "DENIED");
        let mount = format!("/v2/shop/blobs/uploads/?mount={blob}&from=secret");
        served.ask("POST", &mount, &known, &[]).is(202);
    }
}

#[test]
fn pages_in_browsers_and_other_names_are_refused() {
    let (_, served) =
        with(Options { hosts: Some(vec!["127.0.0.1".into(), "[::1]".into()]), ..Options::default() });
    served.get("/v2/").is(200);
    for host in ["evil.example", "127.0.0.1.evil.example:5000", "", "localhost"] {
        served.ask("GET", "/v2/", &[("Host", host)], &[]).refuses(403, "DENIED");
    }
    served.ask("GET", "/v2/", &[("Host", "[::1]:5000")], &[]).is(200);
    served
        .ask("POST", "/v2/shop/blobs/uploads/", &[("Origin", "http://evil.example")], &[])
        .refuses(403, "DENIED");
}
