//! From the errors of the rooms to the one form in which people see them, each with its exit code.

use std::{io, path::Path};

use staith_builder::{
    engine::EngineError,
    execute::ExecuteError,
    layers::LayerError,
    pipeline::{PipelineErrors, closest, render},
    plan::MissingProgram,
    redact::Unmaskable,
    secrets::{SecretsError, Unsupplied},
    source::SourceError,
    upkeep::{LedgerError, NoRoom},
};
use staith_model::{Exit, ImpossibleEvent, Name, Reason, UnknownStep};
use staith_packager::{
    apply::ApplyError,
    seal::{NotVouched, SealError, beside::BesideError, key::KeyError},
    store::StoreError,
    web_deploy::{ReadError, WriteError},
};
use staith_releaser::{
    drive::DriveError,
    keeper::{KeeperError, PortTaken},
    ledger::LedgerError as RecordError,
};

use crate::{
    home::NoHome,
    output::{Place, Problem},
};

impl Problem {
    /// A problem that needs no more words than these.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, why: None, remedy: None, exit }
    }

    /// This problem with what to do about it.
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// This problem with why it is one.
    pub(crate) fn with_why(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Several programs that steps need and this host lacks.
    pub(crate) fn missing(programs: &[MissingProgram]) -> Self {
        let kind = |one: &MissingProgram| if one.is_service { "service" } else { "step" };
        let line = |one: &MissingProgram| format!("{} `{}` runs `{}`", kind(one), one.by, one.program);
        let why: Vec<String> = programs.iter().map(line).collect();
        let mut remedies: Vec<&str> = programs.iter().map(|one| one.remedy.as_str()).collect();
        remedies.dedup();
        let what = "steps run programs that are not in the sandbox; nothing was run";
        Self::new(Exit::Environment, what).with_why(why.join("\n")).with_remedy(remedies.join("\n"))
    }

    /// Mistakes in a pipeline, as they are shown in the file.
    pub(crate) fn pipeline(errors: &PipelineErrors, color: bool, width: usize) -> Self {
        let many = errors.errors().len() + errors.more();
        let what = format!(
            "{} can't work, nothing was run: {many} mistake{}",
            errors.file(),
            if many == 1 { "" } else { "s" }
        );
        let place = errors.errors().first().map(|first| {
            let (line, column) = (Some(first.line()), Some(first.column()));
            Box::new(Place { file: errors.file().to_owned(), line, column, ..Place::default() })
        });
        Self { place, ..Self::new(Exit::Configuration, what).with_why(render(errors, color, width)) }
    }

    /// Mistakes in a pipeline for those who are not at the terminal and may not have the file: a line for each.
    pub(crate) fn pipeline_in_words(errors: &PipelineErrors) -> Self {
        let mut lines: Vec<String> = errors
            .errors()
            .iter()
            .map(|one| {
                let (line, column) = (one.line(), one.column());
                format!("line {line}, column {column}: {}; {}", one.message(), one.advice())
            })
            .collect();
        if errors.more() > 0 {
            lines.push(format!("and {} more", errors.more()));
        }
        Self::new(Exit::Configuration, errors.to_string()).with_why(lines.join("\n"))
    }

    /// A file that somebody named can't be read.
    pub(crate) fn unreadable(file: &Path, refused: &io::Error) -> Self {
        let is_absent = refused.kind() == io::ErrorKind::NotFound;
        let exit = if is_absent { Exit::Usage } else { Exit::Environment };
        Self::new(exit, format!("{} can't be read", file.display()))
            .with_why(refused.to_string())
            .with_remedy("see that it is there and may be read")
    }

    /// A bug in Staith.
    pub(crate) fn bug(what: impl Into<String>) -> Self {
        Self::new(Exit::Bug, what).with_remedy("please report this, with the run's events.jsonl")
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self { remedy: reason.remedy, ..Self::new(reason.blame.into(), reason.what) }
    }
}

impl From<Unsupplied> for Problem {
    fn from(error: Unsupplied) -> Self {
        let exit = if error.is_configuration() { Exit::Configuration } else { Exit::Environment };
        let (what, remedy) = (format!("{error}; nothing was run"), error.remedy());
        Self::new(exit, what).with_remedy(remedy)
    }
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        Self::new(Exit::Environment, error.to_string()).with_remedy(error.remedy())
    }
}

impl From<Unmaskable> for Problem {
    fn from(error: Unmaskable) -> Self {
        Self::new(Exit::Configuration, error.to_string()).with_remedy(error.remedy())
    }
}

