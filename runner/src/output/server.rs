//! The server: where it is, and whom it lets in.

use std::{io, path::Path, time::Duration};

use serde_json::json;
use staith_model::{
    Name, TokenId,
    service::{EnrolmentMade, RunnerSeen, ServerStatus},
};
use staith_server::{
    api::Grant,
    store::{AuditEntry, AuditVerdict, SecretSeen, TokenSeen},
    tokens::TokenMade,
    upkeep::{Checked, Manifest},
};

use super::{
    OutputMode,
    clean::clean_word,
    human::{duration, size},
    sink::Sink,
    table,
};

/// Says where the server is, and where the first administrator's token is if it was made just now.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn server_serves(
    url: &str,
    data: &Path,
    first: Option<&Path>,
    mode: OutputMode,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "serving": url, "data": data, "admin_token": first }).to_string());
        return out.written();
    }
    out.line(&format!("the server is at {url}"));
    out.line(&format!("what it knows is in {}", data.display()));
    if let Some(first) = first {
        out.line(&format!("the first administrator's token is in {}", first.display()));
    }
    out.written()
}

/// Shows a token, this once.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn token_made(made: &TokenMade, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "id": made.id, "token": made.token, "expires": made.expires }).to_string());
    } else {
        out.line(&made.token);
        out.line(&format!(
            "this is shown once; its id is {}, and it is valid until {}",
            made.id,
            day(made.expires)
        ));
    }
    out.written()
}

/// Shows a code for a runner, this once, in the command that uses it.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn runner_code(made: &EnrolmentMade, command: &str, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        let told = json!({ "code": made.code, "valid_millis": made.valid_millis, "command": command });
        out.line(&told.to_string());
    } else {
        out.line(command);
        let valid = duration(Duration::from_millis(made.valid_millis));
        out.line(&format!("this is shown once, and is good for one host; it is valid for {valid}"));
    }
    out.written()
}

/// Says what the server is, and how much waits.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_status(status: &ServerStatus, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&serde_json::to_string(status).map_err(io::Error::other)?);
        return out.written();
    }
    let jobs = format!(
        "{} with runners, {} wait for one, {} wait for other jobs",
        status.jobs_running, status.jobs_queued, status.jobs_waiting
    );
    let rows = [
        ("server", clean_word(&status.url)),
        ("version", clean_word(&status.version)),
        ("runners", format!("{} get jobs", status.runners_active)),
        ("runs", format!("{} have not ended", status.runs_open)),
        ("jobs", jobs),
        ("happenings", format!("{} are to be looked into", status.arrivals_waiting)),
        ("messages", format!("{} are to be delivered", status.outbox_waiting)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(what, is)| vec![what.to_owned(), is]).collect();
    table::lines(&rows).iter().for_each(|line| out.line(line));
    out.written()
}

/// Lists runners.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_runners(runners: &[RunnerSeen], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        for runner in runners {
            out.line(&serde_json::to_string(runner).map_err(io::Error::other)?);
        }
        return out.written();
    }
    let row = |runner: &RunnerSeen| {
        let labels: Vec<&str> = runner.labels.iter().map(Name::as_str).collect();
        vec![
            runner.name.to_string(),
            runner.state.as_str().to_owned(),
            match &runner.target {
                Some(target) => format!("target {target}"),
                None => format!("pool {}", runner.pool),
            },
            labels.join(" "),
            if runner.ephemeral { "one job".to_owned() } else { String::new() },
            clean_word(&runner.version),
            format!("seen {}", moment(runner.seen)),
            runner.id.to_string(),
        ]
    };
    table::lines(&runners.iter().map(row).collect::<Vec<_>>()).iter().for_each(|line| out.line(line));
    out.written()
}

fn moment(unix_millis: u64) -> String {
    let at = i64::try_from(unix_millis).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Lists tokens.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn tokens(tokens: &[TokenSeen], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        for token in tokens {
            out.line(&serde_json::to_string(token).map_err(io::Error::other)?);
        }
        return out.written();
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            let grants: Vec<String> = token.grants.iter().map(grant).collect();
            let until = match token.revoked {
                Some(at) => format!("revoked {}", day(at)),
                None => format!("until {}", day(token.expires)),
            };
            vec![token.id.to_string(), clean_word(&token.name), grants.join(", "), until]
        })
        .collect();
    for line in table::lines(&rows) {
        out.line(&line);
    }
    out.written()
}

