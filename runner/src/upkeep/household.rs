//! What is kept below the home, in which room, what of it is in use, and how it is taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirEntry},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use staith_builder::upkeep::{Collection, Inventory, Item, Kind, Stockroom, plan_collection};
use staith_model::Package;
use staith_packager::store::{Collected, Collecting, Policy, Published, Store, StoreError};
use staith_releaser::{fleet::freeze::FleetShelf, release::ReleaseShelf};

use crate::home::Home;

/// The rooms, as the names of things begin.
const STORE: &str = "store/";
const IMAGES: &str = "images/";
const STEPS: &str = "steps/";
const PACKAGES: &str = "packages/";
const RUNS: &str = "runs/";

/// Everything below a home that could be made again.
pub(crate) struct Household<'a> {
    home: &'a Home,
    store: Option<Stockroom>,
    images: Option<Stockroom>,
    packages: Option<Store>,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Things and their bytes, by kind.
    pub(crate) kinds: BTreeMap<Kind, (usize, u64)>,
    /// Things that were to go and are in use by now, or time was up.
    pub(crate) spared: usize,
    /// Bytes that were kept before.
    pub(crate) before: u64,
    /// Bytes that are kept now.
    pub(crate) left: u64,
    /// Names of things that were not what they were kept for, where that was looked at.
    pub(crate) unsound: Vec<String>,
}

impl Removed {
    /// Bytes of all together.
    pub(crate) fn bytes(&self) -> u64 {
        self.kinds.values().map(|(_, bytes)| bytes).sum()
    }

    /// Adds what went later.
    pub(super) fn add(&mut self, later: Self) {
        for (kind, (more_things, more_bytes)) in later.kinds {
            let (things, bytes) = self.kinds.entry(kind).or_default();
            *things += more_things;
            *bytes += more_bytes;
        }
        self.before = self.before.max(later.before);
        self.spared += later.spared;
        self.left = later.left;
        self.unsound.extend(later.unsound);
    }

    /// What would be removed.
    pub(crate) fn planned(plan: &Collection) -> Self {
        let mut removed = Self { before: plan.before, left: plan.after, ..Self::default() };
        plan.removals.iter().for_each(|item| removed.count(item));
        removed
    }

    fn count(&mut self, item: &Item) {
        let (things, bytes) = self.kinds.entry(item.kind).or_default();
        *things += 1;
        *bytes += item.bytes;
    }
}

type Told<T> = Result<T, String>;
type IsUsed = Box<dyn Fn(&Item) -> bool>;

fn told(doing: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{doing} failed: {error}")
}

impl<'a> Household<'a> {
    /// What is below a home; what is not there yet is not made.
    pub(crate) fn open(home: &'a Home) -> Told<Self> {
        let packages = home.packages();
        let packages = packages.is_dir().then(|| Store::open(&packages)).transpose();
        Ok(Self {
            home,
            store: Stockroom::open(&home.store()).map_err(told("opening the store"))?,
            images: Stockroom::open(&home.images()).map_err(told("opening the images"))?,
            packages: packages.map_err(|error| error.to_string())?,
        })
    }

    /// Reads all that is kept and takes out what is not what it was kept for, unless it is only to be said. The names of it.
    pub(crate) fn verify(&self, is_dry: bool) -> Told<Vec<String>> {
        let mut unsound = Vec::new();
        for (room, prefix) in [(&self.store, STORE), (&self.images, IMAGES)] {
            let Some(room) = room else { continue };
            let items = room.inventory().map_err(told("listing what is kept"))?.items;
            let mut found = room.unsound(&items);
            if !is_dry {
                found = room.take_out(&found, None).map_err(told("removing"))?;
            }
            unsound.extend(found.into_iter().map(|item| format!("{prefix}{}", item.name)));
        }
        unsound.sort();
        Ok(unsound)
    }

    /// Bytes of all that is kept, by kind.
    pub(crate) fn bytes_by_kind(&self) -> Told<BTreeMap<Kind, u64>> {
        let mut kinds = BTreeMap::new();
        for item in self.inventory()?.items {
            *kinds.entry(item.kind).or_default() += item.bytes;
        }
        Ok(kinds)
    }

