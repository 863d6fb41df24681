//! `staith server deployer`.

use clap::Args;
use staith_model::Exit;

use crate::{deployer, home::Home, output::Problem};

/// Deploy for a server that is started with this process; for Staith itself
///
/// `staith server start` starts it, and starts it again when it ends. Its home is `deployer` in the server's directory: keys of machines,
/// secrets of releases and ledgers are there and nowhere else.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

impl Arguments {
    pub(super) async fn obey(self) -> Result<Exit, Problem> {
        deployer::run(Home::find()?).await
    }
}
