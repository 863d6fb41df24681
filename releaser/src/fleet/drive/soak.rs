//! A wave is watched: machines are looked at, and measured where the plan says so, until it held.

use staith_model::{Analysis, Blame, DeploymentChange as Change, HookPoint, Measured, Reason, Samples, Work};

use super::{
    decide::{failure, is_past, progress, trouble, ways_on, within},
    phases,
    view::{Decision, View},
};

/// Looks at machines with the new release, and measures, while a wave is watched.
pub(super) fn watch(view: &View<'_>, wave: u32) -> Result<Vec<Work>, Decision> {
    let plan = &view.record.plan;
    let mut works = Vec::new();
    for name in plan.up_to(wave).filter(|name| !view.out.contains(*name) && !view.target(name).skipped) {
        if let Some(lost) = view.lost(name).filter(|_| view.is_given_up(name) && !view.is_busy(name)) {
            let what = format!("{name} stopped answering while it was watched: {}", lost.why);
            return Err(Decision::Change(Change::Undecidable, trouble(what, ways_on(view))));
        }
        let record = view.target(name);
        let bad = record.bad_glances > 0;
        let pause = if bad { view.limits.backoff } else { view.limits.watch };
        let before = record.proven.is_some_and(|(_, at)| at < view.record.since);
        let due = record.asked_at.saturating_add(pause) <= view.now || (before && !bad);
        if due && view.may_ask(name) && !view.is_busy(name) {
            works.push(Work::Probe { target: name.clone(), release: plan.release, glance: true });
        }
    }
    if let Some(analysis) = analysis_of(view, wave) {
        let samples = view.record.samples.get(&wave);
        let (at, limit) = (samples.map_or(0, |samples| samples.at), analysis.failure_limit);
        if let Some(bad) = samples.filter(|samples| samples.come_to(limit) == Measured::Failed) {
            let reason = Reason { blame: Blame::Project, what: says_no(bad, limit), remedy: None };
            return Err(Decision::Change(Change::Aborted, Some(reason)));
        }
        let next = at.max(view.record.since).saturating_add(interval(analysis));
        let last_chance = bake_ends(view, wave) <= view.now && at < view.record.since;
        if next <= view.now || last_chance {
            works.push(Work::Analyse { wave });
        }
    }
    Ok(works)
}

/// What is measured of a wave, where something is.
fn analysis_of<'a>(view: &View<'a>, wave: u32) -> Option<&'a Analysis> {
    let plan = &view.record.plan;
    plan.analysis.as_ref().filter(|_| plan.wave(wave).is_some_and(|wave| wave.analysed))
}

/// Milliseconds between two looks at the metrics.
fn interval(analysis: &Analysis) -> u64 {
    analysis.interval_seconds.max(1).saturating_mul(1000)
}

fn says_no(samples: &Samples, limit: u32) -> String {
    let last = samples.last.as_deref().unwrap_or_default();
    let failed = samples.failed;
    format!("measurements say no: {failed} were bad, where {limit} may be; {last}")
}

fn says_neither(samples: &Samples) -> String {
    let last = samples.last.as_deref().unwrap_or_default();
    let missing = samples.missing;
    format!("measurements say neither yes nor no: {missing} were no numbers; {last}")
}

/// Milliseconds that measurements may take after the wave's time: as long as they could come to nothing, and one more.
fn measuring(view: &View<'_>, wave: u32) -> u64 {
    let looks = |analysis: &Analysis| u64::from(analysis.failure_limit).saturating_mul(2).saturating_add(2);
    analysis_of(view, wave).map_or(0, |analysis| interval(analysis).saturating_mul(looks(analysis)))
}

fn bake_ends(view: &View<'_>, wave: u32) -> u64 {
    let passed = view.record.waved_through.contains(&wave);
    let seconds = view.record.plan.wave(wave).map_or(0, |wave| wave.bake_seconds);
    if passed { view.record.since } else { view.record.since.saturating_add(seconds.saturating_mul(1000)) }
}

/// A wave is watched; the last one gets its smoke test.
pub(super) fn soaking(view: &View<'_>, wave: u32) -> Decision {
    if let Some(decision) = failure(view) {
        return decision;
    }
    let works = match watch(view, wave) {
        Ok(works) => within(view, &works),
        Err(decision) => return decision,
    };
    if !works.is_empty() {
        return Decision::Do(works);
    }
    let plan = &view.record.plan;
    let last = plan.is_last(wave);
    if last && let Some(decision) = phases::hooks(view, HookPoint::AfterSwitch) {
        return decision;
    }
    let ends = bake_ends(view, wave);
    let mut watched = plan.up_to(wave).filter(|name| !view.out.contains(*name) && !view.target(name).skipped);
    let proven = watched.all(|name| {
        let record = view.target(name);
        record.bad_glances == 0 && record.proven.is_some_and(|(_, at)| at >= view.record.since)
    });
    let measured = measured(view, wave);
    if ends > view.now || !proven || measured == Measured::TooFew || !view.running.is_empty() {
        let most = ends.saturating_sub(view.record.since).saturating_add(measuring(view, wave));
        if is_past(view, view.limits.wave.saturating_add(most)) {
            let what = "its time is up while it was watched".into();
            return Decision::Change(Change::Undecidable, trouble(what, ways_on(view)));
        }
        return progress(look_again(view, wave, ends, proven));
    }
    if measured == Measured::Unknown {
        let what = view.record.samples.get(&wave).map(says_neither).unwrap_or_default();
        return Decision::Change(Change::Paused, trouble(what, "say resume or abort"));
    }
    Decision::Change(if last { Change::AllWavesHeld } else { Change::NextWave }, None)
}

/// What measurements of a wave come to; a person may have let it pass whatever they say.
fn measured(view: &View<'_>, wave: u32) -> Measured {
    match analysis_of(view, wave).filter(|_| !view.record.waved_through.contains(&wave)) {
        None => Measured::Held,
        Some(analysis) => {
            let samples = view.record.samples.get(&wave).cloned().unwrap_or_default();
            samples.come_to(analysis.failure_limit)
        }
    }
}

/// When a wave that is watched is decided about again.
fn look_again(view: &View<'_>, wave: u32, ends: u64, proven: bool) -> u64 {
    if !proven {
        return view.now.saturating_add(view.limits.backoff);
    }
    let next = analysis_of(view, wave).map(|analysis| {
        let at = view.record.samples.get(&wave).map_or(0, |samples| samples.at);
        at.max(view.record.since).saturating_add(interval(analysis))
    });
    let due = [Some(ends), next].into_iter().flatten().filter(|at| *at > view.now).min();
    due.unwrap_or(u64::MAX).min(view.now.saturating_add(view.limits.watch))
}
