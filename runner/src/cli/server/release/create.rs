//! `staith server release create`.

use clap::Args;
use staith_model::{
    Exit, Name,
    service::{ReleaseAsked, ReleaseSeen, ReleaseStanding},
};

use super::{LOOK, There};
use crate::{
    client::{WhichRun, people::People},
    output::{self, OutputMode, Problem},
};

/// Make a release of what a run packed
///
/// The package is frozen with the environments of the commit's own runner.toml. Asked for again, it is the same release.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run: its id, or PROJECT#NUMBER; it has passed
    run: WhichRun,
    /// Which of its packages, if it made several
    #[arg(long, value_name = "NAME")]
    package: Option<Name>,
}

impl Arguments {
    /// The run's, where nobody says another.
    pub(super) async fn project(&self, people: &People) -> Result<Name, Problem> {
        self.run.project(people).await
    }

    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let run = self.run.find(&there.people).await?;
        let asked = ReleaseAsked { run, package: self.package };
        let mut seen: ReleaseSeen = there.people.post(&there.path("releases"), &asked).await?;
        while seen.state == ReleaseStanding::Making {
            tokio::time::sleep(LOOK).await;
            seen = there.people.get(&there.path(&format!("releases/{}", seen.number))).await?;
        }
        if seen.state == ReleaseStanding::Refused {
            let problem = Problem::new(Exit::Configuration, format!("release {} can't be made", seen.number));
            return Err(Problem { why: seen.why, ..problem });
        }
        output::server_releases(&[seen], mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
