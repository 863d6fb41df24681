//! Everything about a package, in one value.

mod warnings;

use serde::Serialize;
use staith_model::Digest;

use super::{
    DosTime,
    archive::{Provider, ProviderOptions},
    read::{Declared, Dialect, PackageReader, ReadError},
};
use crate::{
    hashing,
    parameters::Parameter,
    secrecy::{HIDDEN, may_hold_secret, names_a_secret},
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
    /// A declaration that can't be used. Nothing of the package can be applied.
    #[error(
        "`parameters.xml` is wrong at line {line}, column {column}: {mistake}; the package can't be applied"
    )]
    BadDeclaration {
        /// Counted from 1.
        line: u32,
        /// Counted from 1, in characters.
        column: u32,
        /// What is wrong there.
        mistake: String,
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

/// Looks at all of a package except the bytes of its content; those are read once for the digest of the file, and not
/// verified.
///
/// # Errors
/// The file can't be read, or its metadata is damaged.
pub fn inspect(package: &PackageReader) -> Result<Inspection, ReadError> {
    let (digest, size) = digest(package)?;
    let (declarations, mistakes) = package.sound_declarations()?;
    let warnings = warnings::of(package, &declarations, mistakes)?;
    let parameters = declarations.parameters().iter().map(declared).collect();
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
    hashing::digest_of(package.raw())
        .map_err(|source| ReadError::Open { path: package.path().to_owned(), source })
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

/// A parameter as it is shown.
fn declared(parameter: &Parameter) -> Declared {
    let mut declared = Declared::from(parameter);
    if parameter.hides_default() {
        declared.default.iter_mut().for_each(|default| HIDDEN.clone_into(default));
    }
    declared
}

fn hide_settings(providers: &mut [Provider]) {
    use super::archive::Value;
    for provider in providers {
        for attribute in &mut provider.attributes {
            if names_a_secret(&attribute.name) || may_hold_secret(&attribute.value.to_string()) {
                attribute.value = Value::Text(HIDDEN.to_owned());
            }
        }
        if provider.path.as_deref().is_some_and(may_hold_secret) {
            provider.path = Some(HIDDEN.to_owned());
        }
        provider.options.iter_mut().for_each(hide_options);
        hide_settings(&mut provider.children);
    }
}

fn hide_options(options: &mut ProviderOptions) {
    if options.path.as_deref().is_some_and(may_hold_secret) {
        options.path = Some(HIDDEN.to_owned());
    }
    for setting in &mut options.settings {
        if names_a_secret(&setting.name) || setting.value.as_deref().is_some_and(may_hold_secret) {
            setting.value = Some(HIDDEN.to_owned());
        }
    }
}
