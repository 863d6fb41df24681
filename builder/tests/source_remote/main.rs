//! Repositories on other machines, by real servers on loopback: `git http-backend` behind TLS, OpenSSH, git's own daemon.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod daemons;
mod https;
mod lfs;
mod submodules;
mod upstream;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use daemons::{Daemon, SshServer};
use https::HttpsServer;
use staith_builder::source::{FetchFailure, Reach, Selection, SourceError};
use upstream::{Upstream, entries, fetch};

fn place() -> (Upstream, HttpsServer) {
    let upstream = Upstream::new();
    let server = HttpsServer::start(&upstream.served(), upstream.dir.path());
    (upstream, server)
}

#[test]
fn branches_tags_ids_and_head_come_over_https() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let side = upstream.commit("feature/side", "two");
    upstream.set("refs/tags/v1", &side);
    upstream.set("refs/pull/7/head", &upstream.commit("away", "pulled"));
    let pulled = upstream.repository.refname_to_id("refs/heads/away").unwrap().to_string();
    upstream.delete("refs/heads/away");
    let (reach, url) = (server.reach(), server.url("x.git"));
    for (reference, commit) in [
        ("main", &first),
        ("feature/side", &side),
        ("v1", &side),
        (side.as_str(), &side),
        (&side[..10], &side),
        ("refs/pull/7/head", &pulled),
    ] {
        assert_eq!(&upstream.commit_of(&reach, &url, reference), commit, "{reference}");
    }
    for selection in [Selection::Head, Selection::AsItIs] {
        let (resolved, _) = upstream.fetch(&reach, &url, &selection).unwrap();
        assert_eq!(resolved.source.commit.as_ref(), Some(&first));
        assert!(!resolved.source.dirty);
    }
    let unknown = upstream.fetch(&reach, &url, &Selection::Reference("mian".into())).unwrap_err();
    assert_eq!(unknown.remedy().unwrap(), "Did you mean `main`?");
    assert!(unknown.to_string().contains(&url), "{unknown}");
}

#[test]
fn later_fetches_bring_only_what_is_new() {
    let (upstream, server) = place();
    for n in 0..50 {
        upstream.commit("main", &n.to_string());
    }
    let (reach, url) = (server.reach(), server.url("x.git"));
    assert_eq!(upstream.fetch(&reach, &url, &Selection::Head).unwrap().1, 150);
    // The first time everything is asked for, once.
    let asked = |server: &HttpsServer| {
        server.seen.lock().unwrap().iter().filter(|(method, ..)| method == "POST").count()
    };
    assert_eq!(asked(&server), 1);
    let new = upstream.commit("main", "new");
    let (resolved, objects) = upstream.fetch(&reach, &url, &Selection::Head).unwrap();
    assert_eq!((resolved.source.commit.unwrap(), objects), (new, 3));
    assert_eq!(upstream.fetch(&reach, &url, &Selection::Head).unwrap().1, 0);
}

#[test]
fn what_is_deleted_or_moved_upstream_is_so_here() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    upstream.set("refs/heads/topic", &first);
    upstream.set("refs/tags/moving", &first);
    let (reach, url) = (server.reach(), server.url("x.git"));
    assert_eq!(upstream.commit_of(&reach, &url, "topic"), first);
    // A folder of references where there was a reference, a tag that moved, and history that was written anew.
    upstream.delete("refs/heads/topic");
    let below = upstream.commit("topic/b", "two");
    upstream.set("refs/tags/moving", &below);
    upstream.delete("refs/heads/main");
    let anew = upstream.commit("main", "anew");
    assert_eq!(upstream.commit_of(&reach, &url, "topic/b"), below);
    assert_eq!(upstream.commit_of(&reach, &url, "moving"), below);
    assert_eq!(upstream.commit_of(&reach, &url, "main"), anew);
    let gone = upstream.fetch(&reach, &url, &Selection::Reference("topic".into())).unwrap_err();
    assert!(matches!(gone, SourceError::NoSuchReference { .. }), "{gone}");
    // The commit is still known by its id, here as on any clone.
    assert_eq!(upstream.commit_of(&reach, &url, &first), first);
}

