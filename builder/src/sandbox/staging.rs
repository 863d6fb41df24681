//! Gathers all directories of the host that a sandbox shows at one place with short names.
//!
//! Two reasons. As root this happens with root's eyes, so that a toolchain or a store below a home directory that only
//! root may enter can be shown without loosening that directory's mode. And overlay takes its layers as one text of at
//! most a page, in which sixty long paths have no room.
//!
//! The place is a small tmpfs on `/sys`, in the helper's own mount namespace: that directory exists on every host, and no
//! sandbox shows anything of it.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    mounts::{Attributes, Detached},
    protocol::{Doing, Request, SetupError, Stage},
};

const PLACE: &str = "/sys";

/// Where the new root file system is built.
pub(super) fn new_root() -> PathBuf {
    Path::new(PLACE).join("root")
}

/// Where the bind of this number was put.
pub(super) fn staged_bind(number: usize) -> PathBuf {
    Path::new(PLACE).join(format!("b{number}"))
}

/// Overlay's options for the staged layers of the workspace.
pub(super) fn overlay_options(lowers: usize) -> String {
    options('l', lowers, "upper", "work")
}

/// Overlay's options for the staged layers of the image.
pub(super) fn image_options(layers: usize) -> String {
    options('i', layers, "image-upper", "image-work")
}

fn options(letter: char, lowers: usize, upper: &str, work: &str) -> String {
    // Overlay wants the topmost first.
    let lowers: Vec<String> = (0..lowers).rev().map(|number| format!("{PLACE}/{letter}{number}")).collect();
    format!(
        "lowerdir={},upperdir={PLACE}/{upper},workdir={PLACE}/{work},userxattr,volatile",
        lowers.join(":")
    )
}

/// Puts everything into place. The process must be alone in its mount namespace.
pub(super) fn stage(request: &Request) -> Result<(), SetupError> {
    let all = gather(request)?;
    let limits = [("size", "1m"), ("nr_inodes", "2k"), ("mode", "0755")];
    Detached::new_of("tmpfs", &limits, Attributes::WRITABLE)
        .and_then(|tmpfs| tmpfs.attach(Path::new(PLACE)))
        .and_then(|()| fs::create_dir(new_root()))
        .doing(Stage::Root, || format!("mounting a scratch file system on {PLACE}"))?;
    for (mount, place) in all {
        let put = || {
            if mount.is_directory()? {
                fs::create_dir(&place)?;
            } else {
                fs::File::create(&place)?;
            }
            mount.attach(&place)
        };
        put().doing(Stage::Root, || format!("binding to {}", place.display()))?;
    }
    let (shared, upper, work) = common_directory(&request.upper, &request.work);
    debug_assert!(request.upper.starts_with(shared));
    // Links, because a path in overlay's options would have to be escaped.
    let link =
        |inside: &Path, name: &str| symlink(Path::new("writable").join(inside), Path::new(PLACE).join(name));
    let mut links = vec![(upper, "upper"), (work, "work")];
    if !request.image.is_empty() {
        let below = |path| Path::strip_prefix(path, shared).map_err(io::Error::other);
        let named = || "finding a place for what the step changes of its image".to_owned();
        links.push((below(&request.image_upper).doing(Stage::Root, named)?, "image-upper"));
        links.push((below(&request.image_work).doing(Stage::Root, named)?, "image-work"));
    }
    links
        .into_iter()
        .try_for_each(|(inside, name)| link(inside, name))
        .doing(Stage::Workspace, || "naming the workspace's upper directory".to_owned())
}

/// Copies of all mounts, made while every path can still be reached.
fn gather(request: &Request) -> Result<Vec<(Detached, PathBuf)>, SetupError> {
    let place = Path::new(PLACE);
    let (writable, ..) = common_directory(&request.upper, &request.work);
    let mut wanted = vec![(writable, place.join("writable"), Stage::Workspace)];
    for (number, lower) in request.lowers.iter().enumerate() {
        wanted.push((lower, place.join(format!("l{number}")), Stage::Workspace));
    }
    for (number, layer) in request.image.iter().enumerate() {
        wanted.push((layer, place.join(format!("i{number}")), Stage::Root));
    }
    for (number, (host, _)) in request.binds.iter().enumerate() {
        wanted.push((host, staged_bind(number), Stage::Root));
    }
    let copy = |(source, place, stage): (&Path, PathBuf, Stage)| {
        let mount = Detached::copy_of(source).doing(stage, || format!("looking for {}", source.display()))?;
        Ok((mount, place))
    };
    wanted.into_iter().map(copy).collect()
}

/// The nearest directory that holds both, and the rest of both paths. Overlay wants both through one mount.
fn common_directory<'a>(upper: &'a Path, work: &'a Path) -> (&'a Path, &'a Path, &'a Path) {
    for shared in upper.ancestors().skip(1) {
        if let (Ok(upper), Ok(work)) = (upper.strip_prefix(shared), work.strip_prefix(shared)) {
            return (shared, upper, work);
        }
    }
    (Path::new("/"), upper, work)
}

/// Makes this process alone in its mount namespace, with nothing propagated back to the host.
pub(super) fn private_mounts() -> io::Result<()> {
    Ok(rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_layer_comes_first() {
        assert!(overlay_options(3).starts_with("lowerdir=/sys/l2:/sys/l1:/sys/l0,upperdir=/sys/upper,"));
    }

    #[test]
    fn sixty_layers_fit_a_page() {
        assert!(overlay_options(60).len() < 4000);
        assert!(image_options(128).len() < 4000);
    }

    #[test]
    fn upper_and_work_are_reached_through_their_nearest_directory() {
        let (shared, upper, work) = common_directory(Path::new("/a/b/upper"), Path::new("/a/b/c/work"));
        assert_eq!((shared, upper, work), (Path::new("/a/b"), Path::new("upper"), Path::new("c/work")));
        let (shared, upper, work) = common_directory(Path::new("/a/upper"), Path::new("/b/work"));
        assert_eq!((shared, upper, work), (Path::new("/"), Path::new("a/upper"), Path::new("b/work")));
    }
}
