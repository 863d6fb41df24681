//! What a stack of layers shows at a path, without mounting it. Links are followed as they would be in there: nothing of
//! the host is ever looked at.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Component, Path, PathBuf},
};

use crate::layers::OPAQUE;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// What is shown at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// A directory.
    Directory,
    /// A file, and where on this machine its bytes are.
    File {
        /// On this machine.
        at: PathBuf,
        /// Permissions.
        mode: u32,
    },
    /// Anything else.
    Other,
}

/// Looks an absolute path up in layers, lowest first; none where nothing is.
pub(super) fn look(layers: &[PathBuf], path: &Path) -> Option<Shown> {
    let mut links = 0;
    // Names that are still to be walked, the next one last.
    let mut rest: Vec<PathBuf> = names(path);
    // Where we are, as names from the root, to go up from.
    let mut here: Vec<PathBuf> = Vec::new();
    loop {
        let Some(name) = rest.pop() else { return Some(Shown::Directory) };
        if name == Path::new("..") {
            here.pop();
            continue;
        }
        match step(layers, &here, &name)? {
            Step::Directory => here.push(name),
            Step::Link(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                if target.is_absolute() {
                    here.clear();
                }
                rest.extend(names(&target));
            }
            Step::Thing(shown) if rest.is_empty() => return Some(shown),
            Step::Thing(_) => return None,
        }
    }
}

enum Step {
    Directory,
    Link(PathBuf),
    Thing(Shown),
}

/// The names of a path, the first one last. `..` stays, because what it means depends on links.
fn names(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut names: Vec<PathBuf> = named.collect();
    names.reverse();
    names
}

/// What is at `name` in the directory `here`, which the stack shows and whose names are no links.
fn step(layers: &[PathBuf], here: &[PathBuf], name: &Path) -> Option<Step> {
    let mut is_directory = false;
    for layer in layers.iter().rev() {
        match in_layer(layer, here, name) {
            InLayer::Absent => {}
            InLayer::Directory => is_directory = true,
            // What is below a directory stays hidden; else this is it.
            InLayer::Ends | InLayer::Thing(_) if is_directory => break,
            InLayer::Ends => return None,
            InLayer::Thing(at) => return thing(at),
            InLayer::OpaqueDirectory => {
                is_directory = true;
                break;
            }
        }
    }
    is_directory.then_some(Step::Directory)
}

enum InLayer {
    /// It says nothing.
    Absent,
    /// Nothing below it counts.
    Ends,
    Directory,
    OpaqueDirectory,
    Thing(PathBuf),
}

fn in_layer(layer: &Path, here: &[PathBuf], name: &Path) -> InLayer {
    let mut at = layer.to_path_buf();
    let mut hides = is_opaque(&at);
    for part in here {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => hides |= is_opaque(&at),
            // It hides what lower layers have there.
            Ok(_) => return InLayer::Ends,
            Err(_) if hides => return InLayer::Ends,
            Err(_) => return InLayer::Absent,
        }
    }
    at.push(name);
    match fs::symlink_metadata(&at) {
        Err(_) if hides => InLayer::Ends,
        Err(_) => InLayer::Absent,
        Ok(found) if found.is_dir() && (hides || is_opaque(&at)) => InLayer::OpaqueDirectory,
        Ok(found) if found.is_dir() => InLayer::Directory,
        Ok(found) if found.file_type().is_char_device() => InLayer::Ends,
        Ok(_) => InLayer::Thing(at),
    }
}

fn is_opaque(directory: &Path) -> bool {
    xattr::get(directory, OPAQUE[0]).ok().flatten().as_deref() == Some(b"y")
}

fn thing(at: PathBuf) -> Option<Step> {
    let found = fs::symlink_metadata(&at).ok()?;
    if found.is_symlink() {
        return fs::read_link(&at).ok().map(Step::Link);
    }
    Some(Step::Thing(if found.is_file() {
        Shown::File { at, mode: found.mode() & 0o7777 }
    } else {
        Shown::Other
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn layer(place: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let layer = place.join(name);
        fs::create_dir_all(&layer).unwrap();
        for (path, content) in files {
            let at = layer.join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => symlink(target, at).unwrap(),
                None if *content == "gone" => {
                    let nothing = rustix::fs::Mode::empty();
                    let kind = rustix::fs::FileType::CharacterDevice;
                    rustix::fs::mknodat(rustix::fs::CWD, &at, kind, nothing, 0).unwrap();
                }
                None if *content == "opaque" => {
                    fs::create_dir_all(&at).unwrap();
                    xattr::set(&at, OPAQUE[0], b"y").unwrap();
                }
                None => fs::write(at, content).unwrap(),
            }
        }
        layer
    }

    #[test]
    fn it_shows_what_overlay_would() {
        let place = tempfile::tempdir().unwrap();
        let lower = layer(
            place.path(),
            "lower",
            &[
                ("usr/bin/tool", "low"),
                ("usr/bin/other", "low"),
                ("usr/bin/busybox", "low"),
                ("usr/bin/sh", "-> /bin/busybox"),
                ("bin", "-> usr/bin"),
                ("data/old", "low"),
                ("whole/old", "low"),
                ("whole/sub/old", "low"),
                ("was-dir/x", "low"),
                ("loop", "-> loop"),
                ("out", "-> ../../../../etc/passwd"),
                ("up", "-> usr/bin/../../data/old"),
            ],
        );
        let upper = layer(
            place.path(),
            "upper",
            &[
                ("usr/bin/tool", "high"),
                ("usr/bin/other", "gone"),
                ("data", "gone"),
                ("whole", "opaque"),
                ("whole/new", "high"),
                ("was-dir", "high"),
            ],
        );
        let both = [lower.clone(), upper];
        let read = |path: &str| match look(&both, Path::new(path))? {
            Shown::File { at, .. } => fs::read_to_string(at).ok(),
            Shown::Directory => Some("directory".to_owned()),
            Shown::Other => Some("other".to_owned()),
        };
        for (path, shown) in [
            ("/usr/bin/tool", Some("high")),
            ("/bin/tool", Some("high")),
            ("/bin/sh", Some("low")),
            ("/usr/bin/other", None),
            ("/data/old", None),
            ("/up", None),
            ("/whole/old", None),
            ("/whole/sub/old", None),
            ("/whole/new", Some("high")),
            ("/was-dir/x", None),
            ("/was-dir", Some("high")),
            ("/loop", None),
            ("/out", None),
            ("/usr", Some("directory")),
            ("/", Some("directory")),
            ("/usr/bin/tool/x", None),
        ] {
            assert_eq!(read(path).as_deref(), shown, "{path}");
        }
        assert!(matches!(look(&[lower], Path::new("/up")), Some(Shown::File { .. })));
    }
}
