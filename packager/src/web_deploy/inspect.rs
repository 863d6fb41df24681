//! Everything about a package, in one value.

use std::io;

use serde::Serialize;
use staith_model::{Digest, DigestStream};

use super::{
    DosTime,
    archive::{Provider, ProviderOptions},
    metadata,
    read::{Declared, Dialect, PackageReader, ReadError},
    secrecy::{HIDDEN, holds_a_password, names_a_secret},
};

/// What a package is. Values that look like secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Which of the two kinds it is.
    pub dialect: Dialect,
    /// Who wrote it, as far as can be told.
    pub writer: Writer,
    /// [`PROFILE`](super::PROFILE) of a writer that is Staith. Packages do not say; whoever published one may know.
    pub profile: Option<u32>,
    /// Digest of the file.
    pub digest: Digest,
    /// Digest of the tree inside, where Staith wrote the package.
    pub content: Option<Digest>,
    /// Length of the file in bytes.
    pub size: u64,
    /// Sum of all entries' lengths, in bytes.
    pub unpacked: u64,
    /// Number of files that its providers bring.
    pub files: usize,
    /// The outermost element of `archive.xml` or `manifest.xml`.
    pub root: String,
    /// Options of a package that was made from one provider.
    pub options: Option<ProviderOptions>,
    /// What it is made of.
    pub providers: Vec<Provider>,
    /// What can be set when it is applied.
    pub parameters: Vec<Declared>,
    /// Every entry, in the order of the zip.
    pub entries: Vec<InspectedEntry>,
    /// What somebody should know before using or publishing it.
    pub warnings: Vec<Warning>,
}

/// Who wrote a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writer {
    /// Staith.
    Staith,
    /// Web Deploy, as `archive.xml` has its marks: Visual Studio, MSBuild and `msdeploy.exe`.
    WebDeploy,
    /// Something else.
    Other,
}

/// An entry of the zip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedEntry {
    /// The name; directories end in `/`.
    pub name: String,
    /// Length of the content in bytes.
    pub size: u64,
    /// Length in the package in bytes.
    pub packed: u64,
    /// CRC-32 of the content, in hexadecimal digits.
    pub crc: String,
    /// When it was last changed, as its writer had it, without a zone.
    pub time: DosTime,
}

/// What somebody should know of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "warning", rename_all = "kebab-case")]
pub enum Warning {
    /// Content that has no entries for its directories.
    #[error(
        "`{directory}` has no directory entry; Web Deploy skips such content, except in the gallery's packages"
    )]
    NoDirectoryEntries {
        /// The first one.
        directory: String,
    },
    /// Options that Web Deploy deserializes.
    #[error(
        "it has options blobs ({}), which hosts of Web Deploy hand to BinaryFormatter; they were read as data here",
        if providers.is_empty() { "outermost element".to_owned() } else { providers.join(", ") }
    )]
    OptionsBlobs {
        /// Names of the providers that have one, each once.
        providers: Vec<String>,
    },
    /// Azure Pipelines sets this parameter always.
    #[error(
        "parameter `IIS Web Application Name` is missing; Azure Pipelines sets it, and Web Deploy fails on parameters it does not know"
    )]
    NoApplicationName,
    /// No file of parameters, without which Azure Pipelines does not see a Web Deploy package.
    #[error(
        "`{file}` is missing; Azure Pipelines does not take the package for one of Web Deploy's without it"
    )]
    NotForPipelines {
        /// The file.
        file: &'static str,
    },
    /// The name of the machine that built it.
    #[error("`systemInfo.xml` gives away the machine that made the package: {machine}")]
    HostName {
        /// Its name.
        machine: String,
    },
    /// A secret in a default.
    #[error(
        "parameter `{parameter}` has a default that looks like a secret; everybody who has the package has it"
    )]
    SecretInDefault {
        /// The parameter.
        parameter: String,
    },
    /// A secret in an attribute, an option or a path.
    #[error("{property} of provider `{provider}` looks like a secret; everybody who has the package has it")]
    SecretInProvider {
        /// The provider.
        provider: String,
        /// Which property.
        property: String,
    },
    /// A directory of the machine that built it.
    #[error("provider `{provider}` has the path {path} of the machine that made the package")]
    BuildPath {
        /// The provider.
        provider: String,
        /// The path.
        path: String,
    },
}

const APPLICATION_NAME: &str = "IIS Web Application Name";

/// Looks at all of a package except the bytes of its content; those are read once for the digest of the file, and not
/// verified.
///
/// # Errors
/// The file can't be read, or its metadata is damaged.
pub fn inspect(package: &PackageReader) -> Result<Inspection, ReadError> {
    let (digest, size) = digest(package)?;
    let mut parameters = package.declared_parameters()?;
    let warnings = warnings(package, &parameters)?;
    hide_defaults(&mut parameters);
    let archive = package.archive();
    let mut providers = archive.providers.clone();
    hide_settings(&mut providers);
    let mut options = archive.options.clone();
    options.iter_mut().for_each(hide_options);
    Ok(Inspection {
        dialect: package.dialect(),
        writer: writer(package),
        profile: None,
        digest,
        content: package.content(),
        size,
        unpacked: package.entries().iter().map(|entry| entry.size).sum(),
        files: count_files(package),
        root: archive.root.clone(),
        options,
        providers,
        parameters,
        entries: entries(package),
        warnings,
    })
}

