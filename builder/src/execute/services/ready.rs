//! When a service can be used.

use std::{ffi::OsString, io, time::Duration};

use staith_model::{Readiness, ServicePlan};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    engine::{Gate, StepExit},
    execute::attempt::argv,
};

/// Most services are ready within a moment; each later pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Nobody wants to wait longer for what is ready already.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a service can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unready {
    /// Its time was over.
    Late {
        /// What it had not done by then.
        what: String,
    },
    /// The command that is to tell can't be run.
    NoSuchCheck {
        /// Its program.
        program: String,
        /// Why not.
        why: String,
    },
}

/// One thing that has to be so.
enum Question {
    Check(Vec<OsString>),
    Port(u16),
}

enum Answer {
    Yes,
    /// And what it was instead, in words.
    NotYet(String),
    Never(Unready),
}

/// Waits until the command that tells has succeeded, if there is one, and then until every port accepts connections; no longer
/// than the service has for that. Cancel-safe.
///
/// # Errors
/// It was not ready in time, or never will be.
pub(super) async fn until_ready(gate: &Gate, service: &ServicePlan) -> Result<(), Unready> {
    let deadline = Instant::now() + Duration::from_secs(service.ready_seconds);
    let mut last = "it had not been started".to_owned();
    for question in questions(service) {
        let mut pause = FIRST_PAUSE;
        loop {
            let late = |what: &str| Unready::Late { what: what.to_owned() };
            match timeout_at(deadline, ask(gate, &question)).await {
                Ok(Answer::Yes) => break,
                Ok(Answer::NotYet(what)) => last = what,
                Ok(Answer::Never(why)) => return Err(why),
                Err(_) => return Err(late(&unanswered(&question, &last))),
            }
            if timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(late(&last));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        last = String::new();
    }
    Ok(())
}

fn questions(service: &ServicePlan) -> impl Iterator<Item = Question> + use<> {
    let check = match &service.ready {
        Readiness::Port(_) => None,
        Readiness::Command(command) => Some(Question::Check(argv(command))),
    };
    let ports: Vec<Question> = service.ports.iter().copied().map(Question::Port).collect();
    check.into_iter().chain(ports)
}

async fn ask(gate: &Gate, question: &Question) -> Answer {
    match question {
        Question::Port(port) => match gate.connect(*port).await {
            Ok(_) => Answer::Yes,
            Err(refused) => Answer::NotYet(not_open(*port, &refused)),
        },
        Question::Check(argv) => match gate.check(argv.clone()).await {
            Ok(StepExit::Code(0)) => Answer::Yes,
            Ok(StepExit::Code(code)) => {
                Answer::NotYet(format!("the command in its `ready` ended with exit code {code}"))
            }
            Ok(StepExit::NotStarted { program, why }) => Answer::Never(Unready::NoSuchCheck { program, why }),
            Ok(StepExit::Signal(signal)) => {
                Answer::NotYet(format!("the command in its `ready` was ended by signal {signal}"))
            }
            Ok(_) => Answer::NotYet("the command in its `ready` was ended".to_owned()),
            Err(error) => Answer::NotYet(format!("the command in its `ready` could not be run: {error}")),
        },
    }
}

fn not_open(port: u16, refused: &io::Error) -> String {
    match refused.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on port {port} of its loopback interface")
        }
        _ => format!("no connection to its port {port}: {refused}"),
    }
}

/// What to say of a question that was being asked when time was over.
fn unanswered(question: &Question, last: &str) -> String {
    match question {
        Question::Check(_) => "the command in its `ready` had not ended".to_owned(),
        Question::Port(port) if last.is_empty() => format!("it did not answer on port {port}"),
        Question::Port(_) => last.to_owned(),
    }
}
