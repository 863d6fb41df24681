//! The exit codes of the command line: one table.

use crate::Blame;

/// What the program's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for was done.
    Passed,
    /// A step or a test failed.
    StepFailed,
    /// `runner.toml` or another configuration can't work.
    Configuration,
    /// This machine, or something around it, can't do it.
    Environment,
    /// A deployment failed; the previous release serves.
    RolledBack,
    /// A deployment needs a person's decision.
    NeedsDecision,
    /// The command line made no sense.
    Usage,
    /// A bug in Staith.
    Bug,
    /// Somebody stopped it (SIGINT or SIGTERM).
    Interrupted,
}

impl Exit {
    /// Every code, in the order of the table in the documentation.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::StepFailed,
        Self::Configuration,
        Self::Environment,
        Self::RolledBack,
        Self::NeedsDecision,
        Self::Usage,
        Self::Bug,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::StepFailed => 10,
            Self::Configuration => 20,
            Self::Environment => 30,
            Self::RolledBack => 40,
            Self::NeedsDecision => 41,
            Self::Usage => 64,
            Self::Bug => 70,
            // 128 + SIGINT, as shells have it.
            Self::Interrupted => 130,
        }
    }

    /// The words in the documentation's table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::StepFailed => "a step or a test failed",
            Self::Configuration => "the configuration can't work",
            Self::Environment => "the environment can't do it",
            Self::RolledBack => "the deployment failed and was rolled back",
            Self::NeedsDecision => "the deployment needs a decision",
            Self::Usage => "the command line is wrong",
            Self::Bug => "a bug in Staith",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Blame> for Exit {
    fn from(blame: Blame) -> Self {
        match blame {
            Blame::Project => Self::StepFailed,
            Blame::Environment => Self::Environment,
            Blame::Us => Self::Bug,
        }
    }
}
