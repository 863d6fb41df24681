//! What forges tell: believed by their signatures only.

use reqwest::Response;
use ring::hmac::{HMAC_SHA256, Key, sign};
use staith_model::service::{ArrivalState, ForgeKind, ForgeSettings, Happening, ProjectSettings};

use crate::yard::{Yard, json};

const SECRET: &str = "It's a Secret";

fn settings(kind: ForgeKind) -> ProjectSettings {
    let forge = ForgeSettings {
        kind,
        url: None,
        repository: None,
        webhook_secret: Some("hook".into()),
        status_secret: None,
    };
    ProjectSettings { forge: Some(forge), ..ProjectSettings::default() }
}

fn fixture(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{file}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn hex(secret: &str, body: &[u8]) -> String {
    let tag = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), body);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn tell(
    yard: &Yard,
    kind: ForgeKind,
    event: &str,
    body: &[u8],
    delivery: &str,
    secret: &str,
) -> Response {
    let (events, ids, signature) = match kind {
        ForgeKind::Github => (
            "x-github-event",
            "x-github-delivery",
            ("x-hub-signature-256", format!("sha256={}", hex(secret, body))),
        ),
        ForgeKind::Gitlab => ("x-gitlab-event", "x-gitlab-event-uuid", ("x-gitlab-token", secret.to_owned())),
        ForgeKind::Gitea => ("x-gitea-event", "x-gitea-delivery", ("x-gitea-signature", hex(secret, body))),
    };
    let request = yard.client.post(format!("{}/hooks/shop/{}", yard.base, kind.as_str()));
    let request = request.header(events, event).header(ids, delivery).header(signature.0, signature.1);
    request.body(body.to_vec()).send().await.unwrap()
}

async fn told(kind: ForgeKind, event: &str, file: &str) -> Happening {
    let yard = Yard::with(settings(kind)).await;
    let answer = tell(&yard, kind, event, &fixture(file), "d-1", SECRET).await;
    assert_eq!(answer.status(), 202, "{file}");
    let id = json(answer).await["arrivals"][0].as_str().unwrap().to_owned();
    let mut arrivals = yard.arrivals().await;
    assert_eq!(
        (arrivals.len(), arrivals[0].id.as_str(), arrivals[0].source.as_str()),
        (1, id.as_str(), kind.as_str())
    );
    arrivals.remove(0).happening
}

#[tokio::test]
async fn pushes_and_tags_of_each_forge() {
    let push = |branch: &str, before: &str, after: &str| Happening::Push {
        branch: branch.into(),
        before: Some(before.into()),
        after: after.into(),
    };
    assert_eq!(
        told(ForgeKind::Github, "push", "github-push").await,
        push("main", "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c")
    );
    assert_eq!(
        told(ForgeKind::Gitlab, "Push Hook", "gitlab-push").await,
        push(
            "feature/new",
            "95790bf891e76fee5e1747ab589903a6a1f80f22",
            "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
        )
    );
    assert_eq!(
        told(ForgeKind::Gitea, "push", "gitea-push").await,
        push(
            "develop",
            "28e1879d029cb852e4844d9c718537df08844e03",
            "bffeb74224043ba2feb48d137756c8a9331c449a"
        )
    );
    let tag = |tag: &str, commit: &str| Happening::Tag { tag: tag.into(), commit: commit.into() };
    assert_eq!(
        told(ForgeKind::Github, "push", "github-tag").await,
        tag("simple-tag", "6113728f27ae82c7b1a177c8d03f9e96e0adf246")
    );
    assert_eq!(
        told(ForgeKind::Gitlab, "Tag Push Hook", "gitlab-tag").await,
        tag("v1.0.0", "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7")
    );
}

