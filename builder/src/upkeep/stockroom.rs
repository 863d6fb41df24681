//! A store on disk: what is in it, and how things are taken out of it while others use it.
//!
//! Taking out has two phases. While nobody else can begin to use anything (the store's gate is held), what nobody uses is
//! moved aside by renames, which takes moments. Then it is removed, which may take long. Whoever is killed in between has
//! taken some things out and left the others whole; the next process removes what was moved aside.

mod shelf;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use self::shelf::{SHELVES, Shelf, of_item};
use super::{Inventory, Item, Kind};
use crate::{
    images,
    layers::{self, InUse, Workbench, hold_gate, in_use, remove_tree},
    source,
};

/// Things that are moved aside while the gate is held once.
const AT_ONCE: usize = 256;
/// Remembers what things weigh that never change.
const WEIGHTS: &str = "weights.json";

/// A store of mirrors, checkouts and layers, or one of images.
#[derive(Debug)]
pub struct Stockroom {
    root: PathBuf,
    bench: Arc<Workbench>,
}

impl Stockroom {
    /// The store below `root`; `None` where there is none.
    ///
    /// # Errors
    /// It can't be written.
    pub fn open(root: &Path) -> io::Result<Option<Self>> {
        if !root.is_dir() {
            return Ok(None);
        }
        Ok(Some(Self { root: root.to_owned(), bench: Workbench::open(root)? }))
    }

    /// What is in it. Things that come or go meanwhile may be there or not.
    ///
    /// # Errors
    /// A directory can't be read.
    pub fn inventory(&self) -> io::Result<Inventory> {
        let known = self.weights();
        let mut inventory = Inventory::default();
        for shelf in SHELVES {
            shelf.list(&self.root, &known, &mut inventory.items)?;
        }
        self.list_contents(&mut inventory.items)?;
        let weigh = |item: &Item| matches!(item.kind, Kind::Layer | Kind::Checkout | Kind::ImageLayer);
        let new: BTreeMap<&str, u64> = inventory
            .items
            .iter()
            .filter(|item| weigh(item))
            .map(|item| (item.name.as_str(), item.bytes))
            .collect();
        if new.len() != known.len() || new.keys().any(|name| !known.contains_key(*name)) {
            let fresh = self.bench.fresh_path();
            fs::write(&fresh, serde_json::to_vec(&new)?)?;
            fs::rename(fresh, self.root.join(WEIGHTS))?;
        }
        Ok(inventory)
    }

    fn weights(&self) -> BTreeMap<String, u64> {
        let bytes = fs::read(self.root.join(WEIGHTS)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// The contents of source files, and what is remembered of working directories beside them.
    fn list_contents(&self, items: &mut Vec<Item>) -> io::Result<()> {
        for pool in shelf::entries(&self.root.join("blobs"))? {
            let pool_name = pool.file_name().to_string_lossy().into_owned();
            for folder in shelf::entries(&pool.path())? {
                let name = format!("blobs/{pool_name}/{}", folder.file_name().to_string_lossy());
                if !folder.file_type()?.is_dir() {
                    let found = folder.metadata()?;
                    items.push(Item { kind: Kind::Listing, inode: None, ..shelf::file(name, &found) });
                    continue;
                }
                for entry in shelf::entries(&folder.path())? {
                    // It may be gone by now.
                    let Ok(found) = entry.metadata() else { continue };
                    let name = format!("{name}/{}", entry.file_name().to_string_lossy());
                    items.push(shelf::content(name, &found));
                }
            }
        }
        Ok(())
    }

    /// The inodes of the files that a checkout holds.
    pub fn held_by(&self, checkout: &Item) -> Vec<u64> {
        let (mut inodes, mut open) = (Vec::new(), vec![self.root.join(&checkout.name)]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_file() => inodes.push(entry.ino()),
                    _ => {}
                }
            }
        }
        inodes
    }

    /// Those of these things that do not hold what they were kept for: somebody or something has changed them since. Every byte is
    /// read, but for images, of which names and sizes are looked at.
    pub fn unsound<'a>(&self, items: &'a [Item]) -> Vec<&'a Item> {
        let is_sound = |item: &&Item| {
            let path = self.root.join(&item.name);
            // It may be gone by now.
            !path.exists()
                || match item.kind {
                    Kind::Layer => layers::is_as_named(&path),
                    Kind::ImageLayer => images::is_whole(&path),
                    kind => source::is_as_it_was_kept(kind, &path, shelf::blob_of(&item.name)),
                }
        };
        items.iter().filter(|item| !is_sound(item)).collect()
    }

    /// Whether a live process uses a thing now, or may be about to.
    ///
    /// # Errors
    /// It can't be read who uses what.
    pub fn pins(&self) -> io::Result<impl Fn(&Item) -> bool + use<>> {
        let used = in_use(&self.root, self.bench.lock_file())?;
        Ok(move |item: &Item| is_used(&used, item))
    }

    /// Whether a live process has said that it uses the thing of this name, or something whose name begins with it.
    ///
    /// # Errors
    /// It can't be read who uses what.
    pub fn uses_below(&self, prefix: &str) -> io::Result<bool> {
        Ok(in_use(&self.root, self.bench.lock_file())?.has_below(prefix))
    }

    /// The names of all that live processes have said that they use.
    ///
    /// # Errors
    /// It can't be read who uses what.
    pub fn names_in_use(&self) -> io::Result<BTreeSet<String>> {
        Ok(in_use(&self.root, self.bench.lock_file())?.into_names())
    }

    /// Does something while nobody can begin to use anything; it is told which names are in use. Be quick.
    ///
    /// # Errors
    /// The gate can't be held, or it can't be read who uses what.
    pub fn with_gate_held<T>(&self, act: impl FnOnce(&dyn Fn(&str) -> bool) -> T) -> io::Result<T> {
        let _alone = hold_gate(&self.root)?;
        let used = in_use(&self.root, self.bench.lock_file())?;
        Ok(act(&|name| used.has(name)))
    }

    /// Takes things out, in order, until time is up, and says which. Those that somebody uses by now stay.
    ///
    /// # Errors
    /// Something can't be moved aside or removed; what was taken out before is.
    pub fn take_out<'a>(&self, items: &[&'a Item], until: Option<Instant>) -> io::Result<Vec<&'a Item>> {
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        let (mut taken, mut aside) = (Vec::new(), Vec::new());
        for some in items.chunks(AT_ONCE) {
            if is_late() {
                break;
            }
            let _alone = hold_gate(&self.root)?;
            let used = in_use(&self.root, self.bench.lock_file())?;
            for item in some {
                if !is_used(&used, item) {
                    self.move_aside(item, &mut aside)?;
                    taken.push(*item);
                }
            }
        }
        let mut aside = aside.into_iter();
        while !is_late()
            && let Some(path) = aside.next()
        {
            remove_tree(&path)?;
        }
        self.bench.remove_in_background(aside.collect());
        Ok(taken)
    }

    fn move_aside(&self, item: &Item, aside: &mut Vec<PathBuf>) -> io::Result<()> {
        let main = self.root.join(&item.name);
        let away = self.bench.fresh_path();
        match fs::rename(&main, &away) {
            Ok(()) => aside.push(away),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for beside in of_item(item).map(Shelf::beside).unwrap_or_default() {
            match fs::remove_file(main.with_extension(beside)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_used(used: &InUse, item: &Item) -> bool {
    match item.kind {
        Kind::Content => shelf::blob_of(&item.name).is_none_or(|blob| used.has_content(&blob, item.used)),
        _ => used.has(&item.name),
    }
}
