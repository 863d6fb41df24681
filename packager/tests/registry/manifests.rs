//! Manifests, tags, what speaks of a manifest, and deleting, by the names of the conformance tests.

use super::*;

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
