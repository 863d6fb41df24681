//! One file after the other.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use staith_model::{Digest, Entry, RelPath};
use staith_packager::{
    parameters::{Kind, Resolved, Rewrite, Values as Given, resolve},
    transform::{
        variables::{VariableValue, substitute},
        xdt,
    },
    xml::Text,
};
use zeroize::Zeroizing;

use super::{
    Content, Globs, RenderError, Scene,
    tokens::{self, Context},
    values::Values,
};
use crate::host::PackageFiles;

/// Largest file that is changed, in bytes: it is held in memory several times over.
const LARGEST: u64 = 32 << 20;

pub(super) struct Work<'a> {
    files: &'a dyn PackageFiles,
    values: &'a Values,
    globs: &'a Globs,
    environment: String,
    /// Files by their paths in lower case: Windows knows no other.
    by_folded: BTreeMap<String, &'a RelPath>,
    parameters: Option<Resolved>,
    used: RefCell<BTreeSet<String>>,
}

pub(super) struct Done {
    pub(super) contents: BTreeMap<RelPath, Content>,
    pub(super) private: BTreeSet<RelPath>,
    pub(super) used: RefCell<BTreeSet<String>>,
}

/// A transform file and its bytes.
type Transform = (RelPath, Zeroizing<Vec<u8>>);

/// A file while it changes.
struct Draft {
    bytes: Zeroizing<Vec<u8>>,
    has_secret: bool,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        files: &'a dyn PackageFiles,
        values: &'a Values,
        scene: &Scene<'_>,
        globs: &'a Globs,
    ) -> Result<Self, RenderError> {
        let is_file = |entry: &Entry| matches!(entry, Entry::File { .. });
        let paths = files.manifest().entries.iter().filter(|(_, entry)| is_file(entry)).map(|(path, _)| path);
        let used = RefCell::default();
        Ok(Self {
            files,
            values,
            globs,
            environment: scene.environment.as_str().to_lowercase(),
            by_folded: paths.map(|path| (path.as_str().to_lowercase(), path)).collect(),
            parameters: parameters(scene, values, &used)?,
            used,
        })
    }

    pub(super) fn all(self) -> Result<Done, RenderError> {
        let (mut contents, mut private, mut missing) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for (path, entry) in &self.files.manifest().entries {
            let Entry::File { size, digest, .. } = entry else { continue };
            let in_package = path.as_str().replace('/', "\\");
            let in_scope = match &self.parameters {
                Some(parameters) => parameters
                    .is_in_scope(&in_package)
                    .map_err(|why| RenderError::Parameters { why: why.to_string() })?,
                None => false,
            };
            if !in_scope && !self.globs.matches(path) {
                continue;
            }
            let mut draft = Draft { bytes: self.read(path, *size, digest)?, has_secret: false };
            if self.globs.matches(path) && !self.is_transform(path, &draft.bytes) {
                self.text(path, &mut draft, &mut missing)?;
            }
            if in_scope {
                self.with_parameters(path, &in_package, &mut draft)?;
            }
            if draft.has_secret {
                private.insert(path.clone());
            }
            if Digest::of(&draft.bytes) != *digest {
                contents.insert(path.clone(), Content::new(std::mem::take(&mut *draft.bytes)));
            }
        }
        if !missing.is_empty() {
            return Err(RenderError::Missing { tokens: missing });
        }
        self.refuse_unmatched()?;
        Ok(Done { contents, private, used: self.used })
    }

    fn read(&self, path: &RelPath, size: u64, digest: &Digest) -> Result<Zeroizing<Vec<u8>>, RenderError> {
        let wrong = |why: String| RenderError::File { file: path.clone(), why };
        if size > LARGEST {
            return Err(wrong("it is larger than 32 MiB, which is the most that is rendered".into()));
        }
        let mut bytes = Bounded(Vec::new());
        self.files
            .copy_file(path, &mut bytes)
            .map_err(|error| wrong(format!("it can't be read: {error}")))?;
        if Digest::of(&bytes.0) != *digest {
            return Err(wrong("the package gives other bytes than it promised".into()));
        }
        Ok(Zeroizing::new(bytes.0))
    }

    /// Whether a file is itself a transform of another one, which is to stay as it is.
    fn is_transform(&self, path: &RelPath, bytes: &[u8]) -> bool {
        let Some((stem, end)) = path.as_str().rsplit_once('.') else { return false };
        let Some((base, _)) = stem.rsplit_once('.') else { return false };
        self.by_folded.contains_key(&format!("{base}.{end}").to_lowercase()) && names_transforms(bytes)
    }

    /// The transform of this environment for a file, if there is one.
    fn transform_of(&self, path: &RelPath) -> Result<Option<Transform>, RenderError> {
        let Some((stem, end)) = path.as_str().rsplit_once('.') else { return Ok(None) };
        let name = format!("{stem}.{}.{end}", self.environment).to_lowercase();
        let Some(by) = self.by_folded.get(&name) else { return Ok(None) };
        let Some(Entry::File { size, digest, .. }) = self.files.manifest().entries.get(*by) else {
            return Ok(None);
        };
        let bytes = self.read(by, *size, digest)?;
        Ok(names_transforms(&bytes).then(|| ((*by).clone(), bytes)))
    }

    fn text(
        &self,
        path: &RelPath,
        draft: &mut Draft,
        missing: &mut Vec<super::MissingToken>,
    ) -> Result<(), RenderError> {
        let wrong = |why: String| RenderError::File { file: path.clone(), why };
        let mut text = Text::decode(&draft.bytes).map_err(|error| wrong(error.to_string()))?;
        if let Some((by, bytes)) = self.transform_of(path)? {
            let refused =
                |why: String| wrong(format!("{} can't be applied to it: {why}", by.as_str().escape_debug()));
            let by = Text::decode(&bytes).map_err(|error| refused(error.to_string()))?;
            text = xdt::apply(&text, &by).map_err(|error| refused(error.to_string()))?.0;
        }
        let context = context(path, text.as_str());
        let expanded = tokens::expand(path, text.as_str(), context, self.values)?;
        draft.has_secret |= expanded.has_secret;
        self.used.borrow_mut().extend(expanded.used);
        if !expanded.missing.is_empty() {
            missing.extend(expanded.missing);
            return Ok(());
        }
        text = text.with(expanded.text.to_string());
        if takes_settings(path) && context != Context::Plain {
            text = self.with_settings(path, &text, draft)?;
        }
        // What the encoding lacks may be a part of a secret, and is not told.
        let lacks = |_| wrong("a value holds a character that the file's encoding lacks".into());
        draft.bytes = Zeroizing::new(text.encode().map_err(lacks)?);
        Ok(())
    }

    fn with_settings(&self, path: &RelPath, text: &Text, draft: &mut Draft) -> Result<Text, RenderError> {
        let variables = self.values.for_settings();
        let has_secret = draft.has_secret;
        let substituted = substitute(text, &variables).map_err(|error| {
            // With a secret in the text, what is said of the text could quote it.
            let why = if has_secret {
                "it can't be read once values are in it".to_owned()
            } else {
                error.to_string()
            };
            RenderError::File { file: path.clone(), why }
        })?;
        for (variable, places) in variables.iter().zip(&substituted.found) {
            if *places > 0 {
                draft.has_secret |= matches!(variable.value, VariableValue::Secret(_));
                self.used.borrow_mut().insert(variable.name.clone());
            }
        }
        Ok(substituted.text)
    }

    fn with_parameters(
        &self,
        path: &RelPath,
        in_package: &str,
        draft: &mut Draft,
    ) -> Result<(), RenderError> {
        let Some(parameters) = &self.parameters else { return Ok(()) };
        let rewritten = parameters.rewrite(in_package, &draft.bytes);
        let rewritten =
            rewritten.map_err(|why| RenderError::File { file: path.clone(), why: why.to_string() })?;
        if let Rewrite::Rewritten { bytes, by, .. } = rewritten {
            let is_secret = |name: &String| parameters.value(name).is_some_and(|value| value.is_secret());
            draft.has_secret |= by.iter().any(is_secret);
            draft.bytes = Zeroizing::new(bytes);
        }
        Ok(())
    }

    /// A parameter that should change a file and changed none is a mistake. Those about providers are not for this machine.
    fn refuse_unmatched(&self) -> Result<(), RenderError> {
        let about_files = [Kind::XmlFile, Kind::TextFile, Kind::TextFilePosition];
        let unmatched = self.parameters.iter().flat_map(Resolved::unmatched);
        match unmatched.into_iter().find(|unmatched| about_files.contains(&unmatched.kind)) {
            Some(unmatched) => Err(RenderError::Parameters { why: unmatched.to_string() }),
            None => Ok(()),
        }
    }
}