    /// What would go so that at most `budget` bytes are kept.
    pub(crate) fn plan(&self, budget: u64) -> Told<Collection> {
        let inventory = self.inventory()?;
        let in_use = self.in_use()?;
        let holds = |item: &Item| {
            let store = self.store.as_ref().zip(inside(STORE, item));
            store.map_or_else(Vec::new, |(store, item)| store.held_by(&item))
        };
        Ok(plan_collection(&inventory, &*in_use, budget, &holds))
    }

    /// Removes what was used longest ago until at most `budget` bytes are kept or time is up. What a live run uses, and what
    /// an environment could be asked to serve, stays.
    pub(crate) fn collect(&self, budget: u64, until: Option<Instant>) -> Told<Removed> {
        let plan = self.plan(budget)?;
        let mut removed = Removed { before: plan.before, left: plan.before, ..Removed::default() };
        for (room, prefix) in [(&self.store, STORE), (&self.images, IMAGES)] {
            let going: Vec<Item> = plan.removals.iter().filter_map(|item| inside(prefix, item)).collect();
            let Some(room) = room.as_ref().filter(|_| !going.is_empty()) else { continue };
            let gone = room.take_out(&going.iter().collect::<Vec<_>>(), until).map_err(told("removing"))?;
            removed.spared += going.len() - gone.len();
            gone.into_iter().for_each(|item| removed.count(item));
        }
        for item in plan
            .removals
            .iter()
            .filter(|item| !item.name.starts_with(STORE) && !item.name.starts_with(IMAGES))
        {
            let is_late = until.is_some_and(|until| Instant::now() >= until);
            if !is_late && self.remove(item)? {
                removed.count(item);
            } else {
                removed.spared += 1;
            }
        }
        removed.left = removed.before.saturating_sub(removed.bytes());
        Ok(removed)
    }

    /// Removes a thing that is in none of the stores; whether it did, because somebody may have begun to use it.
    fn remove(&self, item: &Item) -> Told<bool> {
        match (inside(PACKAGES, item), inside(RUNS, item)) {
            (Some(package), _) => self.remove_package(&package),
            (_, Some(run)) => {
                let name = item.name.clone();
                self.unless_used(&name, || gone(fs::remove_dir_all(self.home.runs().join(&run.name))))?
                    .map_or(Ok(false), |removed| {
                        removed.map(|()| true).map_err(told("removing the log of a run"))
                    })
            }
            _ => {
                let path = self.home.path().join(&item.name);
                gone(fs::remove_file(path)).map(|()| true).map_err(told("removing a step's record"))
            }
        }
    }

    fn remove_package(&self, package: &Item) -> Told<bool> {
        let Some(store) = &self.packages else { return Ok(false) };
        let published = store.published().map_err(|error| error.to_string())?;
        let Some(found) = published.iter().find(|found| name_of(found) == package.name) else {
            // One without a name. Somebody may be about to give it one.
            let digest = package.name.rsplit('/').next().and_then(|hex| format!("sha256:{hex}").parse().ok());
            let Some(digest) = digest else {
                let path = self.home.packages().join(&package.name);
                return gone(fs::remove_file(path)).map(|()| true).map_err(told("removing a package"));
            };
            return store.forget_blob(&digest).map_err(|error| error.to_string());
        };
        let pin = format!("{PACKAGES}{}", found.package.name);
        self.unless_used(&pin, || match store.forget(found) {
            // Somebody has pinned it meanwhile, let a channel stand for it, or publishes it.
            Err(StoreError::Kept { .. }) => Ok(false),
            removed => removed.map(|()| true).map_err(|error| error.to_string()),
        })?
        .unwrap_or(Ok(false))
    }

