//! Whether a canary's step held. Three answers: no data is not success, and no failure either.

use serde::Serialize;
use staith_model::{Analysis, Metric, Name};

use super::checks::{Answer, holds};

/// What one look at one metric gave.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    /// Which metric.
    pub metric: Name,
    /// What came.
    pub answer: Answer,
}

/// What an analysis comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "analysis")]
pub enum Judgement {
    /// Every metric held.
    Pass,
    /// A metric failed more often than it may.
    Fail {
        /// Which, and how often.
        why: String,
    },
    /// It can't be told. The rollout pauses, and a person decides.
    Inconclusive {
        /// Why not.
        why: String,
    },
}

/// The analysis of a step, with what each metric came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Analysed {
    /// All of it.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Each metric, those that only report as well.
    pub metrics: Vec<MetricTally>,
}

/// How often a metric held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricTally {
    /// Which.
    pub metric: Name,
    /// Whether it only reports.
    pub dry_run: bool,
    /// Samples on the right side of the limit.
    pub held: u32,
    /// Samples on the wrong side.
    pub failed: u32,
    /// Samples that were no number.
    pub missing: u32,
}

/// Judges the samples of a step.
///
/// For each metric that does not only report: more samples on the wrong side than [`Analysis::failure_limit`] fail the step.
/// A sample without a number uses up the same tolerance, but leads to no answer rather than to a bad one. And as many numbers are
/// needed as would be enough to fail: with fewer, that none failed shows nothing.
pub fn analyse(analysis: &Analysis, samples: &[MetricSample]) -> Analysed {
    let metrics: Vec<MetricTally> = analysis.metrics.iter().map(|metric| tally(metric, samples)).collect();
    let limit = analysis.failure_limit;
    let counting = || metrics.iter().filter(|metric| !metric.dry_run);
    let failed = counting().find(|metric| metric.failed > limit);
    let unknown = counting().find_map(|metric| {
        let numbers = metric.held.saturating_add(metric.failed);
        if metric.missing > 0 && metric.missing.saturating_add(metric.failed) > limit {
            return Some(format!("{}: {} samples were no number", metric.metric, metric.missing));
        }
        let needed = limit.saturating_add(1);
        (numbers < needed).then(|| format!("{}: {numbers} numbers, where {needed} are needed", metric.metric))
    });
    let judgement = match (failed, unknown) {
        (Some(metric), _) => Judgement::Fail {
            why: format!("{} failed {} times, where {limit} are allowed", metric.metric, metric.failed),
        },
        (None, Some(why)) => Judgement::Inconclusive { why },
        (None, None) if metrics.is_empty() => {
            Judgement::Inconclusive { why: "the analysis measures nothing".to_owned() }
        }
        (None, None) => Judgement::Pass,
    };
    Analysed { judgement, metrics }
}

fn tally(metric: &Metric, samples: &[MetricSample]) -> MetricTally {
    let Metric { name, dry_run, .. } = metric;
    let mut tally = MetricTally { metric: name.clone(), dry_run: *dry_run, held: 0, failed: 0, missing: 0 };
    for sample in samples.iter().filter(|sample| sample.metric == *name) {
        let held = match sample.answer {
            Answer::Number(number) => holds(metric, number).ok(),
            _ => None,
        };
        match held {
            Some(true) => tally.held += 1,
            Some(false) => tally.failed += 1,
            None => tally.missing += 1,
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use staith_model::Comparison;

    use super::*;

    fn metric(name: &str, dry_run: bool) -> Metric {
        Metric {
            name: name.parse().unwrap(),
            prometheus: "http://127.0.0.1:9090".into(),
            query: "q".into(),
            holds: Comparison::Below,
            limit: "0.05".into(),
            dry_run,
        }
    }

    fn analysis(metrics: Vec<Metric>, failure_limit: u32) -> Analysis {
        Analysis { metrics, interval_seconds: 5, failure_limit }
    }

    fn samples(name: &str, numbers: &[f64]) -> Vec<MetricSample> {
        let of =
            |number: &f64| MetricSample { metric: name.parse().unwrap(), answer: Answer::Number(*number) };
        numbers.iter().map(of).collect()
    }

    fn judged(metrics: Vec<Metric>, limit: u32, samples: &[MetricSample]) -> &'static str {
        match analyse(&analysis(metrics, limit), samples).judgement {
            Judgement::Pass => "pass",
            Judgement::Fail { .. } => "fail",
            Judgement::Inconclusive { .. } => "inconclusive",
        }
    }

    #[test]
    fn there_are_three_answers() {
        let errors = || vec![metric("errors", false)];
        for (limit, numbers, expected) in [
            (0, &[0.01][..], "pass"),
            (0, &[0.05], "fail"),
            (0, &[f64::INFINITY], "fail"),
            (0, &[], "inconclusive"),
            (0, &[f64::NAN], "inconclusive"),
            (0, &[0.01, f64::NAN], "inconclusive"),
            (2, &[0.01, 0.01], "inconclusive"),
            (2, &[0.01, 0.01, 0.9, 0.9], "pass"),
            (2, &[0.9, 0.9, 0.9, f64::NAN, f64::NAN], "fail"),
            (1, &[0.01, 0.01, 0.01, f64::NAN], "pass"),
            (1, &[0.01, 0.01, 0.9, f64::NAN], "inconclusive"),
        ] {
            assert_eq!(judged(errors(), limit, &samples("errors", numbers)), expected, "{limit} {numbers:?}");
        }
        let nothing =
            MetricSample { metric: "errors".parse().unwrap(), answer: Answer::Nothing("empty".into()) };
        assert_eq!(judged(errors(), 0, &[nothing]), "inconclusive");
        assert_eq!(judged(vec![], 0, &[]), "inconclusive");
        let limit = Metric { limit: "5%".into(), ..metric("errors", false) };
        assert_eq!(judged(vec![limit], 0, &samples("errors", &[0.0])), "inconclusive");
    }

    #[test]
    fn a_metric_that_only_reports_decides_nothing_and_is_told() {
        let both = vec![metric("errors", false), metric("latency", true)];
        let mut seen = samples("errors", &[0.0]);
        seen.extend(samples("latency", &[9.0]));
        assert_eq!(judged(both.clone(), 0, &seen), "pass");
        let told = analyse(&analysis(both, 0), &seen).metrics;
        assert_eq!((told[1].dry_run, told[1].failed), (true, 1));
    }

    proptest! {
        #[test]
        fn without_numbers_nothing_passes(count in 0_usize..20, limit in 0_u32..25, good in 0_usize..20) {
            let mut seen = samples("errors", &vec![f64::NAN; count]);
            seen.extend(samples("errors", &vec![0.0; good]));
            let judged = judged(vec![metric("errors", false)], limit, &seen);
            prop_assert!(judged != "fail");
            if judged == "pass" {
                prop_assert!(good > limit as usize && count <= limit as usize);
            }
        }
    }
}
