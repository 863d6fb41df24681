//! `composer.lock`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use staith_model::RelPath;

use super::{Found, Pin, Read, link};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Lock {
    #[serde(default)]
    packages: Vec<Package>,
    packages_dev: Option<Vec<Package>>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    license: Value,
    dist: Option<Dist>,
    /// PHP writes an empty table as an empty list.
    #[serde(default)]
    require: Value,
}

#[derive(Deserialize)]
struct Dist {
    shasum: Option<String>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::json(text)?;
    let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
    let development = lock.packages_dev.unwrap_or_default();
    let all = lock.packages.into_iter().map(|package| (package, Scope::Required));
    for (package, scope) in all.chain(development.into_iter().map(|package| (package, Scope::Development))) {
        let mut pin = Pin::new(Purl::new(Ecosystem::Composer, &package.name, &package.version));
        pin.scope = scope;
        pin.hashes = package.dist.and_then(|dist| Hash::of_hex("SHA-1", &dist.shasum?)).into_iter().collect();
        pin.licences = match &package.license {
            Value::String(one) => vec![one.clone()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let names = package.require.as_object().into_iter().flatten().map(|(name, _)| name.to_lowercase());
        needs.push(names.collect());
        index.insert(package.name.to_lowercase(), pins.len());
        pins.push(pin);
    }
    link(&mut pins, needs, &index);
    Ok(Found { pins, ..Found::default() })
}
