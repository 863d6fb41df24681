//! `staith extract`.

use std::path::{Path, PathBuf};

use clap::Args;
use staith_model::{Exit, RelPath};
use staith_packager::web_deploy::{Extract, ReadError};

use super::package::{OpenPackage, PackageArgument};
use crate::{
    interrupt,
    output::{self, Counting, OutputMode, Problem},
};

/// Extract the content of a package, or some of it
///
/// Works for packages of Staith, Web Deploy, Visual Studio, MSBuild and the Web App Gallery. Every byte is verified before the target
/// appears; a package with names that lead elsewhere, duplicates, links, devices or bombs is refused by the entry's name, and nothing
/// is ever written outside of the target. Modes and symbolic links come back where Staith made the package. Parameters are not
/// applied: `staith apply` does that.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    package: PackageArgument,
    /// Only these files, or all below these directories, by their path in the content
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Directory to make; it must not exist [default: the package's name]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Extract the entries of the zip as they are, archive.xml and all
    #[arg(long)]
    raw: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen_for_an_end()?;
        let counting = Counting::new(mode, "extracting");
        let work = move || -> Result<(), Problem> {
            let only = self.files.iter().map(|file| path(file)).collect::<Result<_, _>>()?;
            let opened = self.package.open()?;
            let to = self.to.unwrap_or_else(|| PathBuf::from(name_of(&opened)));
            if to.symlink_metadata().is_ok() {
                return Err(taken(&to));
            }
            let what = Extract { as_zip: self.raw, only };
            let extracted = opened.reader.extract_with(&to, &what, &counting.until(&stop));
            let extracted = extracted.map_err(|error| explain(error, &opened.called, self.raw))?;
            drop(counting);
            output::extracted(&opened.called, &to, extracted, mode.is_json())
                .map_err(|lost| Problem::unwritable(&lost))
        };
        tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        Ok(Exit::Passed)
    }
}

/// A path in the package as a person gives it: perhaps with backslashes, perhaps with a separator at its end.
fn path(file: &str) -> Result<RelPath, Problem> {
    let plain = file.replace('\\', "/");
    let plain = plain.trim_start_matches("./").trim_end_matches('/');
    RelPath::try_from(plain).map_err(|why| Problem::new(Exit::Usage, why.to_string()))
}

/// Name and version of a package of the store, or a file's name without `.zip`.
fn name_of(opened: &OpenPackage) -> String {
    if let Some(published) = &opened.published {
        return format!("{}-{}", published.package.name, published.package.version);
    }
    let stem = opened.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| "package".to_owned())
}

fn taken(to: &Path) -> Problem {
    Problem::new(Exit::Usage, format!("{} is there already", to.display()))
        .with_why("extracting makes a directory, and touches none that is there")
        .with_remedy("name another with --to, or remove this one")
}

fn explain(error: ReadError, called: &str, is_raw: bool) -> Problem {
    let file = match error {
        ReadError::Absent { file, .. } => file,
        ReadError::Stopped => return interrupt::stopped("nothing was extracted"),
        error => return error.into(),
    };
    let entries = "`staith inspect --entries PACKAGE` lists the entries";
    let remedy = if is_raw {
        entries.to_owned()
    } else {
        format!("paths are those below the directory that was packed; {entries}")
    };
    Problem::new(Exit::Usage, format!("{called} has no file `{file}`")).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_people_write_them() {
        for written in ["bin/shop.dll", "./bin/shop.dll", "bin\\shop.dll", "bin/shop.dll/"] {
            assert_eq!(path(written).map(String::from), Ok("bin/shop.dll".to_owned()), "{written}");
        }
        for wrong in ["", "../x", "/etc/passwd", "a//b"] {
            assert_eq!(path(wrong).map_err(|problem| problem.exit), Err(Exit::Usage), "{wrong}");
        }
    }
}
