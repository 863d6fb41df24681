//! Whether a project's settings can work. Pure.

use serde_json::Value;
use staith_model::service::{ForgeSettings, ProjectSettings};

use super::{cron::Cron, glob, hook::is_name, schedules};
use crate::api::Problem;

/// Repositories are not compared more often.
const SHORTEST_POLL_SECONDS: u64 = 5;

/// The settings that come of a part of them, as RFC 7396 merges it.
///
/// # Errors
/// It names what there is not, or can't work.
pub(super) fn merged(settings: &ProjectSettings, part: &Value) -> Result<ProjectSettings, Problem> {
    let mut whole = serde_json::to_value(settings).map_err(|bad| bad_settings(&bad.to_string()))?;
    if !part.is_object() {
        return Err(bad_settings("the part to change is no JSON object"));
    }
    merge(&mut whole, part);
    let merged = serde_json::from_value(whole).map_err(|bad| bad_settings(&bad.to_string()))?;
    check(&merged)?;
    Ok(merged)
}

fn merge(whole: &mut Value, part: &Value) {
    let Value::Object(part) = part else {
        *whole = part.clone();
        return;
    };
    if !whole.is_object() {
        *whole = Value::Object(serde_json::Map::new());
    }
    let Value::Object(whole) = whole else { return };
    for (key, value) in part {
        if value.is_null() {
            whole.remove(key);
        } else {
            merge(whole.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// # Errors
/// They can't work.
pub(super) fn check(settings: &ProjectSettings) -> Result<(), Problem> {
    for (key, patterns) in
        [("protected_branches", &settings.protected_branches), ("protected_tags", &settings.protected_tags)]
    {
        for pattern in patterns {
            glob::check(pattern).map_err(|why| bad_settings(&format!("`{pattern}` in `{key}`: {why}")))?;
        }
    }
    // With 0 they are compared when the server starts, and not again.
    if settings.poll_seconds.is_some_and(|seconds| seconds != 0 && seconds < SHORTEST_POLL_SECONDS) {
        return Err(bad_settings(&format!("`poll_seconds` is less than {SHORTEST_POLL_SECONDS}, and not 0")));
    }
    for (place, schedule) in settings.schedules.iter().enumerate() {
        let bad = |why: String| bad_settings(&format!("schedule `{}`: {why}", schedule.name));
        Cron::parse(&schedule.cron, &schedule.time_zone).map_err(bad)?;
        if !is_name(&schedule.branch) {
            return Err(bad(format!("`{}` is no branch", schedule.branch.escape_debug())));
        }
        if schedule.name.as_str() == schedules::OWN {
            return Err(bad("the pipeline's own schedule is called so: take another name".to_owned()));
        }
        if settings.schedules.iter().take(place).any(|other| other.name == schedule.name) {
            return Err(bad("there are two of this name".to_owned()));
        }
    }
    settings.forge.as_ref().map_or(Ok(()), check_forge)
}

fn check_forge(forge: &ForgeSettings) -> Result<(), Problem> {
    if let Some(url) = &forge.url {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#', ' '])) {
            return Err(bad_settings("`forge.url` is no address such as `https://api.github.com`"));
        }
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_path = |name: &String| {
        name.chars().all(is_plain) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
    };
    if forge.repository.as_ref().is_some_and(|name| !is_path(name)) {
        return Err(bad_settings("`forge.repository` is no repository such as `owner/name`"));
    }
    Ok(())
}

pub(super) fn bad_settings(why: &str) -> Problem {
    Problem::new(422, "bad-settings", "the project's settings can't work").with_why(why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_is_merged_and_the_rest_stays() {
        let settings = ProjectSettings::default();
        let polled = merged(&settings, &json!({ "poll_seconds": 60 })).unwrap();
        assert_eq!(
            (polled.poll_seconds, &polled.protected_branches),
            (Some(60), &settings.protected_branches)
        );
        assert_eq!(merged(&polled, &json!({ "poll_seconds": null })).unwrap(), settings);
        assert_eq!(merged(&polled, &json!({ "poll_seconds": 0 })).unwrap().poll_seconds, Some(0));
        let forge = json!({ "forge": { "kind": "github", "repository": "me/shop" } });
        let with_forge = merged(&settings, &forge).unwrap();
        let more =
            merged(&with_forge, &json!({ "forge": { "webhook_secret": "hook" } })).unwrap().forge.unwrap();
        assert_eq!(
            (more.repository.as_deref(), more.webhook_secret.as_deref()),
            (Some("me/shop"), Some("hook"))
        );
    }

    #[test]
    fn what_can_not_work_is_refused() {
        for part in [
            json!([]),
            json!({ "polling": 3 }),
            json!({ "poll_seconds": 1 }),
            json!({ "protected_branches": ["["] }),
            json!({ "forge": { "kind": "sourceforge" } }),
            json!({ "schedules": [{ "name": "n", "cron": "0 25 * * *", "branch": "main" }] }),
            json!({ "schedules": [{ "name": "n", "cron": "0 5 * * *", "branch": "-x" }] }),
            json!({ "schedules": [{ "name": "runner.toml", "cron": "0 5 * * *", "branch": "main" }] }),
            json!({ "forge": { "kind": "github", "url": "https://token@api.github.com" } }),
            json!({ "forge": { "kind": "github", "repository": "a/../../b" } }),
        ] {
            assert!(merged(&ProjectSettings::default(), &part).is_err(), "{part}");
        }
    }
}