impl From<NoHome> for Problem {
    fn from(error: NoHome) -> Self {
        Self::new(Exit::Environment, error.to_string())
            .with_remedy("set STAITH_HOME to a directory of your own")
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Self {
        let exit = match &error {
            // The change does not fit what it is for, just as if a test had failed.
            SourceError::Conflict { .. } => Exit::StepFailed,
            _ => Exit::Environment,
        };
        Self { remedy: error.remedy(), ..Self::new(exit, error.to_string()) }
    }
}

impl From<LayerError> for Problem {
    fn from(error: LayerError) -> Self {
        Self { remedy: error.remedy(), ..Self::new(Exit::Environment, error.to_string()) }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        Self { remedy: error.remedy().map(str::to_owned), ..Self::new(Exit::Environment, error.to_string()) }
    }
}

impl From<UnknownStep> for Problem {
    fn from(error: UnknownStep) -> Self {
        let problem = Self::new(Exit::Usage, error.to_string());
        if let Some(why) = &error.left_out {
            return problem.with_why(format!("it is left out of this run: {why}"));
        }
        let known: Vec<&str> = error.known.iter().map(Name::as_str).collect();
        let all = format!("the steps are: {}", known.join(", "));
        match closest(error.step.as_str(), known) {
            Some(meant) => problem.with_why(all).with_remedy(format!("did you mean `{meant}`?")),
            None => problem.with_why(all),
        }
    }
}

impl From<ImpossibleEvent> for Problem {
    fn from(error: ImpossibleEvent) -> Self {
        Self::bug(format!("the run's events contradict each other: {error}"))
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Engine(error) => error.into(),
            ExecuteError::Impossible(error) => error.into(),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::new(Exit::Environment, error.to_string())
    }
}

impl From<NoRoom> for Problem {
    fn from(error: NoRoom) -> Self {
        Self::new(Exit::Environment, error.to_string()).with_remedy(NoRoom::REMEDY)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Location { .. } | StoreError::Unknown { .. } => Exit::Usage,
            StoreError::Conflict { .. } | StoreError::Manifest { .. } | StoreError::Kept { .. } => {
                Exit::Configuration
            }
            _ => Exit::Environment,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Usage,
            ReadError::Absent { .. } => Exit::Usage,
            ReadError::Stopped => Exit::Interrupted,
            ReadError::Open { .. } | ReadError::Output { .. } => Exit::Environment,
            _ => Exit::Configuration,
        };
        let place = error.place().map(|(entry, line, column)| {
            Box::new(Place { file: entry.to_owned(), line, column, ..Place::default() })
        });
        let problem = Self { place, ..Self::new(exit, error.to_string()) };
        match error {
            ReadError::Refused { .. } | ReadError::OutOfBounds { .. } => {
                problem.with_remedy("use nothing of it; get a sound one from whoever made it")
            }
            _ => problem,
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::new(Exit::Environment, error.to_string())
    }
}

impl From<BesideError> for Problem {
    fn from(error: BesideError) -> Self {
        Self::new(Exit::Environment, error.to_string())
    }
}

impl From<NotVouched> for Problem {
    fn from(error: NotVouched) -> Self {
        Self::new(Exit::Configuration, error.to_string())
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let exit = match error {
            WriteError::Refused(_) | WriteError::Secrets(_) => Exit::Configuration,
            WriteError::Stopped => Exit::Interrupted,
            _ => Exit::Environment,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        let what = error.to_string();
        let exit = match error {
            SealError::Write { source, .. } => Self::from(source).exit,
            SealError::Version(_) => Exit::Configuration,
            SealError::Store(_) => Exit::Environment,
        };
        Self::new(exit, what)
    }
}

impl From<PortTaken> for Problem {
    fn from(error: PortTaken) -> Self {
        let what = format!("the environment's proxy can't listen on {}", error.addr);
        Self::new(Exit::Environment, what)
            .with_why(error.why)
            .with_remedy(format!("{}: `listen` of the environment in runner.toml says which", error.remedy))
    }
}

impl From<KeeperError> for Problem {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::PortTaken(taken) => taken.into(),
            error => Self::new(Exit::Environment, error.to_string()),
        }
    }
}

impl From<DriveError> for Problem {
    fn from(error: DriveError) -> Self {
        let reason = error.reason();
        Self { remedy: reason.remedy, ..Self::new(error.exit(), error.to_string()) }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        let exit = match error {
            RecordError::Unwritable { .. } => Exit::Bug,
            _ => Exit::Environment,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        if let ApplyError::Package(refused) = error {
            return refused.into();
        }
        let problem = Self::new(exit_of(&error), error.to_string());
        match cause_of(&error) {
            ApplyError::Destination { .. } => {
                problem.with_remedy("see to its permissions and to the room on its disk, and apply again")
            }
            _ => problem,
        }
    }
}

fn cause_of(error: &ApplyError) -> &ApplyError {
    match error {
        ApplyError::TakenBack(cause) | ApplyError::Backup(cause) => cause_of(cause),
        other => other,
    }
}

fn exit_of(error: &ApplyError) -> Exit {
    match error {
        ApplyError::Plan(_)
        | ApplyError::Package(_)
        | ApplyError::Reserved
        | ApplyError::Parameter { .. } => Exit::Configuration,
        ApplyError::NotADirectory(_) | ApplyError::BackupInside(_) => Exit::Usage,
        ApplyError::Stopped => Exit::Interrupted,
        ApplyError::TakenBack(cause) | ApplyError::Backup(cause) => exit_of(cause),
        _ => Exit::Environment,
    }
}

impl From<staith_releaser::release::ReleaseError> for Problem {
    fn from(error: staith_releaser::release::ReleaseError) -> Self {
        let text = error.to_string();
        match text.split_once("; ") {
            Some((what, remedy)) => Self::new(Exit::Environment, what).with_remedy(remedy),
            None => Self::new(Exit::Environment, text),
        }
    }
}
