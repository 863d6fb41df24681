//! A sample package, and what Web Deploy made of it.

use std::{
    fs,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use staith_packager::parameters::{Declarations, Values};

pub(crate) struct Sample {
    pub(crate) name: String,
    in_zip: &'static str,
    at_source: &'static str,
    entries: Vec<(String, Vec<u8>)>,
}

/// A file of a package's content.
pub(crate) struct SampleFile {
    /// Its path at the destination.
    pub(crate) path: String,
    /// Its path where it was packed.
    pub(crate) source_path: String,
    pub(crate) bytes: Vec<u8>,
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

impl Sample {
    /// The sample of a name, with what is in front of its content in the zip, and was where it was packed.
    pub(crate) fn open(name: &str, in_zip: &'static str, at_source: &'static str) -> Self {
        let bytes = Self::file(&format!("{name}.zip"));
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let entries = (0..zip.len())
            .map(|nth| {
                let mut entry = zip.by_index(nth).unwrap();
                let name = String::from_utf8(entry.name_raw().to_vec()).unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (name, bytes)
            })
            .collect();
        Self { name: name.to_owned(), in_zip, at_source, entries }
    }

    pub(crate) fn file(name: &str) -> Vec<u8> {
        fs::read(samples().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn parameters(&self) -> Vec<u8> {
        self.entries.iter().find(|(name, _)| name == "parameters.xml").unwrap().1.clone()
    }

    pub(crate) fn declared(&self) -> Declarations {
        Declarations::read(&self.parameters()).unwrap()
    }

    pub(crate) fn values(&self) -> Values {
        let name = format!("{}.SetParameters.xml", self.name);
        let mut values = Values::default();
        values.add_file(&Self::file(&name), &name).unwrap();
        values
    }

    pub(crate) fn files(&self) -> Vec<SampleFile> {
        let content = self.entries.iter().filter(|(name, _)| !name.ends_with('/'));
        content
            .filter_map(|(name, bytes)| {
                let path = name.strip_prefix(self.in_zip)?.to_owned();
                let source_path = format!("{}{}", self.at_source, path.replace('/', "\\"));
                Some(SampleFile { path, source_path, bytes: bytes.clone() })
            })
            .collect()
    }

    /// What the builds of Web Deploy made of a file: one or two.
    pub(crate) fn expected(&self, file: &SampleFile) -> Vec<Vec<u8>> {
        // The one file of this package goes to a name of its own.
        let path = if self.name == "filepath" { "tag.txt" } else { &file.path };
        let builds = [".applied", ".applied.a", ".applied.b"]
            .map(|build| samples().join(format!("{}{build}", self.name)));
        let there = builds.into_iter().filter(|build| build.is_dir());
        there.map(|build| fs::read(build.join(path)).unwrap_or_else(|_| file.bytes.clone())).collect()
    }
}
