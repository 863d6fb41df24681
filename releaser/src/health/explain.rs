//! Tells people what was asked, what came back and what to do.

use std::fmt::Write as _;

use super::{Answer, Health, counted};

/// What was asked, how often, what came back last, and what the application said, as one text of a few lines.
pub fn explain(health: &Health) -> String {
    let mut text = match health.telling() {
        Some(answer @ (Answer::Ended { .. } | Answer::NotStarted(_))) => format!("{answer}; "),
        _ => String::new(),
    };
    let _ = write!(
        text,
        "{url} was asked {times} within {took:.1} s and never gave {needed}",
        url = health.url,
        times = counted(health.asked(), "time"),
        took = health.took.as_secs_f64(),
        needed = if health.needed == 1 {
            "a good answer".to_owned()
        } else {
            format!("{} good answers in a row", health.needed)
        },
    );
    match health.telling() {
        Some(Answer::Ended { .. } | Answer::NotStarted(_)) => {}
        Some(last) => {
            let _ = write!(text, "; the last answer was: {last}");
        }
        None => text.push_str("; nothing could be asked"),
    }
    if let Some(log) = &health.log {
        let tail = log.lines.trim_end();
        if tail.is_empty() {
            let _ = write!(text, "\nthe application wrote nothing to {}", log.path.display());
        } else {
            let _ = write!(text, "\nthe application's last lines, from {}:", log.path.display());
            tail.lines().for_each(|line| {
                let _ = write!(text, "\n  | {line}");
            });
        }
    }
    text
}

impl Health {
    /// What to do about a release that is not healthy.
    pub fn remedy(&self) -> String {
        match self.telling() {
            Some(Answer::OtherRelease { header, .. }) => format!(
                "send the value of the environment variable STAITH_RELEASE in the header `{header}`, or leave `header` out of `health` in runner.toml"
            ),
            Some(Answer::OtherFile { path, .. }) => format!(
                "let the application answer at `{path}` with the release's digest: with the value of the environment variable STAITH_RELEASE, or, to machines, with a file that is named in `render` and holds `#{{STAITH_RELEASE}}#`; or leave `file` out of `health` in runner.toml"
            ),
            Some(Answer::OtherProcess(_)) => {
                "listen on the port in the environment variable PORT at 127.0.0.1, and on no other".into()
            }
            Some(Answer::Unproven(_)) => {
                "deploy as the user that the application runs as, or as one that may read its /proc entries".into()
            }
            Some(Answer::BadStatus(_)) => {
                "let the health path in runner.toml answer with a status of 200 to 299 once the application works"
                    .into()
            }
            Some(Answer::Ended { how, .. }) if how == "exit code 0" => {
                "let `run` in runner.toml start a program that stays in the foreground for as long as it serves: this one ended by itself with code 0, as one does that becomes a daemon or has nothing to do".into()
            }
            Some(Answer::Ended { .. }) => {
                "look at what the application wrote before it ended: it does not stay alive until it serves".into()
            }
            Some(Answer::NotStarted(_)) => {
                "correct `run` of the environment in runner.toml, or what the package holds".into()
            }
            Some(Answer::NoAnswer { .. }) => {
                "let the health path in runner.toml answer sooner, and see what the application waits for when it is asked".into()
            }
            _ => "let the application listen on the port in the environment variable PORT at 127.0.0.1, and check the health path and its deadline in runner.toml".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{LogTail, Observation, Verdict};
    use std::time::Duration;

    #[test]
    fn the_text_says_what_was_asked_how_often_and_what_the_application_said() {
        let health = Health {
            verdict: Verdict::Unhealthy,
            url: "http://127.0.0.1:4711/health".into(),
            observations: vec![Observation {
                answer: Answer::Refused,
                times: 17,
                first: Duration::ZERO,
                last: Duration::from_secs(3),
            }],
            needed: 2,
            took: Duration::from_secs(3),
            log: Some(LogTail {
                path: "/env/green.log".into(),
                lines: "starting\nImportError: no module\n".into(),
            }),
        };
        assert_eq!(
            explain(&health),
            "http://127.0.0.1:4711/health was asked 17 times within 3.0 s and never gave 2 good answers in a row; \
             the last answer was: connection refused\n\
             the application's last lines, from /env/green.log:\n  | starting\n  | ImportError: no module"
        );
        assert!(health.remedy().contains("PORT"));
    }

    fn observed(answers: Vec<Answer>) -> Health {
        let once = |answer| Observation { answer, times: 1, first: Duration::ZERO, last: Duration::ZERO };
        Health {
            verdict: Verdict::Unhealthy,
            url: "http://127.0.0.1:4711/health".into(),
            observations: answers.into_iter().map(once).collect(),
            needed: 1,
            took: Duration::from_secs(3),
            log: None,
        }
    }

    #[test]
    fn an_application_that_ends_is_told_to_look_at_its_output_and_not_at_its_port() {
        let ended = |how: &str| Answer::Ended { times: 5, how: how.into(), for_good: true };
        for answers in
            [vec![Answer::Refused, ended("exit code 3")], vec![ended("exit code 3"), Answer::Refused]]
        {
            let health = observed(answers);
            let text = explain(&health);
            assert!(text.starts_with("it ended by itself 5 times: exit code 3"), "{text}");
            assert!(!text.contains("refused") && !health.remedy().contains("PORT"), "{text}");
        }
        assert!(observed(vec![ended("exit code 0")]).remedy().contains("foreground"));
    }

    #[test]
    fn remedies_name_keys_as_runner_toml_has_them() {
        let health = observed(vec![Answer::OtherRelease { header: "x".into(), found: None }]);
        assert!(health.remedy().contains("`header` out of `health`"), "{}", health.remedy());
        let health = observed(vec![Answer::OtherFile { path: "/r".into(), found: "status 404".into() }]);
        assert!(health.remedy().contains("`#{STAITH_RELEASE}#`"), "{}", health.remedy());
        assert!(
            explain(&health).ends_with("names the release and no other: status 404"),
            "{}",
            explain(&health)
        );
    }
}
