//! Being let in.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    ECHO, echo,
    server::{Agent, World, whoami},
    tells, told,
};

#[tokio::test]
async fn what_the_configuration_says_of_an_alias_holds() {
    let world = World::new();
    let server = world.server("web", "");
    world.know(&server);
    fs::rename(world.path("user"), world.path("elsewhere")).unwrap();
    world.host(&server, &format!("IdentityFile {}", world.path("elsewhere").display()));
    let mut way = world.way("web");
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(way.describe(), "ssh web");
    let settings = way.client.settings(&way.destination).await.unwrap();
    assert_eq!((settings.host_name.as_str(), settings.port), ("127.0.0.1", server.port));
    // What the target says wins over it.
    way.destination.user = Some("nobody-here".into());
    tells!(told(way.open().await), "lets `nobody-here` in with none of the keys");
}

#[tokio::test]
async fn kinds_of_keys() {
    let world = World::new();
    let server = world.server("web", "");
    world.know(&server);
    for (kind, how) in [
        ("rsa", &["-t", "rsa", "-b", "2048"][..]),
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
    ] {
        world.keygen(kind, how);
        fs::write(world.path("authorized"), world.read(&format!("{kind}.pub"))).unwrap();
        fs::write(world.path("config"), "").unwrap();
        world.host(&server, &format!("IdentityFile {}\nIdentitiesOnly yes", world.path(kind).display()));
        assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO, "{kind}");
    }
}

#[tokio::test]
async fn keys_of_an_agent() {
    let world = World::new();
    let server = world.server("web", "");
    world.know(&server);
    let agent = Agent::start(&world);
    agent.add(&world.path("user"));
    fs::remove_file(world.path("user")).unwrap();
    fs::remove_file(world.path("user.pub")).unwrap();
    let socket = format!("IdentityAgent {}", agent.socket.display());
    world.host(&server, &socket);
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
    // Its keys stay out of it where the configuration wants only those that it names.
    fs::write(world.path("config"), "").unwrap();
    world.host(&server, &format!("{socket}\nIdentitiesOnly yes"));
    tells!(
        told(world.way("web").open().await),
        "none of the keys: there is none",
        "There was no key to show"
    );
    // Named by its public half, the agent's key is among them.
    fs::copy(world.path("authorized"), world.path("user.pub")).unwrap();
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
    drop(agent);
    tells!(told(world.way("web").open().await), "the agent at", "its private half is not there");
}

#[tokio::test]
async fn an_encrypted_key_works_through_an_agent_and_says_so_without() {
    let world = World::new();
    let (server, way) = world.simple("");
    world.keygen("locked", &["-t", "ed25519", "-N", "secret"]);
    fs::copy(world.path("locked.pub"), world.path("authorized")).unwrap();
    fs::copy(world.path("locked"), world.path("user")).unwrap();
    fs::remove_file(world.path("user.pub")).unwrap();
    tells!(
        told(way.open().await),
        format!("{}: it is encrypted", world.path("user").display()),
        format!("ssh-add {}", world.path("user").display())
    );
    let agent = Agent::start(&world);
    let asked = world.path("asked");
    fs::write(&asked, "#!/bin/sh\necho secret\n").unwrap();
    fs::set_permissions(&asked, fs::Permissions::from_mode(0o700)).unwrap();
    agent.add_with(&world.path("user"), &asked);
    fs::write(world.path("config"), "").unwrap();
    world.host(&server, &format!("IdentityAgent {}\nIdentitiesOnly yes", agent.socket.display()));
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn keys_that_are_not_taken_are_told_one_by_one() {
    let world = World::new();
    let server = world.server("web", "Banner none");
    world.know(&server);
    world.keygen("second", &["-t", "ed25519"]);
    world.keygen("loose", &["-t", "ed25519"]);
    fs::set_permissions(world.path("loose"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(world.path("broken"), "-----BEGIN OPENSSH PRIVATE KEY-----\nno\n").unwrap();
    fs::set_permissions(world.path("broken"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(world.path("authorized"), "").unwrap();
    let files = ["second", "loose", "broken", "absent"]
        .map(|key| format!("IdentityFile {}", world.path(key).display()));
    world.host(&server, &files.join("\n"));
    tells!(
        told(world.way("web").open().await),
        format!("web lets `{}` in with none of the keys", whoami()),
        format!("{} (ssh-ed25519 SHA256:", world.path("second").display()),
        format!("{}: others may read it; `chmod 600", world.path("loose").display()),
        format!("{}: it can't be read", world.path("broken").display()),
        "not taken",
        "ssh-copy-id",
        "The server takes: publickey"
    );
}

#[tokio::test]
async fn too_many_keys_are_told_as_that() {
    let world = World::new();
    let server = world.server("web", "MaxAuthTries 2");
    world.know(&server);
    let mut files = Vec::new();
    for number in 0..4 {
        let name = format!("key{number}");
        world.keygen(&name, &["-t", "ed25519"]);
        files.push(format!("IdentityFile {}", world.path(&name).display()));
    }
    world.host(&server, &files.join("\n"));
    tells!(told(world.way("web").open().await), "MaxAuthTries", "IdentitiesOnly yes");
}

#[tokio::test]
async fn certificates_of_users() {
    let world = World::new();
    world.keygen("authority", &["-t", "ed25519"]);
    world.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    fs::write(world.path("authorized"), format!("cert-authority {}", world.read("authority.pub"))).unwrap();
    let server = world.server("web", "");
    world.know(&server);
    let agent = Agent::start(&world);
    agent.add(&world.path("user"));
    for key in ["user", "rsa"] {
        world.sign("authority", key, &["-n", &whoami(), "-V", "+1h"]);
        fs::rename(world.path(&format!("{key}-cert.pub")), world.path("named")).unwrap();
        let identity = format!("IdentitiesOnly yes\nIdentityFile {}", world.path(key).display());
        let at = |more: String| {
            fs::write(world.path("config"), "").unwrap();
            world.host(&server, &more);
            world.way("web")
        };
        let without = told(at(identity.clone()).open().await);
        tells!(without, "not taken");
        let way = at(format!("{identity}\nCertificateFile {}", world.path("named").display()));
        assert_eq!(echo(way.open().await.unwrap()).await, ECHO, "{key}: named");
        fs::rename(world.path("named"), world.path(&format!("{key}-cert.pub"))).unwrap();
        assert_eq!(echo(at(identity).open().await.unwrap()).await, ECHO, "{key}: beside the key");
        fs::rename(world.path(&format!("{key}-cert.pub")), world.path(&format!("{key}.cert"))).unwrap();
    }
    // The agent has the key, and a file the certificate.
    fs::remove_file(world.path("user")).unwrap();
    fs::write(world.path("config"), "").unwrap();
    world.host(
        &server,
        &format!(
            "IdentityAgent {}\nCertificateFile {}",
            agent.socket.display(),
            world.path("user.cert").display()
        ),
    );
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
}
