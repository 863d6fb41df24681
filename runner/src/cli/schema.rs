//! `staith schema`.

use clap::Args;
use staith_builder::pipeline;
use staith_model::Exit;

use crate::output::{self, Problem};

/// Print the JSON Schema of runner.toml, by which editors complete keys and show what they mean
#[derive(Debug, Args)]
#[command(
    after_help = "For editors that know TOML (taplo, Even Better TOML): `staith schema > .runner.schema.json`, and \
    `#:schema .runner.schema.json` as the first line of runner.toml."
)]
pub(crate) struct Arguments {}

impl Arguments {
    pub(crate) fn obey(self) -> Result<Exit, Problem> {
        output::text(&pipeline::schema()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
