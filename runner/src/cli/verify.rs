//! `staith verify`.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde::Serialize;
use staith_model::{Digest, Exit};

use staith_packager::{seal::Vouched, web_deploy::ReadError};
use tokio_util::sync::CancellationToken;

use super::{offered, package, vouching::Demand};
use crate::{
    interrupt,
    output::{self, Counting, OutputMode, Problem},
};

/// Verify packages: every byte, their structure, and what they say of themselves
///
/// Each entry is inflated and held against its length and its checksum; archive.xml, parameters.xml and the options in them are
/// read; and where Staith made the package, each file is held against its digest in the manifest, and the manifest against its
/// own. Packages that other tools made have checksums only, which find accidents but no intent. All packages are verified,
/// also after one was refused.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Packages: files, or NAME@VERSION, NAME@CHANNEL, NAME@DIGEST or NAME (its latest version) of this machine's store
    #[arg(value_name = "PACKAGE", required = true, add = offered::files_and_packages())]
    packages: Vec<String>,
    /// Refuse packages that this key has not vouched for: a file with a public key, as `staith key show` prints it; may be
    /// given more than once, and then any of the keys will do
    #[arg(long, value_name = "KEY")]
    signed_by: Vec<PathBuf>,
    /// Refuse packages that no trusted key vouches for as made by a run; `staith key list` shows whose signatures count
    #[arg(long)]
    require_provenance: bool,
}

/// What was verified of a package.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// What it is called.
    pub(crate) package: String,
    /// Digest of the tree inside, where Staith made the package.
    pub(crate) content: Option<Digest>,
    /// Entries that were read.
    pub(crate) entries: usize,
    /// Bytes that came out.
    pub(crate) bytes: u64,
    /// Who vouches for it, where somebody was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vouched: Option<Vouched>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let mut exit = Exit::Passed;
        let stop = interrupt::listen_for_an_end()?;
        let demand = Arc::new(Demand::new(&self.signed_by, self.require_provenance)?);
        for package in self.packages {
            let counting = Counting::new(mode, "verifying");
            let demand = Arc::clone(&demand);
            let asked = stop.clone();
            let work = move || verify(package, &demand, &counting, &asked);
            let verified = tokio::task::spawn_blocking(work).await;
            match verified.map_err(|panicked| Problem::bug(panicked.to_string()))? {
                Ok(verdict) => {
                    output::verified(&verdict, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
                }
                Err(problem) if problem.exit == Exit::Interrupted => return Err(problem),
                Err(problem) => {
                    output::error(&problem, mode.is_json());
                    exit = if exit == Exit::Passed { problem.exit } else { exit };
                }
            }
        }
        Ok(exit)
    }
}

/// All that can be said against one package is said here.
fn verify(
    package: String,
    demand: &Demand,
    counting: &Counting,
    stop: &CancellationToken,
) -> Result<Verdict, Problem> {
    let opened = package::open(&package)?;
    let verified = match opened.reader.verify_with(&counting.until(stop)) {
        Err(ReadError::Stopped) => {
            return Err(interrupt::stopped(&format!("not all of {} was verified", opened.called)));
        }
        verified => verified?,
    };
    // Nothing of it could be applied if what it lets one set makes no sense.
    opened.reader.declarations()?;
    let vouched = demand.ask(&opened)?;
    Ok(Verdict {
        vouched,
        package: opened.called,
        content: verified.content,
        entries: verified.entries,
        bytes: verified.bytes,
    })
}
