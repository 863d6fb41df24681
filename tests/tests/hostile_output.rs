//! What a step writes is text, whatever it looks like: to terminals, in logs, in events, and to Staith itself. The same steps
//! run in the built-in sandbox and, where there is an engine of containers (Docker, which tests/run installs), in containers.

use std::sync::Arc;

use staith_model::{Event, EventKind};
use staith_tests::{
    container_engine::{ContainerEngine, Kind},
    world::{Said, World},
};

const IMAGE: &str = "staith.test/host:1";

/// A world with this script as its only step, for both engines.
fn world(script: &str) -> World {
    let world = World::new();
    world.write("say.py", script);
    world.write(
        "runner.toml",
        "name = \"loud\"\nversion = \"1\"\n[steps.only]\nrun = \"/usr/bin/python3 say.py; echo the end\"\n",
    );
    world.commit("first");
    world
}

/// Runs the step in each engine, and gives what `check` needs: what was said, and how further commands are made.
fn in_both(script: &str, check: impl Fn(&World, &Said)) {
    let own = world(script);
    check(&own, &own.staith(&["run"]).exits(0));
    if !rustix::process::geteuid().is_root() {
        // Only root can start an engine of containers of its own.
        return;
    }
    let engine: Arc<ContainerEngine> = ContainerEngine::shared(Kind::Docker);
    engine.take_image("staith.test/host", "1");
    let boxed = world(script);
    boxed.edit("runner.toml", |text| text.replace("[steps", &format!("image = \"{IMAGE}\"\n[steps")));
    let mut command = boxed.command(&["run", "--engine", "docker"]);
    let output = command.env("DOCKER_HOST", engine.host()).output().unwrap();
    check(&boxed, &Said::of(&output).exits(0));
}

/// Each with the text that must not be lost with it.
const SEQUENCES: [(&str, &str); 12] = [
    (r"\x1b[2J\x1b[H", "cleared"),
    (r"\x1b[5A\x1b[2K", "above"),
    (r"\x1b[?1049h", "elsewhere"),
    (r"\x1b]0;owned\x07", "titled"),
    (r"\x1b]52;c;b3duZWQ=\x07", "copied"),
    (r"\x1b]8;;http://owned.example/\x1b\\", "linked"),
    (r"\x1bPq#0;2;0\x1b\\", "drawn"),
    (r"\x1b_owned\x1b\\", "commanded"),
    (r"\x9b2J\x9d0;owned\x9c", "eighth bit"),
    (r"\x07\x07\x07", "rung"),
    (r"\u202e", "turned round"),
    (r"\x1b[38;5;1m\x1b[8m", "hidden"),
];

#[test]
fn no_control_sequence_reaches_a_terminal() {
    let say = |(sequence, text): &(&str, &str)| format!("say('{sequence}{text}')\n");
    let script: String = SEQUENCES.iter().map(say).collect();
    let script = format!("import sys\ndef say(text): print(text)\n{script}");
    in_both(&script, |world, said| {
        for shown in [&said.out, &said.err, &world.staith(&["logs"]).exits(0).out] {
            let stray =
                shown.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
            assert_eq!(stray, None, "{shown:?}");
            assert!(!shown.contains("owned.example") && !shown.contains("b3duZWQ"), "{shown}");
        }
        for (_, text) in SEQUENCES {
            assert!(said.out.contains(text), "{text} was lost: {}", said.out);
        }
        // Whoever asks for the bytes gets them.
        assert!(world.staith(&["logs", "--raw"]).exits(0).out.contains("\x1b]0;owned\x07"));
    });
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let script = r"
import os
os.write(1, b'before \xff\xfe\x80 after\n')
os.write(1, b'nul\x00nul\n')
for byte in b'one at a time\n': os.write(1, bytes([byte]))
os.write(2, b'\xe2\x82')
os.write(2, b'\xac whole\n')
";
    in_both(script, |world, said| {
        for text in ["before ", " after", "one at a time", "€ whole"] {
            assert!(said.out.contains(text), "{text}: {}", said.out);
        }
        assert!(!said.out.contains('\0'), "{:?}", said.out);
        let raw = world.command(&["logs", "--raw"]).output().unwrap().stdout;
        assert!(raw.windows(16).any(|part| part == b"before \xff\xfe\x80 after"), "{raw:?}");
    });
}

/// What other systems take for commands in a step's output, and what a page would take for markup.
const COMMANDS: [&str; 9] = [
    "::add-mask::the end",
    "::set-output name=x::y",
    "::error file=a,line=1::made up",
    "##[error]made up",
    "##vso[task.setvariable variable=x]y",
    "##teamcity[buildStatus status='FAILURE']",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "staith: 7 processes that the step had started were still running",
    r#"{"what":{"kind":"run-finished","passed":false}}"#,
];

#[test]
fn markup_and_commands_are_text() {
    let script: String = COMMANDS.iter().map(|line| format!("print({line:?})\n")).collect();
    in_both(&script, |world, said| {
        for line in COMMANDS {
            assert!(said.out.contains(line), "{line}: {}", said.out);
        }
        // Nothing was masked, set or failed by it.
        assert!(said.out.contains("the end"), "{}", said.out);
        let runs = std::fs::read_dir(world.home().join("runs")).unwrap().flatten();
        let journal = std::fs::read_to_string(runs.last().unwrap().path().join("events.jsonl")).unwrap();
        let events = journal.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
        let wrote = events.filter_map(|event| match event.what {
            EventKind::StepOutput { line, .. } => Some(line.to_string()),
            _ => None,
        });
        let wrote: Vec<String> = wrote.collect();
        assert!(COMMANDS.iter().all(|line| wrote.iter().any(|written| written == line)), "{wrote:?}");
    });
}
