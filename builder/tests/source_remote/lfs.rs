//! Files whose contents git-lfs keeps on a server.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use staith_builder::{
    addresses::Caution,
    source::{LfsFailure, Origin, Reach, Selection, SourceError, Sources},
    upkeep::{Kind, Stockroom},
};
use staith_model::Digest;

use crate::{
    daemons::SshServer,
    https::{AUTHORIZATION, HttpsServer},
    place,
    upstream::{Upstream, entries},
};

const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

fn pointer(content: &[u8]) -> String {
    let oid = Digest::of(content);
    format!("version https://git-lfs.github.com/spec/v1\noid {oid}\nsize {}\n", content.len())
}

/// A commit with these files, and attributes for git-lfs.
fn commit(upstream: &Upstream, files: &[(&str, &str)]) {
    let repository = &upstream.repository;
    let mut tree = repository.treebuilder(None).unwrap();
    for (name, text) in [(".gitattributes", ATTRIBUTES)].iter().chain(files) {
        tree.insert(name, repository.blob(text.as_bytes()).unwrap(), 0o100_644).unwrap();
    }
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    let who = git2::Signature::new("x", "x@x", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let above = repository.refname_to_id("refs/heads/main").ok();
    let above = above.map(|id| repository.find_commit(id).unwrap());
    let above: Vec<_> = above.iter().collect();
    repository.commit(Some("refs/heads/main"), &who, &who, "x", &tree, &above).unwrap();
}

fn give(server: &HttpsServer, content: &[u8]) -> String {
    let oid = Digest::of(content).hex();
    server.large.lock().unwrap().objects.insert(oid.clone(), content.to_vec());
    oid
}

/// The checkout of what these globs match in HEAD.
fn checkout(upstream: &Upstream, reach: &Reach, url: &str, globs: &[&str]) -> Result<PathBuf, SourceError> {
    checkout_in(&upstream.store(), reach, url, globs)
}

fn checkout_in(store: &Path, reach: &Reach, url: &str, globs: &[&str]) -> Result<PathBuf, SourceError> {
    let sources = Sources::open(store, None).unwrap().reaching(reach.clone());
    let origin = Origin::parse(url, Path::new("/"))?;
    let resolved = sources.resolve(&origin, &Selection::Head, &mut |_| {})?;
    let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
    let (mut objects, mut bytes) = (0, 0);
    sources.gather(&resolved, &globs, &mut |told| {
        let fetched = told.fetched.unwrap();
        (objects, bytes) = (fetched.objects, fetched.bytes);
    })?;
    assert_eq!(objects == 0, bytes == 0);
    sources.checkout(&resolved, &globs)
}

fn refusal(upstream: &Upstream, reach: &Reach, url: &str) -> String {
    let error = checkout(upstream, reach, url, &[]).unwrap_err();
    format!("{error} | {} | {error:?}", error.remedy().unwrap())
}

fn batches(server: &HttpsServer) -> Vec<usize> {
    std::mem::take(&mut server.large.lock().unwrap().asked)
}

/// Forgets all that was made of objects, but not the objects.
fn forget_checkouts(upstream: &Upstream) {
    for part in ["checkouts", "blobs"] {
        fs::remove_dir_all(upstream.store().join(part)).unwrap();
    }
}

#[test]
fn pointers_are_replaced_by_what_the_server_has() {
    let (upstream, server) = place();
    let (large, shaped) = (vec![7_u8; 3 << 20], pointer(b"of something else"));
    let oid = give(&server, &large);
    commit(
        &upstream,
        &[
            ("a.bin", &pointer(&large)),
            ("same.bin", &pointer(&large)),
            ("shaped.txt", &shaped),
            ("plain.bin", "own"),
        ],
    );
    let (reach, url) = (server.reach(), server.url("x.git"));
    // What is not asked for is not fetched.
    let some = checkout(&upstream, &reach, &url, &["*.txt"]).unwrap();
    assert_eq!(fs::read_to_string(some.join("shaped.txt")).unwrap(), shaped);
    assert_eq!(batches(&server), Vec::<usize>::new());
    let all = checkout(&upstream, &reach, &url, &[]).unwrap();
    for name in ["a.bin", "same.bin"] {
        assert_eq!(fs::read(all.join(name)).unwrap(), large, "{name}");
        assert_eq!(fs::metadata(all.join(name)).unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(fs::read_to_string(all.join("plain.bin")).unwrap(), "own");
    assert_eq!(batches(&server), [1]);
    // Again, from our own store, also when everything else is gone.
    checkout(&upstream, &reach, &url, &[]).unwrap();
    forget_checkouts(&upstream);
    let again = checkout(&upstream, &reach, &url, &[]).unwrap();
    assert_eq!(fs::read(again.join("a.bin")).unwrap(), large);
    assert_eq!(batches(&server), Vec::<usize>::new());
    // Whoever reads over all that is kept finds it as it should be, and counts it.
    let unsound = || {
        let room = Stockroom::open(&upstream.store()).unwrap().unwrap();
        let items = room.inventory().unwrap().items;
        assert!(items.iter().any(|item| item.kind == Kind::LargeFile && item.bytes >= 3 << 20), "{items:?}");
        room.unsound(&items).iter().map(|item| item.kind).collect::<Vec<_>>()
    };
    assert_eq!(unsound(), []);
    // What was damaged there is found out and fetched anew.
    let kept = &entries(&upstream.store().join("lfs"))[0];
    assert!(kept.to_str().unwrap().ends_with(&oid), "{}", kept.display());
    fs::write(kept, vec![8_u8; large.len()]).unwrap();
    assert_eq!(unsound(), [Kind::LargeFile]);
    forget_checkouts(&upstream);
    let again = checkout(&upstream, &reach, &url, &[]).unwrap();
    assert_eq!(fs::read(again.join("a.bin")).unwrap(), large);
    assert_eq!(batches(&server), [1]);
}

#[test]
fn many_objects_come_a_hundred_at_a_time() {
    let (upstream, server) = place();
    let contents: Vec<String> = (0..230).map(|n| format!("content {n}")).collect();
    let files: Vec<(String, String)> = contents
        .iter()
        .enumerate()
        .map(|(n, content)| {
            give(&server, content.as_bytes());
            (format!("{n}.bin"), pointer(content.as_bytes()))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    commit(&upstream, &files);
    let all = checkout(&upstream, &server.reach(), &server.url("x.git"), &[]).unwrap();
    for (n, content) in contents.iter().enumerate() {
        assert_eq!(fs::read_to_string(all.join(format!("{n}.bin"))).unwrap(), *content);
    }
    assert_eq!(batches(&server), [100, 100, 30]);
}

#[test]
fn credentials_reach_their_server_only() {
    let (upstream, server) = place();
    let scratch = tempfile::tempdir().unwrap();
    let other = HttpsServer::start(&upstream.served(), scratch.path());
    let oid = give(&server, b"large");
    other.large.lock().unwrap().objects.insert(oid.clone(), b"large".to_vec());
    commit(&upstream, &[("a.bin", &pointer(b"large"))]);
    let both =
        [&server.certificate, &other.certificate].map(|file| fs::read_to_string(file).unwrap()).concat();
    fs::write(scratch.path().join("both.pem"), both).unwrap();
    let reach = Reach { certificates: Some(scratch.path().join("both.pem")), ..Reach::default() };
    let url = format!("https://me:hunter2@localhost:{}/private/x.git", server.port);
    for (elsewhere, header) in [
        // At once, and by a redirect of where the server leads.
        (format!("https://localhost:{}/large/", other.port), None),
        (format!("https://localhost:{}/to/{}/large/", server.port, other.port), None),
        (
            format!("https://localhost:{}/to/{}/large/", server.port, other.port),
            Some(("Authorization".to_owned(), "RemoteAuth hunter2".to_owned())),
        ),
    ] {
        let _ = fs::remove_dir_all(upstream.store());
        {
            let mut large = server.large.lock().unwrap();
            (large.elsewhere, large.header) = (Some(elsewhere.clone()), header);
        }
        let all = checkout(&upstream, &reach, &url, &[]).unwrap();
        assert_eq!(fs::read(all.join("a.bin")).unwrap(), b"large");
        let seen = std::mem::take(&mut *other.seen.lock().unwrap());
        assert!(!seen.is_empty() && seen.iter().all(|(_, _, said)| said.is_none()), "{elsewhere}: {seen:?}");
    }
    let seen = server.seen.lock().unwrap();
    let batch = seen.iter().find(|(_, path, _)| path.ends_with("batch")).unwrap();
    assert_eq!(batch.2.as_deref(), Some(AUTHORIZATION));
    drop(seen);
    let nobody = format!("https://localhost:{}/private/x.git", server.port);
    assert!(refusal(&upstream, &reach, &nobody).contains("no permission"));
    let mut grep = Command::new("grep");
    let found = grep.args(["-r", "-a", "-l", "hunter2"]).arg(upstream.store()).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn what_can_not_be_had_says_which_file_and_what_to_do() {
    let (upstream, server) = place();
    let (reach, url) = (server.reach(), server.url("x.git"));
    let wanted = pointer(b"large");
    commit(&upstream, &[("sub.bin", &wanted)]);
    let oid = Digest::of(b"large").hex();
    let missing = refusal(&upstream, &reach, &url);
    for part in ["`sub.bin`", &oid, "no such object", "git lfs push --all"] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    for wrong in [&b"LARGE"[..], b"larger"] {
        server.large.lock().unwrap().objects.insert(oid.clone(), wrong.to_vec());
        let wrong = refusal(&upstream, &reach, &url);
        assert!(wrong.contains("other content") && wrong.contains("`sub.bin`"), "{wrong}");
    }
    server.large.lock().unwrap().objects.insert(oid.clone(), b"larg".to_vec());
    let short = refusal(&upstream, &reach, &url);
    assert!(short.contains("4 of 5 bytes"), "{short}");
    assert_eq!(entries(&upstream.store().join("lfs")), Vec::<PathBuf>::new());
    // A server that knows nothing of git-lfs answers as git's own does.
    std::os::unix::fs::symlink("x.git", upstream.served().join("without.git")).unwrap();
    let without = refusal(&upstream, &reach, &server.url("without.git"));
    assert!(without.contains("does not answer as a server of git-lfs"), "{without}");
    // One that breaks off is asked again.
    let content = vec![3_u8; 200_000];
    give(&server, &content);
    commit(&upstream, &[("long.bin", &pointer(&content))]);
    server.large.lock().unwrap().breaks_off = 2;
    let all = checkout(&upstream, &reach, &url, &["long.bin"]).unwrap();
    assert_eq!(fs::read(all.join("long.bin")).unwrap(), content);
}

#[test]
fn a_commit_does_not_choose_freely_who_is_asked() {
    let (upstream, server) = place();
    give(&server, b"large");
    let (reach, url) = (server.reach(), server.url("x.git"));
    let with_server = |address: &str| {
        let config = format!("[lfs]\n\turl = {address}\n");
        commit(&upstream, &[("a.bin", &pointer(b"large")), (".lfsconfig", &config)]);
    };
    let stranger = HttpsServer::start(&upstream.served(), tempfile::tempdir().unwrap().path());
    for address in [
        format!("https://localhost:{}/x.git/info/lfs", stranger.port),
        format!("http://127.0.0.1:{}/", stranger.port),
        "https://169.254.169.254/latest".to_owned(),
        "http://example.org/x".to_owned(),
        "file:///etc".to_owned(),
        "ssh://git@localhost/x".to_owned(),
    ] {
        with_server(&address);
        let refused = refusal(&upstream, &reach, &url);
        assert!(refused.contains("can't be used") || refused.contains("STAITH_ALLOW_HOSTS"), "{refused}");
    }
    assert!(stranger.seen.lock().unwrap().is_empty());
    // The server that the repository came from may be named, and what the person allows.
    with_server(&format!("https://localhost:{}/elsewhere.git/info/lfs", server.port));
    checkout(&upstream, &reach, &url, &[]).unwrap();
    let host = format!("localhost:{}", stranger.port);
    with_server(&format!("https://{host}/down/x"));
    let allowing = Reach {
        caution: Caution::allowing([host.as_str()]),
        certificates: Some(stranger_certificate(&stranger, &server)),
        ..Reach::default()
    };
    fs::remove_dir_all(upstream.store().join("lfs")).unwrap();
    let busy = refusal(&upstream, &allowing, &url);
    assert!(busy.contains("503"), "{busy}");
    // Where a server leads is judged as well.
    with_server(&format!("https://localhost:{}/x.git/info/lfs", server.port));
    for elsewhere in ["https://169.254.169.254/", "http://example.org/", "https://metadata.google.internal/"]
    {
        server.large.lock().unwrap().elsewhere = Some(elsewhere.to_owned());
        let refused = checkout(&upstream, &reach, &url, &[]).unwrap_err();
        let is_refused = matches!(&refused, SourceError::Lfs { why, .. }
            if matches!(**why, LfsFailure::NotAllowed(_) | LfsFailure::NotUnderstood { .. }));
        assert!(is_refused, "{elsewhere}: {refused}");
    }
}

fn stranger_certificate(stranger: &HttpsServer, server: &HttpsServer) -> PathBuf {
    // Its own was in a folder that is gone; connections to it are not made by certificate in these cases.
    let kept = server.certificate.with_file_name("both.pem");
    let texts = [&stranger.pem, &server.pem].map(String::as_str).concat();
    fs::write(&kept, texts).unwrap();
    kept
}

#[test]
fn another_repository_gets_no_object_by_knowing_its_name() {
    let (upstream, server) = place();
    give(&server, b"secret");
    commit(&upstream, &[("a.bin", &pointer(b"secret"))]);
    let reach = server.reach();
    checkout(&upstream, &reach, &server.url("x.git"), &[]).unwrap();
    // The same files at another address, whose server does not have it.
    std::os::unix::fs::symlink("x.git", upstream.served().join("without.git")).unwrap();
    let refused = refusal(&upstream, &reach, &server.url("without.git"));
    assert!(refused.contains("`a.bin`"), "{refused}");
}

#[test]
fn two_at_once_fetch_an_object_once() {
    let (upstream, server) = place();
    give(&server, &vec![1_u8; 1 << 20]);
    commit(&upstream, &[("a.bin", &pointer(&vec![1_u8; 1 << 20]))]);
    let (store, reach, url) = (upstream.store(), server.reach(), server.url("x.git"));
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| checkout_in(&store, &reach, &url, &[]).unwrap())).collect();
        for one in all {
            assert_eq!(fs::metadata(one.join().unwrap().join("a.bin")).unwrap().len(), 1 << 20);
        }
    });
    assert_eq!(batches(&server), [1]);
}

#[test]
fn ssh_says_where_the_objects_are() {
    let upstream = Upstream::new();
    let server = HttpsServer::start(&upstream.served(), upstream.dir.path());
    give(&server, b"large");
    commit(&upstream, &[("a.bin", &pointer(b"large"))]);
    // What a hosting service has in place of a shell.
    let script = upstream.dir.path().join("service");
    let answer = format!(
        r#"{{"href":"https://localhost:{}/private/x.git/info/lfs","header":{{"Authorization":"{AUTHORIZATION}"}},"expires_in":60}}"#,
        server.port
    );
    let text = format!(
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in\n\"git-lfs-authenticate '\"*\"/x.git' download\") echo '{answer}';;\n\
         git-lfs*) echo 'no large files here' >&2; exit 1;;\n*) exec sh -c \"$SSH_ORIGINAL_COMMAND\";;\nesac\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let ssh = SshServer::start_with(upstream.dir.path(), &format!("ForceCommand {}\n", script.display()));
    // The service is on loopback, under another name than ssh's.
    let caution = Caution::allowing(["localhost"]);
    let reach =
        Reach { certificates: Some(server.certificate.clone()), caution, ..ssh.reach("known", "user") };
    let url =
        |name: &str| format!("ssh://127.0.0.1:{}{}/{name}", ssh.daemon.port, upstream.served().display());
    let all = checkout(&upstream, &reach, &url("x.git"), &[]).unwrap();
    assert_eq!(fs::read(all.join("a.bin")).unwrap(), b"large");
    std::os::unix::fs::symlink("x.git", upstream.served().join("y.git")).unwrap();
    let refused = refusal(&upstream, &reach, &url("y.git"));
    assert!(refused.contains("no large files here") && refused.contains("`a.bin`"), "{refused}");
    let strict = Reach { caution: Caution::default(), ..reach };
    fs::remove_dir_all(upstream.store()).unwrap();
    assert!(refusal(&upstream, &strict, &url("x.git")).contains("STAITH_ALLOW_HOSTS=localhost"));
}