#[test]
fn head_is_the_remotes_wherever_it_is() {
    let (upstream, server) = place();
    let (reach, url) = (server.reach(), server.url("x.git"));
    let nothing = upstream.fetch(&reach, &url, &Selection::Head).unwrap_err();
    assert!(matches!(nothing, SourceError::NoCommit(_)), "{nothing}");
    let trunk = upstream.commit("trunk", "one");
    upstream.repository.set_head("refs/heads/trunk").unwrap();
    let head = || upstream.fetch(&reach, &url, &Selection::Head).unwrap().0.source.commit.unwrap();
    assert_eq!(head(), trunk);
    let loose = upstream.commit("away", "loose");
    upstream.repository.set_head_detached(git2::Oid::from_str(&loose).unwrap()).unwrap();
    upstream.delete("refs/heads/away");
    assert_eq!(head(), loose);
}

#[test]
fn a_known_commit_needs_no_network() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let (reach, url) = (server.reach(), server.url("x.git"));
    assert_eq!(upstream.commit_of(&reach, &url, "main"), first);
    let requests = server.seen.lock().unwrap().len();
    assert_eq!(upstream.commit_of(&reach, &url, &first), first);
    assert_eq!(server.seen.lock().unwrap().len(), requests);
    // After a power failure the mirror is looked over first.
    for mark in
        entries(&upstream.store().join("mirrors")).iter().filter(|path| path.extension().unwrap() == "seen")
    {
        fs::remove_file(mark).unwrap();
    }
    assert_eq!(upstream.commit_of(&reach, &url, &first), first);
    assert_eq!(server.seen.lock().unwrap().len(), requests);
}

#[test]
fn a_mirror_that_lost_something_is_made_anew() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let (reach, url) = (server.reach(), server.url("x.git"));
    assert_eq!(upstream.commit_of(&reach, &url, "main"), first);
    for pack in entries(&upstream.mirror().join("objects/pack")) {
        fs::remove_file(pack).unwrap();
    }
    fs::remove_file(upstream.mirror().with_extension("seen")).unwrap();
    assert_eq!(upstream.commit_of(&reach, &url, "main"), first);
    assert_eq!(upstream.commit_of(&reach, &url, &first), first);
}

#[test]
fn two_at_once_share_a_mirror() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let (store, reach, url) = (upstream.store(), server.reach(), server.url("x.git"));
    thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| {
                scope
                    .spawn(|| fetch(&store, &reach, &url, &Selection::Head).unwrap().0.source.commit.unwrap())
            })
            .collect();
        for fetched in fetches {
            assert_eq!(fetched.join().unwrap(), first);
        }
    });
    // Others on this machine, and steps, do not see what may be private.
    let mirrors = upstream.mirror().parent().unwrap().metadata().unwrap();
    assert_eq!(mirrors.permissions().mode() & 0o777, 0o700);
}

#[test]
fn redirects_are_followed_where_that_is_safe() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let reach = server.reach();
    assert_eq!(upstream.commit_of(&reach, &server.url("moved/moved/x.git"), "main"), first);
    let evil = upstream.refusal(&reach, &server.url("evil/x.git"));
    assert!(evil.contains("changed on the way"), "{evil}");
    let endless = upstream.refusal(&reach, &server.url("loop/x.git"));
    assert!(endless.contains("too many"), "{endless}");
}

#[test]
fn a_server_that_does_not_prove_who_it_is_is_refused() {
    let (upstream, server) = place();
    upstream.commit("main", "one");
    let stranger = HttpsServer::start(&upstream.served(), &upstream.served());
    let unknown = upstream.refusal(&server.reach(), &stranger.url("x.git"));
    assert!(unknown.contains("localhost") && unknown.contains("does not know"), "{unknown}");
    let other_name = format!("https://127.0.0.1:{}/x.git", server.port);
    let unknown = upstream.refusal(&server.reach(), &other_name);
    assert!(unknown.contains("127.0.0.1") && unknown.contains("another name"), "{unknown}");
    assert!(server.seen.lock().unwrap().is_empty() && stranger.seen.lock().unwrap().is_empty());
    let none = Reach { certificates: Some(PathBuf::from("/dev/null")), ..Reach::default() };
    assert!(upstream.refusal(&none, &server.url("x.git")).contains("ca-certificates"));
}

