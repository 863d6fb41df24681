//! What in a configuration of HAProxy would cost requests when traffic moves.

use std::{path::PathBuf, time::Duration};

/// Something that would cost requests, or time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line that it is about, from 1; `None` for something that is missing.
    pub line: Option<usize>,
    /// The option.
    pub about: &'static str,
    /// What it does to requests, and what to write.
    pub why: String,
}

/// A short timeout; a dead server costs a client so much.
const CONNECT: Duration = Duration::from_secs(2);
/// Time between two checks beyond which a swap waits for the next one.
const INTER: Duration = Duration::from_secs(2);

struct Section<'a> {
    kind: &'a str,
    name: &'a str,
    lines: Vec<(usize, Vec<&'a str>)>,
}

const KINDS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

/// Sections of kinds that matter here. Includes, conditions and variables are not followed.
fn sections(config: &str) -> Vec<Section<'_>> {
    let mut found: Vec<Section<'_>> = vec![];
    let mut skipping = true;
    for (number, line) in config.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if !line.starts_with([' ', '\t']) {
            skipping = !KINDS.contains(first);
            if !skipping {
                found.push(Section {
                    kind: first,
                    name: words.get(1).copied().unwrap_or_default(),
                    lines: vec![],
                });
            }
        } else if let (false, Some(section)) = (skipping, found.last_mut()) {
            section.lines.push((number + 1, words));
        }
    }
    found
}

/// Lines that hold for a backend: its own, then those of the defaults before it.
fn effective<'a, 'b>(sections: &'b [Section<'a>], backend: &str) -> Vec<&'b (usize, Vec<&'a str>)> {
    let at = sections
        .iter()
        .position(|section| matches!(section.kind, "backend" | "listen") && section.name == backend);
    let Some(at) = at else { return vec![] };
    let defaults = sections[..at].iter().rev().find(|section| section.kind == "defaults");
    sections[at].lines.iter().chain(defaults.into_iter().flat_map(|defaults| &defaults.lines)).collect()
}

fn has<'b, 'a>(lines: &[&'b (usize, Vec<&'a str>)], words: &[&str]) -> Option<&'b (usize, Vec<&'a str>)> {
    lines.iter().find(|(_, line)| line.starts_with(words)).copied()
}

/// A time as HAProxy writes it: milliseconds without a unit.
fn time(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let micros = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    Some(Duration::from_micros(number.checked_mul(micros)?))
}

/// The file from which a reload takes the state of a backend's servers, and whether it holds all backends; `None` if it takes it
/// from nowhere, and then forgets who was drained.
pub fn state_file(config: &str, backend: &str) -> Option<(PathBuf, bool)> {
    let sections = sections(config);
    let global: Vec<&(usize, Vec<&str>)> = sections
        .iter()
        .filter(|section| section.kind == "global")
        .flat_map(|section| &section.lines)
        .collect();
    let base = has(&global, &["server-state-base"]).and_then(|(_, line)| line.get(1));
    let below = |name: &str| base.map_or_else(|| PathBuf::from(name), |base| PathBuf::from(base).join(name));
    let lines = effective(&sections, backend);
    match has(&lines, &["load-server-state-from-file"])?.1.get(1).copied()? {
        "global" => Some((below(has(&global, &["server-state-file"])?.1.get(1)?), true)),
        "local" => {
            let named = has(&lines, &["server-state-file-name"]).and_then(|(_, line)| line.get(1).copied());
            Some((below(named.filter(|name| *name != "use-backend-name").unwrap_or(backend)), false))
        }
        _ => None,
    }
}

/// Reads a configuration and says what in it would cost requests when the servers of `backend` are exchanged, are reloaded, or die.
pub fn lint(config: &str, backend: &str) -> Vec<Finding> {
    let sections = sections(config);
    let lines = effective(&sections, backend);
    let global: Vec<&(usize, Vec<&str>)> = sections
        .iter()
        .filter(|section| section.kind == "global")
        .flat_map(|section| &section.lines)
        .collect();
    let mut found = vec![];
    let mut say =
        |line: Option<usize>, about: &'static str, why: String| found.push(Finding { line, about, why });
    if !sections.iter().any(|section| matches!(section.kind, "backend" | "listen") && section.name == backend)
    {
        say(None, "backend", format!("there is no backend `{backend}` in this file"));
        return found;
    }
    match has(&lines, &["timeout", "connect"])
        .map(|(line, words)| (*line, words.get(2).and_then(|value| time(value))))
    {
        Some((_, Some(given))) if given <= CONNECT => {}
        Some((line, _)) => say(
            Some(line),
            "timeout connect",
            "a server that is gone holds a client for so long; write `timeout connect 500ms`".into(),
        ),
        None => say(
            None,
            "timeout connect",
            "without it, a server that is gone holds a client without end; write `timeout connect 500ms`"
                .into(),
        ),
    }
    if has(&lines, &["option", "redispatch"]).is_none() {
        say(None, "option redispatch", "a request that meets a server which just died is tried there again and then fails; write `option redispatch 1`".into());
    }
    let front: Vec<&(usize, Vec<&str>)> = sections
        .iter()
        .filter(|section| section.kind != "global")
        .flat_map(|section| &section.lines)
        .collect();
    if has(&front, &["option", "idle-close-on-response"]).is_none() {
        say(None, "option idle-close-on-response", "a reload closes idle connections of clients, who may be sending just then; write it into `defaults` or the frontend".into());
    }
    if let Some((line, words)) = has(&lines, &["retry-on"])
        && words[1..].iter().any(|when| !matches!(*when, "none" | "conn-failure"))
    {
        say(Some(*line), "retry-on", "anything beyond `conn-failure` can send a request twice that changes something; leave it at its default".into());
    }
    let master = has(&global, &["master-worker"]).is_some();
    if !master {
        say(None, "master-worker", "without a master (here, or `-W` on the command line) nobody sees what workers before a reload still answer".into());
    }
    if has(&global, &["hard-stop-after"]).is_none() {
        say(
            None,
            "hard-stop-after",
            "workers before a reload stay as long as their slowest client; write `hard-stop-after 5m` or so"
                .into(),
        );
    }
    if state_file(config, backend).is_none() {
        say(None, "load-server-state-from-file", "nothing keeps who was drained across a reload: it begins with what this file says; write `load-server-state-from-file global` and `server-state-file PATH` in `global`".into());
    }
    checks(&lines, &mut say);
    found
}

