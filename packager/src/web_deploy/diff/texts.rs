//! Parameters and providers: named things with properties that are texts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use staith_model::Digest;

use super::{Change, TextFact, files::hash, what};
use crate::{
    parameters::Parameter,
    secrecy::{HIDDEN, may_hold_secret, names_a_secret},
    web_deploy::{Declared, PackageReader, ReadError, archive::Provider, metadata},
};

/// Properties with their values; those of secrets are compared but never shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties(BTreeMap<String, (String, bool)>);

impl Properties {
    fn say(&mut self, property: impl Into<String>, value: impl Into<String>, is_secret: bool) {
        let value = value.into();
        let is_secret = is_secret || may_hold_secret(&value);
        self.0.insert(property.into(), (value, is_secret));
    }
}

/// How named things differ by their properties.
pub(super) fn compare(
    old: &BTreeMap<String, Properties>,
    new: &BTreeMap<String, Properties>,
) -> Vec<Change<TextFact>> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = Properties::default();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| {
            let (was, is) = (old.get(name), new.get(name));
            let facts = compare_properties(was.unwrap_or(&none), is.unwrap_or(&none));
            Change { name: name.clone(), what: what(was.is_some(), is.is_some()), facts }
        })
        .collect()
}

fn compare_properties(was: &Properties, is: &Properties) -> Vec<TextFact> {
    let names: BTreeSet<&String> = was.0.keys().chain(is.0.keys()).collect();
    let shown = |value: Option<&(String, bool)>| match value {
        Some((_, true)) => Some(HIDDEN.to_owned()),
        Some((value, false)) => Some(value.clone()),
        None => None,
    };
    names
        .into_iter()
        .filter(|name| was.0.get(*name) != is.0.get(*name))
        .map(|name| TextFact {
            property: name.clone(),
            old: shown(was.0.get(name)),
            new: shown(is.0.get(name)),
        })
        .collect()
}

/// The declared parameters by name. What is wrong with one is a property of it.
pub(super) fn parameters(package: &PackageReader) -> Result<BTreeMap<String, Properties>, ReadError> {
    let (declarations, mistakes) = package.sound_declarations()?;
    let parameters = declarations.parameters().iter();
    let mut all: BTreeMap<_, _> =
        parameters.map(|parameter| (parameter.name.clone(), properties(parameter))).collect();
    for (nth, wrong) in mistakes.into_iter().enumerate() {
        let of = wrong.parameter.unwrap_or_else(|| metadata::PARAMETERS_XML.to_owned());
        let fault = wrong.fault.to_string();
        all.entry(of).or_default().say(format!("mistake {}", nth + 1), fault, false);
    }
    Ok(all)
}

fn properties(parameter: &Parameter) -> Properties {
    let (mut properties, declared) = (Properties::default(), Declared::from(parameter));
    if let Some(description) = &declared.description {
        properties.say("description", description, false);
    }
    if let Some(default) = &declared.default {
        properties.say("default", default, parameter.hides_default());
    }
    if !declared.tags.is_empty() {
        properties.say("tags", declared.tags.join(", "), false);
    }
    for (nth, entry) in declared.entries.iter().enumerate() {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let said = format!("{} in `{}`: `{}`", entry.kind, part(&entry.scope), part(&entry.matched));
        properties.say(format!("entry {}", nth + 1), said, false);
    }
    properties
}

/// The providers by their place in the tree.
pub(super) fn providers(package: &PackageReader) -> Result<BTreeMap<String, Properties>, ReadError> {
    let mut naming = Naming { package, named: BTreeMap::new(), streams: HashMap::new() };
    naming.name(&package.archive().providers, "")?;
    Ok(naming.named)
}

/// Providers on their way to names.
struct Naming<'p> {
    package: &'p PackageReader,
    named: BTreeMap<String, Properties>,
    /// Digests by entry: each is read once, however many providers name it.
    streams: HashMap<usize, Digest>,
}

impl Naming<'_> {
    /// Names providers by their names and, from the second of a name on, by their number.
    fn name(&mut self, providers: &[Provider], above: &str) -> Result<(), ReadError> {
        let mut seen = BTreeMap::<String, usize>::new();
        for provider in providers {
            let times = seen.entry(provider.name.to_lowercase()).or_default();
            *times += 1;
            let number = if *times > 1 { format!("[{times}]") } else { String::new() };
            let name = format!("{above}{}{number}", provider.name);
            let mut properties = provider_properties(provider);
            if let Some(content) = self.stream(provider)? {
                properties.say("content", content.to_string(), false);
            }
            self.named.insert(name.clone(), properties);
            self.name(&provider.children, &format!("{name}/"))?;
        }
        Ok(())
    }

    /// The digest of a provider's bytes. Names of streams are random: what is in them counts.
    fn stream(&mut self, provider: &Provider) -> Result<Option<Digest>, ReadError> {
        let Some(entry) = provider.stream.as_deref().and_then(|stream| self.package.find(stream)) else {
            return Ok(None);
        };
        if let Some(known) = self.streams.get(&entry) {
            return Ok(Some(*known));
        }
        let digest = hash(self.package, entry)?;
        self.streams.insert(entry, digest);
        Ok(Some(digest))
    }
}

fn provider_properties(provider: &Provider) -> Properties {
    let mut properties = Properties::default();
    if let Some(path) = &provider.path {
        properties.say("path", path, false);
    }
    for attribute in &provider.attributes {
        properties.say(&attribute.name, attribute.value.to_string(), names_a_secret(&attribute.name));
    }
    for setting in provider.options.iter().flat_map(|options| &options.settings) {
        let value = setting.value.clone().unwrap_or_default();
        properties.say(format!("option {}", setting.name), value, names_a_secret(&setting.name));
    }
    properties
}
