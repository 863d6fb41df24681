//! Secrets: which steps get them, and that nothing that Staith shows or keeps holds them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::{Event, EventKind};
use staith_tests::world::{Said, World};

const SECRET: &str = "s3cr&t/Wert \"und\" mehr'";

/// What no output may hold: the secret as programs write it.
fn forms() -> Vec<Vec<u8>> {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let texts = [
        SECRET,
        "s3cr&t/Wert \\\"und\\\" mehr'",
        "s3cr%26t%2FWert%20%22und%22%20mehr%27",
        "s3cr%26t%2fWert%20%22und%22%20mehr%27",
        "s3cr%26t%2FWert+%22und%22+mehr%27",
        &SECRET.chars().rev().collect::<String>(),
        &hex,
        &hex.to_uppercase(),
        // The middle of it in base64, at the three places where it can be.
        "czNjciZ0L1dlcnQgInVuZCIgbWVoc",
        "MzY3ImdC9XZXJ0ICJ1bmQiIG1laHI",
        "zM2NyJnQvV2VydCAidW5kIiBtZWhyJ",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A step that writes the secret in every way, in pieces, and fails with its name in a file and in a report.
const LEAKY: &str = r##"
name = "leaky"
version = "1"
[steps.leak]
secrets = { TOKEN = "api-token" }
env = { PLAIN = "visible" }
reports = ["junit.xml"]
run = '''
test "$TOKEN" = "$(cat expected)"
python3 - <<'PY'
import base64, json, os, sys, time, urllib.parse
secret = os.environ["TOKEN"]
forms = [secret, json.dumps(secret), urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret),
         urllib.parse.quote(secret, safe="").replace("%2F", "%2f"),
         secret.encode().hex(), secret.encode().hex().upper(), secret[::-1]]
for before in ["", "x", "xy"]:
    forms.append(base64.b64encode((before + secret + "z").encode()).decode())
    forms.append(base64.urlsafe_b64encode((before + secret).encode()).decode().rstrip("="))
for unseen in ["\x1b[0m", "\x1b]8;;http://x/\x07", "\r"]:
    forms.append(unseen.join([secret[:7], secret[7:]]))
for form in forms:
    text = ("before " + form + " after\n").encode()
    for at in (len(text) // 3, len(text) // 2):
        for stream in (1, 2):
            os.write(stream, text[:at])
            time.sleep(0.005)
            os.write(stream, text[at:])
os.write(1, b"a last line without an end: " + secret.encode())
message = urllib.parse.quote(secret, safe="")
open("junit.xml", "w").write('<testsuite name="s"><testcase classname="c" name="n"><failure message="%s"/></testcase></testsuite>' % message)
PY
'''
[steps.other]
run = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"
"##;

fn leaky() -> World {
    let world = World::new();
    world.write("runner.toml", LEAKY);
    // Not committed and not in `inputs` of the other step: it is how the step knows that it got the right value.
    world.write("expected", SECRET);
    world
}

fn set(world: &World, name: &str, value: &str) -> Said {
    let mut child = world
        .command(&["secret", "set", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// What is left when that is gone which the step has put between the letters, as it is in a log and as it is in an event.
fn letters(bytes: &[u8]) -> Vec<u8> {
    let unseen =
        ["\x1b[0m", "\\u001b[0m", "\x1b]8;;http://x/\x07", "\\u001b]8;;http://x/\\u0007", "\r", "\\r"];
    let mut rest = bytes;
    let mut letters = Vec::with_capacity(bytes.len());
    while let Some((first, after)) = rest.split_first() {
        match unseen.iter().find(|unseen| rest.starts_with(unseen.as_bytes())) {
            Some(unseen) => rest = &rest[unseen.len()..],
            None => {
                letters.push(*first);
                rest = after;
            }
        }
    }
    letters
}

#[track_caller]
fn holds_no_secret(what: &str, bytes: &[u8]) {
    let bytes = &letters(bytes)[..];
    for form in forms() {
        let found = bytes.windows(form.len()).position(|part| part == form);
        let around =
            |at: usize| String::from_utf8_lossy(&bytes[at.saturating_sub(40)..at + form.len()]).into_owned();
        assert!(found.is_none(), "{what} holds a secret: {}", around(found.unwrap()));
    }
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

/// The source is the project's own business, and the test's expectation is in it.
fn nothing_kept_holds_a_secret(world: &World) {
    let mut files = Vec::new();
    files_below(&world.home(), &mut files);
    let kept: Vec<&PathBuf> =
        files.iter().filter(|path| !path.starts_with(world.home().join("store"))).collect();
    assert!(kept.iter().any(|path| path.ends_with("logs/leak.log")), "{kept:?}");
    assert!(kept.iter().any(|path| path.ends_with("events.jsonl")), "{kept:?}");
    for path in kept {
        holds_no_secret(&path.display().to_string(), &fs::read(path).unwrap());
    }
}

#[test]
fn a_secret_that_a_step_writes_is_nowhere() {
    let world = leaky();
    set(&world, "api-token", &format!("{SECRET}\n")).exits(0).never_says(SECRET);
    let said = world.staith(&["run"]).exits(10).says("before *** after").says("1 of 1 tests failed");
    let said = said.says("a last line without an end: ***").says("is given the secret api-token");
    holds_no_secret("what was said", (said.out + &said.err).as_bytes());
    let said = world.staith(&["run", "--json"]).exits(10);
    holds_no_secret("JSON", (said.out + &said.err).as_bytes());
    for arguments in [&["logs"][..], &["logs", "--raw"], &["logs", "leak", "--json"], &["logs", "--failed"]] {
        let said = world.staith(arguments).exits(0).says("before *** after");
        holds_no_secret("a log", said.out.as_bytes());
    }
    nothing_kept_holds_a_secret(&world);
}

#[test]
fn a_step_gets_its_own_secrets_and_no_others() {
    let world = leaky();
    world.edit("runner.toml", |text| {
        text.replace("os.write(1, b\"a last", "sys.exit(0); os.write(1, b\"a last")
    });
    let run = |arguments: &[&str]| {
        let output = world.command(arguments).env("STAITH_SECRET_API_TOKEN", SECRET).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let out = run(&["run", "--json"]);
    let events: Vec<Event> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let given: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            EventKind::SecretUsed { step, secret, .. } => Some((step.as_str(), secret.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(given, [("leak", "api-token")]);
    let other: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.what {
            EventKind::StepOutput { step, line, .. } if step.as_str() == "other" => Some(line.as_str()),
            _ => None,
        })
        .collect();
    assert!(other.iter().any(|line| line.starts_with("HOME=")), "{other:?}");
    assert!(!other.iter().any(|line| line.contains("TOKEN") || line.contains("***")), "{other:?}");
}

/// Of this machine's processes, those that show a secret in a file of theirs.
fn processes_whose(what: &str, secret: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let holds = |process: &PathBuf| {
        let bytes = fs::read(process.join(what)).unwrap_or_default();
        bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
    };
    let name =
        |process: PathBuf| fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
    processes.filter(holds).map(name).collect()
}

#[test]
fn a_secret_is_in_no_command_line_and_no_file_while_the_step_runs() {
    // No other test has this one in an environment.
    let secret = "kept by the quiet step alone";
    let world = World::new();
    let run = "(tr '\\\\0' '\\\\n' < /proc/1/environ) 2>&1 || true; echo waiting; sleep 1000";
    let steps = format!("[steps.quiet]\nsecrets = [\"TOKEN\"]\nrun = \"{run}\"\n");
    world.write("runner.toml", &format!("name = \"quiet\"\nversion = \"1\"\n{steps}"));
    set(&world, "TOKEN", secret).exits(0);
    let mut run = world.start(&["run"]);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let said: Vec<String> =
        lines.by_ref().map(|line| line.unwrap()).take_while(|line| !line.contains("waiting")).collect();
    assert!(!said.iter().any(|line| line.contains("***")), "process 1 has it: {said:?}");
    assert_eq!(processes_whose("cmdline", secret), [""; 0]);
    let environments = processes_whose("environ", secret);
    assert!(environments.iter().all(|name| name == "sh" || name == "sleep"), "{environments:?}");
    let mut files = Vec::new();
    files_below(&world.home(), &mut files);
    for path in files {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
    }
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn what_is_nowhere_is_refused_before_anything_runs() {
    let world = leaky();
    let said = world.staith(&["run"]).exits(20).says("step `leak` wants the secret `api-token` as TOKEN");
    said.says("staith secret set api-token").says("STAITH_SECRET_API_TOKEN").never_says("step-started");
    let runs = fs::read_dir(world.home().join("runs")).map_or(0, Iterator::count);
    assert_eq!(runs, 0, "something was run");
}

#[test]
fn what_would_mask_everything_is_refused() {
    let world = leaky();
    set(&world, "api-token", "abc").exits(20).says("api-token").says("3 bytes").never_says("abc");
    set(&world, "api-token", "password").exits(20).says("ordinary output");
    set(&world, "../x", SECRET).exits(64);
    let output = world.command(&["run"]).env("STAITH_SECRET_API_TOKEN", "e").output().unwrap();
    assert_eq!(output.status.code(), Some(20));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 bytes"), "{output:?}");
}

#[test]
fn secrets_are_set_listed_and_removed() {
    let world = World::new();
    world.staith(&["secret", "list"]).exits(0).never_says("e");
    set(&world, "api-token", SECRET).exits(0).says("the secret api-token is set");
    set(&world, "shop/db", "another secret").exits(0);
    assert_eq!(world.staith(&["secret", "list"]).exits(0).out, "api-token\nshop/db\n");
    world.staith(&["secret", "list", "--json"]).exits(0).says(r#"{"secrets":["api-token","shop/db"]}"#);
    world.staith(&["secret", "remove", "api-token"]).exits(0);
    world.staith(&["secret", "remove", "api-token"]).exits(64).says("there are shop/db");
    assert_eq!(world.staith(&["secret", "list"]).exits(0).out, "shop/db\n");
}

#[test]
fn colours_in_the_middle_of_a_secret_do_not_show_it() {
    let world = World::new();
    let run = "printf '%s' \\\"$TOKEN\\\" | sed 's/quiet/\\\\x1b[31m&\\\\x1b[m/'; echo; echo done";
    let steps = format!("[steps.paint]\nsecrets = [\"TOKEN\"]\nrun = \"{run}\"\n");
    world.write("runner.toml", &format!("name = \"paint\"\nversion = \"1\"\n{steps}"));
    set(&world, "TOKEN", "kept-by-quiet-steps-alone").exits(0);
    world.staith(&["run"]).exits(0).says("done").says("***").never_says("steps-alone").never_says("kept-by");
    world.staith(&["run", "--json"]).exits(0).never_says("steps-alone");
}
