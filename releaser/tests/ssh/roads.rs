//! What lies between: jump hosts, programs, servers that turn away, and connections that break.

use std::{fs, io::Write as _, net::TcpListener, os::unix::net::UnixListener};

use staith_releaser::fleet::ssh::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    ECHO, echo, line,
    server::{World, free_port},
    tells, told,
};

#[tokio::test]
async fn through_jump_hosts() {
    let world = World::new();
    let (first, second, web) =
        (world.server("first", ""), world.server("second", ""), world.server("web", ""));
    world.host(&first, "");
    world.host(&second, "");
    world.host(&web, "ProxyJump first,second");
    tells!(told(world.way("web").open().await), "the jump host first: the key of", "is not known");
    [&first, &second, &web].iter().for_each(|server| world.know(server));
    let way = world.way("web");
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    assert_eq!([first.let_in(), second.let_in(), web.let_in()], [1, 1, 1], "one connection to each is kept");
    assert!(web.log.lock().unwrap().contains("from 127.0.0.1"));
}

#[tokio::test]
async fn jump_hosts_in_a_circle_and_closed_ones_are_told() {
    let world = World::new();
    let (a, b) = (world.server("a", "AllowTcpForwarding no"), world.server("b", ""));
    world.know(&a);
    world.host(&a, "");
    world.host(&b, "ProxyJump a");
    tells!(told(world.way("b").open().await), "the jump host a", "does not allow it", "AllowTcpForwarding");
    fs::write(world.path("config"), "").unwrap();
    world.host(&a, "ProxyJump b");
    world.host(&b, "ProxyJump a");
    tells!(told(world.way("a").open().await), "in a circle");
}

#[tokio::test]
async fn through_a_program() {
    let world = World::new();
    let server = world.server("web", "");
    world.know(&server);
    // sshd itself, on its standard streams.
    let config = world.server_config("web", server.port, "LogLevel QUIET");
    world.host(&server, &format!("ProxyCommand /usr/sbin/sshd -i -f {}", config.display()));
    assert_eq!(echo(world.way("web").open().await.unwrap()).await, ECHO);
    assert_eq!(server.let_in(), 0);
    fs::write(world.path("config"), "").unwrap();
    world.host(&server, "ProxyCommand sh -c 'echo no way to %h %p >&2; exit 1'");
    tells!(
        told(world.way("web").open().await),
        "the ProxyCommand `sh -c",
        format!("ended: no way to 127.0.0.1 {}", server.port)
    );
}

#[tokio::test]
async fn nobody_there_and_somebody_else() {
    let world = World::new();
    let mut server = world.server("web", "");
    world.host(&server, "");
    server.kill();
    tells!(told(world.way("web").open().await), format!("127.0.0.1:{}", server.port), "refused");
    let other = TcpListener::bind(("127.0.0.1", server.port)).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    tells!(told(world.way("web").open().await), "it says `HTTP/1.1 400 Bad Request`");
}

#[tokio::test]
async fn twenty_at_once_get_in_where_two_may_start() {
    let world = World::new();
    let (server, _) = world.simple("MaxStartups 2");
    fs::create_dir(world.path("programs")).unwrap();
    // Each with a connection of its own.
    let ways: Vec<_> = (0..20).map(|_| world.way("web")).collect();
    let tasks: Vec<_> = ways
        .into_iter()
        .map(|way| tokio::spawn(async move { echo(way.open().await.unwrap()).await }))
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), ECHO);
    }
    assert_eq!(server.let_in(), 20);
}

#[tokio::test]
async fn one_connection_for_all_that_ask_at_once() {
    let world = World::new();
    let (server, way) = world.simple("");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let way = way.clone();
            tokio::spawn(async move { echo(way.open().await.unwrap()).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), ECHO);
    }
    assert_eq!(server.let_in(), 1);
}

#[tokio::test]
async fn a_machine_that_dies_is_lost_and_found_again() {
    let world = World::new();
    let (mut server, way) = world.simple("");
    let mut wire = way.open().await.unwrap();
    assert_eq!(line(&mut wire).await, "hello serve --folder it's here\n");
    let port = server.port;
    let (mut to, mut from) = (wire.to, wire.from);
    // In the middle of a transfer that nobody will end.
    let writing = tokio::spawn(async move {
        let piece = vec![b'x'; 64 << 10];
        while to.write_all(&piece).await.is_ok() {}
    });
    let mut piece = vec![0; 1 << 20];
    from.read_exact(&mut piece).await.unwrap();
    server.kill();
    let error = async {
        loop {
            if let Err(error) = from.read_exact(&mut piece).await {
                break error;
            }
        }
    }
    .await;
    tells!(error.to_string(), "the connection broke");
    writing.await.unwrap();
    let _again = world.server_at("web", port, "", &[]);
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
}

#[tokio::test]
async fn dropping_a_wire_ends_the_program_and_dropping_a_client_the_connection() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    let fifo = world.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    way.arguments = vec!["hold".into(), fifo.display().to_string()];
    for whole in [false, true] {
        let reader = tokio::task::spawn_blocking({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        let mut wire = way.open().await.unwrap();
        assert_eq!(line(&mut wire).await, "held\n");
        if whole {
            // The machine's side of everything goes, not only this program.
            way.client = world.client();
        }
        drop(wire);
        // The program had it open for writing: the end of it is the end of the program.
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn sockets_and_addresses_of_the_machine() {
    let world = World::new();
    let (_server, way) = world.simple("");
    let socket = world.path("admin.sock");
    let unix = UnixListener::bind(&socket).unwrap();
    let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = tcp.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = unix.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
    });
    std::thread::spawn(move || {
        let (mut stream, _) = tcp.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
    });
    let socket = Endpoint::Socket(socket.display().to_string());
    for endpoint in [socket, Endpoint::Tcp("127.0.0.1".into(), port)] {
        let mut stream = way.forward(&endpoint).await.unwrap();
        stream.write_all(b"show servers state\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "show servers state\n");
    }
    let nobody = Endpoint::Socket("/not/on/this/machine".into());
    tells!(told(way.forward(&nobody).await.map(drop)), "/not/on/this/machine");
    let nobody = Endpoint::Tcp("127.0.0.1".into(), free_port());
    tells!(told(way.forward(&nobody).await.map(drop)), "nobody answers there");
}

#[tokio::test]
async fn without_openssh_the_common_keys_are_read() {
    let world = World::new();
    let (_server, mut way) = world.simple("");
    let without = staith_releaser::fleet::ssh::SshOptions {
        program: "/not/on/this/machine".into(),
        config: Some(world.path("config")),
    };
    way.client = staith_releaser::fleet::ssh::SshClient::new(without.clone());
    assert_eq!(echo(way.open().await.unwrap()).await, ECHO);
    fs::write(world.path("config"), format!("{}Include more\n", world.read("config"))).unwrap();
    way.client = staith_releaser::fleet::ssh::SshClient::new(without);
    tells!(told(way.open().await), "`include` is not understood", "openssh-client");
}
