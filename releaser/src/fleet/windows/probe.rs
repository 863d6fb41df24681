//! Asks a release on a Windows machine how it is. Each question is one request, so that whoever waits can stop waiting. Pure.

use std::time::{Duration, Instant};

use staith_model::{FileAnswer, HealthCheck, Testimony};

use super::words::{Request, Seen, Told, ToldFile, Trouble, Up};
use crate::{
    fleet::machine::Question,
    health::{Answer, Health, Observation, Verdict},
    host::Patience,
};

/// The first pause between two questions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The last: a program that takes seconds to start is not pestered.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that one answer may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
/// What a look at something that already runs may take. PowerShell needs a part of it for itself.
const GLANCE: Duration = Duration::from_secs(4);
/// Seconds for a service whose health nobody described.
const DEADLINE: u64 = 60;

/// How far asking is.
pub(super) struct Asking<'a> {
    question: &'a Question,
    began: Instant,
    deadline: Duration,
    long_enough: Duration,
    needed: u32,
    /// When good answers in a row began, and how many there are.
    streak: Option<(Duration, u32)>,
    asked_at: Duration,
    patience: Duration,
    pause: Duration,
    seen: Vec<Observation>,
}

/// What comes after an answer.
pub(super) enum Then {
    Over(Box<Health>),
    AskAgain(Duration),
}

impl<'a> Asking<'a> {
    pub(super) fn begin(question: &'a Question, patience: Patience, now: Instant) -> Self {
        let glance = patience == Patience::Glance;
        let check = question.check.as_ref();
        let deadline = Duration::from_secs(check.map_or(DEADLINE, |check| check.deadline_seconds));
        Self {
            question,
            began: now,
            deadline: if glance { GLANCE.min(deadline) } else { deadline },
            long_enough: Duration::from_secs(if glance { 0 } else { question.min_healthy_seconds }),
            needed: check.map_or(1, |check| check.successes.max(1)),
            streak: None,
            asked_at: Duration::ZERO,
            patience: LONGEST_ANSWER,
            pause: SHORTEST_PAUSE,
            seen: Vec::new(),
        }
    }

