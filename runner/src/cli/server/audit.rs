//! `staith server audit`.

use clap::{Args, Subcommand};
use staith_model::Exit;
use staith_server::{
    audit::AuditPage,
    store::{AuditEntry, verify_audit},
};

use super::{
    control, place,
    which::{Entrance, Lives, Which},
};
use crate::output::{self, OutputMode, Problem};

/// So many entries are asked for at once.
const PAGE: u32 = 1000;

/// Show what was done, by whom and when, and check that nothing in the record of it was altered
///
/// Each entry carries the hash of the one before. `show` asks a server by its API with --server or STAITH_SERVER; else, and for `verify`
/// always, this is about a server on this machine: whoever may read its directory may do it, whether it runs or not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the entries, the oldest first
    Show {
        /// Only those after this one
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
        /// So many at most
        #[arg(long, value_name = "COUNT")]
        limit: Option<u32>,
    },
    /// Check all entries; ends with 30 if one is not as it was written
    Verify {
        /// The hash of an entry that was kept elsewhere, and has to be there
        ///
        /// Without one, nobody can see that the end was cut off, or that all of it was written anew.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        match self.what {
            What::Show { after, limit } => shown(self.which.entrance()?, after, limit, mode).await,
            What::Verify { head } => {
                let data = self.which.directory("`verify` computes all hashes from the database itself")?;
                let database = place::database(&data);
                let read = tokio::task::spawn_blocking(move || verify_audit(&database, head.as_deref()));
                let verdict = read.await.map_err(|panicked| Problem::bug(panicked.to_string()))?;
                let verdict = verdict.map_err(|error| place::refused(&error, &data))?;
                output::server_audit(&verdict, mode).map_err(|lost| Problem::unwritable(&lost))?;
                Ok(if verdict.broken.is_some() { Exit::Environment } else { Exit::Passed })
            }
        }
    }
}

/// Shows entries page by page, so that a long record is not in memory as a whole.
async fn shown(
    entrance: Entrance,
    mut after: u64,
    limit: Option<u32>,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let record = Record::of(entrance)?;
    let mut left = limit;
    loop {
        let most = left.map_or(PAGE, |left| left.min(PAGE));
        let page = if most == 0 { Vec::new() } else { record.page(after, most).await? };
        let Some(last) = page.last() else { return Ok(Exit::Passed) };
        after = last.seq;
        left = left.map(|left| left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX)));
        output::server_audit_entries(&page, mode).map_err(|lost| Problem::unwritable(&lost))?;
    }
}

/// Where the record is read.
enum Record {
    Asked(Entrance),
    Here(Box<staith_server::site::Site>),
}

impl Record {
    fn of(entrance: Entrance) -> Result<Self, Problem> {
        let Entrance::Directory(data) = entrance else { return Ok(Self::Asked(entrance)) };
        Ok(match Lives::of(data)? {
            Lives::Runs(data) => Self::Asked(Entrance::Directory(data)),
            Lives::Rests(site) => Self::Here(site),
        })
    }

    async fn page(&self, after: u64, most: u32) -> Result<Vec<AuditEntry>, Problem> {
        let path = format!("/api/v1/audit?after={after}&limit={most}");
        match self {
            Self::Asked(Entrance::Api(people)) => Ok(people.get::<AuditPage>(&path).await?.entries),
            Self::Asked(Entrance::Directory(data)) => {
                let page: Option<AuditPage> = control::ask(data, "GET", &path, None::<&()>).await?;
                Ok(page.map(|page| page.entries).unwrap_or_default())
            }
            Self::Here(site) => {
                site.store.audit(after, most).await.map_err(|error| place::refused(&error, &site.data))
            }
        }
    }
}
