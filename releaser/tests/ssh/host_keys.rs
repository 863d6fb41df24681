//! Whether the machine is the one that is meant.

use std::{fs, process::Command};

use crate::{ECHO, echo, server::World, tells, told};

fn fingerprint(world: &World, key: &str) -> String {
    let output =
        Command::new("ssh-keygen").arg("-lf").arg(world.path(&format!("{key}.pub"))).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().into()
}

fn key(world: &World, name: &str) -> String {
    world.read(&format!("{name}.pub")).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_pinned_key_needs_no_known_hosts_and_another_one_is_refused() {
    let world = World::new();
    let server = world.server("web", "");
    world.host(&server, "");
    let mut way = world.way("web");
    way.destination.host_key = Some(world.read("web-host.pub"));
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    way.destination.host_key = Some(fingerprint(&world, "web-host"));
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    let right = server.let_in();
    // What is pinned wins over what is known.
    world.know(&server);
    for wrong in [key(&world, "user"), fingerprint(&world, "user")] {
        way.destination.host_key = Some(wrong);
        tells!(
            told(way.open().await),
            "THE KEY OF [127.0.0.1]:",
            "HAS CHANGED",
            fingerprint(&world, "web-host"),
            fingerprint(&world, "user"),
            "the target's `host_key`",
            "Nothing was sent"
        );
    }
    assert_eq!(server.let_in(), right);
    way.destination.host_key = Some("SHA256:no".into());
    tells!(told(way.open().await), "SHA256:no", "ssh-keyscan");
}

#[tokio::test]
async fn a_pinned_fingerprint_may_be_of_any_of_the_hosts_keys() {
    let world = World::new();
    world.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    let server = world.server("web", &format!("HostKey {}", world.path("rsa").display()));
    world.host(&server, "");
    let mut way = world.way("web");
    way.destination.host_key = Some(fingerprint(&world, "rsa"));
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    way.destination.host_key = Some(key(&world, "rsa"));
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_the_line_that_would_pin_it() {
    let world = World::new();
    let server = world.server("web", "");
    // Not even where OpenSSH would take it.
    world.host(&server, "StrictHostKeyChecking no");
    let way = world.way("web");
    tells!(
        told(way.open().await),
        format!("the key of [127.0.0.1]:{} is not known", server.port),
        fingerprint(&world, "web-host"),
        format!("host_key = \"{}\"", key(&world, "web-host")),
        format!("[127.0.0.1]:{} {}", server.port, key(&world, "web-host")),
        world.path("known").display().to_string()
    );
    assert_eq!(world.read("known"), "", "nothing is trusted because it came first");
    assert_eq!(server.let_in(), 0);
}

#[tokio::test]
async fn hashed_names_are_known() {
    let world = World::new();
    let (_server, way) = world.simple("");
    let mut hash = Command::new("ssh-keygen");
    assert!(hash.args(["-q", "-H", "-f"]).arg(world.path("known")).output().unwrap().status.success());
    assert!(world.read("known").starts_with("|1|"));
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn a_changed_key_is_refused_with_its_place() {
    let world = World::new();
    let server = world.server("web", "");
    world.host(&server, "");
    let line = format!("# first\n\n[127.0.0.1]:{} {}", server.port, world.read("user.pub"));
    fs::write(world.path("known"), line).unwrap();
    tells!(
        told(world.way("web").open().await),
        "HAS CHANGED",
        format!("{}:3 has {}", world.path("known").display(), fingerprint(&world, "user")),
        "ssh-keygen -R"
    );
    assert_eq!(server.let_in(), 0);
}

#[tokio::test]
async fn a_key_of_another_kind_is_asked_for_if_that_is_known_and_a_revoked_one_is_refused() {
    let world = World::new();
    world.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    let server = world.server("web", &format!("HostKey {}", world.path("rsa").display()));
    world.host(&server, "");
    fs::write(world.path("known"), format!("[127.0.0.1]:{} {}", server.port, world.read("rsa.pub"))).unwrap();
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
    let revoked = format!("{}@revoked * {}", world.read("known"), world.read("rsa.pub"));
    fs::write(world.path("known"), revoked).unwrap();
    tells!(told(world.way("web").open().await), "revoked", format!("{}:2", world.path("known").display()));
}

#[tokio::test]
async fn certificates_of_hosts_hold_for_their_names() {
    let world = World::new();
    world.keygen("authority", &["-t", "ed25519"]);
    world.keygen("web-host", &["-t", "ed25519"]);
    world.sign("authority", "web-host", &["-h", "-n", "web.example.org", "-V", "-1h:+1h"]);
    let server =
        world.server("web", &format!("HostCertificate {}", world.path("web-host-cert.pub").display()));
    world.host(&server, "HostKeyAlias web.example.org");
    let line = format!("@cert-authority *.example.org {}", world.read("authority.pub"));
    fs::write(world.path("known"), &line).unwrap();
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);

    world.sign("authority", "web-host", &["-h", "-n", "db.example.org", "-V", "-1h:+1h"]);
    let other = world.server(
        "other",
        &format!("HostKey {0}\nHostCertificate {0}-cert.pub", world.path("web-host").display()),
    );
    world.host(&other, "HostKeyAlias web.example.org");
    tells!(told(world.way("other").open().await), "it is for db.example.org, and not for web.example.org");

    world.sign("authority", "web-host", &["-h", "-n", "web.example.org", "-V", "-2h:-1h"]);
    let late = world.server(
        "late",
        &format!("HostKey {0}\nHostCertificate {0}-cert.pub", world.path("web-host").display()),
    );
    world.host(&late, "HostKeyAlias web.example.org");
    tells!(told(world.way("late").open().await), "not valid yet, or no longer");

    fs::write(world.path("known"), line.replace("@cert-authority", "@revoked")).unwrap();
    tells!(told(world.way("web").open().await), "is not known");
}
