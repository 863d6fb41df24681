//! Lists of sources that nobody has asked for in a long time go, so that a server does not keep one for each commit that it ever built.
//!
//! In two steps, a round apart: what is to go is put aside, and what was aside already goes. Who asks for a list that is aside puts it
//! back. So a run that begins to need one between two rounds has it, and one in flight never loses its own. A list that was collected
//! is made anew when its commit is planned again.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use staith_model::Name;

/// What was used within this time never goes: a plan may be about to become a run.
const YOUNG: Duration = Duration::from_secs(60 * 60);
/// What was not used within this time goes.
const OLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// All lists together have about so many bytes; what was used longest ago goes first.
const MOST_BYTES: u64 = 1 << 30;
/// What the name of a list ends in that is aside.
const ASIDE: &str = "aside";

/// A list that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    project: Name,
    tree: String,
    bytes: u64,
    /// For how long nobody has used it.
    idle: Duration,
    is_aside: bool,
}

/// What is done with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    GoesAside,
    ComesBack,
    Goes,
}

/// What is done with each list. Pure.
fn judge(all: &[Kept], in_use: &BTreeSet<(Name, String)>) -> Vec<Verdict> {
    let mut by_use: Vec<usize> = (0..all.len()).collect();
    by_use.sort_by_key(|place| all[*place].idle);
    let (mut verdicts, mut bytes) = (vec![Verdict::Stays; all.len()], 0_u64);
    for place in by_use {
        let kept = &all[place];
        let is_needed = kept.idle < YOUNG || in_use.contains(&(kept.project.clone(), kept.tree.clone()));
        verdicts[place] = match (kept.is_aside, is_needed) {
            (true, true) => Verdict::ComesBack,
            (true, false) => Verdict::Goes,
            (false, true) => Verdict::Stays,
            (false, false) if kept.idle > OLD || bytes.saturating_add(kept.bytes) > MOST_BYTES => {
                Verdict::GoesAside
            }
            (false, false) => Verdict::Stays,
        };
        if matches!(verdicts[place], Verdict::Stays | Verdict::ComesBack) {
            bytes = bytes.saturating_add(kept.bytes);
        }
    }
    verdicts
}

/// Goes a round.
///
/// # Errors
/// The system refuses; what is there stays.
pub(super) fn collect(dir: &Path, in_use: &BTreeSet<(Name, String)>, now: SystemTime) -> io::Result<()> {
    let all = all_in(dir, now)?;
    for (kept, verdict) in all.iter().zip(judge(&all, in_use)) {
        let place = dir.join(kept.project.as_str()).join(&kept.tree);
        let done = match verdict {
            Verdict::Stays => Ok(()),
            Verdict::GoesAside => fs::rename(&place, aside(&place)),
            Verdict::ComesBack => fs::rename(aside(&place), &place),
            Verdict::Goes => fs::remove_file(aside(&place)),
        };
        match done {
            // Somebody has asked for it meanwhile, and put it back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Reads a list, which counts as used from now on.
///
/// # Errors
/// It is not there, or can't be read.
pub(super) fn read(place: &Path) -> io::Result<Vec<u8>> {
    let bytes = match fs::read(place) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
            // It may have been put back by another one at this moment.
            let _ = fs::rename(aside(place), place);
            fs::read(place)?
        }
        read => read?,
    };
    if let Err(error) = used(place) {
        tracing::warn!(%error, place = %place.display(), "that a source is used can't be noted");
    }
    Ok(bytes)
}

/// Notes that a list is used now, also if it is put aside at this moment.
fn used(place: &Path) -> io::Result<()> {
    let file = File::open(place).or_else(|_| {
        fs::rename(aside(place), place)?;
        File::open(place)
    })?;
    file.set_modified(SystemTime::now())
}

fn aside(place: &Path) -> PathBuf {
    place.with_extension(ASIDE)
}

fn all_in(dir: &Path, now: SystemTime) -> io::Result<Vec<Kept>> {
    let mut all = Vec::new();
    for project in entries(dir)? {
        let Some(name) = project.file_name().to_str().and_then(|name| name.parse::<Name>().ok()) else {
            continue;
        };
        for file in entries(&project.path())? {
            all.extend(kept(&name, &file, now));
        }
    }
    Ok(all)
}

fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read?.collect(),
    }
}

