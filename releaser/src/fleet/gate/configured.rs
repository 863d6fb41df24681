//! What protects which environment, as `config.toml` of the home says. Never a pipeline: what a pull request edits must not weaken it.
//!
//! ```toml
//! [environments."shop/production"]
//! branches = ["main", "release/*"]
//! after = ["qa"]
//! approvals = { people = ["anna", "ben"], needed = 1, deadline-seconds = 3600 }
//! hours = [{ days = ["mon", "tue", "wed", "thu"], from = "09:00", until = "16:00", zone = "Europe/Berlin" }]
//! freezes = [{ from = "2026-12-20[Europe/Berlin]", until = "2027-01-02[Europe/Berlin]", why = "the sale" }]
//! checks = [{ check = "http", url = "https://status.example.org/ok", status = 200 }]
//!
//! [environments."*/production"]
//! approvals = { people = ["anna"], needed = 1, deadline-seconds = 3600 }
//! ```

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use staith_model::{Name, Protection};

use super::mistakes;

/// The table of a home's `config.toml` that has the protections.
pub const ENVIRONMENTS: &str = "environments";

/// What protects which environment.
#[derive(Debug, Clone, Default)]
pub struct Protections {
    exact: BTreeMap<String, Protection>,
    wild: Vec<(String, GlobMatcher, Protection)>,
}

/// Why it can't be told what protects an environment. It is not open then: nothing may be deployed there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotProtected {
    /// The file can't be understood.
    #[error("what protects environments can't be understood: {0}")]
    Mistake(String),
    /// Two patterns speak of the same environment.
    #[error(
        "two patterns protect {environment}: [environments.\"{one}\"] and [environments.\"{other}\"]; write [environments.\"{environment}\"] \
         with what is to hold"
    )]
    Ambiguous {
        /// `PROJECT/NAME`.
        environment: String,
        /// One of them.
        one: String,
        /// The other.
        other: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    environments: BTreeMap<String, Protection>,
}

impl Protections {
    /// Reads them from the text of `config.toml`; what else is in there is somebody else's.
    ///
    /// # Errors
    /// The text is no TOML, a key is no `PROJECT/NAME`, a protection says what nobody understands or what can't be meant.
    pub fn parse(text: &str) -> Result<Self, NotProtected> {
        let file: File = toml::from_str(text).map_err(|why| NotProtected::Mistake(why.to_string()))?;
        let mut found = Self::default();
        for (key, protection) in file.environments {
            let refuse = |why: &str| NotProtected::Mistake(format!("[environments.\"{key}\"]: {why}"));
            let parts: Vec<&str> = key.split('/').collect();
            let [project, name] = parts[..] else {
                return Err(refuse(
                    "its name is PROJECT/NAME, such as \"shop/production\" or \"*/production\"",
                ));
            };
            if let Some(mistake) = mistakes(&protection).first() {
                return Err(refuse(mistake));
            }
            if [project, name].iter().all(|part| part.parse::<Name>().is_ok()) {
                found.exact.insert(key, protection);
                continue;
            }
            if !key.contains(['*', '?', '[', '{']) {
                return Err(refuse("no project or environment can have this name"));
            }
            let glob = GlobBuilder::new(&key).literal_separator(true).build();
            let glob = glob.map_err(|why| refuse(&why.to_string()))?.compile_matcher();
            found.wild.push((key, glob, protection));
        }
        Ok(found)
    }

    /// What protects an environment: what is written for it by name, or else by the one pattern that it fits. An environment of which
    /// nothing is said is open.
    ///
    /// # Errors
    /// Two patterns fit: which of them is meant would be a guess.
    pub fn of(&self, project: &Name, environment: &Name) -> Result<Protection, NotProtected> {
        let key = format!("{project}/{environment}");
        if let Some(protection) = self.exact.get(&key) {
            return Ok(protection.clone());
        }
        let mut fitting = self.wild.iter().filter(|(_, glob, _)| glob.is_match(&key));
        match (fitting.next(), fitting.next()) {
            (None, _) => Ok(Protection::default()),
            (Some((_, _, protection)), None) => Ok(protection.clone()),
            (Some((one, ..)), Some((other, ..))) => {
                Err(NotProtected::Ambiguous { environment: key, one: one.clone(), other: other.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use staith_model::{Check, Queue};

    use super::*;

    fn of(text: &str, environment: &str) -> Result<Protection, NotProtected> {
        let environment = environment.parse().unwrap();
        Protections::parse(text)?.of(&"shop".parse().unwrap(), &environment)
    }

    const FULL: &str = r#"
        [caches]
        budget = "1GiB"
        [environments."shop/production"]
        branches = ["main", "release/*"]
        after = ["qa"]
        queue = "in-order"
        approvals = { people = ["anna", "ben"], needed = 1, deadline-seconds = 3600, at-deadline = "deploy" }
        hours = [{ days = ["mon", "tue"], from = "09:00", until = "16:00", zone = "Europe/Berlin" }]
        freezes = [{ from = "2026-12-20[Europe/Berlin]", until = "2027-01-02T00:00:00Z", why = "the sale" }]
        [[environments."shop/production".checks]]
        check = "http"
        url = "https://status.example.org/ok"
        status = 200
        [[environments."shop/production".checks]]
        check = "metric"
        metric = { name = "errors", prometheus = "http://prometheus:9090", query = "q", holds = "below", limit = "0.01" }
        [[environments."shop/production".checks]]
        check = "health"
        [environments."*/production"]
        branches = ["main"]
    "#;

    #[test]
    fn a_name_wins_over_a_pattern_and_nothing_said_is_open() {
        let production = of(FULL, "production").unwrap();
        assert_eq!((production.queue, production.checks.len()), (Queue::InOrder, 3));
        assert!(matches!(&production.checks[1], Check::Metric { metric } if !metric.dry_run));
        assert_eq!(production.approvals.unwrap().needed, 1);
        let other = Protections::parse(FULL).unwrap();
        let other = other.of(&"cart".parse().unwrap(), &"production".parse().unwrap()).unwrap();
        assert_eq!(other.branches, ["main"]);
        assert_eq!(of(FULL, "qa"), Ok(Protection::default()));
        assert_eq!(of("", "qa"), Ok(Protection::default()));
    }

    #[test]
    fn two_patterns_that_fit_are_nobodys_guess() {
        let text = "[environments.\"*/production\"]\n[environments.\"shop/*\"]\nbranches = [\"main\"]\n";
        assert!(matches!(of(text, "production"), Err(NotProtected::Ambiguous { .. })));
        assert_eq!(of(text, "qa").unwrap().branches, ["main"]);
    }

    #[test]
    fn what_nobody_understands_opens_nothing() {
        for bad in [
            "[environments.production]",
            "[environments.\"shop/a/b\"]",
            "[environments.\"Shop!/a\"]",
            "[environments.\"shop/[\"]",
            "[environments.\"shop/qa\"]\napprovers = []",
            "[environments.\"shop/qa\"]\napprovals = { people = [\"anna\"], needed = 2, deadline-seconds = 5 }",
            "[environments.\"shop/qa\"]\nhours = [{ days = [\"mo\"], from = \"09:00\", until = \"10:00\", zone = \"UTC\" }]",
            "[environments.\"shop/qa\"]\nbranches = \"main\"",
            "environments = 3",
            "[environments",
        ] {
            assert!(matches!(of(bad, "qa"), Err(NotProtected::Mistake(_))), "{bad}");
        }
    }
}
