//! Asks a release how it is, on the machine itself.

mod body;
mod http;
mod prove;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use staith_model::{Doubt, HealthCheck, Service, Testimony};

use crate::{
    layout::Layout,
    protocol::{Answer, Asked, Question, Reply, Seen, Serving, Verdict},
    refusal::Outcome,
    service::{self, serving},
    session::Session,
    spec::Spec,
    state::{State, pointed},
};

/// The first pause between two questions: a program that is ready is seen within it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The last: a program that takes seconds to start is not pestered.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest that one answer may take: one that hangs must not use up the whole deadline.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
/// What a look at something that already runs may take.
const GLANCE: Duration = Duration::from_secs(2);
/// Seconds for a service whose health nobody described.
const DEADLINE: u64 = 60;
/// A shorter wait for an answer proves nothing.
const SHORTEST_PROOF: Duration = Duration::from_millis(20);
/// Between two looks whether to stop.
const MOMENT: Duration = Duration::from_millis(20);

/// Asks until the release is healthy, or its time is up.
pub(crate) fn probe(layout: &Layout, session: &Session, question: &Question) -> Outcome<Reply> {
    let began = Instant::now();
    let deadline =
        Duration::from_secs(question.check.as_ref().map_or(DEADLINE, |check| check.deadline_seconds));
    let deadline = if question.glance { GLANCE.min(deadline) } else { deadline };
    let long_enough =
        if question.glance { Duration::ZERO } else { Duration::from_secs(question.min_healthy_seconds) };
    let needed = question.check.as_ref().map_or(1, |check| check.successes.max(1));
    let mut streak: Option<(Instant, u32, Option<u32>)> = None;
    let mut last: Option<Answer> = None;
    let mut pause = SHORTEST_PAUSE;
    loop {
        if session.flags().stop() {
            return Err(Asked::Cancelled);
        }
        let left = deadline.saturating_sub(began.elapsed());
        if let Some(last) = last_word(last.as_ref(), streak.is_some(), left) {
            return Ok(end(layout, without(last), question, needed, began));
        }
        let patience = if streak.is_some() { LONGEST_ANSWER } else { left.min(LONGEST_ANSWER) };
        let asked_at = Instant::now();
        let (answer, pid) = ask(layout, question, patience, session);
        session.say(&Reply::Seen(Seen { at_millis: millis(began.elapsed()), answer: answer.clone() }));
        match &answer {
            Answer::Good(_) | Answer::Runs => {
                // A program that was restarted in between begins anew.
                let (from, times, _) =
                    streak.filter(|(.., before)| *before == pid).unwrap_or((asked_at, 0, pid));
                streak = Some((from, times + 1, pid));
                if times + 1 >= needed && from.elapsed() >= long_enough {
                    return Ok(end(layout, Verdict::Healthy, question, needed, began));
                }
                pause = if times + 1 >= needed { LONGEST_PAUSE } else { SHORTEST_PAUSE };
            }
            other => {
                streak = None;
                let over = began.elapsed() >= deadline || matches!(other, Answer::GivenUp(_));
                if over {
                    return Ok(end(layout, without(other), question, needed, began));
                }
                pause = (pause * 3 / 2).min(LONGEST_PAUSE).min(deadline.saturating_sub(began.elapsed()));
            }
        }
        last = Some(answer);
        rest(pause, session);
    }
}

/// The answer that it ends with for want of time. What it said last says more than a question that there is no time to answer, which
/// would come to "no answer within 0.0 s". While answers are good, the next one is waited for.
fn last_word(last: Option<&Answer>, is_good: bool, left: Duration) -> Option<&Answer> {
    last.filter(|_| !is_good && left < SHORTEST_PROOF)
}

/// The verdict where no answer was good enough; `last` is the last.
const fn without(last: &Answer) -> Verdict {
    if matches!(last, Answer::Unproven(_)) { Verdict::Inconclusive } else { Verdict::Unhealthy }
}

fn rest(pause: Duration, session: &Session) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !session.flags().stop() {
        std::thread::sleep(MOMENT.min(until.saturating_duration_since(Instant::now())));
    }
}

fn end(layout: &Layout, verdict: Verdict, question: &Question, needed: u32, began: Instant) -> Reply {
    let took_millis = millis(began.elapsed());
    let words = || {
        let spec = Spec::read(layout, &question.release).ok().flatten()?;
        service::last_words(layout, &spec.service)
    };
    let log = if verdict == Verdict::Healthy { None } else { words() };
    Reply::Probed { verdict, url: url(question), took_millis, needed, log }
}

