//! Blobs, by the names of the conformance tests.

use super::*;

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
