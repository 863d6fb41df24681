//! What the store has, and what became of it.

use std::io;

use serde_json::{Value, json};
use staith_model::{Name, Package};
use staith_packager::store::{Channel, Collected, Pin, Published};

use super::{OutputMode, clean::clean_word, human, sink::Sink, table};
use crate::clock;

/// A version that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The version.
    pub(crate) published: Published,
    /// The channels that stand for it.
    pub(crate) channels: Vec<Name>,
    /// Its pin, if it is pinned.
    pub(crate) pin: Option<Pin>,
}

fn say(mode: OutputMode, values: &[Value], lines: &[String]) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if mode.is_json() {
        values.iter().for_each(|value| out.line(&value.to_string()));
    } else {
        lines.iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// Lists versions.
///
/// # Errors
/// It could not be written, and not because nobody reads. This holds for all functions here.
pub(crate) fn packages(kept: &[Kept], mode: OutputMode) -> io::Result<()> {
    let values: Vec<Value> = kept.iter().map(value).collect();
    let now = clock::unix_millis();
    let mut lines = table::lines(&kept.iter().map(|kept| row(kept, now)).collect::<Vec<_>>());
    if lines.is_empty() {
        lines.push("nothing is published here".into());
    }
    say(mode, &values, &lines)
}

fn value(kept: &Kept) -> Value {
    let package = &kept.published.package;
    json!({
        "name": package.name, "version": package.version, "digest": package.digest, "content": package.content,
        "manifest": kept.published.manifest().digest, "size": package.size, "at": kept.published.at,
        "channels": kept.channels, "pinned": kept.pin,
    })
}

fn row(kept: &Kept, now: u64) -> Vec<String> {
    let package = &kept.published.package;
    let mut marks: Vec<String> = kept.channels.iter().map(Name::to_string).collect();
    marks.extend(kept.pin.as_ref().map(|pin| match pin.why.as_str() {
        "" => "pinned".to_owned(),
        why => format!("pinned ({})", clean_word(why)),
    }));
    vec![
        format!("{}@{}", package.name, package.version),
        human::size(package.size),
        format!("{} ago", human::millis(now.saturating_sub(kept.published.at))),
        marks.join(", "),
    ]
}

/// Says where a channel stands now.
pub(crate) fn channel_moved(channel: &Channel, mode: OutputMode) -> io::Result<()> {
    let Channel { name, package, version, history } = channel;
    let from = history.last().and_then(|last| last.from.as_ref());
    let was = from.map_or_else(String::new, |from| format!(" (it was {from})"));
    let value = json!({ "name": package, "channel": name, "version": version, "from": from });
    say(mode, &[value], &[format!("{package}@{name} is {version}{was}")])
}

/// Says that a version is pinned.
pub(crate) fn package_pinned(package: &Package, is_new: bool, mode: OutputMode) -> io::Result<()> {
    let Package { name, version, .. } = package;
    let already = if is_new { "" } else { " already" };
    let value = json!({ "name": name, "version": version, "pinned": true, "changed": is_new });
    say(mode, &[value], &[format!("{name}@{version} is pinned{already}")])
}

/// Says that a version is not pinned.
pub(crate) fn package_unpinned(package: &Package, was_pinned: bool, mode: OutputMode) -> io::Result<()> {
    let Package { name, version, .. } = package;
    let text = if was_pinned { "is no longer pinned" } else { "was not pinned" };
    let value = json!({ "name": name, "version": version, "pinned": false, "changed": was_pinned });
    say(mode, &[value], &[format!("{name}@{version} {text}")])
}

/// Says what a collection of packages removed, or would.
pub(crate) fn packages_collected(collected: &Collected, is_dry: bool, mode: OutputMode) -> io::Result<()> {
    let named = |versions: &[(Name, staith_model::Version)]| -> Vec<String> {
        versions.iter().map(|(name, version)| format!("{name}@{version}")).collect()
    };
    let (gone, later) = (named(&collected.versions), named(&collected.candidates));
    let value = json!({
        "removed": gone, "later": later, "blobs": collected.blobs, "bytes": collected.bytes, "dry_run": is_dry,
    });
    let (removes, goes) = if is_dry { ("would remove", "would go") } else { ("removed", "goes") };
    let mut lines: Vec<String> = gone.iter().map(|version| format!("{removes} {version}")).collect();
    lines.extend(later.iter().map(|version| format!("{version} {goes} after its time of grace")));
    lines.push(match (gone.is_empty() && collected.blobs == 0, is_dry) {
        (true, _) => "nothing to remove".into(),
        (false, false) => format!("removed {}", human::size(collected.bytes)),
        (false, true) => format!("would remove {}", human::size(collected.bytes)),
    });
    say(mode, &[value], &lines)
}
