//! Pools that served before a swap: until when they are kept, and what came of stopping them.

use std::io;

use serde_json::json;
use staith_model::{Name, WarmPool};
use staith_releaser::fleet::drive::Cooled;

use super::{
    super::{OutputMode, Problem, clean::clean_word, human},
    say,
};

/// Until when the pool that served is kept as it is, and what became of it.
pub(super) fn warm_in_words(warm: &WarmPool, now: u64) -> Vec<String> {
    let pool = &warm.pool;
    let stopped = warm.targets.values().filter_map(|target| target.stopped).max();
    let line = match (warm.running().next().is_some(), stopped) {
        (true, _) if warm.until > now => {
            let left = human::millis(warm.until - now);
            format!(
                "  pool {pool} is kept as it is for {left} more: until then a swap or rollback is instant"
            )
        }
        (true, _) => {
            let ago = human::millis(now - warm.until);
            format!("  pool {pool} was to be kept until {ago} ago; `staith env sweep` stops its services")
        }
        (false, Some(at)) => {
            let ago = human::millis(now.saturating_sub(at));
            format!(
                "  pool {pool} was stopped {ago} ago; a swap or rollback starts it again, and proves it, first"
            )
        }
        (false, None) => format!("  pool {pool} was to be stopped"),
    };
    let left = warm.targets.iter().filter_map(|(name, target)| {
        let why = target.why.as_deref()?;
        Some(format!(
            "    {name} could not be stopped, asked {}: {}",
            human::count(target.tries as usize, "time"),
            clean_word(why)
        ))
    });
    std::iter::once(line).chain(left).collect()
}

/// Says what came of stopping a pool whose time was over. Nothing where there was nothing to do.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn cooled(
    (project, environment): (Option<&Name>, &Name),
    came: &Result<Cooled, Problem>,
    mode: OutputMode,
) -> io::Result<()> {
    let name = project.map_or_else(|| environment.to_string(), |project| format!("{project}/{environment}"));
    let value = json!({"project": project, "environment": environment});
    match came {
        Ok(Cooled::Nothing) => Ok(()),
        Ok(Cooled::Busy) => {
            say(mode, &[], &[format!("{name}: a deployment is at work there; its pools are left alone")])
        }
        Ok(Cooled::Needed(why)) => {
            let mut value = value;
            value["left"] = json!(why);
            say(mode, &[value], &[format!("{name}: nothing is stopped, because {}", clean_word(why))])
        }
        Ok(Cooled::Asked { pool, stopped, left }) => {
            let mut value = value;
            value["pool"] = json!(pool);
            value["stopped"] = json!(stopped);
            value["left"] =
                json!(left.iter().map(|(name, why)| json!({"target": name, "why": why})).collect::<Vec<_>>());
            let machines = human::count(stopped.len(), "machine");
            let mut lines =
                vec![format!("{name}: pool {pool} was kept long enough; it is stopped on {machines}")];
            lines.extend(
                left.iter().map(|(name, why)| format!("  {name} could not be stopped: {}", clean_word(why))),
            );
            say(mode, &[value], &lines)
        }
        Err(problem) => {
            let mut value = value;
            value["what"] = json!(problem.what);
            value["why"] = json!(problem.why);
            value["remedy"] = json!(problem.remedy);
            let mut lines = vec![format!("{name}: its pool is not stopped: {}", clean_word(&problem.what))];
            let told = [("why", &problem.why), ("do", &problem.remedy)];
            let said = told.into_iter().filter_map(|(word, text)| Some((word, text.as_deref()?)));
            lines.extend(said.map(|(word, text)| format!("  {word}: {}", clean_word(text))));
            say(mode, &[value], &lines)
        }
    }
}