fn url(question: &Question) -> String {
    match (question.port, &question.check) {
        (Some(port), Some(check)) => format!("http://127.0.0.1:{port}{}", check.path),
        (Some(port), None) => format!("127.0.0.1:{port}"),
        (None, _) => "the service".to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One question, and the process that answered where that is known.
fn ask(layout: &Layout, question: &Question, patience: Duration, session: &Session) -> (Answer, Option<u32>) {
    match pointed(&layout.current()) {
        Ok(Some(current)) if current == question.release => {}
        Ok(Some(other)) => {
            return (
                Answer::GivenUp(format!("`current` points to another release, {}", other.short())),
                None,
            );
        }
        Ok(None) => return (Answer::GivenUp("`current` points to no release".into()), None),
        Err(_) => return (Answer::NotRunning("`current` can't be read".into()), None),
    }
    let Ok(Some(spec)) = Spec::read(layout, &question.release) else {
        return (Answer::GivenUp("the release is not on this machine".into()), None);
    };
    let Some(port) = question.port else {
        return (runs(layout, question, &spec.service), service::main_process(layout, &spec.service));
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stop = || session.flags().stop();
    let heard = match &question.check {
        Some(check) => hear(address, check, patience, &stop).map(Some),
        None => http::connect(address, patience).map(|_| None),
    };
    match heard {
        Err(answer) => (answer, None),
        Ok(heard) => judge(layout, question, &spec.service, address, heard),
    }
}

/// The status of the answer, and what the application says about which release it is. A file is asked for by itself, within the same time.
fn hear(
    address: SocketAddr,
    check: &HealthCheck,
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<(u16, Testimony), Answer> {
    let until = Instant::now() + patience;
    let head = http::get(address, &check.path, check.release_header.as_deref(), patience, stop)?;
    let file = match &check.release_file {
        Some(path) => {
            let left = until.saturating_duration_since(Instant::now()).max(SHORTEST_PROOF);
            Some(http::file(address, path, left, stop)?)
        }
        None => None,
    };
    Ok((head.status, Testimony { header: head.release, file }))
}

fn judge(
    layout: &Layout,
    question: &Question,
    service: &Service,
    address: SocketAddr,
    heard: Option<(u16, Testimony)>,
) -> (Answer, Option<u32>) {
    let asked = question.check.as_ref().zip(heard.as_ref());
    let doubt = asked.and_then(|(check, (_, said))| check.doubt(&question.release, said));
    let says_so = asked.is_some_and(|(check, _)| check.wants_testimony());
    let named = says_so && doubt.is_none();
    // Who answers comes before what: a status of somebody else's means nothing.
    let pid = match prove::listener(layout, address, &question.release) {
        Ok(pid) => Some(pid),
        Err(_) if named && !is_ours(service) => None,
        Err(prove::Unproven::Unknown(_)) if named => None,
        Err(prove::Unproven::Unknown(why)) => return (Answer::Unproven(why), None),
        Err(prove::Unproven::Other(who)) if is_ours(service) || matches!(service, Service::Unit { .. }) => {
            return (Answer::OtherProcess(who), None);
        }
        // What answers is none of the release's own processes, so its word is the only proof.
        Err(prove::Unproven::Other(who)) if !says_so => {
            let why = format!("{who}; name a `header` or a `file` in `health` that says which release it is");
            return (Answer::Unproven(why), None);
        }
        Err(prove::Unproven::Other(_)) => None,
    };
    let Some((status, _)) = heard else { return (Answer::Runs, pid) };
    if !(200..300).contains(&status) {
        return (Answer::BadStatus(status), pid);
    }
    let answer = match doubt {
        Some(Doubt::Header { header, found }) => Answer::OtherRelease { header, found },
        Some(Doubt::File { path, found }) => Answer::OtherFile { path, found },
        None => Answer::Good(status),
    };
    (answer, pid)
}

/// Whether the service runs the release, where nothing more can be asked.
fn runs(layout: &Layout, question: &Question, service: &Service) -> Answer {
    let restarted = || State::read(layout).is_ok_and(|state| state.restarted == Some(question.release));
    match (service, serving::of(layout, service)) {
        (_, Some(Serving::Up(Some(release)))) if release == question.release => Answer::Runs,
        (_, Some(Serving::Up(Some(other)))) => {
            Answer::NotRunning(format!("the service runs another release, {}", other.short()))
        }
        (Service::Unit { .. }, Some(Serving::Up(None))) if restarted() => Answer::Runs,
        (Service::Command { .. } | Service::Files, None) if restarted() => Answer::Runs,
        (_, Some(Serving::Up(None))) => {
            Answer::NotRunning("the service runs a program that was not started from the release".into())
        }
        (_, Some(Serving::Down)) => Answer::NotRunning("the service does not run".into()),
        (_, None) => Answer::Unproven("what the service runs can't be told".into()),
    }
}

/// Whether it was started by this program, from the release's folder: then its process is the proof.
const fn is_ours(service: &Service) -> bool {
    matches!(service, Service::Systemd { .. } | Service::Supervised { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_real_answer_is_told_where_there_is_no_time_for_another() {
        let (sick, little, much) = (Answer::BadStatus(500), Duration::from_millis(3), Duration::from_secs(3));
        assert_eq!(last_word(Some(&sick), false, little), Some(&sick));
        assert_eq!(last_word(Some(&sick), false, Duration::ZERO), Some(&sick));
        assert_eq!(without(&sick), Verdict::Unhealthy);
        assert_eq!(without(&Answer::Unproven("no".into())), Verdict::Inconclusive);
        // There is time, nothing was said yet, or the next good answer is the last one that is needed.
        assert_eq!(last_word(Some(&sick), false, much), None);
        assert_eq!(last_word(None, false, little), None);
        assert_eq!(last_word(Some(&Answer::Good(200)), true, little), None);
    }
}
