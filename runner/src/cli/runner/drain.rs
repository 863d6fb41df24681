//! `staith runner drain`.

use clap::Args;
use staith_model::Exit;

use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
    worker::Rooms,
};

/// Let this host's runner finish what it has, take nothing new, and end
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Let it take jobs again after all
    #[arg(long)]
    undo: bool,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let rooms = Rooms::of(&Home::find()?);
        if !rooms.is_running() {
            return Err(Problem::new(Exit::Usage, "no runner of this home runs, so there is none to drain")
                .with_remedy("`staith runner list` shows whether jobs of an earlier one are left"));
        }
        rooms.set_draining(!self.undo)?;
        output::runner_drained(!self.undo, rooms.attempts().len(), mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
