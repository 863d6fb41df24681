//! A node of HAProxy on another machine: its socket, and the file that its next reload reads.

use std::{fs, io, os::unix::fs::PermissionsExt as _, os::unix::net::UnixListener};

use staith_releaser::fleet::{
    balancer::haproxy::{Open as _, SshFile, SshSocket, persist::Put as _},
    ssh::Destination,
};
use tokio::io::AsyncReadExt as _;

use crate::server::World;

/// What a login shell says first is not in the file.
const NOISY: &str = "ForceCommand echo Welcome; eval \"$SSH_ORIGINAL_COMMAND\"";

fn file(world: &World, path: &str) -> SshFile {
    SshFile { client: world.client(), destination: Destination::of("web"), path: path.into() }
}

#[tokio::test]
async fn a_file_on_another_machine_is_read_and_replaced_whole() {
    let world = World::new();
    let (_server, _) = world.simple(NOISY);
    let path = world.path("it's a state");
    let there = file(&world, path.to_str().unwrap());
    assert_eq!(there.get().await.unwrap(), "");
    let long: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    for text in ["1\n# be_name\n", long.as_str(), ""] {
        there.put(text).await.unwrap();
        assert_eq!(there.get().await.unwrap(), text);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    // Nothing else is left beside it.
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(beside.into_iter().all(|name| !name.to_string_lossy().contains(".staith-")));
    let nowhere = file(&world, "/not/on/this/machine/state").put("x").await.unwrap_err().to_string();
    assert!(nowhere.contains("/not/on/this/machine"), "{nowhere}");
}

#[tokio::test]
async fn a_socket_on_another_machine_is_reached_and_an_absent_one_is_told_apart() {
    let world = World::new();
    let (_server, _) = world.simple("");
    let path = world.path("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let says = std::thread::spawn(move || {
        use std::io::Write as _;
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
    });
    let of = |path: &std::path::Path| SshSocket {
        client: world.client(),
        destination: Destination::of("web"),
        path: path.display().to_string(),
    };
    let mut said = String::new();
    of(&path).open().await.unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
    says.join().unwrap();
    let error = of(std::path::Path::new("/not/on/this/machine")).open().await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}