    /// How long the answer to the last request had.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// The next question.
    pub(super) fn request(&mut self, now: Instant) -> Request<'a> {
        self.asked_at = now.saturating_duration_since(self.began);
        let left = self.deadline.saturating_sub(self.asked_at);
        let patience = if self.streak.is_some() { LONGEST_ANSWER } else { left.min(LONGEST_ANSWER) };
        // .NET takes 0 for a mistake.
        self.patience = patience.max(SHORTEST_PAUSE);
        Request::Look {
            port: self.question.port,
            path: self.question.check.as_ref().map_or("/", |check| &check.path),
            header: self.question.check.as_ref().and_then(|check| check.release_header.as_deref()),
            file: self.question.check.as_ref().and_then(|check| check.release_file.as_deref()),
            milliseconds: u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Takes an answer into account.
    pub(super) fn take(&mut self, answer: Answer, now: Instant) -> Then {
        let elapsed = now.saturating_duration_since(self.began);
        let good = matches!(answer, Answer::Good { .. } | Answer::Runs);
        let given_up = matches!(answer, Answer::GivenUp(_));
        let untold = matches!(answer, Answer::Unproven(_));
        self.note(answer, elapsed);
        if good {
            let (from, times) = self.streak.unwrap_or((self.asked_at, 0));
            self.streak = Some((from, times + 1));
            if times + 1 >= self.needed && elapsed.saturating_sub(from) >= self.long_enough {
                return self.over(Verdict::Healthy, elapsed);
            }
            let pause = if times + 1 >= self.needed { LONGEST_PAUSE } else { SHORTEST_PAUSE };
            return Then::AskAgain(pause);
        }
        self.streak = None;
        if given_up || elapsed >= self.deadline {
            return self.over(if untold { Verdict::Inconclusive } else { Verdict::Unhealthy }, elapsed);
        }
        let pause = self.pause.min(self.deadline.saturating_sub(elapsed));
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Then::AskAgain(pause)
    }

    fn note(&mut self, answer: Answer, at: Duration) {
        match self.seen.last_mut() {
            Some(last) if last.answer == answer => {
                last.times = last.times.saturating_add(1);
                last.last = at;
            }
            _ => self.seen.push(Observation { answer, times: 1, first: at, last: at }),
        }
    }

    fn over(&mut self, verdict: Verdict, took: Duration) -> Then {
        let url = match (self.question.port, &self.question.check) {
            (Some(port), Some(check)) => format!("http://127.0.0.1:{port}{}", check.path),
            (Some(port), None) => format!("http://127.0.0.1:{port}/"),
            (None, _) => "the service".to_owned(),
        };
        let observations = std::mem::take(&mut self.seen);
        Then::Over(Box::new(Health { verdict, url, observations, needed: self.needed, took, log: None }))
    }
}

/// What was seen, as an answer of the release. That it is this release which answered is proven by its header; or because the port is a
/// binding of the site, whose path is the release's folder; or because the process that listens is the service's own.
pub(super) fn judge(question: &Question, patience: Duration, seen: &Seen) -> Answer {
    match seen.current {
        Some(current) if current.0 == question.release => {}
        Some(other) => {
            return Answer::GivenUp(format!("the machine is set to another release, {}", other.0.short()));
        }
        None => return Answer::GivenUp("the machine is set to no release".into()),
    }
    if seen.serving == Up::Down {
        return Answer::NotRunning("the site or the service is stopped".into());
    }
    let Some(port) = question.port else {
        let restarted = seen.restarted.is_some_and(|release| release.0 == question.release);
        let not = || Answer::NotRunning("it was not started again for the release".into());
        return if restarted { Answer::Runs } else { not() };
    };
    if seen.tls {
        return Answer::Unproven(format!(
            "the site's binding on port {port} is one of TLS; name a port without it for health"
        ));
    }
    let (status, said) = match &seen.answer {
        Some(Told::Status { status, header, file }) => {
            let body = |told: &ToldFile| FileAnswer { status: told.status, body: told.text.clone().into() };
            (*status, Testimony { header: header.clone(), file: file.as_ref().map(body) })
        }
        Some(Told::Trouble { trouble: Trouble::Refused, .. }) => return Answer::Refused,
        Some(Told::Trouble { trouble: Trouble::NoAnswer, .. }) => {
            return Answer::NoAnswer { within: patience };
        }
        Some(Told::Trouble { trouble: Trouble::Broken, text }) => return Answer::Broken(text.clone()),
        None => return Answer::Broken("nothing was asked".into()),
    };
    let doubt = question.check.as_ref().and_then(|check| check.doubt(&question.release, &said));
    let says_so = question.check.as_ref().is_some_and(HealthCheck::wants_testimony);
    let named = says_so && doubt.is_none();
    let own = seen.service.is_some_and(|pid| pid != 0 && seen.owner == Some(pid));
    if !named && !own && !seen.bound && !says_so {
        return match seen.owner {
            Some(process) => Answer::OtherProcess(format!("process {process} listens on port {port}")),
            None => Answer::Unproven(format!(
                "the site has no binding on port {port}; name a `header` or a `file` in `health` that says which release it is"
            )),
        };
    }
    if question.check.is_none() {
        return Answer::Runs;
    }
    if !(200..300).contains(&status) {
        return Answer::BadStatus(status);
    }
    doubt.map_or(Answer::Good { status }, Answer::from)
}

#[cfg(test)]
mod tests {
    use super::super::words::Hex;
    use super::*;
    use staith_model::Digest;

    fn release() -> Digest {
        Digest::of(b"a")
    }

    fn question(header: Option<&str>, successes: u32, min_healthy_seconds: u64) -> Question {
        let check = HealthCheck {
            path: "/health".into(),
            release_header: header.map(Into::into),
            release_file: None,
            deadline_seconds: 30,
            successes,
        };
        Question { release: release(), port: Some(80), check: Some(check), min_healthy_seconds }
    }

    fn seen() -> Seen {
        Seen {
            current: Some(Hex(release())),
            restarted: Some(Hex(release())),
            serving: Up::Up,
            bound: true,
            tls: false,
            owner: None,
            service: None,
            answer: Some(Told::Status { status: 200, header: None, file: None }),
        }
    }

