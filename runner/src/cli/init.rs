//! `staith init`.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum as _};
use staith_model::Exit;

use crate::{
    output::{self, OutputMode, Problem},
    starter::{self, Folder, Kind},
    workshop::PIPELINE_FILE,
};

/// Write a first runner.toml for a project
///
/// Looks which kind of project the folder holds, and writes a pipeline that lints, restores, builds, tests and packs it with
/// the tools that are usual there. It never overwrites one that is there.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The project's directory
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
    /// The kind of project, where the folder does not tell
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let at = self.directory.join(PIPELINE_FILE);
        if at.symlink_metadata().is_ok() {
            return Err(is_there(&at));
        }
        let folder = Folder::read(&self.directory).map_err(|refused| {
            let what = format!("{} can't be read", self.directory.display());
            Problem::new(Exit::Environment, what).with_why(refused.to_string())
        })?;
        let (kind, sign) = self.kind_of(&folder)?;
        let text = kind.pipeline(&folder);
        write(&at, &text).map_err(|refused| match refused.kind() {
            io::ErrorKind::AlreadyExists => is_there(&at),
            _ => Problem::new(Exit::Environment, format!("{} can't be written", at.display()))
                .with_why(refused.to_string()),
        })?;
        output::started(kind.title(), kind.word(), sign.as_deref(), &at, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        let missing = starter::missing(&text, &folder);
        if !missing.is_empty() {
            let missing = missing.join(", ");
            output::notice(
                &format!("before it can run, the project needs {missing}, which is not there yet"),
                mode,
            );
        }
        Ok(Exit::Passed)
    }

    fn kind_of(&self, folder: &Folder) -> Result<(Kind, Option<String>), Problem> {
        let mut found = starter::detect(folder);
        if let Some(kind) = self.kind {
            let sign = found.into_iter().find(|(one, _)| *one == kind).map(|(_, sign)| sign);
            return Ok((kind, sign));
        }
        match found.pop() {
            Some((kind, sign)) if found.is_empty() => Ok((kind, Some(sign))),
            last => {
                found.extend(last);
                Err(unclear(&self.directory, &found))
            }
        }
    }
}

fn unclear(directory: &Path, found: &[(Kind, String)]) -> Problem {
    let kinds: Vec<&str> = Kind::value_variants().iter().map(|kind| kind.word()).collect();
    let place = directory.display();
    if found.is_empty() {
        return Problem::new(Exit::Usage, format!("it is not clear what kind of project {place} holds"))
            .with_why("it has none of the files by which one is told")
            .with_remedy(format!("say it with --kind, one of: {}", kinds.join(", ")));
    }
    let signs: Vec<String> = found.iter().map(|(kind, sign)| format!("{} ({sign})", kind.title())).collect();
    let words: Vec<&str> = found.iter().map(|(kind, _)| kind.word()).collect();
    Problem::new(Exit::Usage, format!("{place} holds several kinds of projects"))
        .with_why(format!("it could be {}", signs.join(" or ")))
        .with_remedy(format!("say which is meant with --kind, one of: {}", words.join(", ")))
}

fn is_there(at: &Path) -> Problem {
    Problem::new(Exit::Usage, format!("{} is there already, and is left as it is", at.display()))
        .with_remedy("`staith plan` shows what it does; remove it first to begin anew")
}

/// Writes a file that must not be there, whole or not at all.
fn write(at: &Path, text: &str) -> io::Result<()> {
    let directory = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".runner-").tempfile_in(directory)?;
    new.write_all(text.as_bytes())?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    new.as_file().set_permissions(readable)?;
    let _: File = new.persist_noclobber(at).map_err(|kept| kept.error)?;
    Ok(())
}
