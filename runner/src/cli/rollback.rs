//! `staith rollback`.

use std::collections::BTreeSet;

use clap::Args;
use staith_model::{Digest, EventKind, Exit};
use staith_releaser::drive::{self, Local};

use super::place::Place;
use crate::{
    clock,
    home::Home,
    inner, interrupt,
    output::{self, OutputMode, Problem, Retelling},
};

/// Bring back the release that served before
///
/// No bytes are moved and nothing is built: if the earlier release still runs beside the current one, which it does until
/// the next deployment, this is one switch of the proxy. A second rollback leads forward again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Go back to this release, by its digest or the beginning of it, instead of the previous one
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let known = self.place.one_of(&home)?;
        let to = match &self.to {
            Some(text) => Some(named(text, &known.directory).await?),
            None => None,
        };
        let stop = interrupt::listen()?;
        let launcher = inner::keeper_command()?;
        let local = Local::open(&known.directory, launcher).await?;
        let mut retelling = Retelling::new(mode);
        let mut show = |what: EventKind| retelling.tell(what, clock::unix_millis());
        let deployed = local.rollback(to, &mut show, &stop.cancel).await?;
        output::rolled_back(
            &deployed.release,
            deployed.url.as_deref(),
            deployed.already,
            deployed.took,
            mode,
        )
        .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// The release on disk whose digest begins so.
async fn named(text: &str, directory: &std::path::Path) -> Result<Digest, Problem> {
    let status = drive::status(directory).await?;
    // The previous release is one of the others, too.
    let on_disk: BTreeSet<Digest> = status
        .current
        .iter()
        .chain(&status.previous)
        .chain(&status.others)
        .map(|line| line.release)
        .collect();
    let wanted = text.strip_prefix("sha256:").unwrap_or(text);
    let matching: Vec<Digest> =
        on_disk.iter().copied().filter(|release| release.hex().starts_with(wanted)).collect();
    match matching.as_slice() {
        [one] => Ok(*one),
        found => {
            let known: Vec<String> = on_disk.iter().map(Digest::short).collect();
            let what = match found.len() {
                0 => format!("no release on this machine begins with `{text}`"),
                many => format!("{many} releases begin with `{text}`"),
            };
            Err(Problem::new(Exit::Usage, what).with_why(format!("on disk are {}", known.join(", "))))
        }
    }
}