/// What is no list (one that is being written, for one) is left alone, and so is what goes at this moment.
fn kept(project: &Name, file: &fs::DirEntry, now: SystemTime) -> Option<Kept> {
    let (name, data) = (file.file_name().into_string().ok()?, file.metadata().ok()?);
    let (tree, is_aside) = match name.split_once('.') {
        None => (name.as_str(), false),
        Some((tree, ASIDE)) => (tree, true),
        Some(_) => return None,
    };
    let is_tree = !tree.is_empty() && tree.bytes().all(|digit| digit.is_ascii_hexdigit());
    let idle = now.duration_since(data.modified().ok()?).unwrap_or_default();
    let kept = Kept { project: project.clone(), tree: tree.to_owned(), bytes: data.len(), idle, is_aside };
    (is_tree && data.is_file()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn list(tree: &str, days: u32, bytes: u64, is_aside: bool) -> Kept {
        Kept { project: "shop".parse().unwrap(), tree: tree.to_owned(), bytes, idle: DAY * days, is_aside }
    }

    fn of(project: &str, tree: &str) -> BTreeSet<(Name, String)> {
        BTreeSet::from([(project.parse().unwrap(), tree.to_owned())])
    }

    #[test]
    fn what_is_old_or_too_much_goes_unless_it_is_needed() {
        use Verdict::{ComesBack, Goes, GoesAside, Stays};
        let (half, none) = (MOST_BYTES / 2, BTreeSet::new());
        let all = [list("aa", 31, 1, false), list("bb", 29, 1, false), list("cc", 0, 1, false)];
        assert_eq!(judge(&all, &none), [GoesAside, Stays, Stays]);
        assert_eq!(judge(&all, &of("shop", "aa")), [Stays, Stays, Stays]);
        assert_eq!(judge(&all, &of("blog", "aa")), [GoesAside, Stays, Stays], "another project's");
        // Too much: what was used longest ago goes first, and what is needed or young counts and stays.
        let all = [list("aa", 3, half, false), list("bb", 1, half, false), list("cc", 2, half, false)];
        assert_eq!(judge(&all, &none), [GoesAside, Stays, Stays]);
        assert_eq!(judge(&all, &of("shop", "aa")), [Stays, Stays, Stays]);
        let all =
            [list("aa", 1, 1, false), list("bb", 0, MOST_BYTES, false), list("cc", 0, MOST_BYTES, false)];
        assert_eq!(judge(&all, &none), [GoesAside, Stays, Stays]);
        // What is aside.
        let all = [list("aa", 2, 1, true), list("bb", 40, 1, true), list("cc", 0, 1, true)];
        assert_eq!(judge(&all, &of("shop", "aa")), [ComesBack, Goes, ComesBack]);
    }

    #[test]
    fn a_list_goes_in_two_rounds_and_comes_back_for_who_asks() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("sources");
        let shop = dir.join("shop");
        collect(&dir, &BTreeSet::new(), SystemTime::now()).unwrap();
        fs::create_dir_all(&shop).unwrap();
        for name in ["aa", "bb", "cc", ".tmpX1"] {
            fs::write(shop.join(name), name).unwrap();
        }
        let there = || {
            let mut names: Vec<String> =
                entries(&shop).unwrap().iter().map(|file| file.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let (later, in_use) = (SystemTime::now() + 31 * DAY, of("shop", "cc"));
        collect(&dir, &in_use, later).unwrap();
        assert_eq!(there(), [".tmpX1", "aa.aside", "bb.aside", "cc"]);
        // A run begins to need one of them: by asking for it, and by being in flight when the next round comes.
        assert_eq!(read(&shop.join("aa")).unwrap(), b"aa");
        collect(&dir, &BTreeSet::from_iter(in_use.into_iter().chain(of("shop", "bb"))), later).unwrap();
        assert_eq!(there(), [".tmpX1", "aa.aside", "bb", "cc"]);
        collect(&dir, &of("shop", "cc"), later).unwrap();
        assert_eq!(there(), [".tmpX1", "bb.aside", "cc"]);
        collect(&dir, &of("shop", "cc"), later).unwrap();
        assert_eq!(there(), [".tmpX1", "cc"]);
        assert_eq!(read(&shop.join("bb")).unwrap_err().kind(), io::ErrorKind::NotFound);
        // What was just used is young.
        read(&shop.join("cc")).unwrap();
        collect(&dir, &BTreeSet::new(), SystemTime::now() + YOUNG / 2).unwrap();
        assert_eq!(there(), [".tmpX1", "cc"]);
    }
}
