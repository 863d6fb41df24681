//! `staith project add`.

use clap::Args;
use staith_model::{
    Exit, Name,
    service::{Project, ProjectAsked, ProjectSettings, carries_credentials, without_credentials},
};

use super::set::Setting;
use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Add a repository that the server is to build
///
/// What it has already starts nothing; what happens from now on does. The server reads the repository itself: a path is one of
/// the server's machine.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What the project is to be called
    name: Name,
    /// A path, file://, https://, ssh:// or user@host:path; without a password, and of https without a user
    #[arg(value_name = "URL|PATH")]
    origin: String,
    /// A setting that is to be otherwise than usual, as in `staith project set`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
}

impl Add {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        if carries_credentials(&self.origin) {
            return Err(not_to_be_sent(&self.origin));
        }
        let origin = absolute(&self.origin)?;
        let settings: ProjectSettings =
            serde_json::from_value(Setting::merged(&self.settings)).map_err(|bad| {
                Problem::new(Exit::Usage, "the settings are not understood").with_why(bad.to_string())
            })?;
        let asked = ProjectAsked { name: self.name, origin, settings };
        let project: Project = server.open()?.post("/api/v1/projects", &asked).await?;
        output::project_told(&project, "is built from", mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// Nothing was sent: what lets one in is in no request, no answer and no log.
fn not_to_be_sent(origin: &str) -> Problem {
    let what =
        format!("`{}` says who asks, or by which password", without_credentials(origin).escape_debug());
    Problem::new(Exit::Usage, what)
        .with_why("everybody who may see the project would see it, and the server's audit log would keep it for good; nothing was sent")
        .with_remedy(
            "leave it out of the address, and tell it to git on the server's machine: a credential helper of the server's account, \
             as docs/server.md shows",
        )
}

/// A path that is there is meant from here; anything else is for the server to understand.
fn absolute(origin: &str) -> Result<String, Problem> {
    let is_address =
        origin.contains("://") || origin.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    let path = std::path::Path::new(origin);
    if path.is_absolute() || (is_address && !path.exists()) {
        return Ok(origin.to_owned());
    }
    let whole = std::path::absolute(path).ok().and_then(|whole| whole.into_os_string().into_string().ok());
    whole.ok_or_else(|| Problem::new(Exit::Usage, format!("`{}` is no path", origin.escape_debug())))
}