fn checks(lines: &[&(usize, Vec<&str>)], say: &mut impl FnMut(Option<usize>, &'static str, String)) {
    let defaults: Vec<&str> = lines
        .iter()
        .filter(|(_, words)| words.first() == Some(&"default-server"))
        .flat_map(|(_, words)| words[1..].to_vec())
        .collect();
    for (line, words) in lines.iter().filter(|(_, words)| words.first() == Some(&"server")) {
        let name = words.get(1).copied().unwrap_or_default();
        let own = words.get(3..).unwrap_or_default();
        let all: Vec<&str> = own.iter().chain(&defaults).copied().collect();
        if !all.contains(&"check") || own.contains(&"no-check") {
            say(
                Some(*line),
                "check",
                format!("HAProxy sends requests to `{name}` also when it is dead; write `check`"),
            );
            continue;
        }
        let inter = all.iter().position(|word| *word == "inter").and_then(|at| time(all.get(at + 1)?));
        if inter.is_none_or(|inter| inter >= INTER) {
            say(
                Some(*line),
                "inter",
                format!(
                    "`{name}` is checked every 2 s or less often, and each swap waits for that; write `inter 500ms` or so"
                ),
            );
        }
        if all.windows(2).any(|pair| pair == ["on-marked-down", "shutdown-sessions"]) {
            say(
                Some(*line),
                "on-marked-down",
                format!("what `{name}` is still answering is cut when it is put into maintenance"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
global
    master-worker
    hard-stop-after 5m
    server-state-base /var/lib/haproxy
    server-state-file global.state
defaults
    timeout connect 500ms
    option redispatch 1
    option idle-close-on-response
    load-server-state-from-file global
    default-server check inter 200ms # short
backend app
    server a 127.0.0.1:1
";

    fn about(config: &str) -> Vec<&'static str> {
        lint(config, "app").into_iter().map(|finding| finding.about).collect()
    }

    #[test]
    fn a_good_configuration_has_no_findings_and_each_line_of_it_is_needed() {
        assert_eq!(lint(GOOD, "app"), []);
        for (without, finding) in [
            ("    master-worker\n", "master-worker"),
            ("    hard-stop-after 5m\n", "hard-stop-after"),
            ("    server-state-file global.state\n", "load-server-state-from-file"),
            ("    timeout connect 500ms\n", "timeout connect"),
            ("    option redispatch 1\n", "option redispatch"),
            ("    option idle-close-on-response\n", "option idle-close-on-response"),
            ("    load-server-state-from-file global\n", "load-server-state-from-file"),
            ("    default-server check inter 200ms # short\n", "check"),
            (" inter 200ms", "inter"),
        ] {
            assert!(GOOD.contains(without));
            assert_eq!(about(&GOOD.replace(without, "")), [finding], "{without}");
        }
    }

    #[test]
    fn what_is_worse_than_the_default_is_told_with_its_line() {
        for (good, bad, finding) in [
            ("timeout connect 500ms", "timeout connect 5s", "timeout connect"),
            ("timeout connect 500ms", "timeout connect 5s\n    timeout connect 1s", "timeout connect"),
            ("inter 200ms", "inter 2000", "inter"),
            ("check inter", "check on-marked-down shutdown-sessions inter", "on-marked-down"),
            ("option redispatch 1", "option redispatch 1\n    retry-on all-retryable-errors", "retry-on"),
        ] {
            let findings = lint(&GOOD.replace(good, bad), "app");
            assert_eq!(findings.iter().map(|one| one.about).collect::<Vec<_>>(), [finding], "{bad}");
            assert!(findings[0].line.is_some());
        }
        assert_eq!(lint(GOOD, "web")[0].about, "backend");
        assert_eq!(about("backend app\n"), about("backend app\n\n# nothing\n"));
    }

    #[test]
    fn the_file_of_states_is_found_as_haproxy_finds_it() {
        assert_eq!(state_file(GOOD, "app"), Some(("/var/lib/haproxy/global.state".into(), true)));
        let local = GOOD.replace("from-file global", "from-file local");
        assert_eq!(state_file(&local, "app"), Some(("/var/lib/haproxy/app".into(), false)));
        let named = local.replace("backend app\n", "backend app\n    server-state-file-name mine\n");
        assert_eq!(state_file(&named, "app"), Some(("/var/lib/haproxy/mine".into(), false)));
        assert_eq!(state_file(&GOOD.replace("from-file global", "from-file none"), "app"), None);
        assert_eq!(state_file("", "app"), None);
    }
}
