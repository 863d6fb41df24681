//! What of a folder decides how its pipeline looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use staith_model::Name;

/// Folders deeper than this are not looked into. Java's are deep: `src/test/java/com/example/shop/cart`.
const DEEPEST: usize = 8;
/// Files that are looked at; a folder with more is seen in part.
const MOST_FILES: usize = 20_000;
/// A description of a project is never larger.
const LARGEST: u64 = 1 << 20;
/// Made by tools, and never the project's own.
const NOT_ITS_OWN: [&str; 8] =
    ["node_modules", "target", "dist", "vendor", "__pycache__", "bin", "obj", "build"];

/// A folder as far as it matters for a first pipeline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    /// A name for the project.
    pub(super) name: String,
    files: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Folder {
    /// Looks at a folder on disk; hidden files and what tools make is passed over.
    ///
    /// # Errors
    /// The folder can't be read.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let directory = fs::canonicalize(directory)?;
        let mut files = BTreeSet::new();
        let mut open = vec![(directory.clone(), String::new(), 0)];
        while let Some((at, below, depth)) = open.pop() {
            let entries = match fs::read_dir(&at) {
                Err(_) if depth > 0 => continue,
                entries => entries?,
            };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{below}{name}");
                let Ok(kind) = entry.file_type() else { continue };
                if name.starts_with('.') || files.len() >= MOST_FILES {
                } else if kind.is_file() {
                    files.insert(path);
                } else if kind.is_dir() && depth < DEEPEST && !NOT_ITS_OWN.contains(&name.as_str()) {
                    open.push((entry.path(), format!("{path}/"), depth + 1));
                }
            }
        }
        let text = |name: &str| {
            let path = directory.join(name);
            let is_small = fs::metadata(&path).is_ok_and(|found| found.len() <= LARGEST);
            is_small.then(|| fs::read_to_string(path).ok()).flatten()
        };
        let described =
            ["package.json", "pyproject.toml", "Cargo.toml", "composer.json", "go.mod", "requirements.txt"];
        let texts = described.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?))).collect();
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name: named(&name), files, texts })
    }

    /// A folder that holds these files with these texts, for tests.
    #[cfg(test)]
    pub(super) fn of(name: &str, files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        let texts: BTreeMap<String, String> = files.iter().map(owned).collect();
        Self { name: named(name), files: texts.keys().cloned().collect(), texts }
    }

    /// Whether there is a file of this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// The files at the top.
    pub(super) fn at_top(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|path| !path.contains('/'))
    }

    /// All files.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Files and folders at the top.
    pub(super) fn entries(&self) -> BTreeSet<&str> {
        self.files().map(|path| path.split('/').next().unwrap_or(path)).collect()
    }

    /// What a file says that describes the project.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// The same as JSON.
    pub(super) fn json(&self, path: &str) -> serde_json::Value {
        self.text(path).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The same as TOML.
    pub(super) fn toml(&self, path: &str) -> toml::Table {
        self.text(path).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

/// The nearest that can be a project's name.
fn named(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = text.to_lowercase().chars().map(allowed).take(63).collect();
    let name = name.trim_matches('-');
    if name.parse::<Name>().is_ok() { name.to_owned() } else { "my-project".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_has_a_name_that_a_project_may_have() {
        for (folder, name) in [
            ("shop", "shop"),
            ("My Shop!", "my-shop"),
            ("Übung", "bung"),
            ("", "my-project"),
            ("日本", "my-project"),
        ] {
            assert_eq!(named(folder), name, "{folder}");
        }
    }

    #[test]
    fn a_folder_is_seen_without_what_tools_made_and_without_links() {
        let home = tempfile::tempdir().unwrap();
        for path in ["src/a.js", "node_modules/x/index.js", ".git/config", "a/b/c/d/e/f/g/h/i/deep"] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("/not/on/this/machine", home.path().join("link")).unwrap();
        let folder = Folder::read(home.path()).unwrap();
        assert_eq!(folder.files().collect::<Vec<_>>(), ["src/a.js"]);
    }
}
