//! The things that all lock files pin, each once.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::RelPath;

use super::{
    component::{Hash, Pin, Scope},
    purl::Purl,
};

/// All components by their purl, in its order.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) components: BTreeMap<String, Component>,
}

/// A component with what all lock files that pin it say.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) scope: Scope,
    pub(super) hashes: BTreeSet<Hash>,
    pub(super) licences: Vec<String>,
    pub(super) properties: BTreeSet<(&'static str, String)>,
    /// Purls of what it needs; `None` where no lock file says.
    pub(super) needs: Option<BTreeSet<String>>,
    /// Whether the project itself asks for it, as far as a lock file says.
    pub(super) is_direct: bool,
}

impl Merged {
    pub(super) fn len(&self) -> usize {
        self.components.len()
    }

    pub(super) fn has(&self, purl: &Purl) -> bool {
        self.components.contains_key(&purl.to_string())
    }

    /// Takes in what one lock file pins.
    pub(super) fn take(&mut self, file: &RelPath, pins: Vec<Pin>) {
        let purls: Vec<String> = pins.iter().map(|pin| pin.purl.to_string()).collect();
        for (purl, pin) in purls.iter().zip(pins) {
            let there = self.components.entry(purl.clone()).or_insert_with(|| Component::of(&pin));
            there.scope = there.scope.max(pin.scope);
            there.hashes.extend(pin.hashes);
            if there.licences.is_empty() {
                there.licences = pin.licences;
            }
            there.properties.extend(pin.properties);
            there.properties.insert(("staith:lock-file", file.to_string()));
            there.is_direct |= pin.is_direct == Some(true);
            if pin.tells_needs {
                let needs =
                    pin.needs.iter().filter_map(|place| purls.get(*place)).filter(|need| *need != purl);
                there.needs.get_or_insert_default().extend(needs.cloned());
            }
        }
    }
}

impl Component {
    fn of(pin: &Pin) -> Self {
        Self {
            namespace: pin.purl.namespace().map(str::to_owned),
            name: pin.purl.name().to_owned(),
            version: pin.purl.version().to_owned(),
            scope: pin.scope,
            hashes: BTreeSet::new(),
            licences: Vec::new(),
            properties: BTreeSet::new(),
            needs: None,
            is_direct: false,
        }
    }
}
