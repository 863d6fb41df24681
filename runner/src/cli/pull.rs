//! `staith pull`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Exit, Name};
use staith_packager::registry::transfer::pull;
use tokio::runtime::Handle;

use super::{offered, package::reference};
use crate::{
    client::{
        people::{MaybeServer, People},
        told,
    },
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    package_place::{OpenPlace, PackagePlace, package_place},
};

/// Write a package file, from a store, a registry or a server
///
/// The file is called NAME-VERSION-DIGEST.zip and is there when all of it is there and verified. A pull from a registry that was
/// interrupted goes on where it ended. Its path is printed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The package: NAME@VERSION, NAME@CHANNEL, NAME@sha256:DIGEST, or NAME (its latest version)
    #[arg(value_name = "NAME@VERSION", add = offered::packages())]
    package: String,
    /// Where from: a directory, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, or oci://HOST/PATH for a registry. By default
    /// Staith's own store on this machine
    #[arg(long, value_name = "LOCATION", value_parser = package_place)]
    from: Option<PackagePlace>,
    /// The project of the server that the package is of; if not given, the one that is called like the package
    #[arg(long, value_name = "NAME", requires = "server")]
    project: Option<Name>,
    #[command(flatten)]
    server: MaybeServer,
    /// The directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Also write what comes with the package, such as its SetParameters.xml, and what was said about it, such as its provenance
    #[arg(long)]
    all: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let server = self.server.named()?;
        if server.is_some() && self.from.is_some() {
            return Err(Problem::new(
                Exit::Usage,
                "a package comes from --from or from --server, not from both",
            ));
        }
        let people = server.map(|server| server.open()).transpose()?;
        let (runtime, stop) = (Handle::current(), interrupt::listen_for_an_end()?);
        let work = move || -> Result<(), Problem> {
            let wanted = reference(&self.package)?;
            if self.to.exists() && !self.to.is_dir() {
                let what = format!("{} is no directory", self.to.display());
                return Err(Problem::new(Exit::Usage, what)
                    .with_remedy("name the directory that the package's file is to be written to"));
            }
            let from = match (&self.from, &people) {
                (Some(from), _) => from.open_to_read(&home, &runtime, &stop)?,
                (None, Some(people)) => {
                    let project = self.project.as_ref().unwrap_or(&wanted.name);
                    OpenPlace::on_server(people, project, &home, &runtime, &stop)?
                }
                (None, None) => OpenPlace::own(&home)?,
            };
            let heard = output::carrying("pulling", mode);
            let pulled = pull(&from.place, &wanted, &self.to, self.all, &heard, &stop);
            heard("", 0, 0);
            let pulled =
                pulled.map_err(|failed| from.explained(failed)).map_err(|problem| match &people {
                    Some(people) => not_on_server(problem, people),
                    None => problem,
                })?;
            output::pulled(&pulled, mode).map_err(|lost| Problem::unwritable(&lost))
        };
        tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))??;
        Ok(Exit::Passed)
    }
}

/// What went wrong with a package of a server, for somebody who may have meant another project or has no token: registries say it in
/// the words of theirs.
fn not_on_server(problem: Problem, people: &People) -> Problem {
    let refused = problem.what.contains(" refused: ");
    if refused && people.token().is_none() {
        return problem.with_remedy(told::SIGN_IN);
    }
    if refused || problem.exit == Exit::Usage {
        // Where it is unknown, that is what there is instead.
        let known = problem.remedy.clone().filter(|_| !refused);
        let why = problem.why.clone().or(known);
        return Problem { why, ..problem }.with_remedy(
            "see that --project names the project that made it (`staith project list`), and that the token may see it",
        );
    }
    if problem.what.contains("certificate") {
        return problem.with_remedy(told::UNBELIEVED);
    }
    problem
}
