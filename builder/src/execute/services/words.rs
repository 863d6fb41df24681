//! What the end of a service means for the step that it is beside, in words. Pure.

use staith_model::{ServicePlan, StepOutcome};

use super::{ready::Unready, service::Ended};
use crate::{
    engine::{EngineError, StepExit},
    execute::verdict::{Verdict, size},
};

/// Of an attempt whose service ended before the step's program was started. Nobody had asked it to.
pub(super) fn ended_early(ended: &Ended, hint: &Option<String>) -> Verdict {
    let service = &ended.service;
    let what = |exit: &str| format!("service `{service}` ended before the step was started: {exit}");
    let how = how(&ended.exit);
    match &ended.exit {
        Err(error) => Verdict::broken(what(&how), error.remedy().map(str::to_owned)),
        Ok(StepExit::NotStarted { .. }) => Verdict::undelivered(
            format!("service `{service}` can't be run: {how}"),
            Some(format!("correct `run` or `image` in [services.{service}]")),
        ),
        Ok(StepExit::OutOfMemory) => Verdict::project(
            StepOutcome::OutOfMemory,
            what(&how),
            Some(format!("if it needs more, set `memory` in [services.{service}]")),
        ),
        Ok(StepExit::DiskUsedUp { .. }) => Verdict::undelivered(
            what(&how),
            Some(format!("if it needs more, set `disk` in [services.{service}]")),
        ),
        Ok(StepExit::HostDiskFull { .. }) => Verdict::broken(what(&how), Some(ROOM.to_owned())),
        Ok(StepExit::Code(0)) => Verdict::undelivered(
            what(&how),
            Some(format!(
                "let it go on in the foreground: with its first process everything in its sandbox ends{}",
                hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
            )),
        ),
        // Only its timeout, which is long after the step's, and its cancellation, which nobody asked for.
        Ok(StepExit::TimedOut | StepExit::Cancelled) => Verdict::broken(what(&how), None),
        Ok(StepExit::Code(_) | StepExit::Signal(_)) => Verdict::undelivered(what(&how), hint.clone()),
    }
}

/// Of an attempt whose service can't be used.
pub(super) fn not_ready(service: &ServicePlan, unready: &Unready, hint: &Option<String>) -> Verdict {
    let name = &service.name;
    match unready {
        Unready::Late { what } => Verdict::broken(
            format!("service `{name}` was not ready within {} s: {what}", service.ready_seconds),
            Some(format!(
                "if it needs longer, set `within` in [services.{name}]{}",
                hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
            )),
        ),
        Unready::NoSuchCheck { program, why } => Verdict::undelivered(
            format!(
                "`{program}`, which is to tell when service `{name}` is ready, could not be started: {why}"
            ),
            Some(format!(
                "correct `ready` in [services.{name}]: its command is run in the service's sandbox"
            )),
        ),
    }
}

/// Says of a step that did not pass which of its services had ended before it. Where one was lost to the environment, that is
/// why the step failed, as far as anybody can know.
pub(in crate::execute) fn amend(verdict: &mut Verdict, gone: &[Ended]) {
    if !matches!(verdict.outcome, StepOutcome::Failed | StepOutcome::TimedOut | StepOutcome::OutOfMemory) {
        return;
    }
    let Some(reason) = verdict.reason.as_mut() else { return };
    for ended in gone {
        reason.what.push_str(&format!(
            "; its service `{}` had ended before: {}",
            ended.service,
            how(&ended.exit)
        ));
    }
    if let Some(lost) = gone.iter().find(|ended| is_the_environments(&ended.exit)) {
        let remedy = match &lost.exit {
            Err(error) => error.remedy().map(str::to_owned),
            Ok(_) => Some(ROOM.to_owned()),
        };
        *verdict = Verdict::broken(reason.what.clone(), remedy);
    }
}

const fn is_the_environments(exit: &Result<StepExit, EngineError>) -> bool {
    matches!(exit, Err(_) | Ok(StepExit::HostDiskFull { .. }))
}

const ROOM: &str = "make room, or set STAITH_HOME to a directory on another disk";

/// How a service ended.
pub(super) fn how(exit: &Result<StepExit, EngineError>) -> String {
    match exit {
        Err(error) => error.to_string(),
        Ok(StepExit::Code(code)) => format!("exit code {code}"),
        Ok(StepExit::Signal(signal)) => format!("ended by signal {signal}"),
        Ok(StepExit::OutOfMemory) => "out of memory: it wanted more than it may have".to_owned(),
        Ok(StepExit::DiskUsedUp { limit }) => {
            format!("it wrote more than the {} that it may", size(*limit))
        }
        Ok(StepExit::HostDiskFull { place, free }) => {
            format!("the disk with {} has only {} left", place.display(), size(*free))
        }
        Ok(StepExit::NotStarted { program, why }) => format!("`{program}` could not be started: {why}"),
        Ok(StepExit::TimedOut) => "it went on for longer than the step may".to_owned(),
        Ok(StepExit::Cancelled) => "it was cancelled".to_owned(),
    }
}
