//! `packages.lock.json` of NuGet.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::RelPath;

use super::{Found, Pin, Read, link};
use crate::seal::sbom::purl::{Ecosystem, Purl};

#[derive(Deserialize)]
struct Lock {
    /// By target framework.
    #[serde(default)]
    dependencies: BTreeMap<String, BTreeMap<String, Package>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    r#type: String,
    resolved: Option<String>,
    content_hash: Option<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::json(text)?;
    let mut found = Found::default();
    for packages in lock.dependencies.values() {
        let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, package) in packages {
            // A part of the project itself.
            let Some(version) = package.resolved.as_ref().filter(|_| package.r#type != "Project") else {
                continue;
            };
            let mut pin = Pin::new(Purl::new(Ecosystem::Nuget, name, version));
            pin.is_direct = Some(package.r#type == "Direct");
            // It leaves out the signature that the file holds, so it is not the file's hash.
            let hash = package.content_hash.iter().map(|hash| ("staith:nuget-content-hash", hash.clone()));
            pin.properties.extend(hash);
            index.insert(name.to_lowercase(), pins.len());
            needs.push(package.dependencies.keys().map(|name| name.to_lowercase()).collect());
            pins.push(pin);
        }
        link(&mut pins, needs, &index);
        let before = found.pins.len();
        for pin in &mut pins {
            pin.needs.iter_mut().for_each(|need| *need += before);
        }
        found.pins.append(&mut pins);
    }
    Ok(found)
}