#[test]
fn credentials_reach_their_server_and_nothing_else() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let reach = server.reach();
    let with = |user: &str, path: &str| format!("https://{user}@localhost:{}/{path}", server.port);
    assert_eq!(upstream.commit_of(&reach, &with("me:hunter2", "private/x.git"), "main"), first);
    let wrong = upstream.refusal(&reach, &with("me:hunter3", "private/x.git"));
    assert!(
        wrong.contains("no permission") && wrong.contains("token") && !wrong.contains("hunter3"),
        "{wrong}"
    );
    let unknown =
        upstream.fetch(&reach, &with("me:hunter2", "private/x.git"), &Selection::Reference("no".into()));
    let unknown = unknown.unwrap_err();
    assert!(!format!("{unknown} {unknown:?}").contains("hunter2"), "{unknown:?}");
    let mut grep = Command::new("grep");
    let found = grep.args(["-r", "-a", "-l", "hunter2"]).arg(upstream.store()).output().unwrap();
    assert!(
        found.stdout.is_empty(),
        "the store knows the password: {}",
        String::from_utf8_lossy(&found.stdout)
    );
    // The server that is redirected to is another one, by its port.
    let scratch = tempfile::tempdir().unwrap();
    let other = HttpsServer::start(&upstream.served(), scratch.path());
    let both =
        [&server.certificate, &other.certificate].map(|file| fs::read_to_string(file).unwrap()).concat();
    fs::write(scratch.path().join("both.pem"), both).unwrap();
    let reach = Reach { certificates: Some(scratch.path().join("both.pem")), ..Reach::default() };
    let away = with("me:hunter2", &format!("to/{}/x.git", other.port));
    assert_eq!(upstream.commit_of(&reach, &away, "main"), first);
    let seen = other.seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|(_, _, credentials)| credentials.is_none()), "{seen:?}");
}

#[test]
fn what_is_not_there_says_so() {
    let (upstream, server) = place();
    upstream.commit("main", "one");
    let reach = server.reach();
    let missing = upstream.refusal(&reach, &server.url("missing.git"));
    assert!(missing.contains("not found") && missing.contains("404"), "{missing}");
    let login = upstream.refusal(&reach, &server.url("login/x.git"));
    assert!(login.contains("not as a git server"), "{login}");
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    for url in [format!("https://localhost:{free}/x"), format!("git://127.0.0.1:{free}/x")] {
        let closed = upstream.refusal(&reach, &url);
        assert!(closed.contains("refused") && closed.contains(&url), "{closed}");
    }
    let nowhere = upstream.refusal(&reach, "https://no-such-host.invalid/x.git");
    assert!(nowhere.contains("no-such-host.invalid"), "{nowhere}");
    assert!(
        entries(&upstream.store().join("mirrors")).iter().all(|path| path.extension().unwrap() == "lock")
    );
}

#[test]
fn an_answer_that_is_cut_off_is_no_answer() {
    let (upstream, server) = place();
    let first = upstream.commit("main", &"long ".repeat(10_000));
    let reach = server.reach();
    let cut = upstream.refusal(&reach, &server.url("cut/x.git"));
    assert!(cut.contains("could not be fetched"), "{cut}");
    assert_eq!(upstream.commit_of(&reach, &server.url("x.git"), "main"), first);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let (upstream, server) = place();
    upstream.commit("main", "one");
    let reach = Reach { stall: Duration::from_millis(200), ..server.reach() };
    server.hold.store(true, Ordering::SeqCst);
    let error = upstream.fetch(&reach, &server.url("x.git"), &Selection::Head).unwrap_err();
    assert!(matches!(error, SourceError::Fetch { why: FetchFailure::Stalled { .. }, .. }), "{error:?}");
}

