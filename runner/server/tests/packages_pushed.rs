//! The server's packages, by the protocol of registries: who may do what, and whose code made what is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ground;

use std::process::Command;

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use base64::Engine as _;
use ground::{FENCE, Ground, PEOPLE, token};
use rusqlite::params;
use staith_model::{Digest, Package, RunId, service::Trust};
use staith_packager::store::oci::Artifact;
use staith_server::{api, store::PackageOrigin};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const PUBLISHER: &str = "publisher-of-the-shop";

fn manifest(content: &[u8]) -> String {
    manifest_of("1.0.0", content)
}

fn manifest_of(version: &str, content: &[u8]) -> String {
    let (digest, size) = (Digest::of(content), content.len() as u64);
    let (name, version) = ("app".parse().unwrap(), version.parse().unwrap());
    let package = Package { name, version, digest, content: digest, size };
    String::from_utf8(Artifact::of_package(&package, 1, &[]).to_bytes()).unwrap()
}

async fn ask(ground: &Ground, who: &str, method: Method, address: &str, body: &[u8]) -> Response<Body> {
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("anybody:{who}"));
    let request = Request::builder()
        .method(method)
        .uri(address)
        .header("authorization", format!("Basic {credentials}"))
        .header("content-type", IMAGE);
    ground.ask(request.body(Body::from(body.to_vec())).unwrap()).await
}

async fn push(ground: &Ground, who: &str, project: &str, tag: &str, content: &[u8]) -> StatusCode {
    push_as(ground, who, project, tag, (content, manifest(content))).await
}

/// By the attempt, with a manifest that says this version.
async fn push_version(ground: &Ground, version: &str, content: &[u8]) -> StatusCode {
    push_as(ground, &token(1), "shop", version, (content, manifest_of(version, content))).await
}

async fn push_as(
    ground: &Ground,
    who: &str,
    project: &str,
    tag: &str,
    (content, manifest): (&[u8], String),
) -> StatusCode {
    for blob in [b"{}".as_slice(), content] {
        let address = format!("/v2/{project}/app/blobs/uploads/");
        let begun = ask(ground, who, Method::POST, &address, b"").await;
        if begun.status() != StatusCode::ACCEPTED {
            return begun.status();
        }
        let place = begun.headers()["location"].to_str().unwrap();
        assert!(place.starts_with(&format!("/v2/{project}/app/blobs/uploads/")), "{place}");
        let address = format!("{place}?digest={}", Digest::of(blob));
        assert_eq!(ask(ground, who, Method::PUT, &address, blob).await.status(), StatusCode::CREATED);
    }
    let address = format!("/v2/{project}/app/manifests/{tag}");
    let (status, told) =
        ground::json(ask(ground, who, Method::PUT, &address, manifest.as_bytes()).await).await;
    assert_ne!(status, StatusCode::BAD_REQUEST, "{told}");
    status
}

async fn pull(ground: &Ground, who: &str, tag: &str) -> StatusCode {
    ask(ground, who, Method::GET, &format!("/v2/shop/app/manifests/{tag}"), b"").await.status()
}

fn ground(trust: Trust) -> Ground {
    let ground = Ground::new();
    let sql = ground.sql();
    sql.execute("UPDATE runs SET trust = ?1", [trust.as_str()]).unwrap();
    for project in ["shop", "blog"] {
        let add = "INSERT INTO projects (name, origin, settings_json, created) VALUES (?1, '/x', '{}', 1)";
        sql.execute(add, [project]).unwrap();
    }
    let grants = r#"[{"role":"releaser","project":"shop"}]"#;
    let hash = Digest::of(PUBLISHER.as_bytes()).to_string();
    sql.execute(
        "INSERT INTO tokens (id, hash, name, grants_json, created, expires) VALUES ('p', ?1, 'p', ?2, 1, ?3)",
        params![hash, grants, i64::MAX],
    )
    .unwrap();
    ground
}

async fn origin(ground: &Ground, content: &[u8]) -> Option<PackageOrigin> {
    let (shop, app) = ("shop".parse().unwrap(), "app".parse().unwrap());
    let digest = Digest::of(manifest(content).as_bytes());
    ground.site.store.package_origin(&shop, &app, &digest).await.unwrap()
}

