//! What the conformance tests don't ask: damage, broken connections, many at once, names that lead elsewhere, and who may do what.

use super::*;

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
    // Before the server has begun with it, the next request would be the first one.
    while served.get(&place).header("range") == Some("0-0") {}
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
