//! A server from an empty directory, its tokens, and its end.

use std::os::unix::fs::PermissionsExt as _;

use staith_tests::{served::Served, wait, world::World};

fn tokens(world: &World, server: &Served) -> Vec<serde_json::Value> {
    let data = server.data.display().to_string();
    world.staith(&["server", "token", "list", "--json", "--data", &data]).exits(0).values()
}

#[test]
fn an_empty_directory_becomes_a_server_that_ends_in_order() {
    let world = World::new();
    let server = Served::of(&world);
    let token = server.data.join("admin.token");
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.data.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    server.ask_by(None, "GET", "/healthz", "");
    assert_eq!(server.ask_by(None, "GET", "/readyz", "").body, "ready\n");
    let named = server.ask("GET", "/api/v1/tokens", "").is(200);
    assert_eq!(named["tokens"][0]["name"], "administrator");
    let data = server.data.clone();
    let admin = server.admin.clone();
    let ended = server.terminate().exits(0);
    assert_eq!(ended.err, "");
    assert!(!data.join("staith.db-wal").exists(), "the database was closed");
    let again = Served::again(&world, &data);
    assert_eq!(again.admin, admin, "there is an administrator already");
    again.ask("GET", "/api/v1/tokens", "").is(200);
}

#[test]
fn a_second_server_on_one_database_is_refused_and_says_which() {
    let world = World::new();
    let server = Served::of(&world);
    let data = server.data.display().to_string();
    let second =
        world.staith(&["server", "start", "--listen", "127.0.0.1:0", "--no-runner", "--data", &data]);
    second.exits(30).says(&format!("staith.db (process {})", server.id())).says("in use by another server");
    server.ask("GET", "/api/v1/tokens", "").is(200);
}

#[test]
fn tokens_are_made_and_revoked_whether_the_server_runs_or_not() {
    let world = World::new();
    let server = Served::of(&world);
    let data = server.data.display().to_string();
    let make = |name: &str, more: &[&str]| {
        let words = [&["server", "token", "create", name, "--json", "--data", &data][..], more].concat();
        world.staith(&words)
    };
    let live = make("ann", &["--role", "viewer"]).exits(0).values().remove(0);
    let word = live["token"].as_str().unwrap();
    server.ask_by(Some(word), "GET", "/api/v1/runners", "").is(200);
    server.ask_by(Some(word), "GET", "/api/v1/tokens", "").is(403);
    assert_eq!(tokens(&world, &server).len(), 2);
    let place = server.data.clone();
    server.terminate().exits(0);
    let resting = make("bob", &["--role", "admin", "--project", "shop"]).exits(0).values().remove(0);
    let id = live["id"].as_str().unwrap();
    world.staith(&["server", "token", "revoke", id, "--data", &data]).exits(0);
    make("eve", &["--role", "emperor"]).exits(64).says("viewer, developer, releaser and admin");
    make("eve", &["--role", "viewer", "--days", "9999"]).exits(30).says("366 days at most");
    let server = Served::again(&world, &place);
    server.ask_by(Some(word), "GET", "/api/v1/runners", "").is(401);
    let word = resting["token"].as_str().unwrap();
    server.ask_by(Some(word), "GET", "/api/v1/runners", "").is(403);
    assert_eq!(tokens(&world, &server).len(), 3);
    world
        .staith(&["server", "audit", "verify", "--data", &data])
        .exits(0)
        .says("entries are as they were written");
}

#[test]
fn a_long_poll_does_not_keep_a_server_from_ending() {
    use std::io::Write as _;
    let world = World::new();
    let server = Served::of(&world);
    // A client that says half of what it wants, and one that says nothing.
    let mut slow = std::net::TcpStream::connect(&server.address).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").unwrap();
    let _silent = std::net::TcpStream::connect(&server.address).unwrap();
    wait::until("the server answers beside them", || {
        (server.ask_by(None, "GET", "/healthz", "").status == 200).then_some(())
    });
    server.terminate().exits(0);
}

#[test]
fn an_administrator_elsewhere_makes_tokens_sets_secrets_of_forges_and_reads_what_was_done() {
    let world = World::new();
    let repository =
        staith_tests::bare::Bare::with(&world, "name = \"shop\"\n[steps.build]\nrun = \"true\"\n");
    let server = Served::of(&world);
    server.staith(&world, &["project", "add", "shop", &repository.path]).exits(0);
    let far = |words: &[&str]| server.staith(&world, words);
    // Nothing of the server's directory is used: its usual place has none.
    world.staith(&["server", "token", "list"]).exits(64).says("--data DIRECTORY");
    let made = far(&["server", "token", "create", "ann", "--role", "viewer", "--json"]).exits(0);
    let made = made.values().remove(0);
    let (word, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    server.ask_by(Some(word), "GET", "/api/v1/runners", "").is(200);
    far(&["server", "token", "list"]).exits(0).says("ann").says("viewer everywhere");

    let by = |token: &str, words: &[&str]| {
        let mut command = world.command(words);
        command.env("STAITH_TOKEN", token).env("STAITH_SERVER", format!("http://{}", server.address));
        command
    };
    let said = |mut command: std::process::Command| staith_tests::world::Said::of(&command.output().unwrap());
    // The variable names the server as well as the option; a directory that is named comes before it.
    said(by(&server.admin, &["server", "token", "list"])).exits(0).says("ann");
    let data = server.data.display().to_string();
    said(by("nonsense", &["server", "token", "list", "--data", &data])).exits(0).says("ann");
    said(by("nonsense", &["server", "token", "list"])).exits(30).says("does not know who asks");
    far(&["server", "token", "list", "--data", &data]).exits(64).says("two servers");
    // With a project it is the server's secrets that are meant, without one this machine's.
    said(by("nonsense", &["secret", "list", "--project", "shop"])).exits(30).says("does not know who asks");
    said(by("nonsense", &["secret", "list"])).exits(0);
    for words in [
        &["server", "token", "create", "eve", "--role", "admin"][..],
        &["server", "token", "list"],
        &["server", "token", "revoke", id],
        &["server", "audit", "show"],
        &["server", "secret", "list", "--project", "shop"],
    ] {
        let refused = said(by(word, words));
        assert!(
            refused.code != Some(0) && refused.err.contains("does not allow this"),
            "{words:?}: {refused:?}"
        );
    }

    let mut set = by(&server.admin, &["server", "secret", "set", "hook", "--project", "shop", "--forge"]);
    let mut child = set.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"secret-of-the-forge").unwrap();
    assert!(child.wait().unwrap().success());
    far(&["server", "secret", "list", "--project", "shop"]).exits(0).says("hook").says("staith.forge");
    far(&["server", "secret", "remove", "hook", "--project", "shop", "--forge"]).exits(0);
    far(&["server", "token", "revoke", id]).exits(0);
    server.ask_by(Some(word), "GET", "/api/v1/runners", "").is(401);

    let shown = far(&["server", "audit", "show"]).exits(0);
    let shown =
        shown.says("person:administrator").says("token-revoked").says("secret shop/staith.forge/hook");
    let entries =
        far(&["server", "audit", "show", "--json", "--after", "1", "--limit", "2"]).exits(0).values();
    assert_eq!((entries.len(), &entries[0]["seq"]), (2, &2.into()), "{entries:?}");
    assert!(!shown.never_says("secret-of-the-forge").out.is_empty());
    far(&["server", "audit", "verify"]).exits(64).says("on the server's machine");
    server.terminate().exits(0);
    // At rest, it is read where it lies.
    world.staith(&["server", "audit", "show", "--data", &data]).exits(0).says("token-revoked");
}
