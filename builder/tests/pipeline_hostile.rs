//! A `runner.toml` is a part of somebody's repository: no text may break the parser, and no error may break a terminal.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use staith_builder::pipeline::{Pipeline, render};

const GOOD: &str = r##"name = "guestbook"
version = "1.0.0+{commit}"
image = "rust:{parameters.rust}"
tools = ["rust", { name = "jdk", path = "/opt/jdk" }]
[on.push]
branches = ["main", "!x"]
[on.schedule]
cron = "0 3 * * mon"
[parameters.rust]
type = "choice"
choices = ["1", "2"]
default = "1"
[services.db]
image = "postgres:16"
ready = { port = 5432 }
[steps.restore]
run = "cargo fetch"
network = "outbound"
allow = ["boxes.org"]
outputs = ["vendor"]
retry = { attempts = 2, on = ["timeout"] }
[steps.build]
needs = ["restore"]
run = ["cargo", "build"]
outputs = ["target/release/x-{matrix.v}"]
env = { A = "b {matrix.v}" }
matrix = { v = ["1", "2"], exclude = [{ v = "1" }] }
timeout = "10m"
cpu = 1.5
[steps.test]
needs = ["build"]
run = "test"
when = "event in [\"push\"] and not failed(\"build\") or changed('src/**')"
secrets = { TOKEN = "a/b" }
services = ["db"]
[package]
from = ["build"]
root = "target"
when = """
parameters.rust == '1'
or tag"""
[environments.local]
listen = "127.0.0.1:8080"
run = "./x"
health = { path = "/" }
[environments.far]
after = ["local"]
targets = ["a@b:1", { host = "c", roles = ["w"] }, { local = true, name = "d" }]
inventory = { file = "h.json" }
service = { run = ["./x"], env = { A = "#{B}#" } }
port = 80
health = { path = "/", for = "1s" }
strategy = { canary = { steps = [{ targets = "10%", bake = "1m" }], max-unavailable = 1 } }
variables = { B = "c" }
render = ["*.json"]
hooks = [{ name = "h", at = "before-switch", run = ["./h"], roles = ["w"] }]
"##;

/// Everything that must hold of any text, good or bad.
fn holds(text: &str) {
    let Err(errors) = Pipeline::parse("runner.toml", text) else { return };
    assert!(!errors.errors().is_empty());
    for color in [false, true] {
        let told = render(&errors, color, 80);
        assert!(told.len() < 300_000, "{} bytes are told", told.len());
        let steers = |c: char| c.is_control() && c != '\n' && !(color && c == '\u{1b}');
        assert!(!told.contains(steers), "{told:?}");
    }
    for error in errors.errors() {
        assert!(error.line() <= text.matches('\n').count() + 1);
        assert!(render(&errors, false, 80).contains(&format!(
            "runner.toml:{}:{}",
            error.line(),
            error.column()
        )));
    }
}

#[test]
fn the_text_that_is_broken_below_is_good() {
    assert!(Pipeline::parse("runner.toml", GOOD).is_ok());
}

#[test]
fn size_lines_and_nesting_are_bounded() {
    for text in [
        "a".repeat(2 << 20),
        "# x\n".repeat(300_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{ a = ".repeat(300)),
        format!("[{}x]", "a.".repeat(990)),
        format!("{GOOD}#{}", "ä".repeat(5000)),
        (0..5000).map(|n| format!("[steps.s{n}]\nrun = 'x'\n")).collect::<String>(),
        (0..5000).map(|n| format!("k{n} = 1\n")).collect::<String>(),
    ] {
        assert!(Pipeline::parse("runner.toml", &text).is_err());
        holds(&text);
    }
}

#[test]
fn two_hundred_steps_in_a_row_are_fine() {
    let steps: String = (1..200)
        .map(|n| format!("[steps.s{n}]\nrun = 'x'\nneeds = ['s{}']\noutputs = ['o{n}']\n", n - 1))
        .collect();
    let text = format!("name = 'x'\nversion = '1'\n[steps.s0]\nrun = 'x'\n{steps}");
    assert_eq!(Pipeline::parse("runner.toml", &text).unwrap().steps().len(), 200);
}

proptest! {
    #[test]
    fn any_text(text in "(?s).{0,200}") {
        holds(&text);
    }

    #[test]
    fn a_good_text_with_a_piece_replaced(
        start in 0..GOOD.len(), length in 0..12usize, piece in "[a-z\\[\\]{}\"'=.,\n\r\t 0-9*/\\\\\u{0}\u{1b}\u{9b}ä\u{202e}-]{0,8}",
    ) {
        let end = (start + length).min(GOOD.len());
        holds(&format!("{}{piece}{}", &GOOD[..start], &GOOD[end..]));
    }

    #[test]
    fn a_good_text_with_lines_mixed_up(order in Just((0..GOOD.lines().count()).collect::<Vec<_>>()).prop_shuffle(), kept in 1..46usize) {
        let lines: Vec<&str> = GOOD.lines().collect();
        let text: String = order.iter().take(kept).map(|line| format!("{}\n", lines[*line])).collect();
        holds(&text);
    }
}
