//! The built-in proxy: where it serves, and how its members are.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path};

use serde_json::json;
use staith_model::Name;
use staith_releaser::proxy::station::protocol::{MemberStatus, Status};

use super::{OutputMode, clean::clean_word, sink::Sink, table};

/// Says where clients and deployments come in.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn proxy_serves(
    entrances: &BTreeMap<Name, Vec<SocketAddr>>,
    control: &Path,
    mode: OutputMode,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "serving": entrances, "control": control }).to_string());
        return out.written();
    }
    for (backend, addresses) in entrances {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        out.line(&format!("{backend} is served at {}", addresses.join(", ")));
    }
    out.line(&format!("deployments say at {} who gets requests", control.display()));
    out.written()
}

/// Says that the proxy has ended.
///
/// # Errors
/// As [`proxy_serves`].
pub(crate) fn proxy_ended(cut: usize, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "ended": true, "cut": cut }).to_string());
    } else {
        out.line(&match cut {
            0 => "ended; every request was finished".to_owned(),
            cut => format!("ended; {cut} connections were cut because their time was over"),
        });
    }
    out.written()
}

/// Says that requests are held, or go on.
///
/// # Errors
/// As [`proxy_serves`].
pub(crate) fn proxy_paused(backend: &Name, seconds: Option<u64>, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "backend": backend, "paused_seconds": seconds }).to_string());
    } else {
        out.line(&match seconds {
            Some(seconds) => format!("requests to {backend} are held, for {seconds} s at most"),
            None => format!("requests to {backend} go on"),
        });
    }
    out.written()
}

/// Shows a backend.
///
/// # Errors
/// As [`proxy_serves`].
pub(crate) fn proxy_status(backend: &Name, status: &Status, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        let mut value = serde_json::to_value(status)?;
        value["backend"] = json!(backend);
        out.line(&value.to_string());
        return out.written();
    }
    let held = if status.paused { "; requests are held" } else { "" };
    out.line(&format!(
        "{backend}: {} requests answered, last told by epoch {}{held}",
        status.served, status.epoch
    ));
    let rows: Vec<Vec<String>> = status.members.iter().map(|(name, member)| row(name, member)).collect();
    for line in table::lines(&rows) {
        out.line(&format!("  {line}"));
    }
    out.written()
}

fn row(name: &Name, member: &MemberStatus) -> Vec<String> {
    let serves = if member.admitted { format!("weight {}", member.weight) } else { "no requests".into() };
    let up = match member.up {
        Some(true) => "up".to_owned(),
        Some(false) => format!("down: {}", clean_word(&member.check)),
        None => "not checked yet".to_owned(),
    };
    vec![name.to_string(), member.address.clone(), serves, format!("{} in flight", member.in_flight), up]
}
