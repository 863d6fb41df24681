//! Asks again and again until there is a verdict.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use staith_model::{Digest, HealthCheck, Testimony};

use super::{Answer, Health, Observation, Verdict, ask::ask, proof, url};

/// The first pause between two questions: a program that is ready is seen within it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The last: a program that takes seconds to start is not pestered.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest that one answer may take: one that hangs must not use up the whole deadline.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// What is waited for beyond the deadline, so that a question which it cut short says itself how far it came.
const SLACK: Duration = Duration::from_millis(500);
/// A shorter wait for an answer proves nothing.
const SHORTEST_PROOF: Duration = Duration::from_millis(20);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// How the release proves itself.
    pub check: &'a HealthCheck,
    /// The release that must answer.
    pub release: Digest,
    /// How long it is asked.
    pub deadline: Duration,
    /// Whether the listening process must be proven to be the pool's; not so where a proxy stands before it.
    pub prove_process: bool,
}

/// Where somebody can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where it should listen.
    pub address: SocketAddr,
    /// The first process of its tree; `None` if whoever listens there is not to be proven.
    pub pid: Option<u32>,
    /// The folder that it was started from.
    pub folder: Option<PathBuf>,
}

/// Who is asked. A program that is restarted meanwhile is found again.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Where it is now.
    ///
    /// # Errors
    /// It is nowhere, for now or for good.
    async fn whereabouts(&self) -> Result<Whereabouts, Nowhere>;
}

/// Why somebody can't be asked, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nowhere {
    /// It may come yet.
    Yet(String),
    /// It was given up: asking on is of no use.
    GivenUp(String),
    /// Its program ended by itself.
    Ended {
        /// How often.
        times: u32,
        /// How the last time.
        how: String,
        /// Whether it will not be started again.
        for_good: bool,
    },
    /// Its program can't be started, and will not be tried again.
    NotStarted(String),
}

/// Asks until there are as many consecutive good answers as the check wants, or the deadline has passed.
///
/// Cancel-safe: dropping it asks no more.
pub async fn watch(subject: &dyn Subject, question: &Question<'_>) -> Health {
    let mut record = Record::new(question);
    let mut pause = SHORTEST_PAUSE;
    loop {
        let left = question.deadline.saturating_sub(record.began.elapsed());
        if left.is_zero() {
            return record.close(None);
        }
        let asked = once(subject, question, Instant::now() + left, &mut record.url);
        let (answer, pid) = match tokio::time::timeout(left + SLACK, asked).await {
            Ok(answered) => answered,
            Err(_) if !record.observations.is_empty() => return record.close(None),
            Err(_) => (Answer::NotRunning("where it runs could not be found out in time".into()), None),
        };
        if record.says_more_than(&answer) {
            return record.close(None);
        }
        let good = matches!(answer, Answer::Good { .. });
        let given_up = matches!(
            answer,
            Answer::GivenUp(_) | Answer::NotStarted(_) | Answer::Ended { for_good: true, .. }
        );
        if record.take(answer, pid) {
            return record.close(Some(Verdict::Healthy));
        }
        if given_up {
            return record.close(None);
        }
        pause = if good { SHORTEST_PAUSE } else { (pause * 3 / 2).min(LONGEST_PAUSE) };
        let left = question.deadline.saturating_sub(record.began.elapsed());
        tokio::time::sleep(pause.min(left)).await;
    }
}

async fn once(
    subject: &dyn Subject,
    question: &Question<'_>,
    until: Instant,
    asked: &mut Option<String>,
) -> (Answer, Option<u32>) {
    let place = match subject.whereabouts().await {
        Ok(place) => place,
        Err(Nowhere::Yet(why)) => return (Answer::NotRunning(why), None),
        Err(Nowhere::GivenUp(why)) => return (Answer::GivenUp(why), None),
        Err(Nowhere::NotStarted(why)) => return (Answer::NotStarted(why), None),
        Err(Nowhere::Ended { times, how, for_good }) => {
            return (Answer::Ended { times, how, for_good }, None);
        }
    };
    let check = question.check;
    *asked = Some(url(place.address, &check.path));
    let patience = LONGEST_ANSWER.min(until.saturating_duration_since(Instant::now()));
    match ask(place.address, check, patience).await {
        Ok((status, said)) => (judge(question, &place, status, &said).await, place.pid),
        Err(answer) => (answer, place.pid),
    }
}

async fn judge(question: &Question<'_>, place: &Whereabouts, status: u16, said: &Testimony) -> Answer {
    // Who answers comes before what: a status of somebody else's means nothing.
    if question.prove_process {
        let (address, pid, folder) = (place.address, place.pid, place.folder.clone());
        let looked = tokio::task::spawn_blocking(move || proof::listener(address, pid, folder.as_deref()));
        match looked.await {
            Ok(Ok(())) => {}
            Ok(Err(proof::Unproven::Other(who))) => return Answer::OtherProcess(who),
            Ok(Err(proof::Unproven::Unknown(why))) => return Answer::Unproven(why),
            Err(error) => return Answer::Unproven(error.to_string()),
        }
    }
    if !(200..300).contains(&status) {
        return Answer::BadStatus(status);
    }
    question.check.doubt(&question.release, said).map_or(Answer::Good { status }, Answer::from)
}

