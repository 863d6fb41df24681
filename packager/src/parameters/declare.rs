//! What a package lets one set.

use std::fmt;

use super::{Mistake, Mistakes, Position, read, secrecy, spelling};
use crate::{pattern::Pattern, xml::XPath};

/// The tag by which a parameter, or one entry of it, says that it may match nothing. Web Deploy takes it for one more tag.
pub const MAY_MATCH_NOTHING: &str = "MayMatchNothing";

/// The parameters of a package, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declarations {
    pub(super) parameters: Vec<Parameter>,
    pub(super) notes: Vec<Note>,
}

/// Something in a file that nobody understands, and that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What is passed over.
    pub what: String,
}

/// One parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name. Letter case does not tell names apart.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// What forms call it.
    pub friendly_name: Option<String>,
    /// Its value when nobody sets one. May refer to other parameters: `{Other Parameter}`.
    pub default: Option<String>,
    /// What it is, in words that tools know (`IisApp`, `Hidden`, `Password`, `SqlConnectionString` ...).
    pub tags: Vec<String>,
    /// Where its value goes.
    pub entries: Vec<Entry>,
    /// Which values it takes.
    pub validation: Validation,
    /// Its description and friendly name in other languages.
    pub translations: Vec<Translation>,
}

/// A description or a friendly name in another language.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translation {
    /// `description` or `friendlyName`.
    pub of: &'static str,
    /// The language: `de`, `pt-BR`.
    pub culture: String,
    /// The words.
    pub text: String,
}

/// One place for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which providers (by name) or files (by the path that they have in the package, with backslashes) it is about.
    pub scope: Pattern,
    /// What of them.
    pub matcher: Matcher,
    /// As a parameter's.
    pub tags: Vec<String>,
}

/// What of a provider or file a value replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// The path of a provider that matches.
    ProviderPath(Pattern),
    /// Nodes of an XML document.
    XmlFile(XPath),
    /// All matches in a text.
    TextFile(Pattern),
    /// Characters at a place in a text.
    TextFilePosition(Position),
    /// An attribute of an object: for a Windows machine with IIS only.
    DeploymentObjectAttribute(String),
    /// The path of a virtual directory: for a Windows machine with IIS only.
    DestinationVirtualDirectory(String),
    /// The binding of a site: for a Windows machine with IIS only.
    DestinationBinding(String),
    /// A variable of an SQL script: for a Windows machine only.
    SqlCommandVariable(String),
}

/// The kinds of [`Matcher`], by their names in `parameters.xml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// See [`Matcher::ProviderPath`].
    ProviderPath,
    /// See [`Matcher::XmlFile`].
    XmlFile,
    /// See [`Matcher::TextFile`].
    TextFile,
    /// See [`Matcher::TextFilePosition`].
    TextFilePosition,
    /// See [`Matcher::DeploymentObjectAttribute`].
    DeploymentObjectAttribute,
    /// See [`Matcher::DestinationVirtualDirectory`].
    DestinationVirtualDirectory,
    /// See [`Matcher::DestinationBinding`].
    DestinationBinding,
    /// See [`Matcher::SqlCommandVariable`].
    SqlCommandVariable,
}

/// Which values a parameter takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// Whether it may be set to nothing.
    pub allow_empty: bool,
    /// What else is asked.
    pub rule: Option<Rule>,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `True` or `False`, in any case.
    Boolean,
    /// One of these, to the letter.
    Enumeration(Vec<String>),
    /// It has a match; anchors make that all of it.
    RegularExpression(Pattern),
}

impl Kind {
    /// Every kind, in the order in which Web Deploy lists them.
    pub const ALL: [Self; 8] = [
        Self::XmlFile,
        Self::TextFile,
        Self::TextFilePosition,
        Self::DeploymentObjectAttribute,
        Self::DestinationVirtualDirectory,
        Self::DestinationBinding,
        Self::ProviderPath,
        Self::SqlCommandVariable,
    ];

    /// Its name in `parameters.xml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderPath => "ProviderPath",
            Self::XmlFile => "XmlFile",
            Self::TextFile => "TextFile",
            Self::TextFilePosition => "TextFilePosition",
            Self::DeploymentObjectAttribute => "DeploymentObjectAttribute",
            Self::DestinationVirtualDirectory => "DestinationVirtualDirectory",
            Self::DestinationBinding => "DestinationBinding",
            Self::SqlCommandVariable => "SqlCommandVariable",
        }
    }

    /// Whether only a Windows machine can apply it.
    pub const fn is_for_windows(self) -> bool {
        match self {
            Self::ProviderPath | Self::XmlFile | Self::TextFile | Self::TextFilePosition => false,
            Self::DeploymentObjectAttribute
            | Self::DestinationVirtualDirectory
            | Self::DestinationBinding
            | Self::SqlCommandVariable => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Matcher {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ProviderPath(_) => Kind::ProviderPath,
            Self::XmlFile(_) => Kind::XmlFile,
            Self::TextFile(_) => Kind::TextFile,
            Self::TextFilePosition(_) => Kind::TextFilePosition,
            Self::DeploymentObjectAttribute(_) => Kind::DeploymentObjectAttribute,
            Self::DestinationVirtualDirectory(_) => Kind::DestinationVirtualDirectory,
            Self::DestinationBinding(_) => Kind::DestinationBinding,
            Self::SqlCommandVariable(_) => Kind::SqlCommandVariable,
        }
    }

    /// What it matches, as `parameters.xml` says it.
    pub fn to_text(&self) -> String {
        match self {
            Self::ProviderPath(pattern) | Self::TextFile(pattern) => pattern.as_str().to_owned(),
            Self::XmlFile(xpath) => xpath.as_str().to_owned(),
            Self::TextFilePosition(position) => position.to_string(),
            Self::DeploymentObjectAttribute(text)
            | Self::DestinationVirtualDirectory(text)
            | Self::DestinationBinding(text)
            | Self::SqlCommandVariable(text) => text.clone(),
        }
    }
}