/// The package's parameters with the values of variables that are called as they are, in any letter case.
fn parameters(
    scene: &Scene<'_>,
    values: &Values,
    used: &RefCell<BTreeSet<String>>,
) -> Result<Option<Resolved>, RenderError> {
    let declared = scene.declarations;
    if declared.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| RenderError::Parameters { why };
    let mut given = Given::default();
    for (name, value) in values.iter().filter(|(name, _)| declared.get(name).is_some()) {
        used.borrow_mut().insert(name.to_owned());
        match value {
            VariableValue::Plain(value) => {
                given.set(&format!("{name}={value}"), declared).map_err(|error| wrong(error.to_string()))?;
            }
            VariableValue::Secret(secret) => given.set_secret(name, secret.clone()),
        }
    }
    resolve(declared, &given).map(Some).map_err(|errors| wrong(errors.to_string()))
}

fn names_transforms(bytes: &[u8]) -> bool {
    Text::decode(bytes).is_ok_and(|text| text.as_str().contains(xdt::NAMESPACE))
}

fn end_of(path: &RelPath) -> String {
    path.file_name().rsplit_once('.').map_or(String::new(), |(_, end)| end.to_ascii_lowercase())
}

/// How values are escaped in a file: by its name, and where that tells nothing by how it begins.
fn context(path: &RelPath, text: &str) -> Context {
    match end_of(path).as_str() {
        "json" | "jsonc" | "webmanifest" => Context::Json,
        "xml" | "config" | "html" | "htm" | "xhtml" | "svg" => Context::Xml,
        _ if text.trim_start().starts_with('<') => Context::Xml,
        _ => Context::Plain,
    }
}

/// Whether variables are put into a file by their names.
fn takes_settings(path: &RelPath) -> bool {
    ["json", "jsonc", "xml", "config"].contains(&end_of(path).as_str())
}

/// Takes what a package gives, up to a bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(self.0.len() + bytes.len()).unwrap_or(u64::MAX);
        if length > LARGEST {
            return Err(io::Error::other("there is more of it than it promised"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
