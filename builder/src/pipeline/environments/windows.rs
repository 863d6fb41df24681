//! What a target says of a Windows machine.

use staith_model::{WindowsRelease, WindowsWay};

use super::{
    super::{
        problems::Problem,
        values::{Understood, complaint},
        walk::Table,
    },
    targets::understood,
};

/// The keys that make a target a Windows machine, or are about one.
pub(super) const KEYS: [&str; 4] = ["site", "app-pool", "windows-service", "way"];

/// What gets a release there; the inner none is a machine that is not Windows, the outer one a mistake that was told.
#[allow(clippy::option_option, reason = "both are wanted, and the caller takes them apart at once")]
pub(super) fn read(table: &Table<'_>) -> Option<Option<WindowsRelease>> {
    if !KEYS.iter().any(|key| table.has(key)) {
        return Some(None);
    }
    let name = |key| {
        let read = |text: &str| understood(WindowsRelease::name(text));
        if table.has(key) { table.text(key, read).map(|name| Some(name.value)) } else { Some(None) }
    };
    let way = if table.has("way") { table.text("way", way)?.value } else { WindowsWay::default() };
    let gets = WindowsRelease {
        site: name("site")?,
        app_pool: name("app-pool")?,
        service: name("windows-service")?,
        way,
    };
    if gets.site.is_some() {
        return Some(Some(gets));
    }
    // Both say something of a site.
    for key in ["app-pool", "way"] {
        if let Some(entry) = table.entry(key) {
            let message = format!("`{key}` of {} is about an IIS site, and none is named", table.title());
            let help = "add the site: `site = \"Shop\"`; or remove this";
            table.problems().add(Problem::at(entry.key_place, message, "there is no `site` beside it", help));
            return None;
        }
    }
    Some(Some(gets))
}

fn way(text: &str) -> Understood<WindowsWay> {
    match text {
        "directory" => Ok(WindowsWay::Directory),
        "msdeploy" => Ok(WindowsWay::Msdeploy),
        _ => complaint(
            "is not known",
            "a site gets a release in one of two ways",
            "write \"directory\" or \"msdeploy\"",
        ),
    }
}