    #[test]
    fn an_answer_counts_only_where_it_is_proven_whose_it_is() {
        let judged = |question: &Question, seen: &Seen| judge(question, Duration::from_secs(1), seen);
        let plain = question(None, 1, 0);
        assert_eq!(judged(&plain, &seen()), Answer::Good { status: 200 });
        let unbound = Seen { bound: false, ..seen() };
        assert!(matches!(judged(&plain, &unbound), Answer::Unproven(_)));
        let service = Seen { owner: Some(7), service: Some(7), ..unbound.clone() };
        assert_eq!(judged(&plain, &service), Answer::Good { status: 200 });
        let other = Seen { owner: Some(8), ..service };
        assert!(matches!(judged(&plain, &other), Answer::OtherProcess(_)));
        let named = question(Some("x-release"), 1, 0);
        assert!(matches!(judged(&named, &seen()), Answer::OtherRelease { found: None, .. }));
        let header = Some(Told::Status { status: 200, header: Some(release().to_string()), file: None });
        assert_eq!(judged(&named, &Seen { answer: header, ..unbound.clone() }), Answer::Good { status: 200 });
        let mut filed = question(None, 1, 0);
        filed.check.as_mut().unwrap().release_file = Some("/release.txt".into());
        let answers = |text: String| {
            let file = Some(ToldFile { status: 200, text });
            judged(
                &filed,
                &Seen { answer: Some(Told::Status { status: 200, header: None, file }), ..unbound.clone() },
            )
        };
        assert_eq!(answers(release().to_string()), Answer::Good { status: 200 });
        assert!(matches!(answers(Digest::of(b"b").to_string()), Answer::OtherFile { .. }));
        assert!(matches!(judged(&filed, &seen()), Answer::OtherFile { .. }));
        assert_eq!(
            judged(&plain, &Seen { serving: Up::Down, ..seen() }),
            Answer::NotRunning("the site or the service is stopped".into())
        );
        assert!(matches!(
            judged(&plain, &Seen { current: Some(Hex(Digest::of(b"b"))), ..seen() }),
            Answer::GivenUp(_)
        ));
        assert!(matches!(judged(&plain, &Seen { tls: true, answer: None, ..seen() }), Answer::Unproven(_)));
        let bad = Some(Told::Status { status: 503, header: None, file: None });
        assert_eq!(judged(&plain, &Seen { answer: bad, ..seen() }), Answer::BadStatus(503));
        let portless = Question { port: None, ..plain };
        assert_eq!(judged(&portless, &seen()), Answer::Runs);
        assert!(matches!(judged(&portless, &Seen { restarted: None, ..seen() }), Answer::NotRunning(_)));
    }

    #[test]
    fn healthy_is_so_many_good_answers_for_so_long_without_a_break() {
        let question = question(None, 2, 3);
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut asking = Asking::begin(&question, Patience::Deadline, began);
        let mut good_at = |seconds, answer| {
            let _ = asking.request(at(seconds));
            asking.take(answer, at(seconds))
        };
        let good = || Answer::Good { status: 200 };
        assert!(matches!(good_at(0, good()), Then::AskAgain(_)));
        assert!(matches!(good_at(1, Answer::Refused), Then::AskAgain(_)));
        assert!(matches!(good_at(2, good()), Then::AskAgain(_)));
        assert!(matches!(good_at(4, good()), Then::AskAgain(_)));
        let Then::Over(health) = good_at(5, good()) else { panic!("it was healthy for three seconds") };
        assert!(health.is_healthy() && health.asked() == 5 && health.needed == 2);
    }

    #[test]
    fn what_never_answers_is_unhealthy_at_the_deadline_and_what_can_not_be_told_is_inconclusive() {
        let question = question(None, 1, 0);
        let began = Instant::now();
        for (answer, verdict) in
            [(Answer::Refused, Verdict::Unhealthy), (Answer::Unproven("x".into()), Verdict::Inconclusive)]
        {
            let mut asking = Asking::begin(&question, Patience::Deadline, began);
            assert!(matches!(
                asking.take(answer.clone(), began + Duration::from_secs(29)),
                Then::AskAgain(_)
            ));
            let Then::Over(health) = asking.take(answer, began + Duration::from_secs(30)) else {
                panic!("over")
            };
            assert_eq!(health.verdict, verdict);
        }
        let mut asking = Asking::begin(&question, Patience::Glance, began);
        assert!(matches!(asking.take(Answer::Refused, began + GLANCE), Then::Over(_)));
    }
}
