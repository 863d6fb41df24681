//! The examples, as a newcomer runs them: build, release, change a line, release again, go back.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use staith_model::{Event, EventKind, StepOutcome};
use staith_tests::world::World;

fn page(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Runs and releases, and gives the steps that really ran.
fn release(world: &World) -> Vec<String> {
    let said = world.staith(&["run", "--release", "local", "--json"]).exits(0);
    let events = said.out.lines().map(|line| serde_json::from_str::<Event>(line).expect(line));
    let mut ran: Vec<String> = events
        .filter_map(|event| match event.what {
            EventKind::StepFinished { step, outcome: StepOutcome::Passed, .. } => Some(step.to_string()),
            _ => None,
        })
        .collect();
    ran.sort();
    ran
}

fn newcomer(example: &str, file: &str, old: &str, new: &str, sees_it: &[&str]) {
    let world = World::with_example(example);
    let all = release(&world);
    assert!(all.len() >= 5, "{all:?}");
    assert!(page(world.listen).contains(old), "{}", page(world.listen));
    assert_eq!(release(&world), Vec::<String>::new(), "a second run runs nothing");
    world.edit(file, |text| text.replace(old, new));
    assert_eq!(release(&world), sees_it);
    assert!(page(world.listen).contains(new));
    world.staith(&["rollback"]).exits(0);
    assert!(page(world.listen).contains(old) && !page(world.listen).contains(new));
}

#[test]
fn the_guestbook_is_built_released_changed_and_brought_back() {
    // Neither the formatter nor the linter minds another heading.
    newcomer(
        "guestbook",
        "src/page.rs",
        "Welcome to the guest book",
        "Welcome to this guest book",
        &["build", "integration-test", "lint", "unit-test"],
    );
}

#[test]
fn daylight_is_built_released_changed_and_brought_back() {
    newcomer(
        "daylight",
        "daylight/page.py",
        "When does the sun rise?",
        "When does this sun rise?",
        &["build", "integration-test", "lint", "unit-test"],
    );
}

#[test]
fn moorings_is_built_released_changed_and_brought_back() {
    newcomer(
        "moorings",
        "src/page.js",
        "Who lies where tonight?",
        "Who lies there tonight?",
        &["build", "integration-test", "lint", "unit-test"],
    );
}

#[test]
fn soundings_is_built_released_changed_and_brought_back() {
    // A note is seen by those who read notes; the parts of the program are not tested again.
    newcomer(
        "soundings",
        "content/fog.md",
        "What to do when the bow disappears.",
        "What to do when the bow is gone.",
        &["build", "integration-test", "lint"],
    );
}
