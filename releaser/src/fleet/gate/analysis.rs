//! What one look at the metrics of a wave says. Three answers: no data is not success, and no failure either.
//!
//! How often a look may be bad, and how many there have to be, is counted in the log
//! ([`Samples::come_to`](staith_model::Samples::come_to)).

use staith_model::{Analysis, Metric};

use super::checks::{Answer, holds, wanted};

/// What one look at all metrics comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Every metric holds.
    Pass,
    /// A metric does not.
    Fail {
        /// Which, and what came.
        why: String,
    },
    /// It can't be told.
    Inconclusive {
        /// Why not.
        why: String,
    },
}

/// Judges one look: what came of each metric, in their order. Those that only report are told beside what is wrong, and decide nothing.
pub fn analyse(analysis: &Analysis, answers: &[Answer]) -> Judgement {
    if analysis.metrics.is_empty() {
        return Judgement::Inconclusive { why: "the analysis measures nothing".to_owned() };
    }
    let (mut bad, mut missing, mut reported) = (Vec::new(), Vec::new(), Vec::new());
    for (place, metric) in analysis.metrics.iter().enumerate() {
        match (look(metric, answers.get(place)), metric.dry_run) {
            (Look::Holds, _) => {}
            (Look::Bad(what) | Look::Missing(what), true) => {
                reported.push(format!("{what}, which only reports"))
            }
            (Look::Bad(what), false) => bad.push(what),
            (Look::Missing(what), false) => missing.push(what),
        }
    }
    let told = |first: Vec<String>, then: Vec<String>| {
        first.into_iter().chain(then).chain(reported).collect::<Vec<_>>().join("; ")
    };
    match (bad.is_empty(), missing.is_empty()) {
        (true, true) => Judgement::Pass,
        (false, _) => Judgement::Fail { why: told(bad, missing) },
        (true, false) => Judgement::Inconclusive { why: told(missing, Vec::new()) },
    }
}

enum Look {
    Holds,
    Bad(String),
    Missing(String),
}

fn look(metric: &Metric, answer: Option<&Answer>) -> Look {
    let name = &metric.name;
    match answer {
        None => Look::Missing(format!("{name} was not asked for")),
        Some(Answer::Number(number)) => match holds(metric, *number) {
            Ok(true) => Look::Holds,
            Ok(false) => Look::Bad(format!("{name} is {number}, and not {}", wanted(metric))),
            Err(why) => Look::Missing(format!("{name}: {why}")),
        },
        Some(Answer::Nothing(why)) => Look::Missing(format!("{name}: {why}")),
        Some(Answer::Status(_) | Answer::Healthy) => Look::Missing(format!("{name}: what came is no number")),
    }
}

#[cfg(test)]
mod tests {
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

    fn of(metrics: &[Metric], answers: &[&Answer]) -> Judgement {
        let analysis = Analysis { metrics: metrics.to_vec(), interval_seconds: 5, failure_limit: 7 };
        analyse(&analysis, &answers.iter().map(|answer| (*answer).clone()).collect::<Vec<_>>())
    }

    fn word(judgement: &Judgement) -> &'static str {
        match judgement {
            Judgement::Pass => "pass",
            Judgement::Fail { .. } => "fail",
            Judgement::Inconclusive { .. } => "inconclusive",
        }
    }

    #[test]
    fn there_are_three_answers() {
        let nothing = || Answer::Nothing("the query gives nothing".into());
        for (answer, expected) in [
            (Answer::Number(0.01), "pass"),
            (Answer::Number(0.05), "fail"),
            (Answer::Number(f64::INFINITY), "fail"),
            (Answer::Number(f64::NAN), "inconclusive"),
            (nothing(), "inconclusive"),
            (Answer::Status(200), "inconclusive"),
            (Answer::Healthy, "inconclusive"),
        ] {
            let said = of(&[metric("errors", false)], &[&answer]);
            assert_eq!(word(&said), expected, "{answer:?}");
        }
        assert_eq!(word(&of(&[metric("errors", false)], &[])), "inconclusive");
        assert_eq!(word(&of(&[], &[])), "inconclusive");
        let limit = Metric { limit: "5%".into(), ..metric("errors", false) };
        assert_eq!(word(&of(&[limit], &[&Answer::Number(0.0)])), "inconclusive");
    }

    #[test]
    fn of_several_metrics_one_that_is_bad_decides_and_then_one_that_is_missing() {
        let both = [metric("errors", false), metric("latency", false)];
        let (good, bad, none) = (Answer::Number(0.0), Answer::Number(0.9), Answer::Nothing("empty".into()));
        for (errors, latency, expected) in [
            (&good, &good, "pass"),
            (&good, &bad, "fail"),
            (&bad, &none, "fail"),
            (&none, &bad, "fail"),
            (&good, &none, "inconclusive"),
        ] {
            let said = of(&both, &[errors, latency]);
            assert_eq!(word(&said), expected, "{errors:?} {latency:?}");
        }
        let said = of(&both, &[&bad, &none]);
        assert_eq!(said, Judgement::Fail { why: "errors is 0.9, and not below 0.05; latency: empty".into() });
    }

    #[test]
    fn a_metric_that_only_reports_decides_nothing_and_is_told() {
        let both = [metric("errors", false), metric("latency", true)];
        let with = |errors| of(&both, &[&Answer::Number(errors), &Answer::Number(9.0)]);
        assert_eq!(with(0.0), Judgement::Pass);
        let Judgement::Fail { why } = with(0.5) else { panic!("{:?}", with(0.5)) };
        assert!(why.ends_with("; latency is 9, and not below 0.05, which only reports"), "{why}");
        assert_eq!(of(&both[1..], &[]), Judgement::Pass);
    }
}