    /// Removes from a store what a policy keeps no longer, in two phases. What this machine's environments could be asked to
    /// serve, and what live runs use, stays.
    pub(crate) fn retain(
        &self,
        store: &Store,
        policy: Policy,
        grace: Duration,
        is_dry: bool,
    ) -> Told<Collected> {
        let deployed = deployed(self.home);
        let collect = |is_named: &dyn Fn(&str) -> bool| {
            let is_used = |package: &Package| {
                let name = format!("{}/{}", package.name, package.version);
                let is_deployed = deployed.as_ref().is_none_or(|deployed| deployed.contains(&name));
                Ok(is_deployed || is_named(&format!("{PACKAGES}{}", package.name)))
            };
            let how = Collecting { policy, grace, is_used: &is_used, is_dry };
            store.collect(&how).map_err(|error| error.to_string())
        };
        // Whoever is about to use a package says so under the gate, and waits there as long as this takes.
        let Some(gate) = &self.store else { return collect(&|_: &str| false) };
        gate.with_gate_held(collect).map_err(told("looking who uses what"))?
    }

    /// Does something unless a live run has said that it uses what this names, or says so meanwhile.
    fn unless_used<T>(&self, name: &str, act: impl FnOnce() -> T) -> Told<Option<T>> {
        let Some(store) = &self.store else { return Ok(Some(act())) };
        let acted = store.with_gate_held(|is_used| (!is_used(name)).then(act));
        acted.map_err(told("looking who uses what"))
    }

    fn inventory(&self) -> Told<Inventory> {
        let mut inventory = Inventory::default();
        for (room, prefix) in [(&self.store, STORE), (&self.images, IMAGES)] {
            let Some(room) = room else { continue };
            let listed = room.inventory().map_err(told("listing what is kept"))?;
            let named = |item: Item| Item { name: format!("{prefix}{}", item.name), ..item };
            inventory.items.extend(listed.items.into_iter().map(named));
        }
        for room in
            Home::step_caches_of_jobs().map(|room| format!("{room}/")).into_iter().chain([String::new()])
        {
            for folder in ["", "last/", "inputs/"] {
                let folder = format!("{room}{folder}");
                let records = files(&self.home.step_cache().join(&folder))
                    .map_err(told("listing the steps' records"))?;
                let item = |entry: &DirEntry| file(entry, &format!("{STEPS}{folder}"), Kind::StepResult);
                inventory.items.extend(records.iter().filter_map(item));
            }
        }
        inventory.items.extend(self.runs().map_err(told("listing the runs"))?);
        inventory.items.extend(self.list_packages()?);
        Ok(inventory)
    }

    fn runs(&self) -> io::Result<Vec<Item>> {
        let mut runs = Vec::new();
        for entry in entries(&self.home.runs())? {
            let logs = files(&entry.path())?;
            let logs = logs.iter().filter_map(|log| file(log, "", Kind::RunLog));
            let (bytes, used) = logs.fold((0, 0), |sum, log| (sum.0 + log.bytes, log.used.max(sum.1)));
            let name = format!("{RUNS}{}", entry.file_name().to_string_lossy());
            runs.push(Item { kind: Kind::RunLog, name, bytes, used, inode: None });
        }
        Ok(runs)
    }

    fn list_packages(&self) -> Told<Vec<Item>> {
        let Some(store) = &self.packages else { return Ok(Vec::new()) };
        let published = store.published().map_err(|error| error.to_string())?;
        let item = |name: String, bytes: u64, used: i64| Item {
            kind: Kind::Package,
            name: format!("{PACKAGES}{name}"),
            bytes,
            used,
            inode: None,
        };
        // Bytes that several names stand for are counted with the first.
        let mut counted = BTreeSet::new();
        let mut packages: Vec<Item> = published
            .iter()
            .map(|found| {
                let bytes = if counted.insert(found.package.digest) { blocks(found.package.size) } else { 0 };
                let used = i64::try_from(found.at).unwrap_or(i64::MAX).saturating_mul(1_000_000);
                // Its record and its manifest are small files.
                item(name_of(found), bytes + blocks(1) + blocks(found.manifest().size), used)
            })
            .collect();
        // Those without a name may be on their way to one, as long as anybody makes packages.
        let is_making = self.store.as_ref().map(|store| store.uses_below(PACKAGES)).transpose();
        if is_making.map_err(told("looking who uses what"))? != Some(true) {
            for path in store.nameless().map_err(|error| error.to_string())? {
                let name = path.strip_prefix(self.home.packages()).unwrap_or(&path).display().to_string();
                packages.push(item(name, fs::metadata(&path).map_or(0, |found| blocks(found.len())), 0));
            }
        }
        Ok(packages)
    }

