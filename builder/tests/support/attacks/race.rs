//! Row 14: somebody exchanges an image's folders for links to the host, again and again, while sandboxes are made of it.

use std::{
    fs,
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::{
    fs::{CWD, RenameFlags, inotify, renameat_with},
    io::Errno,
};
use staith_builder::engine::{ImageSpec, StepExit};

use super::{
    super::bench::Bench,
    row::{Docker, Host, Image, NOT_RUN, Podman, Stage, containers},
    scenarios::{marker, packed},
};

/// Exchanges that have to happen while a sandbox is made, at least.
const ROUNDS: u64 = 10_000;
/// Sandboxes that are made meanwhile: at least, and at most, should this machine be slow at exchanging.
const FEWEST_STARTS: u32 = 10;
const MOST_STARTS: u32 = 200;
const NAMES: [&str; 10] = ["dev", "etc", "home", "proc", "run", "tmp", "var", "workspace", "sys", ".staith"];
const SCRIPT: &str = "for folder in /tmp /run /etc /workspace /dev /var/tmp /home/builder /.staith; do echo x > $folder/x; done; \
                      echo ran";
/// What a container engine's own runtime did before there was a container.
pub const BY_RUNTIME: &str = "the engine's runtime was led astray";
pub const HELD: &str = "nothing outside was touched";

pub async fn race(stage: &Stage<'_>) -> String {
    // Another user may keep the engine, and what it keeps can't be exchanged then.
    let Ok(place) = tempfile::tempdir_in(&stage.images) else { return NOT_RUN.to_owned() };
    let (outside, root, mark) = (tempfile::tempdir().unwrap(), place.path().join("root"), marker("race"));
    two_faced(&root, outside.path(), &mark);
    let (reference, store) = match stage.column.kind {
        Host | Image => (root.display().to_string(), stage.images.with_file_name("state")),
        Docker | Podman => (packed(&root, place.path()), stage.images.join("data")),
    };
    let wanted = ImageSpec { reference: Some(reference), tools: Vec::new() };
    let image = stage.engine.image(&wanted, &|_| {}).await.unwrap();
    let bench = Bench { place: tempfile::tempdir().unwrap(), owner: stage.bench.owner, image };
    let layer = holder(&store, &mark).expect("the engine keeps the image there");
    let watch = Watch::on(outside.path());
    let racer = Racer::start(layer);
    let (mut rounds, mut starts, mut ran) = (0, 0, 0);
    while starts < FEWEST_STARTS || (rounds < ROUNDS && starts < MOST_STARTS) {
        let before = racer.rounds();
        let made = stage.ended(bench.argv(&["/bin/busybox", "sh", "-c", SCRIPT])).await;
        rounds += racer.rounds() - before;
        starts += 1;
        ran += u32::from(made.is_ok_and(|made| made.exit == StepExit::Code(0)));
    }
    drop(racer);
    eprintln!(
        "{}: {rounds} exchanges while {starts} sandboxes were made, of which {ran} came to be",
        stage.column.name()
    );
    match watch.first() {
        Some(event) => {
            eprintln!("{}: {event}", stage.column.name());
            if containers(stage.column) { BY_RUNTIME.to_owned() } else { "written to".to_owned() }
        }
        None if rounds < ROUNDS => format!("only {rounds} exchanges"),
        None if ran == 0 => "none came to be".to_owned(),
        None => HELD.to_owned(),
    }
}

/// A root file system that has a folder and a link to the outside for each name, so that they can change places.
fn two_faced(root: &Path, outside: &Path, mark: &str) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    fs::write(root.join(mark), "").unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(outside);
    for name in NAMES {
        fs::create_dir(root.join(name)).unwrap();
        symlink(outside, root.join(other_face(name))).unwrap();
    }
}

fn other_face(name: &str) -> String {
    format!("{name}.other")
}

/// The folder with this file, somewhere below.
fn holder(top: &Path, mark: &str) -> Option<PathBuf> {
    let mut open = vec![top.to_path_buf()];
    while let Some(folder) = open.pop() {
        if folder.join(mark).exists() {
            return Some(folder);
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

/// Exchanges until it is dropped.
struct Racer {
    rounds: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    fn start(layer: PathBuf) -> Self {
        let (rounds, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, told) = (Arc::clone(&rounds), Arc::clone(&is_over));
        let both: Vec<_> =
            NAMES.iter().map(|name| (layer.join(name), layer.join(other_face(name)))).collect();
        let exchange = move || {
            for (one, other) in both.iter().cycle() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // There and back: one name at a time is a link, so that some sandboxes do come to be.
                for _ in 0..2 {
                    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        Self { rounds, is_over, thread: Some(thread::spawn(exchange)) }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "nobody exchanged anything");
    }
}

/// Notices whatever happens in a folder and in those directly in it, also what is gone again.
struct Watch(OwnedFd);

impl Watch {
    fn on(outside: &Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        let folders = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().path());
        for folder in folders.chain([outside.to_path_buf()]) {
            let changes = inotify::WatchFlags::CREATE
                | inotify::WatchFlags::DELETE
                | inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::ATTRIB
                | inotify::WatchFlags::MOVE;
            inotify::add_watch(&watch, folder, changes).unwrap();
        }
        Self(watch)
    }

    fn first(&self) -> Option<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        match inotify::Reader::new(&self.0, &mut buffer).next() {
            Ok(event) => Some(format!("{event:?}")),
            Err(Errno::AGAIN) => None,
            Err(other) => panic!("{other}"),
        }
    }
}
