//! What git-lfs keeps is fetched when a run needs it, and people see that it is.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use staith_tests::world::World;

const CONTENT: &str = "a picture of a shop";
/// The digest of it, by which git-lfs knows it.
const OID: &str = "84f451f3e3e5d1fa32375637200abe349eb34005b41b462ff195fe11e5cc8b09";

const PIPELINE: &str = r#"
name = "shop"
version = "1"
[steps.look]
inputs = ["*.png"]
run = "cat shop.png; echo"
[steps.blind]
inputs = ["runner.toml"]
run = "true"
"#;

/// A server of git-lfs that has one object and answers for ever; its port.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || answer(&client, port));
        }
    });
    port
}

fn answer(client: &TcpStream, port: u16) -> std::io::Result<()> {
    let (mut lines, mut to) = (BufReader::new(client), client);
    let (mut first, mut length) = (String::new(), 0);
    lines.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
    }
    lines.read_exact(&mut vec![0; length])?;
    let size = CONTENT.len();
    let body = if first.starts_with("POST /lfs/objects/batch ") {
        format!(
            r#"{{"transfer":"basic","objects":[{{"oid":"{OID}","size":{size},"authenticated":true,
            "actions":{{"download":{{"href":"http://localhost:{port}/object"}}}}}}]}}"#
        )
    } else {
        CONTENT.to_owned()
    };
    write!(
        to,
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.git-lfs+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A project with a picture that only the server has.
fn world() -> World {
    let port = server();
    let world = World::new().with_env("STAITH_ALLOW_HOSTS", "localhost");
    world.write("runner.toml", PIPELINE);
    world.write(".gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
    world.write(".lfsconfig", &format!("[lfs]\n\turl = http://localhost:{port}/lfs\n"));
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {}\n", CONTENT.len());
    world.write("shop.png", &pointer);
    world.git(&["remote", "add", "origin", &format!("http://localhost:{port}/shop.git")]);
    world.git(&["config", "filter.lfs.clean", "cat"]);
    world.commit("first");
    world
}

#[test]
fn large_files_that_steps_see_are_seen_to_come() {
    let world = world();
    // Nothing is fetched for a step that does not see it, or to make a plan.
    world.staith(&["run", "--clean", "--step", "blind"]).exits(0).never_says("fetching");
    world.staith(&["plan", "--clean"]).exits(0).never_says("fetching");
    let run = world.staith(&["run", "--clean"]).exits(0).says(CONTENT);
    assert_eq!(run.err.matches("fetching large files").count(), 1, "{}", run.err);
    world.staith(&["run", "--clean"]).exits(0).never_says("fetching");
}

#[test]
fn programs_that_read_events_are_not_disturbed() {
    let world = world();
    world.staith(&["run", "--clean", "--json"]).exits(0).says(CONTENT).never_says("fetching");
}
