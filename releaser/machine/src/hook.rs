//! Runs a hook, once for each operation.

use std::{fs, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Hook};

use crate::{
    durable,
    layout::Layout,
    lock::Lock,
    point::point,
    protocol::{Asked, HookRan, Order, Reply},
    refusal::{self, Outcome},
    run,
    session::Flags,
    spec::{self, Spec},
    state::State,
};

/// What is waited for another program beyond the time that the hook itself may take: it may be running this very one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is written down of a hook.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    hook: String,
    /// `None` until it has ended.
    outcome: Option<HookRan>,
}

/// Runs a hook, or tells what came of it.
pub(crate) fn hook(
    layout: &Layout,
    order: &Order,
    release: &Digest,
    hook: &Hook,
    flags: &Flags,
) -> Outcome<Reply> {
    let time = Duration::from_secs(hook.timeout_seconds);
    let _lock = Lock::wait(layout, time.saturating_add(PATIENCE), flags)?;
    let mut state = State::admit(layout, order)?;
    let path = layout.operation(&order.operation);
    match read(&path)? {
        Some(Record { outcome: Some(outcome), .. }) => {
            return Ok(Reply::Ran(HookRan { already: true, ..outcome }));
        }
        Some(Record { outcome: None, .. }) if !hook.repeatable => return Err(Asked::Undecided),
        Some(_) | None => {}
    }
    let Some(spec) = Spec::read(layout, release)? else {
        return Err(refusal::environment(
            format!("release {} is not on this machine", release.short()),
            "stage the release first",
        ));
    };
    let mut command = prepare(layout, release, hook, &spec)?;
    durable::create_folder(&layout.operations(), 0o700)
        .map_err(refusal::io("create", &layout.operations()))?;
    let mut record = Record { hook: hook.name.to_string(), outcome: None };
    write(&path, &record)?;
    state.under_way = Some(order.operation);
    state.write(layout)?;
    point("hook-noted");
    // Somebody who hung up learns later what came of it; only a cancellation ends it.
    let ran = run::run(&mut command, Some(time), &|| flags.cancelled());
    state.under_way = None;
    let ran = match ran {
        Ok(ran) if flags.cancelled() && ran.code != Some(0) => {
            // It was ended, so what it did is not known: what is written down says so.
            state.write(layout)?;
            drop(ran);
            return Err(Asked::Cancelled);
        }
        Ok(ran) => ran,
        Err(error) => {
            durable::remove(&path).map_err(refusal::io("remove", &path))?;
            state.write(layout)?;
            return Err(refusal::project(
                format!("the hook `{}` can't be started: {error}", hook.name),
                "let the hook's command in runner.toml name a program that the package or the machine has, and that may be executed",
            ));
        }
    };
    let said = ran.said.iter().map(|byte| char::from(*byte)).collect();
    let outcome = HookRan { code: ran.code, timed_out: ran.timed_out, said, already: false };
    record.outcome = Some(outcome.clone());
    write(&path, &record)?;
    state.write(layout)?;
    point("hook-ended");
    Ok(Reply::Ran(outcome))
}

fn prepare(layout: &Layout, release: &Digest, hook: &Hook, spec: &Spec) -> Outcome<std::process::Command> {
    let name = hook.command.first().map_or("", String::as_str);
    let remedy = "correct the hook's command in runner.toml";
    if name.is_empty() {
        return Err(refusal::project(format!("the hook `{}` has no command", hook.name), remedy));
    }
    if name.contains('/') && !name.starts_with('/') {
        // Looked at without links, so that it can't lead out of the release.
        let home = layout.release(release);
        let inside = home.join(name).canonicalize().is_ok_and(|path| path.starts_with(&home));
        if !inside {
            let why = format!("the package has no file `{name}`, which the hook `{}` is to run", hook.name);
            return Err(refusal::project(why, remedy));
        }
    }
    let mut command = run::in_release(layout, release, &hook.command);
    if let Some(env) = spec.service.env() {
        command.envs(env);
    }
    for (key, secret) in spec::secrets(layout, release)? {
        secret.0.expose_to(|value| {
            command.env(&key, value);
        });
    }
    command.env("STAITH_RELEASE", release.to_string()).env("STAITH_HOOK", hook.name.as_str());
    Ok(command)
}

fn read(path: &Path) -> Outcome<Option<Record>> {
    match fs::read(path) {
        // A damaged record means that it can't be told.
        Ok(bytes) => {
            Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Record { hook: String::new(), outcome: None })))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refusal::told("read", path, &error)),
    }
}

fn write(path: &Path, record: &Record) -> Outcome<()> {
    let json = serde_json::to_vec(record).map_err(|error| refusal::ours(error.to_string()))?;
    durable::write(path, &json, 0o600).map_err(refusal::io("write", path))
}
