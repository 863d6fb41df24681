//! Spans of time in which nothing is deployed.

use jiff::{Timestamp, Zoned};
use staith_model::FreezeWindow;

use super::{GateState, Moment};

/// The span of a freeze, `[from, until)`, in milliseconds since 1970.
///
/// # Errors
/// It can't be understood: says why.
pub(super) fn span(freeze: &FreezeWindow) -> Result<(u64, u64), String> {
    let (from, until) = (instant(&freeze.from)?, instant(&freeze.until)?);
    if from < until {
        return Ok((from, until));
    }
    Err(format!("a freeze from {} until {} never comes", freeze.from, freeze.until))
}

fn instant(text: &str) -> Result<u64, String> {
    let at = text.parse::<Timestamp>().or_else(|_| text.parse::<Zoned>().map(|zoned| zoned.timestamp()));
    at.ok().and_then(|at| u64::try_from(at.as_millisecond()).ok()).ok_or_else(|| {
        format!(
            "`{text}` in `freezes` is no time: write one such as 2026-12-20T18:00:00+01:00, or 2026-12-20[Europe/Berlin]"
        )
    })
}

pub(super) fn judge(freezes: &[FreezeWindow], at: &Moment<'_>) -> GateState {
    let mut frozen: Option<(u64, &str)> = None;
    for freeze in freezes {
        match span(freeze) {
            Err(why) => return GateState::Refused { why },
            Ok((from, until)) if (from..until).contains(&at.now) => {
                if frozen.is_none_or(|(longest, _)| until > longest) {
                    frozen = Some((until, &freeze.why));
                }
            }
            Ok(_) => {}
        }
    }
    let Some((until, why)) = frozen else {
        return GateState::Green { because: "nothing is frozen now".to_owned() };
    };
    let what = format!("the end of a freeze: {why}");
    match at.facts.freeze_override.as_ref().filter(|thaw| thaw.counts(at.facts, at.now)) {
        Some(thaw) => {
            GateState::Overridden { by: thaw.by.clone(), reason: thaw.reason.clone(), instead_of: what }
        }
        None => at.waiting(what, Some(until)),
    }
}
