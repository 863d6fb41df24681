//! Which release a service runs, as the kernel has it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use staith_model::{Digest, Service};

use super::{show, supervised};
use crate::{
    layout::{Layout, release_of},
    protocol::Serving,
};

/// How long a process may be this program before it becomes the application.
const BECOMING: Duration = Duration::from_secs(2);
/// Between two looks.
const MOMENT: Duration = Duration::from_millis(5);

/// What a service runs; `None` if there is no way to tell.
pub(crate) fn of(layout: &Layout, service: &Service) -> Option<Serving> {
    let unit = match service {
        Service::Systemd { unit, .. } | Service::Unit { unit } => unit,
        Service::Supervised { .. } => return Some(supervised::serving(layout, BECOMING)),
        Service::Command { .. } | Service::Files => return None,
    };
    let until = Instant::now() + BECOMING;
    loop {
        let pid = main_process(unit)?;
        let Some(pid) = pid else { return Some(Serving::Down) };
        match standing(layout, pid) {
            Standing::Gone if Instant::now() < until => std::thread::sleep(MOMENT),
            Standing::Gone => return Some(Serving::Down),
            Standing::Becoming if Instant::now() < until => std::thread::sleep(MOMENT),
            Standing::Becoming => return Some(Serving::Up(None)),
            Standing::In(release) => return Some(Serving::Up(release)),
        }
    }
}

/// The unit's main process: `None` if systemd does not say, `Some(None)` if there is none.
pub(crate) fn main_process(unit: &str) -> Option<Option<u32>> {
    let told = show(unit, "MainPID,ActiveState")?;
    let value = |key: &str| told.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str());
    let pid: u32 = value("MainPID")?.parse().ok()?;
    let stopped = matches!(value("ActiveState"), Some("inactive" | "failed" | "deactivating"));
    Some((pid != 0 && !stopped).then_some(pid))
}

/// What a process has to do with releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no such process.
    Gone,
    /// It is this program, about to become an application.
    Becoming,
    /// It was started from this release's folder, or from none.
    In(Option<Digest>),
}

/// Which release a process was started from: by its folder, its program, or what it was told when it was started.
pub(crate) fn standing(layout: &Layout, pid: u32) -> Standing {
    let proc = Path::new("/proc").join(pid.to_string());
    if !proc.exists() {
        return Standing::Gone;
    }
    let program = fs::read_link(proc.join("exe")).unwrap_or_default();
    if program == layout.program() {
        return Standing::Becoming;
    }
    let folder = fs::read_link(proc.join("cwd")).unwrap_or_default();
    if let Some(release) = [&folder, &program].into_iter().find_map(|path| release_of_path(layout, path)) {
        return Standing::In(Some(release));
    }
    // One that stands on files that were replaced or removed runs no release that is here.
    if folder.to_string_lossy().ends_with(" (deleted)") || folder.starts_with(layout.releases()) {
        return Standing::In(None);
    }
    Standing::In(release_it_was_told(layout, &proc))
}

fn release_of_path(layout: &Layout, path: &Path) -> Option<Digest> {
    let below = path.strip_prefix(layout.releases()).ok()?;
    release_of(below.components().next()?.as_os_str().to_str()?)
}

/// Programs may go elsewhere after they were started; what they were told stays.
fn release_it_was_told(layout: &Layout, proc: &Path) -> Option<Digest> {
    let environment = fs::read(proc.join("environ")).ok()?;
    let value = |key: &str| {
        let of = |entry: &[u8]| Some(entry.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?.to_vec());
        environment.split(|byte| *byte == 0).find_map(of)
    };
    if value("STAITH_FOLDER")? != layout.root().as_os_str().as_encoded_bytes() {
        return None;
    }
    String::from_utf8(value("STAITH_RELEASE")?).ok()?.parse().ok()
}
