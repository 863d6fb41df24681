//! What `parameters.xml` declares, as far as it is shown.

use serde::Serialize;

use super::{LONGEST_PARAMETERS, PackageReader, ReadError};
use crate::{
    parameters::{Declarations, Entry, Mistake, Parameter},
    web_deploy::metadata,
};

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// The name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is when nobody sets it, from `defaultValue`, or from `value`, which the .NET SDK writes instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Words for tools: `IisApp`, `Password`, `Hidden`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<DeclaredEntry>,
}

/// One place that a parameter goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeclaredEntry {
    /// `ProviderPath`, `XmlFile`, `TextFile` and others.
    pub kind: String,
    /// Which providers or files, as a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What in them: a regular expression, an XPath, a position.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
}

impl From<&Parameter> for Declared {
    fn from(parameter: &Parameter) -> Self {
        Self {
            name: parameter.name.clone(),
            description: parameter.description.clone(),
            default: parameter.default.clone(),
            tags: parameter.tags.clone(),
            entries: parameter.entries.iter().map(DeclaredEntry::from).collect(),
        }
    }
}

impl From<&Entry> for DeclaredEntry {
    fn from(entry: &Entry) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            kind: entry.matcher.kind().to_string(),
            scope: given(entry.scope.as_str().to_owned()),
            matched: given(entry.matcher.to_text()),
        }
    }
}

impl PackageReader {
    /// What of the declarations can be understood, and all that is wrong with them: for those who look at a package rather than
    /// use it. See [`PackageReader::declarations`].
    ///
    /// # Errors
    /// The bytes of `parameters.xml` are damaged, or more than it ever has.
    pub fn sound_declarations(&self) -> Result<(Declarations, Vec<Mistake>), ReadError> {
        let Some(nth) = self.find_root(metadata::PARAMETERS_XML) else { return Ok(Default::default()) };
        Ok(Declarations::read_sound_part(&self.inflate_text(nth, LONGEST_PARAMETERS)?))
    }
}