#[tokio::test]
async fn requests_to_merge_of_each_forge() {
    assert_eq!(
        told(ForgeKind::Github, "pull_request", "github-pull-request").await,
        Happening::PullRequest {
            number: 2,
            branch: "changes".into(),
            head: "ec26c3e57ca3a959ca5aad62de7213c562f8c821".into(),
            target: "main".into(),
            fork: true,
            author: 583_231,
            reference: Some("refs/pull/2/head".into()),
        }
    );
    assert_eq!(
        told(ForgeKind::Gitlab, "Merge Request Hook", "gitlab-merge-request").await,
        Happening::PullRequest {
            number: 16,
            branch: "ms-viewport".into(),
            head: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7".into(),
            target: "master".into(),
            fork: true,
            author: 51,
            reference: Some("refs/merge-requests/16/head".into()),
        }
    );
    assert_eq!(
        told(ForgeKind::Gitea, "pull_request", "gitea-pull-request").await,
        Happening::PullRequest {
            number: 3,
            branch: "better".into(),
            head: "bffeb74224043ba2feb48d137756c8a9331c449a".into(),
            target: "master".into(),
            fork: false,
            author: 7,
            reference: Some("refs/pull/3/head".into()),
        }
    );
}

#[tokio::test]
async fn what_starts_nothing_is_written_down_as_well() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    assert_eq!(
        tell(&yard, ForgeKind::Github, "ping", &fixture("github-ping"), "p", SECRET).await.status(),
        202
    );
    yard.look().await;
    assert_eq!(yard.arrivals().await[0].state, ArrivalState::Ignored);
    assert!(yard.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_signed_touches_nothing() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let (rows, push) = (yard.rows(), fixture("github-push"));
    assert_eq!(tell(&yard, ForgeKind::Github, "push", &push, "d", "wrong").await.status(), 401);
    assert_eq!(
        tell(&yard, ForgeKind::Gitlab, "Push Hook", &push, "d", SECRET).await.status(),
        401,
        "not its forge"
    );
    let url = format!("{}/hooks/shop/github", yard.base);
    assert_eq!(
        yard.client
            .post(&url)
            .header("x-github-event", "push")
            .body(push.clone())
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    // Signed over other bytes than those that come, be it one blank.
    let mut longer = push.clone();
    longer.push(b' ');
    let tag = format!("sha256={}", hex(SECRET, &push));
    let send = |url: String, body: Vec<u8>| {
        yard.client.post(url).header("x-hub-signature-256", &tag).body(body).send()
    };
    assert_eq!(send(url.clone(), longer).await.unwrap().status(), 401);
    // Nonsense without a signature is not even parsed; a project that is not there looks no different.
    assert_eq!(send(url, b"{".to_vec()).await.unwrap().status(), 401);
    assert_eq!(send(format!("{}/hooks/none/github", yard.base), push).await.unwrap().status(), 401);
    yard.look().await;
    assert_eq!(yard.rows(), rows);
    assert!(yard.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_forge_is_believed_by_a_wrong_secret() {
    let told = [
        (ForgeKind::Github, "push", "github-push"),
        (ForgeKind::Gitlab, "Push Hook", "gitlab-push"),
        (ForgeKind::Gitea, "push", "gitea-push"),
    ];
    for (kind, event, file) in told {
        let yard = Yard::with(settings(kind)).await;
        for wrong in ["", "wrong", &SECRET[1..]] {
            let answer = tell(&yard, kind, event, &fixture(file), "d", wrong).await;
            assert_eq!(answer.status(), 401, "{kind:?} {wrong:?}");
        }
        assert_eq!(yard.count("arrivals"), 0);
        assert_eq!(tell(&yard, kind, event, &fixture(file), "d", SECRET).await.status(), 202);
    }
}

/// A forge does not tell again what was refused, and who guesses tokens may come through the same proxy.
#[tokio::test]
async fn what_others_ask_too_often_refuses_no_webhook() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let mut guesses = 0;
    while yard.get(&format!("guess-{guesses}"), "/api/v1/projects").await.status() != 429 {
        guesses += 1;
        assert!(guesses < 1000, "nothing bounds how often tokens are guessed");
    }
    let told = tell(&yard, ForgeKind::Github, "push", &fixture("github-push"), "d-1", SECRET).await;
    assert_eq!(told.status(), 202);
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_empty_signs_nothing() {
    let mut settings = settings(ForgeKind::Gitlab);
    settings.forge.as_mut().unwrap().webhook_secret = Some("not-on-the-server".into());
    let yard = Yard::with(settings).await;
    assert_eq!(
        tell(&yard, ForgeKind::Gitlab, "Push Hook", &fixture("gitlab-push"), "d", "").await.status(),
        401
    );
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let rows = yard.rows();
    let body = vec![b' '; (25 << 20) + 1];
    let answer = tell(&yard, ForgeKind::Github, "push", &body, "d", SECRET).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(yard.rows(), rows);
}

#[tokio::test]
async fn a_body_that_goes_on_for_ever_is_refused_at_its_bound() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const PIECE: usize = 64 << 10;
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let rows = yard.rows();
    let address = yard.base.strip_prefix("http://").unwrap();
    let (mut from, mut to) = tokio::net::TcpStream::connect(address).await.unwrap().into_split();
    let tag = "0".repeat(64);
    let head = format!(
        "POST /hooks/shop/github HTTP/1.1\r\nhost: {address}\r\nx-github-event: push\r\n\
         x-hub-signature-256: sha256={tag}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.unwrap();
    let piece = [format!("{PIECE:x}\r\n").as_bytes(), &[b' '; PIECE], b"\r\n"].concat();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while to.write_all(&piece).await.is_ok() {
            sent += PIECE;
        }
        sent
    });
    let mut told = Vec::new();
    while !told.windows(4).any(|four| four == b"\r\n\r\n") {
        assert_ne!(from.read_buf(&mut told).await.unwrap(), 0, "it ended without an answer");
    }
    assert!(told.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&told));
    drop(from);
    let sent = sending.await.unwrap();
    assert!(((25 << 20)..(48 << 20)).contains(&sent), "{sent} bytes, with what was on the way");
    assert_eq!(yard.rows(), rows);
}

