//! What steps and commands may need around the sandbox: a disk, toolchains, git, another engine.

use std::{
    env,
    io::{Read as _, Write},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::statvfs;
use staith_builder::{
    engine::{Engine as _, ImageSpec},
    pipeline::KNOWN_TOOLS,
    sandbox::{BuiltInSandbox, Finding, Health},
};
use staith_model::Tool;

use crate::{
    home::Home,
    output::bytes,
    upkeep::{Household, Settings},
};

/// Less than this, and a build soon ends for want of room.
const LITTLE_ROOM: u64 = 2 << 30;
/// An engine on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// All of it, a finding each.
pub(super) async fn of(home: &Home, sandbox: &BuiltInSandbox) -> Vec<Finding> {
    let mut findings = vec![disk(home.path())];
    let of = home.clone();
    findings.extend(tokio::task::spawn_blocking(move || kept(&of)).await);
    findings.extend(["git", "ssh"].map(program));
    for tool in KNOWN_TOOLS {
        findings.push(toolchain(sandbox, tool).await);
    }
    let docker = tokio::task::spawn_blocking(docker).await;
    findings.extend(docker.ok());
    findings
}

fn disk(home: &Path) -> Finding {
    let of = "disk of the home";
    match statvfs(home) {
        Err(error) => Finding::bad(
            of,
            Health::Missing,
            format!("{} can't be looked at: {error}", home.display()),
            "set STAITH_HOME to a directory of your own",
        ),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let says = format!("{} free at {}", bytes(free), home.display());
            if free >= LITTLE_ROOM {
                Finding::ok(of, says)
            } else {
                let remedy =
                    "make room, `staith gc --budget SIZE`, or set STAITH_HOME to a directory on another disk";
                Finding::bad(of, Health::Limited, says, remedy)
            }
        }
    }
}

/// What is kept within the budget, the largest kinds first.
fn kept(home: &Home) -> Finding {
    const SHOWN: usize = 3;
    let of = "what is kept";
    let read = Settings::read(home).map_err(|problem| (problem.what, problem.remedy));
    let measured = read.and_then(|settings| {
        let kinds = Household::open(home).and_then(|household| household.bytes_by_kind());
        kinds.map(|kinds| (settings.budget, kinds)).map_err(|why| (why, None))
    });
    let (budget, kinds) = match measured {
        Err((says, remedy)) => {
            let remedy =
                remedy.unwrap_or_else(|| "see to the permissions of what is in Staith's home".to_owned());
            return Finding::bad(of, Health::Limited, says, remedy);
        }
        Ok(measured) => measured,
    };
    let all: u64 = kinds.values().sum();
    let mut largest: Vec<_> = kinds.into_iter().filter(|(_, size)| *size > 0).collect();
    largest.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let named = largest.iter().take(SHOWN).map(|(kind, size)| format!("{} {}", kind.plural(), bytes(*size)));
    let named: Vec<String> = named.collect();
    let of_that = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
    Finding::ok(of, format!("{} of at most {}{of_that}", bytes(all), bytes(budget)))
}

/// A program of this host that some sources need.
fn program(name: &str) -> Finding {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Finding::ok(name, path.display().to_string()),
        None if name == "git" => Finding::bad(
            name,
            Health::Limited,
            "not in PATH; credential helpers of git can't be asked",
            "install git, to build from servers that want to know who asks",
        ),
        None => Finding::bad(
            name,
            Health::Limited,
            "not in PATH; ssh:// and host:path can't be built from",
            format!("install {name}, to build from servers that are reached by it"),
        ),
    }
}

async fn toolchain(sandbox: &BuiltInSandbox, name: &str) -> Finding {
    let of = format!("tools = [\"{name}\"]");
    let Ok(tool) = name.parse().map(Tool::Known) else {
        return Finding::bad(of, Health::Missing, "no name", "please report this");
    };
    match sandbox.image(&ImageSpec { reference: None, tools: vec![tool] }, &|_| {}).await {
        Ok(_) => Finding::ok(of, "steps that ask for it see it"),
        Err(error) => Finding {
            of,
            health: Health::Missing,
            says: error.to_string(),
            remedy: error.remedy().map(str::to_owned),
        },
    }
}

/// Where a Docker Engine may answer.
enum Place {
    Socket(PathBuf),
    Address(String),
    Other(String),
}

fn docker() -> Finding {
    let of = "Docker Engine";
    let remedy =
        "nothing, unless you want `--engine docker`: then start Docker or Podman, or set DOCKER_HOST";
    let places = docker_places(env::var("DOCKER_HOST").ok(), env::var("XDG_RUNTIME_DIR").ok());
    let mut tried = Vec::new();
    for place in &places {
        let (answer, name) = match place {
            Place::Socket(path) => {
                (UnixStream::connect(path).and_then(ping_socket), path.display().to_string())
            }
            Place::Address(address) => (ping_address(address), address.clone()),
            Place::Other(text) => {
                return Finding::bad(
                    of,
                    Health::Limited,
                    format!("DOCKER_HOST is {text}, which is not tried here"),
                    remedy,
                );
            }
        };
        match answer {
            Ok(answer) if answer.contains("200 OK") => return Finding::ok(of, format!("answers at {name}")),
            Ok(_) => tried.push(format!("{name} is something else")),
            Err(error) => tried.push(format!("{name}: {error}")),
        }
    }
    Finding::bad(of, Health::Missing, tried.join("; "), remedy)
}

fn docker_places(docker_host: Option<String>, runtime: Option<String>) -> Vec<Place> {
    if let Some(host) = docker_host.filter(|host| !host.is_empty()) {
        return vec![match host.split_once("://") {
            Some(("unix", path)) => Place::Socket(path.into()),
            Some(("tcp" | "http", address)) => Place::Address(address.trim_end_matches('/').to_owned()),
            _ => Place::Other(host),
        }];
    }
    let mut places = vec![Place::Socket("/var/run/docker.sock".into())];
    places.extend(runtime.map(|runtime| Place::Socket(PathBuf::from(runtime).join("podman/podman.sock"))));
    places.push(Place::Socket("/run/podman/podman.sock".into()));
    places
}

fn ping_socket(socket: UnixStream) -> std::io::Result<String> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    ping(socket)
}

fn ping_address(address: &str) -> std::io::Result<String> {
    let address = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    ping(stream)
}

const PING: &[u8; 56] = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";

/// The first bytes of the answer.
fn ping(mut stream: impl std::io::Read + Write) -> std::io::Result<String> {
    stream.write_all(PING)?;
    let mut answer = Vec::new();
    stream.take(64).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn whoever_answers_is_told_from_whoever_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: a server that closes with something unread breaks the connection.
            let mut asked = [0; PING.len()];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nOK").unwrap();
            asked
        });
        assert!(ping_address(&address).unwrap().contains("200 OK"));
        assert_eq!(server.join().unwrap(), *PING);
        assert!(ping_address(&address).is_err());
    }

    #[test]
    fn the_environment_says_where_to_look() {
        let kind = |host: &str| match docker_places(Some(host.to_owned()), None).remove(0) {
            Place::Socket(path) => path.display().to_string(),
            Place::Address(address) => address,
            Place::Other(text) => format!("other {text}"),
        };
        assert_eq!(kind("unix:///x.sock"), "/x.sock");
        assert_eq!(kind("tcp://127.0.0.1:1/"), "127.0.0.1:1");
        assert_eq!(kind("ssh://host"), "other ssh://host");
        assert_eq!(docker_places(None, Some("/run/user/1".into())).len(), 3);
    }
}
