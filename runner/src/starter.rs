//! A first `runner.toml` for a folder: what kind of project it is, and what such a project's pipeline looks like.
//!
//! Pure but for [`Folder::read`]. Each kind has a file of its own in `starter/` that writes its pipeline.

mod dotnet;
mod folder;
mod go;
mod java;
mod missing;
mod node;
mod php;
mod python;
mod rust;
mod site;
#[cfg(test)]
mod tests;

use clap::ValueEnum;

pub(crate) use self::{folder::Folder, missing::missing};

/// What kind of project a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Cargo.toml
    Rust,
    /// package.json
    Node,
    /// pyproject.toml, requirements.txt or setup.py
    Python,
    /// go.mod
    Go,
    /// *.sln, *.csproj or *.fsproj
    Dotnet,
    /// pom.xml
    Maven,
    /// build.gradle or build.gradle.kts
    Gradle,
    /// composer.json or *.php
    Php,
    /// index.html
    Static,
}

impl Kind {
    /// As people call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Rust => "a Rust project",
            Self::Node => "a Node project",
            Self::Python => "a Python project",
            Self::Go => "a Go project",
            Self::Dotnet => "a .NET project",
            Self::Maven => "a Java project with Maven",
            Self::Gradle => "a Java project with Gradle",
            Self::Php => "a PHP project",
            Self::Static => "a static site",
        }
    }

    /// As the command line calls it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
            Self::Go => "go",
            Self::Dotnet => "dotnet",
            Self::Maven => "maven",
            Self::Gradle => "gradle",
            Self::Php => "php",
            Self::Static => "static",
        }
    }

    /// The file that tells it, if it is there.
    fn sign(self, folder: &Folder) -> Option<String> {
        let first =
            |names: &[&str]| names.iter().find(|name| folder.has(name)).map(|name| (*name).to_owned());
        let ending = |ends: &[&str]| folder.at_top().find(|name| ends.iter().any(|end| name.ends_with(end)));
        match self {
            Self::Rust => first(&["Cargo.toml"]),
            Self::Node => first(&["package.json"]),
            Self::Python => first(&["pyproject.toml", "requirements.txt", "setup.py"]),
            Self::Go => first(&["go.mod"]),
            Self::Dotnet => ending(&[".sln", ".slnx", ".csproj", ".fsproj"]).map(str::to_owned),
            Self::Maven => first(&["pom.xml"]),
            Self::Gradle => {
                first(&["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"])
            }
            Self::Php => first(&["composer.json"]).or_else(|| ending(&[".php"]).map(str::to_owned)),
            Self::Static => first(&["index.html"]),
        }
    }

    /// The pipeline for a folder of this kind.
    pub(crate) fn pipeline(self, folder: &Folder) -> String {
        match self {
            Self::Rust => rust::pipeline(folder),
            Self::Node => node::pipeline(folder),
            Self::Python => python::pipeline(folder),
            Self::Go => go::pipeline(folder),
            Self::Dotnet => dotnet::pipeline(folder),
            Self::Maven => java::maven(folder),
            Self::Gradle => java::gradle(folder),
            Self::Php => php::pipeline(folder),
            Self::Static => site::pipeline(folder),
        }
    }
}

/// The kinds that a folder may be, each with the file that tells it. A page beside something that is built tells nothing:
/// many kinds of projects have one.
pub(crate) fn detect(folder: &Folder) -> Vec<(Kind, String)> {
    let all = Kind::value_variants().iter();
    let mut found: Vec<(Kind, String)> = all.filter_map(|kind| Some((*kind, kind.sign(folder)?))).collect();
    if found.len() > 1 {
        found.retain(|(kind, _)| *kind != Kind::Static);
    }
    found
}

/// The first lines of every pipeline.
fn head(folder: &Folder, version: Option<&str>, tools: &[&str]) -> String {
    let version =
        version.filter(|version| version.parse::<staith_model::Version>().is_ok()).unwrap_or("0.1.0");
    let mut text = format!("name = \"{}\"\nversion = \"{version}\"\n", folder.name);
    if !tools.is_empty() {
        let tools: Vec<String> = tools.iter().map(|tool| format!("\"{tool}\"")).collect();
        text.push_str(&format!("tools = [{}]\n", tools.join(", ")));
    }
    text
}

/// A text as TOML writes it: as JSON does, but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007F")
}