/// Roots may overlap; a file counts once.
fn count_files(package: &PackageReader) -> usize {
    let roots = package.content_roots();
    let files = roots.iter().flat_map(|root| package.items(root)).filter_map(|item| match item.kind {
        super::ItemKind::File { entry, .. } => Some(entry),
        super::ItemKind::Directory | super::ItemKind::Symlink { .. } => None,
    });
    files.collect::<std::collections::HashSet<_>>().len()
}

fn entries(package: &PackageReader) -> Vec<InspectedEntry> {
    let entry = |entry: &super::Listed| InspectedEntry {
        name: entry.name.clone(),
        size: entry.size,
        packed: entry.packed,
        crc: format!("{:08x}", entry.crc),
        time: entry.time,
    };
    package.entries().iter().map(entry).collect()
}

/// Digest and length of the whole file.
fn digest(package: &PackageReader) -> Result<(Digest, u64), ReadError> {
    let (mut hash, mut size, mut buffer) = (DigestStream::new(), 0u64, vec![0; 1 << 18]);
    loop {
        match package.read_raw(&mut buffer, size) {
            Ok(0) => return Ok((hash.finish(), size)),
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(ReadError::Open { path: package.path().to_owned(), source }),
        }
    }
}

fn writer(package: &PackageReader) -> Writer {
    if package.manifest().is_some() {
        return Writer::Staith;
    }
    let archive = package.archive();
    let has_options =
        archive.chains().iter().any(|chain| chain.last().is_some_and(|last| last.options.is_some()));
    // Others leave the blob out, because only .NET writes it.
    if archive.options.is_some() || has_options { Writer::WebDeploy } else { Writer::Other }
}

fn hide_defaults(parameters: &mut [Declared]) {
    for parameter in parameters.iter_mut().filter(|parameter| hides(parameter)) {
        if let Some(default) = &mut parameter.default {
            HIDDEN.clone_into(default);
        }
    }
}

/// Whether a default is not shown. That of a connection string may be one in a parameter of any name.
fn hides(parameter: &Declared) -> bool {
    parameter.is_secret() || parameter.default.as_deref().is_some_and(holds_a_password)
}

fn hide_settings(providers: &mut [Provider]) {
    use super::archive::Value;
    for provider in providers {
        for attribute in &mut provider.attributes {
            if names_a_secret(&attribute.name) || holds_a_password(&attribute.value.to_string()) {
                attribute.value = Value::Text(HIDDEN.to_owned());
            }
        }
        if provider.path.as_deref().is_some_and(holds_a_password) {
            provider.path = Some(HIDDEN.to_owned());
        }
        provider.options.iter_mut().for_each(hide_options);
        hide_settings(&mut provider.children);
    }
}

fn hide_options(options: &mut ProviderOptions) {
    if options.path.as_deref().is_some_and(holds_a_password) {
        options.path = Some(HIDDEN.to_owned());
    }
    for setting in &mut options.settings {
        if names_a_secret(&setting.name) || setting.value.as_deref().is_some_and(holds_a_password) {
            setting.value = Some(HIDDEN.to_owned());
        }
    }
}

fn warnings(package: &PackageReader, parameters: &[Declared]) -> Result<Vec<Warning>, ReadError> {
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
    let is_application = |parameter: &Declared| parameter.name.eq_ignore_ascii_case(APPLICATION_NAME);
    if !parameters.iter().any(is_application) {
        warnings.push(Warning::NoApplicationName);
    }
    let has_secret = |parameter: &&Declared| {
        let default = parameter.default.as_deref().unwrap_or_default();
        let is_reference = default.starts_with('{') && default.ends_with('}');
        // A connection string without a password is no secret that anybody could use.
        let is_password = parameter.tags.iter().any(|tag| tag.eq_ignore_ascii_case("Password"));
        holds_a_password(default) || (is_password && !default.is_empty() && !is_reference)
    };
    let secret = parameters.iter().filter(has_secret);
    warnings.extend(secret.map(|secret| Warning::SecretInDefault { parameter: secret.name.clone() }));
    Ok(warnings)
}

fn warn_of_provider(provider: &Provider, warnings: &mut Vec<Warning>) {
    let name = || provider.name.clone();
    let path = provider.path.as_deref().unwrap_or_default();
    if holds_a_password(path) {
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
        if holds_a_password(&value) || (names_a_secret(property) && !value.is_empty()) {
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
        if root.kind == super::RootKind::Directory && package.find(&root.entry).is_none() {
            return Some(format!("{}/", root.entry));
        }
        for item in package.items(&root) {
            let Some(parent) = item.path.parent() else { continue };
            let name = format!("{}/{parent}", root.entry);
            if matches!(item.kind, super::ItemKind::File { .. }) && package.find(&name).is_none() {
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