#[test]
fn a_fetch_that_is_killed_is_done_again() {
    let (upstream, server) = place();
    let first = upstream.commit("main", "one");
    let url = server.url("x.git");
    for content in ["one", "two"] {
        let newest = if content == "one" { first.clone() } else { upstream.commit("main", content) };
        server.hold.store(true, Ordering::SeqCst);
        let mut child = in_child(&upstream.store(), &url, |child| {
            child.env("SSL_CERT_FILE", &server.certificate);
        });
        server.held.recv().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        server.hold.store(false, Ordering::SeqCst);
        if content == "two" {
            // What a pack is called while it comes; how much of it there is by now is a matter of chance.
            fs::write(upstream.mirror().join("objects/pack/pack_git2_left"), "half").unwrap();
        }
        assert_eq!(upstream.commit_of(&server.reach(), &url, "main"), newest);
        let packs = entries(&upstream.mirror().join("objects/pack"));
        let is_whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "pack" || end == "idx");
        assert!(packs.iter().all(is_whole), "{packs:?}");
    }
}

#[test]
fn the_environment_is_heard() {
    let (upstream, server) = place();
    upstream.commit("main", "one");
    let home = upstream.dir.path().join("home");
    fs::create_dir(&home).unwrap();
    // A helper knows the password; and addresses of doors are not rewritten, whatever the user's rules are.
    let config = "[credential]\n\thelper = \"!f() { echo username=me; echo password=hunter2; }; f\"\n\
                  [url \"https://nowhere.invalid/\"]\n\tinsteadOf = http://\n\tinsteadOf = git://\n";
    fs::write(home.join(".gitconfig"), config).unwrap();
    let mut child = in_child(&upstream.store(), &server.url("private/x.git"), |child| {
        child.env("SSL_CERT_FILE", &server.certificate).env("HOME", &home);
    });
    assert!(child.wait().unwrap().success());
    let ssh = SshServer::start(upstream.dir.path());
    let served = upstream.served();
    let url = format!("ssh://127.0.0.1:{}{}/x.git", ssh.daemon.port, served.display());
    let mut child = in_child(&upstream.store(), &url, |child| {
        child.env("GIT_SSH_COMMAND", ssh.reach("known", "user").ssh_command.unwrap()).env("HOME", &home);
    });
    assert!(child.wait().unwrap().success());
}

/// This very test program, fetching HEAD as its environment says.
fn in_child(store: &Path, url: &str, change: impl FnOnce(&mut Command)) -> Child {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "the_child_of_other_tests", "--nocapture"]).stdout(Stdio::null());
    child.env("STAITH_TEST_FETCH", url).env("STAITH_TEST_STORE", store);
    change(&mut child);
    child.spawn().unwrap()
}

#[test]
fn the_child_of_other_tests() {
    let (Ok(url), Ok(store)) = (env::var("STAITH_TEST_FETCH"), env::var("STAITH_TEST_STORE")) else { return };
    fetch(Path::new(&store), &Reach::from_environment(), &url, &Selection::Head).unwrap();
}

#[test]
fn ssh_fetches_and_says_why_not() {
    let upstream = Upstream::new();
    let first = upstream.commit("main", "one");
    let ssh = SshServer::start(upstream.dir.path());
    let odd = upstream.served().join("it's $(touch made) & odd.git");
    std::os::unix::fs::symlink("x.git", &odd).unwrap();
    let reach = ssh.reach("known", "user");
    let url = |path: &Path| {
        let path = path.display().to_string().replace(' ', "%20");
        format!("ssh://127.0.0.1:{}{path}", ssh.daemon.port)
    };
    let plain = url(&upstream.served().join("x.git"));
    assert_eq!(upstream.commit_of(&reach, &plain, "main"), first);
    let second = upstream.commit("main", "two");
    let (resolved, objects) = upstream.fetch(&reach, &plain, &Selection::Head).unwrap();
    assert_eq!((resolved.source.commit.unwrap(), objects), (second.clone(), 3));
    assert_eq!(upstream.commit_of(&reach, &url(&odd), "main"), second);
    let missing = upstream.refusal(&reach, &url(&upstream.served().join("missing.git")));
    assert!(missing.contains("does not appear to be a git repository"), "{missing}");
    let stranger = upstream.refusal(&ssh.reach("nobody", "user"), &plain);
    assert!(
        stranger.contains("Host key verification failed") && stranger.contains("accept it"),
        "{stranger}"
    );
    let locked_out = upstream.refusal(&ssh.reach("known", "host"), &plain);
    assert!(locked_out.contains("Permission denied") && locked_out.contains("ssh-agent"), "{locked_out}");
    let nothing = Reach { ssh_command: Some("no-such-program".to_owned()), ..Reach::default() };
    assert!(upstream.refusal(&nothing, &plain).contains("no-such-program"));
    let silent = Reach {
        ssh_command: Some("exec sleep 1000 #".to_owned()),
        stall: Duration::from_millis(200),
        ..Reach::default()
    };
    assert!(upstream.refusal(&silent, &plain).contains("Stalled"));
}

