//! What two releases differ in, for people and for programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staith_model::{Digest, Entry, FleetRelease, Manifest, Name, SourceOfRelease};

/// What two releases differ in. Its `Display` has a line for each difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDiff {
    /// The first release.
    pub from: Digest,
    /// The second.
    pub to: Digest,
    /// What is different, what concerns all environments first.
    pub differences: Vec<Difference>,
}

/// One thing in which two releases differ. It holds no secrets, since releases don't: of these, versions are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The environment, where it concerns one only.
    pub environment: Option<Name>,
    /// What: `package.version`, `files.app/web.config`, `variables.LOG_LEVEL`, `hooks.migrate.command`.
    pub what: String,
    /// As the first release has it; `None` if it has not.
    pub before: Option<String>,
    /// As the second has it.
    pub after: Option<String>,
}

/// What two releases differ in, and how far they were compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What they differ in.
    #[serde(flatten)]
    pub diff: ReleaseDiff,
    /// Whether the files of their packages were compared, too.
    pub files_compared: bool,
}

impl Comparison {
    /// Compares two releases, with their files where the manifests of both packages are at hand.
    pub fn of(
        from: &FleetRelease,
        to: &FleetRelease,
        manifests: (Option<&Manifest>, Option<&Manifest>),
    ) -> Self {
        let contents = manifests.0.zip(manifests.1);
        Self { diff: diff(from, to, contents), files_compared: contents.is_some() }
    }
}

/// Compares two releases. Where the manifests of their packages are at hand, files are compared, too.
pub fn diff(from: &FleetRelease, to: &FleetRelease, contents: Option<(&Manifest, &Manifest)>) -> ReleaseDiff {
    let common = |release: &FleetRelease| {
        let mut values = BTreeMap::new();
        flatten("project", &json(&release.project), &mut values);
        flatten("package", &json(&release.package), &mut values);
        // The commit says it already; a second line for the same difference tells nothing.
        let source = SourceOfRelease { committed_at: None, ..release.source.clone() };
        flatten("source", &json(&source), &mut values);
        values
    };
    let mut differences = Vec::new();
    compare(None, &common(from), &common(to), &mut differences);
    if let Some((before, after)) = contents {
        compare(None, &files(before), &files(after), &mut differences);
    }
    let environments: BTreeSet<&Name> = from.settings.keys().chain(to.settings.keys()).collect();
    for environment in environments {
        let values = |release: &FleetRelease| {
            let mut values = BTreeMap::new();
            if let Some(setting) = release.settings.get(environment) {
                flatten("", &json(setting), &mut values);
            }
            values
        };
        compare(Some(environment), &values(from), &values(to), &mut differences);
    }
    ReleaseDiff { from: from.digest(), to: to.digest(), differences }
}

fn json(value: &impl Serialize) -> Value {
    // These are values of our own, which all can be written as JSON.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The leaves of a value by their paths. An item of a list is called by its name where it has one.
fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(object) => object.iter().for_each(|(key, value)| flatten(&below(key), value, leaves)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map_or(index.to_string(), str::to_owned);
                flatten(&below(&name), item, leaves);
                // Where hooks stand among each other is when they run.
                leaves.insert(below(&format!("{name}.position")), (index + 1).to_string());
            }
        }
        Value::String(text) => {
            leaves.insert(path.to_owned(), text.clone());
        }
        other => {
            leaves.insert(path.to_owned(), other.to_string());
        }
    }
}

fn files(manifest: &Manifest) -> BTreeMap<String, String> {
    let shown = |entry: &Entry| match entry {
        Entry::Directory => "folder".to_owned(),
        Entry::File { mode, size, digest } => format!("{size} bytes, mode {mode:o}, {}", digest.short()),
        Entry::Symlink { target } => format!("link to {target}"),
    };
    manifest.entries.iter().map(|(path, entry)| (format!("files.{path}"), shown(entry))).collect()
}

fn compare(
    environment: Option<&Name>,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    differences: &mut Vec<Difference>,
) {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for what in all {
        let (before, after) = (before.get(what), after.get(what));
        if before != after {
            differences.push(Difference {
                environment: environment.cloned(),
                what: what.clone(),
                before: before.cloned(),
                after: after.cloned(),
            });
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = self.environment.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let what = self.what.escape_debug();
        let (before, after) = (
            self.before.as_ref().map(|it| it.escape_debug()),
            self.after.as_ref().map(|it| it.escape_debug()),
        );
        match (before, after) {
            (None, Some(after)) => write!(f, "+ {whose}{what} = {after}"),
            (Some(before), None) => write!(f, "- {whose}{what} = {before}"),
            (Some(before), Some(after)) => write!(f, "~ {whose}{what}: {before} → {after}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for ReleaseDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.differences.iter().try_for_each(|difference| writeln!(f, "{difference}"))
    }
}
