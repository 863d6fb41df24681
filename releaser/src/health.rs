//! A verdict that cites its observations. No data is not success.
//!
//! A good answer alone proves little: the port may belong to another program, or to another release of the same one.
//! So the proof says **which release answered**: by its header where the application sends one, by a file of it that names it, and always
//! by the process that listens.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use staith_model::Doubt;

mod ask;
mod explain;
pub mod proof;
mod watch;

pub use explain::explain;
pub use watch::{Nowhere, Question, Subject, Whereabouts, watch};

/// What the observations add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As many consecutive good answers as were asked for, each proven to come from the release.
    Healthy,
    /// It answered wrongly, or nothing answered, until the deadline.
    Unhealthy,
    /// It can't be told: nothing was asked, or the proof could not be read. Not a success.
    Inconclusive,
}

/// One answer, or its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The release answered, with a status of 200 to 299.
    Good {
        /// The status.
        status: u16,
    },
    /// The release runs. Nothing was described that could be asked of it.
    Runs,
    /// Something answered with another status.
    BadStatus(u16),
    /// The answer's release header holds another value, or is missing.
    OtherRelease {
        /// The header's name.
        header: String,
        /// Its value; `None` if the answer has no such header.
        found: Option<String>,
    },
    /// The file does not name the release, or not it alone.
    OtherFile {
        /// Its path.
        path: String,
        /// What came instead, in words.
        found: String,
    },
    /// The process that listens on the port is not the one that was started.
    OtherProcess(String),
    /// Who listens can't be told.
    Unproven(String),
    /// Nothing listens.
    Refused,
    /// A connection was made, but no answer came in time.
    NoAnswer {
        /// How long it had.
        within: Duration,
    },
    /// The program was started and ended by itself.
    Ended {
        /// How often.
        times: u32,
        /// How the last time: exit code or signal.
        how: String,
        /// Whether it will not be started again.
        for_good: bool,
    },
    /// The program can't be started.
    NotStarted(String),
    /// The connection broke, or what came back is not HTTP.
    Broken(String),
    /// There is no process to ask, for now.
    NotRunning(String),
    /// There is none, and none will come.
    GivenUp(String),
}

impl From<Doubt> for Answer {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Header { header, found } => Self::OtherRelease { header, found },
            Doubt::File { path, found } => Self::OtherFile { path, found },
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { status } => write!(f, "status {status}"),
            Self::Runs => f.write_str("it runs"),
            Self::BadStatus(status) => write!(f, "status {status}, where 200 to 299 was expected"),
            Self::OtherRelease { header, found: Some(found) } => {
                write!(f, "an answer whose header `{header}` is `{found}`, which is another release")
            }
            Self::OtherRelease { header, found: None } => {
                write!(f, "an answer without the header `{header}`, which must hold the release")
            }
            Self::OtherFile { path, found } => {
                write!(
                    f,
                    "a good answer, but `{path}` is not a file that names the release and no other: {found}"
                )
            }
            Self::OtherProcess(who) => write!(f, "an answer from another program: {who}"),
            Self::Unproven(why) => write!(f, "an answer, but whose it is can't be told: {why}"),
            Self::Refused => f.write_str("connection refused"),
            Self::NoAnswer { within } => write!(
                f,
                "it accepted the connection and did not answer within {:.1} s",
                within.as_secs_f64()
            ),
            Self::Ended { times, how, for_good } => {
                let then = if *for_good { ", and is not started again" } else { "" };
                write!(f, "it ended by itself {}: {how}{then}", counted(*times, "time"))
            }
            Self::NotStarted(why) => write!(f, "it could not be started: {why}"),
            Self::Broken(why) => write!(f, "a broken answer: {why}"),
            Self::NotRunning(why) | Self::GivenUp(why) => f.write_str(why),
        }
    }
}

/// Equal answers in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What came back.
    pub answer: Answer,
    /// How often in a row.
    pub times: u32,
    /// When it came first, counted from the first question.
    pub first: Duration,
    /// When it came last.
    pub last: Duration,
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What the observations add up to.
    pub verdict: Verdict,
    /// What was asked.
    pub url: String,
    /// What came back, in order; equal answers in a row are one entry.
    pub observations: Vec<Observation>,
    /// Good answers in a row that were asked for.
    pub needed: u32,
    /// How long it was asked.
    pub took: Duration,
    /// What the application wrote, where there is a log.
    pub log: Option<LogTail>,
}

/// The end of an application's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTail {
    /// The whole log.
    pub path: PathBuf,
    /// Its last lines; empty if it wrote none.
    pub lines: String,
}

impl Health {
    /// Whether the release was proven to work.
    pub fn is_healthy(&self) -> bool {
        self.verdict == Verdict::Healthy
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.observations.iter().map(|observation| observation.times).sum()
    }

    /// The answer that came last.
    pub fn last(&self) -> Option<&Answer> {
        self.observations.last().map(|observation| &observation.answer)
    }

    /// The answer that says most about what is wrong: the last, unless nothing listened then because the program had
    /// ended before and was only just started again.
    pub fn telling(&self) -> Option<&Answer> {
        let ended = || {
            let answers = self.observations.iter().rev().map(|observation| &observation.answer);
            answers.into_iter().find(|answer| matches!(answer, Answer::Ended { .. }))
        };
        match self.last() {
            Some(Answer::Refused | Answer::Broken(_)) => ended().or(self.last()),
            last => last,
        }
    }
}

pub(crate) fn counted(number: u32, noun: &str) -> String {
    if number == 1 { "once".into() } else { format!("{number} {noun}s") }
}

/// The URL of a path at an address, as people would type it.
pub(crate) fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}