/// What came back so far.
struct Record {
    began: Instant,
    needed: u32,
    good: u32,
    good_from: Option<u32>,
    url: Option<String>,
    path: String,
    observations: Vec<Observation>,
}

impl Record {
    fn new(question: &Question<'_>) -> Self {
        Self {
            began: Instant::now(),
            // None at all would be no proof.
            needed: question.check.successes.max(1),
            good: 0,
            good_from: None,
            url: None,
            path: question.check.path.clone(),
            observations: Vec::new(),
        }
    }

    /// Whether what came before says more than a question that the deadline cut short: any answer does. That nothing
    /// listened says less, unless there was no time at all.
    fn says_more_than(&self, cut: &Answer) -> bool {
        let Answer::NoAnswer { within } = cut else { return false };
        match self.observations.last().map(|last| &last.answer) {
            None => false,
            _ if *within >= LONGEST_ANSWER => false,
            Some(Answer::Refused | Answer::NotRunning(_) | Answer::Broken(_)) => *within < SHORTEST_PROOF,
            Some(_) => true,
        }
    }

    /// Takes an answer; says whether it was the last that was needed.
    fn take(&mut self, answer: Answer, pid: Option<u32>) -> bool {
        let at = self.began.elapsed();
        if matches!(answer, Answer::Good { .. }) {
            // A program that was restarted in between begins anew.
            self.good = if self.good_from == pid { self.good + 1 } else { 1 };
            self.good_from = pid;
        } else {
            self.good = 0;
        }
        match self.observations.last_mut() {
            Some(last) if last.answer == answer => {
                last.times += 1;
                last.last = at;
            }
            _ => self.observations.push(Observation { answer, times: 1, first: at, last: at }),
        }
        self.good >= self.needed
    }

