//! What a package says it is made of: `archive.xml`, or the gallery dialect's `manifest.xml`, as a tree of providers. In
//! reading order:
//!
//! 1. `element`: XML whose elements know their places. `mistake`: all that is refused, with its place.
//! 2. `value`, `options`, `nrbf`: what attributes hold beside text, decoded without executing anything.
//! 3. `path`: where a provider's content lies in the zip.
//! 4. `parse`: from elements to providers.

mod element;
mod mistake;
mod nrbf;
mod options;
mod parse;
mod path;
mod value;

use std::collections::BTreeMap;

use serde::Serialize;

pub use mistake::{Mistake, Wrong};
pub use options::{ProviderOptions, Setting};
pub use value::{NetTime, Value};

pub(crate) use element::{Element, parse as parse_xml};
pub(crate) use parse::{archive, gallery};
pub(crate) use path::{is_same, zip_path};

/// The providers of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// The name of the outermost element, as it is written: `sitemanifest` where the source was a manifest,
    /// `MSDeploy.<provider>` where it was one provider, and what a gallery package calls it.
    pub root: String,
    /// .NET classes that find objects, by the provider they are for. Without them, Web Deploy silently applies no parameters
    /// to files. Gallery packages have none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resolvers: BTreeMap<String, String>,
    /// Options of a package that was made from one provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<ProviderOptions>,
    /// In the order in which they are applied.
    pub providers: Vec<Provider>,
}

/// One provider, with those inside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// Its name as it is written, without a prefix `MSDeploy.`: `iisApp`, `contentPath`, `dirPath`. Web Deploy ignores its case.
    pub name: String,
    /// The path on the machine where the package was made, or below a site; a command line for `runCommand`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How its parent calls it: `Child1`, `createApp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The attribute by which source and destination are compared: `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its other attributes, in the order in which they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// The entry of the zip that holds its bytes: a script, a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What it was told when the package was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<ProviderOptions>,
    /// Providers inside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Provider>,
    /// Whether its name is written with the prefix: that is how Web Deploy marks directories and files that lie in the zip.
    #[serde(skip)]
    pub is_prefixed: bool,
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// Its column in the file, in characters, counted from 1.
    pub column: usize,
}

/// An attribute of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// What it says.
    pub value: Value,
    /// Web Deploy's flags: 1 and 2 say how the attribute takes part in comparing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
}

impl Provider {
    /// Whether this is the provider `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether this is a directory that lies in the zip, below `Content/`.
    pub fn is_directory(&self) -> bool {
        self.is_prefixed && self.is("dirPath")
    }

    /// Whether this is a single file that lies in the zip, below `Content/`.
    pub fn is_file(&self) -> bool {
        self.is_prefixed && self.is("filePath")
    }
}

impl Archive {
    /// Every provider with those that it lies in, outermost first; parents before children.
    pub fn chains(&self) -> Vec<Vec<&Provider>> {
        fn walk<'a>(
            providers: &'a [Provider],
            above: &mut Vec<&'a Provider>,
            into: &mut Vec<Vec<&'a Provider>>,
        ) {
            for provider in providers {
                above.push(provider);
                into.push(above.clone());
                walk(&provider.children, above, into);
                above.pop();
            }
        }
        let mut chains = Vec::new();
        walk(&self.providers, &mut Vec::new(), &mut chains);
        chains
    }
}
