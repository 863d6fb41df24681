//! Packages on their way between places.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use staith_model::{Package, service::Trust};
use staith_packager::registry::transfer::{Pulled, Pushed};

use super::{OutputMode, clean::clean_word, human, sink::Sink};

/// People see movement several times a second; more often would only cost.
const BETWEEN: Duration = Duration::from_millis(100);

/// What to call with the progress of files; with no name when all is over. A moving line on a terminal, nothing elsewhere.
pub(crate) fn carrying(verb: &str, mode: OutputMode) -> impl Fn(&str, u64, u64) + Send + Sync + use<> {
    let moves = io::stderr().is_terminal() && !mode.is_json();
    let (verb, last) = (verb.to_owned(), Mutex::new(None::<Instant>));
    move |file, done, all| {
        if !moves {
            return;
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let terminal = console::Term::stderr();
        if file.is_empty() {
            if last.is_some() {
                let _ = terminal.clear_line();
            }
        } else if last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            *last = Some(Instant::now());
            let line = format!("{verb} {}: {} of {}", clean_word(file), human::size(done), human::size(all));
            let _ = terminal.clear_line().and_then(|()| terminal.write_str(&line));
        }
    }
}

/// Says what was pushed.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn pushed(package: &Package, pushed: &Pushed, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let Package { name, version, digest, size, .. } = package;
    if mode.is_json() {
        let told = json!({
            "name": name, "version": version, "digest": digest, "size": size, "manifest": pushed.manifest,
            "tag": pushed.tag.as_str(), "sent": pushed.sent, "known": pushed.known, "referrers": pushed.referrers,
        });
        out.line(&told.to_string());
    } else {
        let sent = match (pushed.sent, pushed.known) {
            (0, _) => "all of it was there".to_owned(),
            (sent, 0) => format!("{} sent", human::size(sent)),
            (sent, known) => format!("{} sent, {} was there", human::size(sent), human::size(known)),
        };
        out.line(&format!("pushed {name}@{version} as {} ({sent})", pushed.manifest));
    }
    out.written()
}

/// Says where a package is now.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn pulled(pulled: &Pulled, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        let Package { name, version, digest, content, size } = &pulled.package;
        let mut told = json!({
            "path": pulled.path, "name": name, "version": version, "digest": digest, "content": content, "size": size,
            "manifest": pulled.manifest, "was_here": pulled.was_here, "resumed": pulled.resumed, "beside": pulled.beside,
        });
        if let Some(trust) = pulled.trust {
            told["trust"] = trust.as_str().into();
        }
        out.line(&told.to_string());
    } else {
        if let Some(trust @ (Trust::Branch | Trust::Fork)) = pulled.trust {
            let whose = format!(
                "the server says that code of a {} made it, and not of a protected branch or tag",
                trust.as_str()
            );
            Sink::new(io::stderr()).line(&whose);
        }
        for path in std::iter::once(&pulled.path).chain(&pulled.beside) {
            out.line(&clean_word(&path.display().to_string()));
        }
    }
    out.written()
}

/// Says where packages are served, and how to pull one.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn serving(address: SocketAddr, writable: bool, mode: OutputMode) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        out.line(&json!({ "listening": address, "writable": writable }).to_string());
        return out.written();
    }
    let rights =
        if writable { "whoever can connect can pull and push" } else { "whoever can connect can pull" };
    out.line(&format!("packages are served at {address} until Ctrl-C; {rights}"));
    out.line(&format!(
        "  skopeo copy --src-tls-verify=false docker://{address}/NAME:VERSION oci:DIR:VERSION"
    ));
    out.line(&format!("  oras pull --plain-http {address}/NAME:VERSION"));
    out.line(&format!("  staith pull NAME@VERSION --from oci://{address}"));
    out.written()
}
