//! Which of Web Deploy's two kinds a package is, what it says it is made of, and whether Web Deploy would find all of it.

use std::collections::HashSet;

use serde::Serialize;

use super::{Listed, PackageReader, ReadError, flaw::Flaw, structure};
use crate::web_deploy::{
    archive::{self, Archive, Mistake, Wrong, zip_path},
    metadata, portable,
};

/// The two kinds of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `archive.xml` and `systemInfo.xml`: what Web Deploy, Visual Studio, the .NET SDK and Staith write.
    Archive,
    /// `manifest.xml`: the Web App Gallery's.
    Gallery,
}

/// Longest XML that is looked at; the .NET Framework's own packages stay below 1 MB.
pub(super) const LONGEST_XML: u64 = 16 << 20;

/// Recognises the dialect, and refuses what Web Deploy could not load or would apply only in part.
pub(super) fn recognise(package: &PackageReader) -> Result<(Dialect, Archive), ReadError> {
    let lacks = |lacks| ReadError::NotAPackage { path: package.path.clone(), lacks };
    let check = |nth| read(package, nth, |bytes| archive::parse_xml(bytes).map(drop));
    let recognised = if let Some(nth) = package.find_root(metadata::ARCHIVE_XML) {
        let system_info =
            package.find_root(metadata::SYSTEM_INFO_XML).ok_or_else(|| lacks("systemInfo.xml"))?;
        check(system_info)?;
        let archive = read(package, nth, archive::archive)?;
        check_directories(package, &archive)?;
        check_files(package, nth, &archive)?;
        (Dialect::Archive, archive)
    } else {
        let nth = package
            .find_root(metadata::MANIFEST_XML)
            .ok_or_else(|| lacks("archive.xml (or manifest.xml)"))?;
        (Dialect::Gallery, read(package, nth, archive::gallery)?)
    };
    if let Some(parameters) = package.find_root(metadata::PARAMETERS_XML) {
        check(parameters)?;
    }
    Ok(recognised)
}

/// Reads one of the package's XML files.
pub(super) fn read<T>(
    package: &PackageReader,
    nth: usize,
    parse: impl FnOnce(&[u8]) -> Result<T, Mistake>,
) -> Result<T, ReadError> {
    let bytes = package.inflate_text(nth, LONGEST_XML)?;
    parse(&bytes).map_err(|mistake| package.refuse(nth, mistake.into()))
}

impl From<Mistake> for Flaw {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake { line, column, wrong: Wrong::NotXml(why) } => Self::Xml { line, column, why },
            mistake => Self::Meaning(Box::new(mistake)),
        }
    }
}

/// Sees that files which `archive.xml` names by themselves are there: single files, and those that hold a provider's bytes.
fn check_files(package: &PackageReader, nth: usize, archive: &Archive) -> Result<(), ReadError> {
    for chain in archive.chains() {
        let Some(provider) = chain.last() else { continue };
        let missing = |name: &str| {
            let (line, column, name) = (provider.line, provider.column, name.to_owned());
            package.refuse(nth, Flaw::Absent { line, column, name })
        };
        if let Some(stream) = &provider.stream
            && package.find(stream).is_none()
        {
            return Err(missing(stream));
        }
        if let Some(path) = provider.path.as_deref().filter(|_| provider.is_file()) {
            let name = format!("Content/{}", zip_path(path));
            if package.find(&name).is_none() {
                return Err(missing(&name));
            }
        }
    }
    Ok(())
}

/// Sees that the directories of `archive.xml`, and all below them, have entries: without, Web Deploy takes the content for
/// gone, deletes what is at the destination, and calls it success.
fn check_directories(package: &PackageReader, archive: &Archive) -> Result<(), ReadError> {
    let missing = |entry: String| ReadError::Refused {
        path: package.path.clone(),
        entry,
        flaw: Flaw::NoDirectoryEntry,
    };
    let directories = package.listed.iter().filter(|entry| entry.is_directory());
    let directories: HashSet<String> = directories.map(Listed::sort_key).collect();
    let mut tops = tops(archive);
    tops.sort_by_cached_key(|top| structure::sort_key(top));
    if let Some(top) = tops.iter().find(|top| !directories.contains(&structure::sort_key(top))) {
        return Err(missing(format!("{top}/")));
    }
    let mut tops = tops.iter().map(|top| structure::sort_key(top)).peekable();
    let mut covering = None::<String>;
    for &nth in &package.sorted {
        let Listed { name, .. } = &package.listed[nth];
        let entry = structure::sort_key(name);
        // In this order, all that lies below a directory follows it.
        while let Some(top) = tops.next_if(|top| *top <= entry) {
            if !covering.as_ref().is_some_and(|covering| is_below(&top, covering)) {
                covering = Some(top);
            }
        }
        let covered = covering.as_ref().is_some_and(|covering| is_below(&entry, covering));
        // The parent's own entry has been, or will be, asked for its parent.
        let parent = entry.rsplit_once('\0').map(|(parent, _)| parent);
        if covered && parent.is_some_and(|parent| !directories.contains(parent)) {
            let parent = name.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
            return Err(missing(format!("{parent}/")));
        }
    }
    Ok(())
}

/// Names of the directories that hold content.
fn tops(archive: &Archive) -> Vec<String> {
    let chains = archive.chains();
    let directories =
        chains.iter().filter_map(|chain| chain.last()).filter(|provider| provider.is_directory());
    directories
        .filter_map(|provider| Some(format!("Content/{}", zip_path(provider.path.as_deref()?))))
        .collect()
}

fn is_below(entry: &str, directory: &str) -> bool {
    debug_assert_eq!(portable::fold(directory), directory);
    entry.strip_prefix(directory).is_some_and(|rest| rest.starts_with('\0'))
}