/// Begins a webhook whose signature is wrong, and sends 24 MiB of it; its connection, which waits for the rest.
async fn begun(yard: &Yard) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let address = yard.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hooks/shop/github HTTP/1.1\r\nhost: {address}\r\nx-github-event: push\r\n\
         x-hub-signature-256: sha256={}\r\ncontent-length: {}\r\n\r\n",
        "0".repeat(64),
        25 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may have refused before all of it is sent.
    let _ = stream.write_all(&vec![b' '; 24 << 20]).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_proven_gets_no_more_than_some_memory() {
    use tokio::io::AsyncReadExt as _;
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(begun(&yard).await);
    }
    let told = streams.iter_mut().map(|stream| {
        Box::pin(async move {
            let mut told = [0; 12];
            stream.read_exact(&mut told).await.unwrap();
            String::from_utf8_lossy(&told).into_owned()
        })
    });
    // The first answer is that of the one for which there is no room; the others wait for the rest of theirs.
    let (first, ..) = futures_util::future::select_all(told).await;
    assert_eq!(first, "HTTP/1.1 503");
    let push = fixture("github-push");
    assert_eq!(tell(&yard, ForgeKind::Github, "push", &push, "d", SECRET).await.status(), 202, "it is short");
}

#[tokio::test]
async fn what_is_signed_and_not_understood_is_refused() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    for bad in [
        &b"{"[..],
        br#"{"ref":"refs/heads/../x","before":"0000000000000000000000000000000000000000","after":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"}"#,
        br#"{"ref":"refs/heads/x","before":"0000000000000000000000000000000000000000","after":"--upload-pack=x"}"#,
    ] {
        assert_eq!(tell(&yard, ForgeKind::Github, "push", bad, "d", SECRET).await.status(), 422);
    }
    assert_eq!(yard.count("arrivals"), 0);
}

#[tokio::test]
async fn a_delivery_that_comes_three_times_is_one_run() {
    let yard = Yard::with(settings(ForgeKind::Github)).await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let answer =
            tell(&yard, ForgeKind::Github, "push", &fixture("github-push"), "72d3162e", SECRET).await;
        assert_eq!(answer.status(), 202);
        ids.insert(json(answer).await["arrivals"][0].as_str().unwrap().to_owned());
        yard.look().await;
    }
    assert_eq!((ids.len(), yard.count("arrivals"), yard.count("runs")), (1, 1, 1));
}
