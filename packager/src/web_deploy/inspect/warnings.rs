//! What somebody should know of a package before using or publishing it.

use super::Warning;
use crate::{
    parameters::{Declarations, Mistake},
    secrecy::{may_hold_secret, names_a_secret},
    web_deploy::{Dialect, ItemKind, PackageReader, ReadError, RootKind, archive::Provider, metadata},
};

/// The parameter that Azure Pipelines always sets.
const APPLICATION_NAME: &str = "IIS Web Application Name";

/// What somebody should know of a package with these parameters, and these mistakes in them.
pub(super) fn of(
    package: &PackageReader,
    declarations: &Declarations,
    mistakes: Vec<Mistake>,
) -> Result<Vec<Warning>, ReadError> {
    let mut warnings = Vec::new();
    warnings.extend(missing_directory(package).map(|directory| Warning::NoDirectoryEntries { directory }));
    let chains = package.archive().chains();
    let all = || chains.iter().filter_map(|chain| chain.last());
    all().for_each(|provider| warn_of_provider(provider, &mut warnings));
    let with_options =
        all().filter(|provider| provider.options.is_some()).map(|provider| provider.name.clone());
    let mut providers: Vec<String> = with_options.collect();
    providers.sort_unstable();
    providers.dedup();
    if !providers.is_empty() || package.archive().options.is_some() {
        warnings.push(Warning::OptionsBlobs { providers });
    }
    if let Some(machine) = package.machine_name()? {
        warnings.push(Warning::HostName { machine });
    }
    for file in [metadata::PARAMETERS_XML, metadata::SYSTEM_INFO_XML] {
        if package.find(file).is_none() {
            warnings.push(Warning::NotForPipelines { file });
        }
    }
    if declarations.get(APPLICATION_NAME).is_none() {
        warnings.push(Warning::NoApplicationName);
    }
    let secret = declarations.parameters().iter().filter(|parameter| parameter.gives_secret_away());
    warnings.extend(secret.map(|secret| Warning::SecretInDefault { parameter: secret.name.clone() }));
    warnings.extend(mistakes.into_iter().map(|wrong| Warning::BadDeclaration {
        line: wrong.line,
        column: wrong.column,
        mistake: wrong.fault.to_string(),
    }));
    Ok(warnings)
}

fn warn_of_provider(provider: &Provider, warnings: &mut Vec<Warning>) {
    let name = || provider.name.clone();
    let path = provider.path.as_deref().unwrap_or_default();
    if may_hold_secret(path) {
        warnings.push(Warning::SecretInProvider { provider: name(), property: "path".to_owned() });
    } else if is_absolute(path) {
        let (provider, path) = (name(), path.to_owned());
        // Children repeat it.
        if !warnings.iter().any(|one| matches!(one, Warning::BuildPath { path: known, .. } if *known == path))
        {
            warnings.push(Warning::BuildPath { provider, path });
        }
    }
    let attributes = provider.attributes.iter().map(|one| (one.name.as_str(), one.value.to_string()));
    let settings = provider.options.iter().flat_map(|options| &options.settings);
    let settings = settings.map(|one| (one.name.as_str(), one.value.clone().unwrap_or_default()));
    for (property, value) in attributes.chain(settings) {
        if may_hold_secret(&value) || (names_a_secret(property) && !value.is_empty()) {
            warnings.push(Warning::SecretInProvider { provider: name(), property: property.to_owned() });
        }
    }
}

/// Whether a path begins at a drive or at another machine.
fn is_absolute(path: &str) -> bool {
    let mut bytes = path.bytes();
    let is_drive = bytes.next().is_some_and(|letter| letter.is_ascii_alphabetic())
        && bytes.next() == Some(b':')
        && matches!(bytes.next(), Some(b'\\' | b'/'));
    is_drive || path.starts_with("\\\\")
}

/// The first directory of the content that has no entry of its own.
fn missing_directory(package: &PackageReader) -> Option<String> {
    if package.dialect() == Dialect::Archive {
        // Opening it has seen to it.
        return None;
    }
    for root in package.content_roots() {
        if root.kind == RootKind::Directory && package.find(&root.entry).is_none() {
            return Some(format!("{}/", root.entry));
        }
        for item in package.items(&root) {
            let Some(parent) = item.path.parent() else { continue };
            let name = format!("{}/{parent}", root.entry);
            if matches!(item.kind, ItemKind::File { .. }) && package.find(&name).is_none() {
                return Some(format!("{name}/"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_paths_are_absolute() {
        for path in ["C:\\build", "d:/a", "\\\\server\\share"] {
            assert!(is_absolute(path), "{path}");
        }
        for path in ["app", "Default Web Site/app", "echo a: b", ""] {
            assert!(!is_absolute(path), "{path}");
        }
    }
}