#[test]
fn gits_own_daemon_on_this_machine_is_read() {
    let upstream = Upstream::new();
    let first = upstream.commit("main", "one");
    let daemon = Daemon::git(&upstream.served());
    let url = format!("git://127.0.0.1:{}/x.git", daemon.port);
    assert_eq!(upstream.commit_of(&Reach::default(), &url, "main"), first);
    let second = upstream.commit("main", "two");
    assert_eq!(upstream.commit_of(&Reach::default(), &url, "main"), second);
    let missing =
        upstream.refusal(&Reach::default(), &format!("git://127.0.0.1:{}/missing.git", daemon.port));
    assert!(missing.contains("could not be fetched"), "{missing}");
}

fn packs(upstream: &Upstream) -> usize {
    let files = entries(&upstream.mirror().join("objects/pack"));
    files.iter().filter(|path| path.extension().is_some_and(|end| end == "pack")).count()
}

#[test]
fn many_fetches_leave_few_packs_and_everything_that_came() {
    let (upstream, server) = place();
    let (reach, url) = (server.reach(), server.url("x.git"));
    let mut commits = Vec::new();
    for n in 0..40 {
        commits.push(upstream.commit("main", &format!("content {n}")));
        upstream.fetch(&reach, &url, &Selection::Head).unwrap();
        assert!(packs(&upstream) <= 25, "{}", packs(&upstream));
    }
    let git = |arguments: &[&str]| {
        let ended = Command::new("git").args(arguments).current_dir(upstream.mirror()).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    };
    git(&["fsck", "--full", "--strict"]);
    // Without the network, and so without the chance to fetch them again.
    drop(server);
    for commit in commits {
        upstream.fetch(&reach, &url, &Selection::Reference(commit)).unwrap();
    }
}

type Spoiling = (&'static str, fn(&[u8]) -> Vec<u8>);

#[test]
fn a_mirror_may_be_damaged_anywhere() {
    let (upstream, server) = place();
    upstream.commit("main", "one, which is long enough to be cut off somewhere in the middle of it");
    let (reach, url) = (server.reach(), server.url("x.git"));
    upstream.fetch(&reach, &url, &Selection::Head).unwrap();
    let all = || {
        let (mut files, mut open) = (Vec::new(), vec![upstream.mirror()]);
        while let Some(directory) = open.pop() {
            for path in entries(&directory) {
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    };
    let spoilings: [Spoiling; 3] = [
        ("emptied", |_| Vec::new()),
        ("cut off", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("garbage", |bytes| bytes.iter().map(|byte| byte ^ 0x5a).collect()),
    ];
    let (mut rounds, places) = (0, all().len());
    for place in 0..places {
        for (what, how) in spoilings {
            let Some(path) = all().get(place).cloned() else { continue };
            let bytes = fs::read(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, how(&bytes)).unwrap();
            rounds += 1;
            let commit = upstream.commit("main", &format!("content {rounds}"));
            let (found, _) = upstream
                .fetch(&reach, &url, &Selection::Head)
                .unwrap_or_else(|error| panic!("{} {what}: {error}", path.display()));
            assert_eq!(found.source.commit, Some(commit), "{} {what}", path.display());
        }
    }
    assert!(rounds >= 15, "{rounds}");
}
