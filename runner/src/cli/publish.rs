//! `staith publish`.

use clap::Args;
use staith_model::{Exit, Name, Version};
use staith_packager::store::{Expected, Location, Reference};

use super::{offered, packages};
use crate::output::{self, OutputMode, Problem};

/// Let a channel of a package, such as `stable`, stand for a version
///
/// Whoever asks for NAME@CHANNEL gets that version from then on; everybody sees the old or the new one, and all moves are kept. What
/// a channel stands for is not removed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The package, such as shop@1.4.27, shop@1.4, shop@canary or shop@sha256:DIGEST
    #[arg(value_name = "NAME@VERSION", add = offered::packages())]
    package: Reference,
    /// The channel: a name that does not look like a version
    #[arg(add = offered::channels())]
    channel: Name,
    /// Only if the channel stands for this version now; `none`: only if there is no such channel yet
    #[arg(long, value_name = "VERSION", value_parser = expected)]
    expect: Option<Expected>,
    /// Another store than that of Staith's home: DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "LOCATION")]
    store: Option<Location>,
}

fn expected(text: &str) -> Result<Expected, String> {
    if text == "none" {
        return Ok(Expected::Nothing);
    }
    text.parse::<Version>().map(Expected::Version).map_err(|why| why.to_string())
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let Self { package, channel, expect, store } = self;
        let moved = packages::in_store(store, move |store| {
            let published = store.resolve(&package)?.package;
            let expect = expect.unwrap_or(Expected::Anything);
            Ok(store.move_channel(
                &published.name,
                &published.version,
                &channel,
                &expect,
                &packages::who(),
            )?)
        })
        .await?;
        output::channel_moved(&moved, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