    /// Tells of things whether they are in use: by a live run, or by an environment.
    fn in_use(&self) -> Told<IsUsed> {
        let pins = |room: &Option<Stockroom>| room.as_ref().map(Stockroom::pins).transpose();
        let (store, images) = (pins(&self.store), pins(&self.images));
        let (store, images) =
            (store.map_err(told("looking who uses what"))?, images.map_err(told("looking who uses what"))?);
        let named = self
            .store
            .as_ref()
            .map(Stockroom::names_in_use)
            .transpose()
            .map_err(told("looking who uses what"))?;
        let deployed = deployed(self.home);
        let held = self.packages.as_ref().map(Store::held).transpose().map_err(|error| error.to_string())?;
        let held: BTreeSet<String> =
            held.into_iter().flatten().map(|(name, version)| format!("{name}/{version}")).collect();
        Ok(Box::new(move |item| {
            if let Some(item) = inside(STORE, item) {
                return store.as_ref().is_some_and(|is_used| is_used(&item));
            }
            if let Some(item) = inside(IMAGES, item) {
                return images.as_ref().is_some_and(|is_used| is_used(&item));
            }
            let is_named = |name: &str| named.as_ref().is_some_and(|names| names.contains(name));
            if let Some(package) = inside(PACKAGES, item) {
                let project = package.name.rsplit_once('/').map_or("", |(project, _)| project);
                // Where nobody can say what is deployed, everything may be.
                let is_deployed = deployed.as_ref().is_none_or(|deployed| deployed.contains(&package.name));
                return is_deployed
                    || held.contains(&package.name)
                    || is_named(&format!("{PACKAGES}{project}"));
            }
            is_named(&item.name)
        }))
    }
}

/// The item as its room knows it, if it is in that room.
fn inside(prefix: &str, item: &Item) -> Option<Item> {
    item.name.strip_prefix(prefix).map(|name| Item { name: name.to_owned(), ..item.clone() })
}

/// What a package is called among the packages.
fn name_of(published: &Published) -> String {
    format!("{}/{}", published.package.name, published.package.version)
}

/// The packages of all releases that an environment keeps (the one that serves, and those that a rollback leads to), and of all
/// that were made for machines. `None` where a record of one can't be read.
fn deployed(home: &Home) -> Option<BTreeSet<String>> {
    let mut packages = BTreeSet::new();
    let mut keep = |package: &Package| packages.insert(format!("{}/{}", package.name, package.version));
    for project in entries(&home.environments()).ok()? {
        for environment in entries(&project.path()).ok()? {
            for release in ReleaseShelf::new(environment.path()).all().ok()? {
                keep(&release.package);
            }
        }
    }
    for project in entries(&home.all_releases()).ok()? {
        for release in FleetShelf::new(project.path()).all().ok()? {
            keep(&release.package);
        }
    }
    Some(packages)
}

/// The directories in a directory, which may not be there.
fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    listed(directory, |kind| kind.is_dir())
}

/// The files in a directory, which may not be there.
fn files(directory: &Path) -> io::Result<Vec<DirEntry>> {
    listed(directory, |kind| kind.is_file())
}

fn listed(directory: &Path, which: fn(&fs::FileType) -> bool) -> io::Result<Vec<DirEntry>> {
    let all = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        all => all?.collect::<io::Result<Vec<_>>>()?,
    };
    Ok(all.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| which(&kind))).collect())
}

/// A file as a thing; none where it is gone by now.
fn file(entry: &DirEntry, prefix: &str, kind: Kind) -> Option<Item> {
    let found = entry.metadata().ok()?;
    let used = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
    Some(Item { kind, name, bytes: blocks(found.len()), used, inode: None })
}

const fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(4096).saturating_mul(4096)
}

/// What is gone already is removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
