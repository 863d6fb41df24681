use std::{fs::OpenOptions, os::unix::fs::FileExt as _, os::unix::fs::PermissionsExt as _};

use staith_model::{Digest, Entry, RelPath};
use tempfile::TempDir;

use super::*;
use crate::{
    stopping::unwatched,
    web_deploy::{Content, write},
};

/// A package, a folder for what is remembered of it, and a time at which it has lain there for long.
struct Site {
    _dir: TempDir,
    package: PathBuf,
    openings: Openings,
    later: SystemTime,
}

fn path(text: &str) -> RelPath {
    text.try_into().unwrap()
}

fn pack(to: &Path, files: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let mut content = Content::default();
    for (nth, (name, text)) in files.iter().enumerate() {
        let host = dir.path().join(nth.to_string());
        fs::write(&host, text).unwrap();
        let entry = Entry::File { mode: 0o644, size: text.len() as u64, digest: Digest::of(text.as_bytes()) };
        content.manifest.entries.insert(path(name), entry);
        content.files.insert(path(name), host);
    }
    content.manifest.entries.insert(path("folder"), Entry::Directory);
    content.manifest.entries.insert(path("link"), Entry::Symlink { target: "a".into() });
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(to).unwrap();
    write(&content, &mut file, &unwatched).unwrap();
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package.zip");
        pack(&package, &[("a", "stored"), ("b/c", &"deflated ".repeat(1000))]);
        let openings = Openings::new(dir.path().join("opened"));
        let later = SystemTime::now() + SETTLED + Duration::from_secs(1);
        Self { _dir: dir, package, openings, later }
    }

    fn open(&self) -> Result<SealedReader, ReadError> {
        self.openings.open_at(self.later, File::open(&self.package).unwrap(), &self.package)
    }

    fn identity(&self) -> Identity {
        Identity::of(&File::open(&self.package).unwrap()).unwrap()
    }

    fn is_remembered(&self) -> bool {
        self.openings.find(self.identity()).is_some()
    }
}

fn text(package: &SealedReader, name: &str) -> String {
    let mut bytes = Vec::new();
    package.extract_file(&path(name), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_remembered_is_what_was_found_and_only_the_account_may_read_it() {
    let site = Site::new();
    let first = site.open().unwrap();
    let again = site.openings.find(site.identity()).unwrap();
    assert_eq!(&again, first.contents());
    let second = site.open().unwrap();
    assert_eq!(text(&second, "a"), "stored");
    assert_eq!(text(&second, "b/c"), "deflated ".repeat(1000));
    let reader = PackageReader::open(&site.package).unwrap();
    assert_eq!((Some(second.manifest()), Some(second.content())), (reader.manifest(), reader.content()));
    assert_eq!(second.declarations().unwrap(), reader.declarations().unwrap());
    assert!(second.extract_file(&path("d"), &mut Vec::new()).is_err());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&site.openings.folder), 0o700);
    assert_eq!(mode(&site.openings.place(site.identity())), 0o600);
}

#[test]
fn bytes_are_held_against_their_digest_whoever_verified_the_package() {
    let site = Site::new();
    let package = site.open().unwrap();
    let begins = |name: &str| package.packed_file(&path(name)).unwrap().at;
    let file = OpenOptions::new().write(true).open(&site.package).unwrap();
    file.write_all_at(b"S", begins("a")).unwrap();
    file.write_all_at(&[0xff; 8], begins("b/c")).unwrap();
    for name in ["a", "b/c"] {
        let refused = package.extract_file(&path(name), &mut Vec::new());
        assert!(matches!(refused, Err(ReadError::Refused { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_package_that_was_written_to_is_opened_anew() {
    let site = Site::new();
    site.open().unwrap();
    let before = site.identity();
    // In place, as long as before, and with the old time of its content: only the time of its status tells.
    let modified = fs::metadata(&site.package).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&site.package).unwrap();
    file.write_all_at(b"XX", 0).unwrap();
    file.set_modified(modified).unwrap();
    assert_ne!(site.identity(), before);
    assert!(matches!(site.open(), Err(ReadError::NotZip { .. } | ReadError::Refused { .. })));
    pack(&site.package, &[("a", "STORED"), ("b/c", &"deflated ".repeat(1000))]);
    assert_eq!(text(&site.open().unwrap(), "a"), "STORED");
}

#[test]
fn what_was_remembered_of_one_file_is_not_believed_of_another() {
    let site = Site::new();
    let first = site.open().unwrap();
    let other = site.package.with_extension("other");
    pack(&other, &[("a", "another")]);
    let identity = Identity::of(&File::open(&other).unwrap()).unwrap();
    fs::copy(site.openings.place(site.identity()), site.openings.place(identity)).unwrap();
    let opened = site.openings.open_at(site.later, File::open(&other).unwrap(), &other).unwrap();
    assert_ne!(opened.manifest(), first.manifest());
    assert_eq!(text(&opened, "a"), "another");
}

#[test]
fn damage_and_what_others_could_have_written_are_passed_over() {
    let site = Site::new();
    site.open().unwrap();
    let place = site.openings.place(site.identity());
    let whole = fs::read(&place).unwrap();
    for nth in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[nth] ^= 1;
        assert_eq!(spelling::decode(&damaged, site.identity()), None, "byte {nth}");
        assert_eq!(spelling::decode(&whole[..nth], site.identity()), None, "cut at {nth}");
    }
    fs::write(&place, &whole[..whole.len() - 1]).unwrap();
    assert!(!site.is_remembered());
    assert_eq!(text(&site.open().unwrap(), "a"), "stored");
    assert!(site.is_remembered(), "it is written anew");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(!site.is_remembered());
}

#[test]
fn what_was_just_written_is_not_remembered() {
    let mut site = Site::new();
    site.later = SystemTime::now();
    site.open().unwrap();
    assert!(!site.is_remembered());
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let site = Site::new();
    fs::create_dir(&site.openings.folder).unwrap();
    let old = |name: &str, seconds: u64| {
        let file = File::create(site.openings.folder.join(name)).unwrap();
        file.set_len(MOST / 2 + 1).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    };
    old("older", 1);
    old("newer", 2);
    site.open().unwrap();
    let is_there = |name: &str| site.openings.folder.join(name).exists();
    assert!(!is_there("older") && is_there("newer") && site.is_remembered());
}
