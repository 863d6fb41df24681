//! `staith proxy serve`.

use std::path::PathBuf;

use clap::Args;
use staith_model::Exit;
use staith_releaser::proxy::station::{Settings, Station};

use crate::{
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Serve clients until SIGTERM or Ctrl-C; requests in flight are finished then
///
/// SIGHUP has certificates read again. docs/traffic.md tells the configuration, and has a unit for systemd.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The proxy's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/staith/proxy.toml")]
    config: PathBuf,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (stop, renew) = interrupt::listen_for_an_end_and_renewals()?;
        let text = std::fs::read_to_string(&self.config)
            .map_err(|refused| Problem::unreadable(&self.config, &refused))?;
        let settings = Settings::read(&text).map_err(|why| {
            Problem::new(Exit::Configuration, format!("{} can't work", self.config.display())).with_why(why)
        })?;
        let station = Station::take(&settings)
            .map_err(|error| Problem::new(Exit::Environment, error.to_string()).with_remedy(error.remedy))?;
        let told = output::proxy_serves(&station.entrances(), &settings.control, mode);
        told.map_err(|lost| Problem::unwritable(&lost))?;
        let cut = station.serve(stop, renew).await.map_err(|refused| {
            Problem::new(Exit::Environment, "the proxy can't use its sockets").with_why(refused.to_string())
        })?;
        output::proxy_ended(cut, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
