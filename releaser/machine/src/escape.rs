//! Refuses packages whose entries would reach outside the release's folder. Pure: it looks at the manifest only.

use std::collections::VecDeque;

use staith_model::{Entry, Manifest, RelPath};

/// As many links as Linux follows in one path.
const MOST_LINKS: u32 = 40;

/// An entry that must not be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsafe {
    /// The entry's path.
    pub entry: RelPath,
    /// What is wrong with it.
    pub why: String,
}

/// Checks that every entry stays inside the folder it will be unpacked to, links followed as the kernel would.
///
/// # Errors
/// The first entry that would not, with the reason.
pub fn check(manifest: &Manifest) -> Result<(), Unsafe> {
    let mut checked = None;
    for (path, entry) in &manifest.entries {
        let refuse = |why: String| Unsafe { entry: path.clone(), why };
        let folder = path.as_str().rsplit_once('/').map(|(folder, _)| folder);
        // What lies above the one before lies above this one.
        let mut above = if folder == checked { None } else { path.parent() };
        checked = folder;
        while let Some(parent) = above {
            match manifest.entries.get(&parent) {
                None | Some(Entry::Directory) => {}
                Some(Entry::File { .. }) => return Err(refuse(format!("`{parent}` above it is a file"))),
                Some(Entry::Symlink { .. }) => return Err(refuse(format!("`{parent}` above it is a link"))),
            }
            above = parent.parent();
        }
        match entry {
            Entry::Symlink { target } => follow(manifest, path, target).map_err(refuse)?,
            Entry::File { mode, .. } if mode & !0o777 != 0 => {
                return Err(refuse(format!("its mode {mode:o} has more than permission bits")));
            }
            Entry::File { .. } | Entry::Directory => {}
        }
    }
    Ok(())
}

/// Walks where a link leads. Text alone does not tell: `a/..` leaves the root if `a` is itself a link to the root.
fn follow(manifest: &Manifest, link: &RelPath, target: &str) -> Result<(), String> {
    if target.is_empty() || target.contains('\0') {
        return Err("its target is empty or holds a NUL".into());
    }
    let outside = || format!("it is a link to `{target}`, which leads out of the release");
    let mut place: Vec<String> = link.as_str().split('/').map(str::to_owned).collect();
    place.pop();
    let mut ahead: VecDeque<String> = parts(target).ok_or_else(outside)?;
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                place.pop().ok_or_else(outside)?;
                continue;
            }
            _ => place.push(part),
        }
        let here = RelPath::try_from(place.join("/")).map_err(|error| error.to_string())?;
        if let Some(Entry::Symlink { target: next }) = manifest.entries.get(&here) {
            links += 1;
            if links > MOST_LINKS {
                return Err(format!("it is a link to `{target}`, which leads in a circle"));
            }
            place.pop();
            let mut more = parts(next).ok_or_else(outside)?;
            more.append(&mut ahead);
            ahead = more;
        }
    }
    Ok(())
}

fn parts(target: &str) -> Option<VecDeque<String>> {
    (!target.starts_with('/')).then(|| target.split('/').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use staith_model::Digest;

    fn tree(entries: &[(&str, Entry)]) -> Manifest {
        let entries = entries.iter().map(|(path, entry)| ((*path).try_into().unwrap(), entry.clone()));
        Manifest { entries: entries.collect() }
    }

    fn link(target: &str) -> Entry {
        Entry::Symlink { target: target.into() }
    }

    fn file() -> Entry {
        Entry::File { mode: 0o644, size: 0, digest: Digest::of(b"") }
    }

    #[test]
    fn links_that_stay_are_taken() {
        let good =
            tree(&[("a", Entry::Directory), ("a/l", link("../b")), ("b", file()), ("c", link("nowhere"))]);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&tree(&[("lib", link("lib64")), ("lib64/x", file())])), Ok(()));
    }

    #[test]
    fn links_that_leave_are_refused_by_name() {
        let up = tree(&[("a/b/up", link("../..")), ("a/b/x", link("up/.."))]);
        for (bad, entry) in [
            (tree(&[("l", link("/etc/passwd"))]), "l"),
            (tree(&[("a/l", link("../../x"))]), "a/l"),
            (tree(&[("l", link(".."))]), "l"),
            (up, "a/b/x"),
            (tree(&[("d", link("e")), ("d/x", file())]), "d/x"),
            (tree(&[("f", file()), ("f/x", file())]), "f/x"),
            (tree(&[("a", link("b")), ("b", link("a"))]), "a"),
            (tree(&[("s", Entry::File { mode: 0o4755, size: 0, digest: Digest::of(b"") })]), "s"),
        ] {
            assert_eq!(check(&bad).unwrap_err().entry.as_str(), entry);
        }
    }

    proptest! {
        /// Whatever passes the check is unpacked by the kernel, which is then asked where each link leads.
        #[test]
        fn what_passes_stays_inside_by_the_kernels_word(
            links in prop::collection::btree_map("[abc](/[abc]){0,2}", "(\\.\\./|[abc]/|\\./){0,4}([abc]|\\.\\.)", 1..6)
        ) {
            let manifest = Manifest {
                entries: links.into_iter().map(|(path, target)| (path.try_into().unwrap(), Entry::Symlink { target })).collect(),
            };
            if check(&manifest).is_ok() {
                let outer = tempfile::tempdir().unwrap();
                let root = outer.path().join("root");
                std::fs::create_dir(&root).unwrap();
                for (path, entry) in &manifest.entries {
                    let Entry::Symlink { target } = entry else { unreachable!() };
                    let at = root.join(path.as_str());
                    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                    std::os::unix::fs::symlink(target, &at).unwrap();
                }
                for path in manifest.entries.keys() {
                    if let Ok(real) = root.join(path.as_str()).canonicalize() {
                        prop_assert!(real.starts_with(root.canonicalize().unwrap()), "{path} is {real:?}");
                    }
                }
            }
        }
    }
}