/// A name as names are compared: without letter case.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn has_tag(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|there| there.eq_ignore_ascii_case(tag))
}

impl Entry {
    /// Whether it says that it may match nothing.
    pub fn may_match_nothing(&self) -> bool {
        has_tag(&self.tags, MAY_MATCH_NOTHING)
    }
}

impl Parameter {
    /// Whether it has this tag, in any letter case.
    pub fn has_tag(&self, tag: &str) -> bool {
        has_tag(&self.tags, tag)
    }

    /// Whether its value must neither be shown nor kept, whatever it is.
    pub fn is_secret(&self) -> bool {
        secrecy::is_tagged(self)
    }

    /// The name under which its value may be kept among Staith's secrets: `database-password` for `Database Password`. `None` for
    /// what is neither a secret nor a connection string, which often holds one.
    pub fn secret_name(&self) -> Option<String> {
        secrecy::name_of(self)
    }

    /// Whether its default is, or holds, a secret that everybody who has the package can read.
    pub fn gives_secret_away(&self) -> bool {
        self.default.as_deref().is_some_and(|default| secrecy::is_secret_default(self, default))
    }

    /// Whether its default may be a secret, by its tags, its name or itself.
    pub(crate) fn hides_default(&self) -> bool {
        secrecy::hides_default(self)
    }

    /// Its default for people: a mask where it is a secret.
    pub fn shown_default(&self) -> Option<&str> {
        let default = self.default.as_deref()?;
        Some(if self.gives_secret_away() { "***" } else { default })
    }
}

impl Declarations {
    /// Reads `parameters.xml`, a file for `-declareParamFile`, or what `-verb:getParameters` printed. Both of Web Deploy's
    /// spellings are read (`kind` and `type`, `defaultValue` and `value`), and names of elements and attributes in any case.
    ///
    /// # Errors
    /// All that is wrong in the file, with its places.
    pub fn read(bytes: &[u8]) -> Result<Self, Mistakes> {
        read::declarations(bytes)
    }

    /// As [`Declarations::read`], for those who only look: what can be understood, and all that is wrong. A parameter or an entry
    /// that is wrong itself is left out.
    pub fn read_sound_part(bytes: &[u8]) -> (Self, Vec<Mistake>) {
        read::sound_declarations(bytes)
    }

    /// The parameters, in the order in which they are applied.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// What in the file was not understood.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The parameter of this name, in any letter case.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        let folded = fold(name);
        self.parameters.iter().find(|parameter| fold(&parameter.name) == folded)
    }

    /// `parameters.xml`, in the one spelling that declarations of one meaning have.
    pub fn to_xml(&self) -> String {
        spelling::parameters(self)
    }

    /// `NAME.SetParameters.xml`: every parameter that people are to set, with its default. Secrets come without one.
    pub fn to_set_parameters_xml(&self) -> String {
        spelling::set_parameters(self)
    }

    /// Sees that no default gives a secret away. Who packs calls this; the writer does so itself.
    ///
    /// # Errors
    /// The parameters whose defaults are secrets.
    pub fn check_secrets(&self) -> Result<(), super::Leaks> {
        secrecy::check(self)
    }

    /// What the package of a tree declares: the parameter that every tool sets comes first, with the entry that makes it work,
    /// whatever a declaration of the same name says about it otherwise.
    pub(crate) fn with_application(&self) -> Self {
        let mut all = spelling::application();
        let Some(first) = all.parameters.first_mut() else { return self.clone() };
        for parameter in &self.parameters {
            if fold(&parameter.name) == fold(&first.name) {
                let mut declared = parameter.clone();
                declared.name.clone_from(&first.name);
                let entries = std::mem::take(&mut declared.entries);
                let ours = first.entries.clone();
                declared.entries = ours
                    .iter()
                    .cloned()
                    .chain(entries.into_iter().filter(|entry| !ours.contains(entry)))
                    .collect();
                declared.default = declared.default.or_else(|| first.default.clone());
                declared.description = declared.description.or_else(|| first.description.clone());
                if !declared.has_tag("IisApp") {
                    declared.tags.insert(0, "IisApp".to_owned());
                }
                *first = declared;
            }
        }
        let name = fold(&first.name);
        all.parameters
            .extend(self.parameters.iter().filter(|parameter| fold(&parameter.name) != name).cloned());
        all
    }
}
