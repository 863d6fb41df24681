//! What `parameters.xml` declares, as far as it is shown: what a declaration does when it is applied is another room's business.

use serde::Serialize;

use super::{PackageReader, ReadError, dialect};
use crate::web_deploy::{
    archive::{Element, parse_xml},
    metadata,
    secrecy::names_a_secret,
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
    /// Its line in `parameters.xml`, counted from 1.
    pub line: usize,
    /// Its column, in characters, counted from 1.
    pub column: usize,
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

impl Declared {
    /// Whether its value is not to be shown: its tags say so, as those of passwords and of connection strings do, or its name does.
    pub fn is_secret(&self) -> bool {
        const SECRET: [&str; 6] = [
            "Password",
            "SqlConnectionString",
            "NoStore",
            "DbUserPassword",
            "DbAdminPassword",
            "MySqlConnectionString",
        ];
        let is_secret = |tag: &String| SECRET.iter().any(|secret| tag.eq_ignore_ascii_case(secret));
        self.tags.iter().any(is_secret) || names_a_secret(&self.name)
    }
}

impl PackageReader {
    /// The parameters that `parameters.xml` declares, in its order; none if there is no such file.
    ///
    /// # Errors
    /// The file is damaged. That it is well-formed was seen when the package was opened.
    pub fn declared_parameters(&self) -> Result<Vec<Declared>, ReadError> {
        let Some(nth) = self.find_root(metadata::PARAMETERS_XML) else { return Ok(Vec::new()) };
        dialect::read(self, nth, |bytes| {
            let root = parse_xml(bytes)?;
            let parameters =
                root.children.iter().filter(|element| element.name.eq_ignore_ascii_case("parameter"));
            Ok(parameters.map(declared).collect())
        })
    }
}

fn declared(element: &Element<'_>) -> Declared {
    let text = |name: &str| element.attribute(name).map(str::to_owned);
    let entries = element.children.iter().filter(|child| child.name.eq_ignore_ascii_case("parameterEntry"));
    Declared {
        name: text("name").unwrap_or_default(),
        description: text("description"),
        default: text("defaultValue").or_else(|| text("value")),
        tags: words(element.attribute("tags")),
        entries: entries.map(entry).collect(),
        line: element.line,
        column: element.column,
    }
}

/// The tags of a parameter, which are separated by commas.
fn words(tags: Option<&str>) -> Vec<String> {
    let tags = tags.unwrap_or_default().split([',', ';']).map(str::trim);
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn entry(element: &Element<'_>) -> DeclaredEntry {
    let text = |name: &str| element.attribute(name).map(str::to_owned);
    // The old spelling is `type`.
    let kind = text("kind").or_else(|| text("type")).unwrap_or_default();
    DeclaredEntry { kind, scope: text("scope"), matched: text("match") }
}
