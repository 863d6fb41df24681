//! Why the machines of an environment can't be told.

use std::path::PathBuf;

/// Why the machines of an environment can't be told.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The program can't be started.
    #[error("the inventory's program `{program}` can't be started: {why}")]
    NotStarted {
        /// The program.
        program: String,
        /// Why not.
        why: String,
    },
    /// It was not done in time.
    #[error("the inventory's program `{program}` had {seconds} seconds, and was not done")]
    TimedOut {
        /// The program.
        program: String,
        /// The time that it had.
        seconds: u64,
    },
    /// It failed.
    #[error("the inventory's program `{program}` {how}{}", if said.is_empty() { String::new() } else { format!(", and said: {said}") })]
    Failed {
        /// The program.
        program: String,
        /// How it ended: `ended with exit code 1`.
        how: String,
        /// The end of what it said to standard error, without what steers a terminal.
        said: String,
    },
    /// The file can't be read.
    #[error("the inventory {} can't be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// There is more of it than anybody reads.
    #[error("the inventory `{from}` gives more than {most} bytes")]
    TooMuch {
        /// The program or file.
        from: String,
        /// The most.
        most: usize,
    },
    /// It is no list of machines.
    #[error("the inventory `{from}` is not understood: {why}")]
    NotUnderstood {
        /// The program or file.
        from: String,
        /// What is wrong.
        why: String,
    },
    /// One of its machines is wrong.
    #[error("the inventory `{from}`, {entry}: {why}")]
    Entry {
        /// The program or file.
        from: String,
        /// Which: `entry 3`, or a name.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are no machines.
    #[error("environment `{environment}` has no machines: {}", if from.is_empty() { "it names none".to_owned() } else { format!("`{from}` gives none") })]
    Nobody {
        /// The environment.
        environment: String,
        /// The program or file; empty where there is none.
        from: String,
    },
    /// Cancelled; what was started has been ended.
    #[error("cancelled")]
    Cancelled,
}

impl InventoryError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotStarted { .. } => {
                "a program with a `/` is looked for in the project's folder, any other in PATH; see that it is there and may be executed"
            }
            Self::TimedOut { .. } => {
                "run it in the project's folder to see what it waits for; it gets no input"
            }
            Self::Failed { .. } => {
                "run it in the project's folder with `env -i PATH=\"$PATH\" HOME=\"$HOME\"`, which is all that it gets"
            }
            Self::Unreadable { .. } => "`inventory` in runner.toml names a file below the project's folder",
            Self::TooMuch { .. } | Self::NotUnderstood { .. } => {
                "it must be a JSON list of machines: [\"user@host\", {\"host\": \"...\", \"name\": \"...\"}]; docs/releases.md has all forms"
            }
            Self::Entry { .. } => {
                "correct the entry where the inventory is made; docs/releases.md has all that it may say"
            }
            Self::Nobody { .. } => {
                "a deployment to nobody would say nothing; name a machine in `targets`, or mend the inventory"
            }
            Self::Cancelled => "nothing was changed",
        }
    }
}
