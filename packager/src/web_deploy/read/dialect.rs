//! Which of Web Deploy's two kinds a package is, and whether Web Deploy would find all of its content.

use std::collections::HashSet;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{Listed, PackageReader, ReadError, flaw::Flaw};
use crate::web_deploy::{metadata, portable};

/// The two kinds of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `archive.xml` and `systemInfo.xml`: what Web Deploy, Visual Studio, the .NET SDK and Staith write.
    Archive,
    /// `manifest.xml`: the Web App Gallery's.
    Gallery,
}

/// Recognises the dialect, and refuses what Web Deploy could not load or would apply only in part.
pub(super) fn recognise(package: &PackageReader) -> Result<Dialect, ReadError> {
    let parameters = package.find_root(metadata::PARAMETERS_XML);
    let lacks = |lacks| ReadError::NotAPackage { path: package.path.clone(), lacks };
    let dialect = if let Some(archive) = package.find_root(metadata::ARCHIVE_XML) {
        let system_info =
            package.find_root(metadata::SYSTEM_INFO_XML).ok_or_else(|| lacks("systemInfo.xml"))?;
        check_xml(package, system_info)?;
        check_directories(package, &check_xml(package, archive)?)?;
        Dialect::Archive
    } else {
        let manifest =
            package.find_root("manifest.xml").ok_or_else(|| lacks("archive.xml (or manifest.xml)"))?;
        check_xml(package, manifest)?;
        Dialect::Gallery
    };
    if let Some(parameters) = parameters {
        check_xml(package, parameters)?;
    }
    Ok(dialect)
}

/// Longest XML that is looked at; the .NET Framework's own packages stay below 1 MB.
const LONGEST_XML: u64 = 16 << 20;

/// Sees that an entry is well-formed XML. Gives the paths of the directories it names, as `archive.xml` does.
fn check_xml(package: &PackageReader, nth: usize) -> Result<Vec<String>, ReadError> {
    let bytes = package.inflate_text(nth, LONGEST_XML)?;
    let flaw = |(at, why): (usize, String)| {
        let before = String::from_utf8_lossy(&bytes[..at.min(bytes.len())]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        package.refuse(nth, Flaw::Xml { line, column, why })
    };
    let text =
        str::from_utf8(&bytes).map_err(|error| flaw((error.valid_up_to(), "it is not UTF-8".into())))?;
    directories_in(text).map_err(flaw)
}

/// The directories that `xml` names, or the offset at which it stops being well-formed, and why.
fn directories_in(xml: &str) -> Result<Vec<String>, (usize, String)> {
    let mut reader = Reader::from_str(xml);
    let (mut directories, mut depth, mut roots) = (Vec::new(), 0u32, 0u32);
    loop {
        let event = reader.read_event().map_err(|why| (reader.error_position() as usize, why.to_string()))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                roots += u32::from(depth == 0);
                depth += u32::from(matches!(event, Event::Start(_)));
                let path = path_of(element).map_err(|why| (reader.buffer_position() as usize, why))?;
                if element.name().as_ref().eq_ignore_ascii_case("MSDeploy.dirPath") {
                    directories.extend(path);
                }
            }
            Event::End(_) => depth -= 1,
            Event::Eof if depth > 0 => return Err((xml.len(), "an element is not closed".into())),
            Event::Eof if roots != 1 => {
                return Err((xml.len(), format!("it has {roots} outermost elements instead of one")));
            }
            Event::Eof => return Ok(directories),
            _ => {}
        }
    }
}

/// The value of the attribute `path`; all attributes are looked at.
fn path_of(element: &BytesStart<'_>) -> Result<Option<String>, String> {
    let (mut seen, mut path) = (HashSet::new(), None);
    // The library's own search for duplicates takes quadratic time.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|why| why.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|why| why.to_string())?;
        if !seen.insert(attribute.key) {
            return Err(format!("attribute `{}` is given twice", attribute.key.as_ref()));
        }
        if attribute.key.as_ref() == "path" {
            path = Some(value.into_owned());
        }
    }
    Ok(path)
}

/// Sees that the directories of `archive.xml`, and all below them, have entries: without, Web Deploy takes the content for
/// gone, deletes what is at the destination, and calls it success.
fn check_directories(package: &PackageReader, paths: &[String]) -> Result<(), ReadError> {
    let missing = |entry: String| ReadError::Refused {
        path: package.path.clone(),
        entry,
        flaw: Flaw::NoDirectoryEntry,
    };
    let directories = package.listed.iter().filter(|entry| entry.is_directory());
    let directories: HashSet<String> = directories.map(Listed::sort_key).collect();
    let mut tops: Vec<_> = paths.iter().map(|path| format!("Content/{}", zip_path(path))).collect();
    tops.sort_by_cached_key(|top| key(top));
    if let Some(top) = tops.iter().find(|top| !directories.contains(&key(top))) {
        return Err(missing(format!("{top}/")));
    }
    let mut entries: Vec<_> = package.listed.iter().map(|entry| (entry.sort_key(), &entry.name)).collect();
    entries.sort_unstable();
    let (mut tops, mut covering) = (tops.iter().map(|top| key(top)).peekable(), None::<String>);
    for (entry, name) in entries {
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

fn key(path: &str) -> String {
    portable::fold(path).replace('/', "\0")
}

fn is_below(entry: &str, directory: &str) -> bool {
    entry.strip_prefix(directory).is_some_and(|rest| rest.starts_with('\0'))
}

/// A provider's path as the zip has it: `C:\build\shop\` lies in `C_C/build/shop`.
fn zip_path(path: &str) -> String {
    let path = path.replace('\\', "/");
    let path = path.trim_end_matches('/');
    match path.split_once(":/") {
        Some((drive, rest)) => format!("{drive}_C/{rest}"),
        None => path.to_owned(),
    }
}