    fn close(self, verdict: Option<Verdict>) -> Health {
        let verdict = verdict.unwrap_or_else(|| match self.observations.last().map(|last| &last.answer) {
            None | Some(Answer::Unproven(_)) => Verdict::Inconclusive,
            Some(_) => Verdict::Unhealthy,
        });
        Health {
            verdict,
            url: self.url.unwrap_or_else(|| self.path.clone()),
            observations: self.observations,
            needed: self.needed,
            took: self.began.elapsed(),
            log: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn check(header: Option<&str>, successes: u32) -> HealthCheck {
        HealthCheck {
            path: "/health".into(),
            release_header: header.map(str::to_owned),
            release_file: None,
            deadline_seconds: 30,
            successes,
        }
    }

    struct At(SocketAddr, Option<u32>);

    #[async_trait]
    impl Subject for At {
        async fn whereabouts(&self) -> Result<Whereabouts, Nowhere> {
            Ok(Whereabouts { address: self.0, pid: self.1, folder: None })
        }
    }

    /// Answers each connection with the next of `answers`, the last one for ever.
    async fn server(answers: Vec<String>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let next = AtomicUsize::new(0);
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let at = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
                let _ = stream.write_all(answers[at].as_bytes()).await;
            }
        });
        address
    }

    fn status(code: u16, headers: &str) -> String {
        format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n{headers}\r\n")
    }

    fn question<'a>(check: &'a HealthCheck, prove: bool, deadline: Duration) -> Question<'a> {
        Question { check, release: Digest::of(b"r"), deadline, prove_process: prove }
    }

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn good_answers_must_be_consecutive() {
        let answers = [200, 503, 200, 200, 200].map(|code| status(code, ""));
        let at = At(server(answers.into()).await, None);
        let check = check(None, 3);
        let health = watch(&at, &question(&check, false, LONG)).await;
        assert_eq!(health.verdict, Verdict::Healthy);
        let seen: Vec<_> = health.observations.iter().map(|o| (o.answer.clone(), o.times)).collect();
        let good = Answer::Good { status: 200 };
        assert_eq!(seen, [(good.clone(), 1), (Answer::BadStatus(503), 1), (good, 3)]);
        assert_eq!(health.asked(), 5);
    }

    #[tokio::test]
    async fn another_release_is_not_healthy_however_well_it_answers() {
        for (headers, found) in [("X-Release: sha256:00\r\n", Some("sha256:00".to_owned())), ("", None)] {
            let at = At(server(vec![status(200, headers)]).await, None);
            let check = check(Some("X-Release"), 1);
            let health = watch(&at, &question(&check, false, SHORT)).await;
            assert_eq!(health.verdict, Verdict::Unhealthy);
            let wrong = Answer::OtherRelease { header: "X-Release".into(), found };
            assert_eq!(health.last(), Some(&wrong));
        }
        let right = format!("X-Release: {}\r\n", Digest::of(b"r"));
        let at = At(server(vec![status(204, &right)]).await, None);
        let check = check(Some("x-release"), 2);
        assert!(watch(&at, &question(&check, false, LONG)).await.is_healthy());
    }

    #[tokio::test]
    async fn a_file_has_to_name_the_release_wherever_it_is_asked() {
        let this = Digest::of(b"r");
        let file = |code: u16, body: &str, more: &str| {
            format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
        };
        let chunked =
            format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n47\r\n{this}\r\n0\r\n\r\n");
        let check = HealthCheck { release_file: Some("/release.txt".into()), ..check(None, 1) };
        let long = format!("{this}{}", " ".repeat(5000));
        for (answer, found) in [
            (file(200, &format!("{this}\n"), ""), None),
            (chunked, None),
            (file(200, "sha256:", ""), Some("no release's digest")),
            (file(200, &long, ""), Some("more than 4096 bytes")),
            (file(301, &this.to_string(), "Location: /release.txt\r\n"), Some("status 301")),
        ] {
            // The first question is that for the path, which is well.
            let answers = std::iter::repeat_n([status(200, ""), answer.clone()], 9).flatten();
            let at = At(server(answers.collect()).await, None);
            let health = watch(&at, &question(&check, false, SHORT)).await;
            let wrong = |found: &str| Answer::OtherFile { path: "/release.txt".into(), found: found.into() };
            let good = Answer::Good { status: 200 };
            assert_eq!(health.observations[0].answer, found.map_or(good, wrong), "{answer}");
            assert_eq!(health.is_healthy(), found.is_none());
        }
    }

    #[tokio::test]
    async fn a_stranger_on_the_port_is_not_healthy() {
        let at = At(server(vec![status(200, "")]).await, Some(std::process::id()));
        let check = check(None, 1);
        assert!(watch(&at, &question(&check, true, LONG)).await.is_healthy());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stranger = At(at.0, Some(child.id()));
        let health = watch(&stranger, &question(&check, true, SHORT)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(health.last(), Some(Answer::OtherProcess(_))), "{health:?}");
        assert_eq!(health.verdict, Verdict::Unhealthy);
    }

    #[tokio::test]
    async fn nothing_listening_is_unhealthy_and_nothing_asked_is_inconclusive() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let check = check(None, 1);
        let health = watch(&At(free, None), &question(&check, false, SHORT)).await;
        assert_eq!((health.verdict, health.last()), (Verdict::Unhealthy, Some(&Answer::Refused)));
        let unasked = watch(&At(free, None), &question(&check, false, Duration::ZERO)).await;
        assert_eq!((unasked.verdict, unasked.asked()), (Verdict::Inconclusive, 0));
    }

    #[tokio::test]
    async fn what_is_not_http_and_what_never_answers_is_told_apart() {
        let check = check(None, 1);
        let at = At(server(vec!["hello\r\n".into()]).await, None);
        let health = watch(&at, &question(&check, false, SHORT)).await;
        assert!(matches!(health.last(), Some(Answer::Broken(_))), "{health:?}");
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = At(silent.local_addr().unwrap(), None);
        let health = watch(&at, &question(&check, false, SHORT)).await;
        assert!(matches!(health.last(), Some(Answer::NoAnswer { .. })), "{health:?}");
    }

    /// Is at each place in turn, and stays at the last.
    struct Moving(std::sync::Mutex<Vec<Result<SocketAddr, Nowhere>>>);

    #[async_trait]
    impl Subject for Moving {
        async fn whereabouts(&self) -> Result<Whereabouts, Nowhere> {
            let mut places = self.0.lock().unwrap();
            let place = if places.len() > 1 { places.remove(0) } else { places[0].clone() };
            place.map(|address| Whereabouts { address, pid: None, folder: None })
        }
    }

    #[tokio::test]
    async fn one_that_accepts_and_never_answers_is_not_said_to_refuse() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let places = vec![Ok(free), Ok(silent.local_addr().unwrap())];
        let check = check(None, 1);
        let short = Duration::from_millis(200);
        let health = watch(&Moving(places.into()), &question(&check, false, short)).await;
        let Some(Answer::NoAnswer { within }) = health.last() else { panic!("{health:?}") };
        assert!(*within <= short);
        let text = crate::health::explain(&health);
        assert!(text.contains("accepted the connection and did not answer within"), "{text}");
        assert!(!health.remedy().contains("PORT"));
    }

    #[tokio::test]
    async fn one_that_answered_badly_before_is_told_by_that() {
        let bad = server(vec![status(503, "")]).await;
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let places = vec![Ok(bad), Ok(silent.local_addr().unwrap())];
        let check = check(None, 1);
        let health = watch(&Moving(places.into()), &question(&check, false, SHORT * 5)).await;
        assert_eq!(health.last(), Some(&Answer::BadStatus(503)));
    }

    #[tokio::test]
    async fn one_that_was_given_up_is_asked_no_more() {
        let check = check(None, 1);
        let ended = |for_good| Nowhere::Ended { times: 5, how: "exit code 3".into(), for_good };
        for nowhere in [ended(true), Nowhere::NotStarted("no interpreter".into())] {
            let places = vec![Err(ended(false)), Err(nowhere)];
            let endless = Duration::from_secs(100_000);
            let health = watch(&Moving(places.into()), &question(&check, false, endless)).await;
            assert_eq!((health.verdict, health.asked()), (Verdict::Unhealthy, 2));
        }
    }
}
