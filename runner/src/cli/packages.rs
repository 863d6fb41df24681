//! `staith packages`.

use std::time::Duration;

use clap::{Args, Subcommand};
use staith_model::{Exit, Name};
use staith_packager::store::{Collected, Location, Policy, Reference, Store};
use tokio::runtime::Handle;

use super::offered;

use crate::{
    home::Home,
    output::{self, Kept, OutputMode, Problem},
    package_place::there_is,
    upkeep::{Household, Settings},
};

const HOUR: Duration = Duration::from_secs(3600);

/// List what the store has: versions, their channels, pins, sizes and ages
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Only packages of this name
    name: Option<Name>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// Another store than that of Staith's home: DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "LOCATION")]
    store: Option<Location>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Keep a version until it is unpinned, whatever is removed to make room
    Pin {
        /// The package, such as shop@1.4.27 or shop@stable
        #[arg(value_name = "NAME@VERSION", add = offered::packages())]
        package: Reference,
        /// Why, in words
        #[arg(long, default_value = "")]
        why: String,
        #[command(flatten)]
        place: Place,
    },
    /// Let a version go again
    Unpin {
        /// The package, such as shop@1.4.27
        #[arg(value_name = "NAME@VERSION", add = offered::packages())]
        package: Reference,
        #[command(flatten)]
        place: Place,
    },
    /// Remove old versions: note which could go, and remove those that still could after a time of grace
    ///
    /// A version stays if --keep or --days says so, and also if it is pinned, a channel stands for it, an environment of this
    /// machine could be asked to serve it, or somebody is publishing it. Without --keep and --days, what [packages] in config.toml
    /// of Staith's home says holds; where nothing is said, only bytes that no version needs are removed.
    Collect {
        /// Keep so many versions of each name, those that were published last
        #[arg(long, value_name = "COUNT")]
        keep: Option<usize>,
        /// Keep all versions that are younger than so many days
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
        /// Remove only what could have gone for so many hours
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        grace: u32,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let told = match self.what {
            None => {
                let name = self.name;
                let kept = in_store(self.place.store, move |store| kept(store, name.as_ref())).await?;
                output::packages(&kept, mode)
            }
            Some(What::Pin { package, why, place }) => {
                let (package, is_new) = in_store(place.store, move |store| {
                    let package = store.resolve(&package)?.package;
                    let is_new = store.pin(&package.name, &package.version, &who(), &why)?;
                    Ok((package, is_new))
                })
                .await?;
                output::package_pinned(&package, is_new, mode)
            }
            Some(What::Unpin { package, place }) => {
                let (package, was_pinned) = in_store(place.store, move |store| {
                    let package = store.resolve(&package)?.package;
                    let was_pinned = store.unpin(&package.name, &package.version)?;
                    Ok((package, was_pinned))
                })
                .await?;
                output::package_unpinned(&package, was_pinned, mode)
            }
            Some(What::Collect { keep, days, grace, dry_run, place }) => {
                let policy = match (keep, days) {
                    (None, None) => Settings::read(&Home::find()?)?.retention,
                    (newest, days) => Policy { newest, younger: days.map(|days| HOUR * 24 * days) },
                };
                let collected = collect(place.store, policy, HOUR * grace, dry_run).await?;
                output::packages_collected(&collected, dry_run, mode)
            }
        };
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// All versions, or those of one name, which has to have some.
fn kept(store: &Store, name: Option<&Name>) -> Result<Vec<Kept>, Problem> {
    let names = name.map_or_else(|| store.names(), |name| Ok(vec![name.clone()]))?;
    let pins = store.pins()?;
    let mut kept = Vec::new();
    for name in &names {
        let channels = store.channels(name)?;
        for published in store.list(name)?.into_iter().rev() {
            let version = &published.package.version;
            let standing = channels.iter().filter(|channel| channel.version == *version);
            let pin = pins.iter().find(|pin| pin.package == *name && pin.version == *version);
            let channels = standing.map(|channel| channel.name.clone()).collect();
            kept.push(Kept { channels, pin: pin.cloned(), published });
        }
    }
    if let (Some(name), true) = (name, kept.is_empty()) {
        // The store says what comes close.
        store.resolve(&Reference { name: name.clone(), which: staith_packager::store::Which::Latest })?;
    }
    Ok(kept)
}

async fn collect(
    place: Option<Location>,
    policy: Policy,
    grace: Duration,
    is_dry: bool,
) -> Result<Collected, Problem> {
    let home = Home::find()?;
    in_store(place, move |store| {
        let unreadable = |why: String| Problem::new(Exit::Environment, why);
        Household::open(&home)
            .and_then(|household| household.retain(store, policy, grace, is_dry))
            .map_err(unreadable)
    })
    .await
}

/// Does something with the store at a place, or with that of the home, where nobody minds that it blocks.
pub(super) async fn in_store<T: Send + 'static>(
    place: Option<Location>,
    act: impl FnOnce(&Store) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let place = match place {
        Some(place) => {
            there_is(&place)?;
            place
        }
        None => {
            let home = Home::find()?;
            home.make().map_err(|refused| {
                Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                    .with_why(refused.to_string())
                    .with_remedy("set STAITH_HOME to a directory of your own")
            })?;
            Location::Directory(home.packages())
        }
    };
    let runtime = Handle::current();
    let work = move || -> Result<T, Problem> { act(&Store::at(&place, &runtime)?) };
    tokio::task::spawn_blocking(work).await.map_err(|panicked| Problem::bug(panicked.to_string()))?
}

/// Who does this, as far as the system says.
pub(super) fn who() -> String {
    let said = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    let unnamed = || format!("user {}", rustix::process::getuid().as_raw());
    said("USER").or_else(|| said("LOGNAME")).unwrap_or_else(unnamed)
}
