//! `staith parameters`.

mod values;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use staith_model::Exit;
use staith_packager::parameters::{Declarations, resolve};

pub(crate) use values::{ValueArguments, unresolved};

use super::package::PackageArgument;
use crate::output::{self, OutputMode, Problem};

/// Show what a package lets one set, and what it would come to
///
/// Each parameter with its default, what it is for, which values it takes, and where its value goes. With values, from files
/// (--set-file), the command line (--set, which comes first) or Staith's secrets, it shows what each parameter comes to once
/// {Other Parameter} is replaced, and refuses what would be refused when the package is applied. Secrets are never shown.
///
/// A parameter tagged Password or NoStore, or a connection string, may be kept as a secret: that of `Database Password` is called
/// database-password (see `staith secret`), or STAITH_SECRET_DATABASE_PASSWORD in the environment.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    package: PackageArgument,
    #[command(flatten)]
    values: ValueArguments,
    /// Write a SetParameters.xml to fill in: every parameter that is not hidden with its default, secrets without
    #[arg(long, value_name = "FILE", conflicts_with_all = ["set_files", "set"])]
    write_set_file: Option<PathBuf>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let package = self.package;
        let read = move || -> Result<(String, Declarations), Problem> {
            let opened = package.open()?;
            let declared = opened.reader.declarations()?;
            Ok((opened.called, declared))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (called, declared) = read.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        if let Some(file) = &self.write_set_file {
            write_new(file, &declared.to_set_parameters_xml())?;
            output::set_file_written(file, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
            return Ok(Exit::Passed);
        }
        let resolved = if self.values.is_empty() {
            None
        } else {
            let values = self.values.gather(&declared).await?;
            Some(resolve(&declared, &values).map_err(|errors| unresolved(&errors, &declared))?)
        };
        output::parameters(&called, &declared, resolved.as_ref(), mode.is_json())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Writes a file that is not there yet, whole or not at all: one that somebody filled in is never lost.
fn write_new(file: &Path, text: &str) -> Result<(), Problem> {
    let refuse = |refused: &io::Error| {
        let problem = Problem::new(Exit::Environment, format!("{} can't be written", file.display()));
        if refused.kind() == io::ErrorKind::AlreadyExists {
            return Problem { exit: Exit::Usage, ..problem }
                .with_why("there is such a file already, perhaps with values that somebody filled in")
                .with_remedy("name another file, or take that one away");
        }
        problem
            .with_why(refused.to_string())
            .with_remedy("see that its directory is there and may be written to")
    };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist_noclobber(file).map_err(|refused| refused.error)
    };
    write().map(drop).map_err(|refused| refuse(&refused))
}
