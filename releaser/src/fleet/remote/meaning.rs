//! The program's words in this crate's.

use std::{io, time::Duration};

use staith_machine::protocol::{self, Asked, HookRan, Seen, State, System};
use staith_model::Blame;

use crate::{
    fleet::machine::{Facts, HookOutcome, MachineError, MachineState, Order, Question, Serving},
    health::{Answer, Health, LogTail, Observation, Verdict},
    host::Patience,
};

/// Characters of a service's last lines that are shown.
const MOST_WORDS: usize = 16 << 10;

/// What a machine is asked to do, for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    what: &'static str,
    /// Whether asking again can do no harm.
    pub(super) reads_only: bool,
}

impl Errand {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, reads_only: false }
    }

    pub(super) const fn reading(what: &'static str) -> Self {
        Self { what, reads_only: true }
    }

    pub(super) fn lost(self, target: &str, error: &io::Error) -> MachineError {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                "the program on it ended, or the connection to it".to_owned()
            }
            _ => error.to_string(),
        };
        MachineError::Lost { target: target.to_owned(), what: self.what, why }
    }

    pub(super) fn refused(self, target: &str, why: Asked) -> MachineError {
        let target = target.to_owned();
        match why {
            Asked::TooLate { seen, asked } => MachineError::Fenced { target, seen, asked },
            Asked::Impossible { why, remedy, blame } => {
                MachineError::Refused { target, what: self.what, why, remedy, blame }
            }
            Asked::Undecided => MachineError::Undecided { target, hook: String::new() },
            Asked::Cancelled => MachineError::Cancelled,
        }
    }

    pub(super) fn unexpected(self, target: &str, why: &str) -> MachineError {
        // What a program says that does not speak as it should is anybody's text.
        let why: String = why.chars().take(500).collect();
        MachineError::Refused {
            target: target.to_owned(),
            what: self.what,
            why: format!("what answers is not the program that it should be: {}", why.escape_debug()),
            remedy: "deploy again; if it comes again, see what the machine prints when somebody logs in"
                .into(),
            blame: Blame::Environment,
        }
    }
}

pub(super) fn order_of(order: &Order) -> protocol::Order {
    protocol::Order { epoch: order.epoch, deployment: order.deployment.clone(), operation: order.operation }
}

pub(super) fn facts(system: System) -> Facts {
    Facts {
        machine_id: system.machine_id,
        boot_id: system.boot_id,
        architecture: system.architecture,
        system: system.name,
        superuser: system.superuser,
        free_bytes: system.free_bytes,
        systemd: system.systemd,
    }
}

pub(super) fn state(state: State) -> MachineState {
    MachineState {
        epoch: state.epoch,
        releases: state.releases.into_iter().map(|(release, _)| release).collect(),
        current: state.current,
        previous: state.previous,
        serving: state.serving.map(|serving| match serving {
            protocol::Serving::Down => Serving::Down,
            protocol::Serving::Up(release) => Serving::Up(release),
        }),
        unfinished: state.unfinished,
    }
}

pub(super) fn outcome(ran: HookRan) -> HookOutcome {
    // Each character stands for one byte; what is none was not written by our program, and is left out.
    let said = ran.said.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
    HookOutcome { code: ran.code, timed_out: ran.timed_out, said, already: ran.already }
}

pub(super) fn question(question: &Question, patience: Patience) -> protocol::Question {
    protocol::Question {
        release: question.release,
        port: question.port,
        check: question.check.clone(),
        min_healthy_seconds: question.min_healthy_seconds,
        glance: patience == Patience::Glance,
    }
}

/// Equal answers in a row are one observation.
pub(super) fn add(observations: &mut Vec<Observation>, seen: Seen) {
    let (answer, at) = (answer(seen.answer), Duration::from_millis(seen.at_millis));
    match observations.last_mut() {
        Some(last) if last.answer == answer => {
            last.times = last.times.saturating_add(1);
            last.last = at;
        }
        _ => observations.push(Observation { answer, times: 1, first: at, last: at }),
    }
}

pub(super) fn health(
    verdict: protocol::Verdict,
    url: String,
    took_millis: u64,
    needed: u32,
    observations: Vec<Observation>,
    log: Option<protocol::Words>,
) -> Health {
    let verdict = match verdict {
        protocol::Verdict::Healthy => Verdict::Healthy,
        protocol::Verdict::Unhealthy => Verdict::Unhealthy,
        protocol::Verdict::Inconclusive => Verdict::Inconclusive,
    };
    let log = log.map(|words| {
        // A machine may be told what to say: its words are bounded here, too.
        let from = words.lines.char_indices().rev().nth(MOST_WORDS).map_or(0, |(at, _)| at);
        LogTail { path: words.from.into(), lines: words.lines[from..].to_owned() }
    });
    Health { verdict, url, observations, needed, took: Duration::from_millis(took_millis), log }
}

fn answer(answer: protocol::Answer) -> Answer {
    use protocol::Answer as Told;
    match answer {
        Told::Good(status) => Answer::Good { status },
        Told::Runs => Answer::Runs,
        Told::BadStatus(status) => Answer::BadStatus(status),
        Told::OtherRelease { header, found } => Answer::OtherRelease { header, found },
        Told::OtherFile { path, found } => Answer::OtherFile { path, found },
        Told::OtherProcess(who) => Answer::OtherProcess(who),
        Told::Unproven(why) => Answer::Unproven(why),
        Told::Refused => Answer::Refused,
        Told::NoAnswer { within_millis } => Answer::NoAnswer { within: Duration::from_millis(within_millis) },
        Told::Broken(why) => Answer::Broken(why),
        Told::NotRunning(why) => Answer::NotRunning(why),
        Told::GivenUp(why) => Answer::GivenUp(why),
    }
}