#[tokio::test]
async fn who_may_not_is_told_nothing() {
    let ground = ground(Trust::Branch);
    let anonymous = ground.ask(Request::get("/v2/").body(Body::empty()).unwrap()).await;
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    assert!(anonymous.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    assert_eq!(pull(&ground, "nobody-knows-this", "1.0.0").await, StatusCode::UNAUTHORIZED);
    assert_eq!(pull(&ground, PEOPLE, "1.0.0").await, StatusCode::NOT_FOUND);
    assert_eq!(push(&ground, PEOPLE, "shop", "1.0.0", b"x").await, StatusCode::FORBIDDEN);
    assert_eq!(push(&ground, PUBLISHER, "blog", "1.0.0", b"x").await, StatusCode::FORBIDDEN);
    assert_eq!(push(&ground, PUBLISHER, "absent", "1.0.0", b"x").await, StatusCode::FORBIDDEN);
    assert_eq!(push(&ground, &token(1), "blog", "1.0.0", b"x").await, StatusCode::FORBIDDEN);
    assert_eq!(push(&ground, PUBLISHER, "shop", "1.0.0", b"x").await, StatusCode::CREATED);
    assert_eq!(pull(&ground, PEOPLE, "1.0.0").await, StatusCode::OK);
    assert_eq!(pull(&ground, &token(1), "1.0.0").await, StatusCode::OK);
    assert!(!ground.place.path().join("packages/absent").exists());
    let removal = ask(&ground, PUBLISHER, Method::DELETE, "/v2/shop/app/manifests/1.0.0", b"").await;
    assert_eq!(removal.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_attempt_pushes_versions_while_it_counts_and_what_it_made_says_so() {
    let ground = ground(Trust::Branch);
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    let run = Some(RunId::new(1, [1; 10]));
    let by_branch = Some(PackageOrigin { trust: Trust::Branch, run: run.clone() });
    assert_eq!(origin(&ground, b"one").await, by_branch);
    assert_eq!(push(&ground, &token(1), "shop", "stable", b"one").await, StatusCode::FORBIDDEN);
    let digest = Digest::of(manifest(b"one").as_bytes());
    for tag in ["tag=stable", "tag=2.0.0&t%61g=stable"] {
        let address = format!("/v2/shop/app/manifests/{digest}?{tag}");
        let by_digest = ask(&ground, &token(1), Method::PUT, &address, manifest(b"one").as_bytes()).await;
        assert_eq!(by_digest.status(), StatusCode::FORBIDDEN, "{tag}");
    }
    assert_eq!(
        push(&ground, &token(1), "shop", "1.0.0", b"two").await,
        StatusCode::CONFLICT,
        "it is another"
    );
    ground.sql().execute("UPDATE runs SET trust = 'protected'", []).unwrap();
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    let protected = Some(PackageOrigin { trust: Trust::Protected, run });
    assert_eq!(origin(&ground, b"one").await, protected, "trusted code makes the same bytes");
    assert_eq!(push(&ground, &token(1), "shop", "stable", b"one").await, StatusCode::CREATED);
    ground.sql().execute("UPDATE runs SET trust = 'branch'", []).unwrap();
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    assert_eq!(origin(&ground, b"one").await, protected);
    assert_eq!(pull(&ground, PEOPLE, "stable").await, StatusCode::OK);
    ground.add_attempt(2, FENCE + 1);
    assert_eq!(push(&ground, &token(1), "shop", "1.0.1", b"three").await, StatusCode::UNAUTHORIZED);
}

/// What an answer says of the maker of what is read, or the status of a refusal.
async fn made_by(ground: &Ground, method: Method, which: &str) -> Result<String, StatusCode> {
    let answer = ask(ground, PEOPLE, method, &format!("/v2/shop/app/manifests/{which}"), b"").await;
    match answer.headers().get("staith-trust") {
        Some(trust) if answer.status() == StatusCode::OK => Ok(trust.to_str().unwrap().to_owned()),
        _ => Err(answer.status()),
    }
}

#[tokio::test]
async fn a_channel_gives_nothing_that_less_trusted_code_has_made() {
    let ground = ground(Trust::Branch);
    assert_eq!(made_by(&ground, Method::GET, "latest").await, Err(StatusCode::NOT_FOUND), "there is none");
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(made_by(&ground, method.clone(), "1.0.0").await, Ok("branch".to_owned()));
        // A version comes to be `latest` by its number alone.
        for latest in ["latest", "lat%65st"] {
            assert_eq!(made_by(&ground, method.clone(), latest).await, Err(StatusCode::FORBIDDEN));
        }
    }
    let digest = Digest::of(manifest(b"one").as_bytes());
    assert_eq!(made_by(&ground, Method::GET, &digest.to_string()).await, Ok("branch".to_owned()));
    ground.sql().execute("UPDATE runs SET trust = 'protected'", []).unwrap();
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    assert_eq!(push(&ground, &token(1), "shop", "stable", b"one").await, StatusCode::CREATED);
    for which in ["latest", "stable", "1.0.0"] {
        assert_eq!(made_by(&ground, Method::GET, which).await, Ok("protected".to_owned()), "{which}");
    }
    // What the table does not know was put into the store by somebody else.
    ground.sql().execute("DELETE FROM packages", []).unwrap();
    assert_eq!(made_by(&ground, Method::GET, "stable").await, Err(StatusCode::FORBIDDEN));
    assert_eq!(made_by(&ground, Method::GET, "1.0.0").await, Ok("fork".to_owned()));
}

#[tokio::test]
async fn a_higher_number_of_a_branch_is_not_the_latest() {
    let ground = ground(Trust::Protected);
    assert_eq!(push_version(&ground, "1.0.0", b"one").await, StatusCode::CREATED);
    ground.sql().execute("UPDATE runs SET trust = 'branch'", []).unwrap();
    assert_eq!(push_version(&ground, "9.0.0", b"nine").await, StatusCode::CREATED);
    let latest = ask(&ground, PEOPLE, Method::GET, "/v2/shop/app/manifests/latest", b"").await;
    assert_eq!(latest.headers()["staith-trust"], "protected");
    let (status, manifest) = ground::json(latest).await;
    assert_eq!(
        (status, &manifest["layers"][0]["digest"]),
        (StatusCode::OK, &Digest::of(b"one").to_string().into())
    );
    ground.sql().execute("UPDATE runs SET trust = 'protected'", []).unwrap();
    assert_eq!(push_version(&ground, "10.0.0-rc.1", b"ten").await, StatusCode::CREATED);
    assert_eq!(push_version(&ground, "2.0.0", b"two").await, StatusCode::CREATED);
    let latest = ask(&ground, PEOPLE, Method::GET, "/v2/shop/app/manifests/latest", b"").await;
    let (_, manifest) = ground::json(latest).await;
    assert_eq!(manifest["layers"][0]["digest"], Digest::of(b"two").to_string(), "releases come first");
}

/// What a version means, by its content.
async fn content(ground: &Ground, version: &str) -> serde_json::Value {
    let answer = ask(ground, PEOPLE, Method::GET, &format!("/v2/shop/app/manifests/{version}"), b"").await;
    ground::json(answer).await.1["layers"][0]["digest"].take()
}

#[tokio::test]
async fn a_version_that_only_a_branch_has_makes_way_for_protected_code_and_never_again() {
    let ground = ground(Trust::Branch);
    let is = |content: &[u8]| serde_json::Value::from(Digest::of(content).to_string());
    assert_eq!(push_version(&ground, "2.0.0", b"of a branch").await, StatusCode::CREATED);
    assert_eq!(
        push_version(&ground, "2.0.0", b"of another").await,
        StatusCode::CONFLICT,
        "one is as good as the other"
    );
    assert_eq!(push_version(&ground, "3.0.0", b"of a branch").await, StatusCode::CREATED);
    let had = Digest::of(manifest_of("2.0.0", b"of a branch").as_bytes());
    ground.sql().execute("UPDATE runs SET trust = 'protected'", []).unwrap();
    assert_eq!(push_version(&ground, "2.0.0", b"protected").await, StatusCode::CREATED);
    assert_eq!(content(&ground, "2.0.0").await, is(b"protected"));
    assert_eq!(content(&ground, &had.to_string()).await, is(b"of a branch"), "it is there by its digest");
    assert_eq!(push_version(&ground, "2.0.0", b"protected, too").await, StatusCode::CONFLICT);
    let publishes = (b"by hand".as_slice(), manifest_of("3.0.0", b"by hand"));
    assert_eq!(push_as(&ground, PUBLISHER, "shop", "3.0.0", publishes).await, StatusCode::CREATED);
    ground.sql().execute("UPDATE runs SET trust = 'branch'", []).unwrap();
    for version in ["2.0.0", "3.0.0"] {
        assert_eq!(push_version(&ground, version, b"of a branch").await, StatusCode::CONFLICT);
    }
    let sql = ground.sql();
    let mut yielded =
        sql.prepare("SELECT subject, before FROM audit WHERE what = 'version-yielded' ORDER BY seq").unwrap();
    let yielded: Vec<(String, String)> =
        yielded.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(yielded.len(), 2, "{yielded:?}");
    assert_eq!(yielded[0].0, "package shop/app@2.0.0");
    assert!(yielded[0].1.contains(&had.to_string()) && yielded[0].1.contains("branch"), "{yielded:?}");
}

#[tokio::test]
async fn a_fork_publishes_nothing() {
    let ground = ground(Trust::Fork);
    assert_eq!(push(&ground, &token(1), "shop", "1.0.0", b"x").await, StatusCode::FORBIDDEN);
    assert_eq!(origin(&ground, b"x").await, None);
}

#[tokio::test]
async fn a_blob_of_another_project_is_not_there() {
    let ground = ground(Trust::Protected);
    let grants = r#"[{"role":"admin"}]"#;
    ground.sql().execute("UPDATE tokens SET grants_json = ?1 WHERE id = 'p'", [grants]).unwrap();
    assert_eq!(push(&ground, PUBLISHER, "blog", "1.0.0", b"secret").await, StatusCode::CREATED);
    let secret = Digest::of(b"secret");
    for from in ["blog/app", "blog%2Fapp", "shop/../blog/app", "app"] {
        let address = format!("/v2/shop/app/blobs/uploads/?mount={secret}&from={from}");
        let asked = ask(&ground, PUBLISHER, Method::POST, &address, b"").await;
        assert_eq!(asked.status(), StatusCode::ACCEPTED, "{from}: it has to be sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_signs_in_pulls_copies_and_lists() {
    let ground = ground(Trust::Branch);
    assert_eq!(push(&ground, PUBLISHER, "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api::router(ground.site.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let out = ground.place.path().join("out");
    let home = ground.place.path().to_owned();
    let skopeo = move |arguments: Vec<String>| {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "--tmpdir"]).arg(&home).args(arguments).env("HOME", &home);
        let output = command.output().expect("skopeo is installed: tests/run does it");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let done = tokio::task::spawn_blocking(move || {
        let place = |tag: &str| format!("docker://{address}/shop/app:{tag}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let to = format!("dir:{}", out.display());
        let copy = |from: &str, to: &str, who: &str| {
            skopeo(words(&format!("copy --src-tls-verify=false --dest-tls-verify=false {who} {from} {to}")))
        };
        let pulled = copy(&place("1.0.0"), &to, &format!("--src-creds me:{PEOPLE}"));
        assert!(pulled.0, "{}", pulled.1);
        let both = format!("--src-creds me:{PEOPLE} --dest-creds ci:{}", token(1));
        let copied = copy(&place("1.0.0"), &place("1.0.1"), &both);
        assert!(copied.0, "{}", copied.1);
        let refused = copy(
            &place("1.0.0"),
            &place("1.0.2"),
            &format!("--src-creds me:{PEOPLE} --dest-creds me:{PEOPLE}"),
        );
        assert!(!refused.0 && refused.1.contains("denied"), "{}", refused.1);
        let anonymous = copy(&place("1.0.0"), &to, "--src-no-creds");
        assert!(!anonymous.0, "{}", anonymous.1);
        let repository = format!("docker://{address}/shop/app");
        let listed = skopeo(words(&format!("list-tags --tls-verify=false --creds me:{PEOPLE} {repository}")));
        assert!(listed.1.contains("1.0.0") && listed.1.contains("1.0.1"), "{}", listed.1);
    });
    done.await.unwrap();
    serving.abort();
}

/// What podman can ask of packages: who it is, and which versions there are. They are no images, so it does not pull them.
#[tokio::test(flavor = "multi_thread")]
async fn podman_signs_in_and_lists() {
    let ground = ground(Trust::Branch);
    assert_eq!(push(&ground, PUBLISHER, "shop", "1.0.0", b"one").await, StatusCode::CREATED);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api::router(ground.site.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let home = ground.place.path().to_owned();
    // All that it keeps, it keeps below the test's own directory, and mounts nothing there.
    std::fs::write(home.join("auth.json"), "{}").unwrap();
    let podman = move |words: &str, more: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(home.join("root")).arg("--runroot").arg(home.join("runroot"));
        command.args(["--storage-driver", "vfs"]);
        command.args(words.split(' ')).args(["--tls-verify=false", "--authfile"]).arg(home.join("auth.json"));
        let output = command.args(more).env("HOME", &home).env("TMPDIR", &home).output();
        let output = output.expect("podman is installed: tests/run does it");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let done = tokio::task::spawn_blocking(move || {
        let (server, package) = (address.to_string(), format!("{address}/shop/app"));
        let strange = podman("login", &["--username", "me", "--password", "guessed", &server]);
        assert!(!strange.0 && strange.1.contains("invalid username/password"), "{}", strange.1);
        let anonymous = podman("search --list-tags", &[&package]);
        assert!(!anonymous.0 && anonymous.1.contains("unauthorized"), "{}", anonymous.1);
        let known = podman("login", &["--username", "me", "--password", PEOPLE, &server]);
        assert!(known.0 && known.1.contains("Login Succeeded"), "{}", known.1);
        let listed = podman("search --list-tags", &[&package]);
        assert!(listed.0 && listed.1.contains("1.0.0"), "{}", listed.1);
    });
    done.await.unwrap();
    serving.abort();
}
