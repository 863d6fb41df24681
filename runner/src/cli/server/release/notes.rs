//! `staith server release notes`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::record::notes::ReleaseNotes;

use super::{There, query};
use crate::{
    cli::release::Range,
    output::{self, OutputMode, Problem},
};

/// Say what is new in a release: the commits since an earlier one, by kind, with work items and people
///
/// Commits are those of the project's repository as the server has it, as far as they changed the project; merges are left out. Their
/// kinds are those of conventional commits (`feat: ...`). A release is also named by its number.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    range: Range,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let (from, to) = self.range.releases()?;
        let path = query(&there.path("notes"), &[("from", &from), ("to", &to)]);
        let notes: ReleaseNotes = there.people.get(&path).await?;
        output::release_notes(&notes, self.range.markdown, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
