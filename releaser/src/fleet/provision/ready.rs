//! Machines are awaited: they answer, and cloud-init is done there.

use std::{process::Stdio, time::Duration};

use serde::Deserialize;
use staith_model::Name;
use tokio::{process::Command, time::Instant};

use super::{
    super::ssh::{Destination, SshClient, SshError},
    ProvisionError, Voice,
};

/// How a machine is asked.
#[derive(Clone)]
pub enum Reach {
    /// It is this machine.
    Here,
    /// By ssh.
    Ssh(SshClient, Destination),
}

/// Between two tries of a machine that does not answer yet.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const LONGEST: usize = 64 << 10;
/// The shell's part of it. No quote, backslash or exclamation mark in it: a login shell stands between. What cloud-init's own
/// programs wrote is told where it fails.
const SCRIPT: &str = "if command -v cloud-init >/dev/null 2>&1; then cloud-init status --wait --format json; \
                      echo staith:ended $?; tail -n 40 /var/log/cloud-init-output.log 2>/dev/null; else echo staith:absent; fi";

/// Waits for one machine.
pub(super) async fn await_machine(
    name: &Name,
    reach: &Reach,
    patience: Duration,
    voice: &dyn Voice,
) -> Result<(), ProvisionError> {
    voice.begins(&format!("wait for {name}"));
    let not_ready = |why: String| ProvisionError::NotReady { target: name.clone(), why: voice.masked(&why) };
    let until = Instant::now() + patience;
    loop {
        let tried = tokio::time::timeout_at(until, ask(reach)).await;
        let why = match tried {
            Err(_) => format!("cloud-init was not done within {} s", patience.as_secs()),
            Ok(Ok(said)) => match understood(&said) {
                Some(Answer::Ready(told)) => {
                    if let Some(told) = told {
                        voice.begins(&format!("{name}: {told}"));
                    }
                    return Ok(());
                }
                Some(Answer::Failed(why)) => return Err(not_ready(why)),
                // It went down while it was asked: cloud-init may start a machine anew.
                None => "its answer broke off".to_owned(),
            },
            Ok(Err(Mishap { why, is_final: true })) => return Err(not_ready(why)),
            Ok(Err(Mishap { why, .. })) => why,
        };
        if Instant::now() + PAUSE >= until {
            return Err(not_ready(why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a machine could not be asked.
struct Mishap {
    why: String,
    /// Whether it will be no other with time.
    is_final: bool,
}

async fn ask(reach: &Reach) -> Result<Vec<u8>, Mishap> {
    match reach {
        Reach::Here => {
            let shell =
                Command::new("sh").args(["-c", SCRIPT]).stdin(Stdio::null()).kill_on_drop(true).output();
            shell
                .await
                .map(|output| output.stdout)
                .map_err(|error| Mishap { why: format!("no shell can be started: {error}"), is_final: true })
        }
        Reach::Ssh(client, destination) => {
            // Another key may be another machine. All else may come with time: a machine that starts lets nobody in at first.
            let told = |error: SshError| Mishap {
                why: error.to_string(),
                is_final: matches!(
                    error,
                    SshError::ChangedKey { .. } | SshError::RevokedKey { .. } | SshError::Name { .. }
                ),
            };
            let connection = client.connect(destination).await.map_err(told)?;
            connection.output(&format!("sh -c '{SCRIPT}'"), LONGEST).await.map_err(told)
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// With what is to be told beside.
    Ready(Option<String>),
    Failed(String),
}

/// What `cloud-init status --format json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    recoverable_errors: std::collections::BTreeMap<String, Vec<String>>,
}

/// What a machine said; `None` where it was cut short.
fn understood(said: &[u8]) -> Option<Answer> {
    let said = String::from_utf8_lossy(said);
    if said.lines().any(|line| line.trim() == "staith:absent") {
        return Some(Answer::Ready(Some("it has no cloud-init, so none is awaited".into())));
    }
    let (before, after) = said.split_once("staith:ended ")?;
    let (code, log) = after.split_once('\n')?;
    let json = before.find('{').and_then(|at| {
        let mut values = serde_json::Deserializer::from_str(&before[at..]).into_iter::<Status>();
        values.next()?.ok()
    });
    let Some(status) = json else {
        // One that is older than `--format` says it in words, or nothing that is known.
        let done = code == "0" && before.contains("status: done");
        let what = before.trim();
        return Some(match done {
            true => Answer::Ready(None),
            false => failed(&format!("cloud-init says `{what}` (exit code {code})"), log),
        });
    };
    let recoverable: Vec<String> = status.recoverable_errors.values().flatten().cloned().collect();
    Some(match status.status.as_str() {
        "done" if recoverable.is_empty() => Answer::Ready(None),
        "done" => {
            Answer::Ready(Some(format!("cloud-init is done, with warnings: {}", recoverable.join("; "))))
        }
        "disabled" => Answer::Ready(Some("cloud-init is disabled there".into())),
        other => {
            let mut why = format!("cloud-init says `{other}`");
            for more in status.errors.iter().chain([&status.detail]).filter(|more| !more.is_empty()) {
                why.push_str("; ");
                why.push_str(more);
            }
            failed(&why, log)
        }
    })
}

fn failed(why: &str, log: &str) -> Answer {
    let log = log.trim();
    Answer::Failed(if log.is_empty() {
        why.to_owned()
    } else {
        format!("{why}; the end of what it wrote:\n{log}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloud_init_says_is_understood() {
        let said = |json: &str, code: u8, log: &str| {
            understood(format!("{json}\nstaith:ended {code}\n{log}").as_bytes())
        };
        // As cloud-init 22.4 and 23.4 print it.
        let done = r#"{"_schema_version": "1", "boot_status_code": "enabled-by-generator", "datasource": "nocloud",
            "detail": "DataSourceNoCloud", "errors": [], "last_update": "Thu, 01 Jan 1970 00:01:30 +0000", "schemas": {}, "status": "done"}"#;
        assert_eq!(said(done, 0, "all well"), Some(Answer::Ready(None)));
        let error = r#"{"detail": "runcmd failed", "errors": ["('scripts_user', RuntimeError())"], "status": "error"}"#;
        let Some(Answer::Failed(why)) = said(error, 1, "E: no such package\n") else { panic!() };
        assert!(why.contains("RuntimeError") && why.contains("E: no such package"), "{why}");
        let degraded = r#"{"status": "done", "extended_status": "degraded done", "recoverable_errors": {"WARNING": ["deprecated"]}}"#;
        let Some(Answer::Ready(Some(told))) = said(degraded, 2, "") else { panic!() };
        assert!(told.contains("deprecated"));
        assert!(matches!(said("usage: cloud-init", 2, ""), Some(Answer::Failed(_))));
        assert_eq!(said("status: done", 0, ""), Some(Answer::Ready(None)));
        assert!(matches!(understood(b"staith:absent\n"), Some(Answer::Ready(Some(_)))));
        assert_eq!(understood(b"{\"status\": \"do"), None);
        assert_eq!(understood(b""), None);
    }

    #[test]
    fn the_script_has_no_letter_that_shells_between_take_for_themselves() {
        assert!(!SCRIPT.contains(['\'', '\\', '!']), "{SCRIPT}");
    }
}
