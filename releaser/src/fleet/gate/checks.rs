//! What was asked of others, compared with what is wanted. No answer is never a good one.

use staith_model::{Check, Comparison, Metric};

use super::{GateState, Moment, SAMPLING_MILLIS};

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The status of an HTTP answer.
    Status(u16),
    /// A number.
    Number(f64),
    /// All machines of the environment are healthy.
    Healthy,
    /// None of these: no answer, an empty one, an error, a machine that is not healthy; says which.
    Nothing(String),
}

/// An answer, and when it was given, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// What.
    pub answer: Answer,
}

pub(super) fn judge(place: usize, check: &Check, at: &Moment<'_>) -> (String, GateState) {
    let about = match check {
        Check::Http { url, .. } => url.as_str(),
        Check::Metric { metric } => metric.name.as_str(),
        Check::Health => "health",
    };
    (format!("check {} ({about})", place + 1), state(place, check, at))
}

fn state(place: usize, check: &Check, at: &Moment<'_>) -> GateState {
    let held = match at.facts.checks.get(&place) {
        None => Err("its first answer".to_owned()),
        // One from the future is of a clock that was put back, and may be of any age.
        Some(sample) if sample.at > at.now || at.now - sample.at > SAMPLING_MILLIS => {
            Err("a new answer; the last one is too old".to_owned())
        }
        Some(sample) => compare(check, &sample.answer),
    };
    match (held, check) {
        (Ok(because), _) => GateState::Green { because },
        (Err(what), Check::Metric { metric }) if metric.dry_run => {
            GateState::Green { because: format!("it only reports; it would wait for {what}") }
        }
        (Err(what), _) => at.waiting(what, None),
    }
}

fn compare(check: &Check, answer: &Answer) -> Result<String, String> {
    match (check, answer) {
        (_, Answer::Nothing(why)) => Err(format!("an answer; there is none: {why}")),
        (Check::Http { status, .. }, Answer::Status(found)) if found == status => {
            Ok(format!("it answers with {found}"))
        }
        (Check::Http { status, .. }, Answer::Status(found)) => {
            Err(format!("status {status}; it answers with {found}"))
        }
        (Check::Metric { metric }, Answer::Number(number)) => match holds(metric, *number) {
            Ok(true) => Ok(format!("{number} is {}", wanted(metric))),
            Ok(false) => Err(format!("a number {}; it is {number}", wanted(metric))),
            Err(why) => Err(format!("a number {}; {why}", wanted(metric))),
        },
        (Check::Health, Answer::Healthy) => Ok("all machines are healthy".to_owned()),
        _ => Err("an answer to what was asked; this is one to something else".to_owned()),
    }
}

/// On which side of its limit a metric's number should be, for people.
pub(super) fn wanted(metric: &Metric) -> String {
    let side = match metric.holds {
        Comparison::Below => "below",
        Comparison::Above => "above",
    };
    format!("{side} {}", metric.limit)
}

/// Whether a number is on the right side of a metric's limit.
///
/// # Errors
/// That can't be told: the number is none, or the limit is.
pub(super) fn holds(metric: &Metric, number: f64) -> Result<bool, String> {
    if number.is_nan() {
        return Err("what came is not a number".to_owned());
    }
    let limit = limit(metric)?;
    Ok(match metric.holds {
        Comparison::Below => number < limit,
        Comparison::Above => number > limit,
    })
}

fn limit(metric: &Metric) -> Result<f64, String> {
    let limit = metric.limit.trim().parse::<f64>().ok().filter(|limit| limit.is_finite());
    limit.ok_or_else(|| format!("the limit `{}` of metric `{}` is no number", metric.limit, metric.name))
}

pub(super) fn mistake(check: &Check) -> Option<String> {
    let address = |url: &str| {
        let is_one = url.starts_with("http://") || url.starts_with("https://");
        (!is_one).then(|| format!("`{url}` in `checks` is no address: it begins with http:// or https://"))
    };
    match check {
        Check::Http { url, .. } => address(url),
        Check::Metric { metric } => address(&metric.prometheus).or_else(|| limit(metric).err()),
        Check::Health => None,
    }
}