/// Says that a token counts for nothing any more.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn token_revoked(id: &TokenId, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "revoked": id }).to_string());
    } else {
        out.line(&format!("the token {id} counts for nothing any more"));
    }
    out.written()
}

fn grant(grant: &Grant) -> String {
    let role = serde_json::to_value(grant.role).ok();
    let role = role.as_ref().and_then(serde_json::Value::as_str).unwrap_or("?").to_owned();
    match (&grant.project, &grant.environment) {
        (Some(project), Some(environment)) => format!("{role} in {project}/{environment}"),
        (Some(project), None) => format!("{role} in {project}"),
        _ => format!("{role} everywhere"),
    }
}

/// An instant for people, in UTC.
fn instant(unix_millis: u64) -> String {
    let at =
        i64::try_from(unix_millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.map_or_else(|| unix_millis.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A day for people.
fn day(unix_millis: u64) -> String {
    let at =
        i64::try_from(unix_millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.map_or_else(|| unix_millis.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// Shows entries of the record of what was done.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_audit_entries(entries: &[AuditEntry], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    for entry in entries {
        if mode.is_json() {
            out.line(&serde_json::to_string(entry).map_err(io::Error::other)?);
            continue;
        }
        let from = entry.origin.as_deref().map(|from| format!(" from {from}")).unwrap_or_default();
        let who = clean_word(&format!("{}{from}", entry.who));
        let (what, subject) = (clean_word(&entry.what), clean_word(&entry.subject));
        let mut line = format!("{}  {}  {who}  {what}  {subject}", entry.seq, instant(entry.at));
        for (word, value) in [("was", &entry.before), ("is", &entry.after)] {
            line.extend(value.as_ref().map(|value| format!("  {word} {}", clean_word(value))));
        }
        out.line(&line);
    }
    out.written()
}

/// Says whether the record of what was done is whole.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_audit(verdict: &AuditVerdict, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&serde_json::to_string(verdict).map_err(io::Error::other)?);
        return out.written();
    }
    match &verdict.broken {
        None => out.line(&format!("all {} entries are as they were written", verdict.whole)),
        Some(broken) => {
            out.line(&format!("entry {} is not as it was written: {}", broken.seq, clean_word(&broken.why)));
            out.line(&format!("the {} entries before it are", verdict.whole));
        }
    }
    if let Some(head) = &verdict.head {
        out.line(&format!("the last of them has the hash {head}"));
    }
    out.written()
}

/// Says whether all that a server knows is as it was written.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_checked(checked: &Checked, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&serde_json::to_string(checked).map_err(io::Error::other)?);
        return out.written();
    }
    for found in &checked.findings {
        let lost = if found.lost { "damaged" } else { "left alone" };
        out.line(&format!("{lost}: {}: {}", clean_word(&found.place), clean_word(&found.what)));
    }
    let looked = format!(
        "{} rows, {} streams and {} entries of the audit log were read",
        checked.rows, checked.streams, checked.audit
    );
    out.line(&match checked.findings.len() {
        0 => format!("all is as it was written: {looked}"),
        found => format!("{found} are not as they should be: {looked}"),
    });
    out.written()
}

/// Says what was backed up, or restored.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_backup(manifest: &Manifest, verb: &str, at: &Path, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let bytes: u64 = manifest.files.values().map(|file| file.length).sum();
    if mode.is_json() {
        let told = json!({ verb: at, "files": manifest.files.len(), "bytes": bytes, "made": manifest.made });
        out.line(&told.to_string());
        return out.written();
    }
    out.line(&format!("{verb} {}: {} files, {}", at.display(), manifest.files.len(), size(bytes)));
    out.written()
}

/// Lists the secrets of a project.
///
/// # Errors
/// As [`server_serves`].
pub(crate) fn server_secrets(secrets: &[SecretSeen], mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        for secret in secrets {
            out.line(&serde_json::to_string(secret).map_err(io::Error::other)?);
        }
        return out.written();
    }
    let rows: Vec<Vec<String>> = secrets
        .iter()
        .map(|secret| {
            let whom = match (&secret.place.environment, secret.protected) {
                (Some(environment), _) => format!("for releases to {environment}"),
                (None, true) => "for protected branches and tags".to_owned(),
                (None, false) => "for all branches".to_owned(),
            };
            let version = format!("version {}", secret.version);
            vec![secret.place.name.to_string(), whom, version, format!("set {}", day(secret.changed))]
        })
        .collect();
    for line in table::lines(&rows) {
        out.line(&line);
    }
    out.written()
}
