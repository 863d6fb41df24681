//! `staith project set`.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};
use staith_model::{Exit, Name, service::Project};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Change settings of a project
///
/// A key is one that `staith project show` shows, parts of it after a dot: `poll_seconds=60`, `forge.kind=github`,
/// `protected_branches=["main","release/*"]`. A value is JSON, or else a text; `null` goes back to what is usual.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The project
    project: Name,
    /// What is to be otherwise
    #[arg(value_name = "KEY=VALUE", required = true)]
    settings: Vec<Setting>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    key: String,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.split('.').any(str::is_empty) => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
                Ok(Self { key: key.to_owned(), value })
            }
            _ => Err("a setting is KEY=VALUE".to_owned()),
        }
    }
}

impl Setting {
    /// All of them as one value.
    pub(super) fn merged(settings: &[Self]) -> Value {
        let mut whole = Value::Object(Map::new());
        for setting in settings {
            let mut place = &mut whole;
            for part in setting.key.split('.') {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                place = &mut place[part];
            }
            *place = setting.value.clone();
        }
        whole
    }
}

impl Set {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let path = format!("/api/v1/projects/{}", self.project);
        let project: Project = server.open()?.patch(&path, &Setting::merged(&self.settings)).await?;
        output::project_shown(&project, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_have_parts_and_values_are_json_or_text() {
        let settings: Vec<Setting> = [
            "poll_seconds=60",
            "forge.kind=github",
            "forge.repository=me/shop",
            "protected_branches=[\"a\"]",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let expected = json!({
            "poll_seconds": 60, "forge": { "kind": "github", "repository": "me/shop" }, "protected_branches": ["a"]
        });
        assert_eq!(Setting::merged(&settings), expected);
        for bad in ["", "x", "=1", "a..b=1"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }
}
