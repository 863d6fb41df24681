//! A disk that is full: the release is refused whole, and the room is given back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod drive_support;

use std::{fs, path::Path, sync::Arc};

use drive_support::{Tree, environment};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use staith_releaser::{
    host::{Depth, Files, Host as _, HostError, KeeperLink, LocalHost},
    release::freeze,
};
use tokio_util::sync::CancellationToken;

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"size=1m").ok()?;
        Some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_release_that_does_not_fit_leaves_nothing_and_the_next_that_fits_is_staged() {
    let Some(disk) = SmallDisk::new() else { return };
    let link = KeeperLink {
        dir: disk.path().to_owned(),
        launcher: Vec::new(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let host = LocalHost::new(link);
    let big: Vec<Vec<u8>> = (0..20u8).map(|number| vec![number; 100 << 10]).collect();
    let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&big).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let (large, small) = (Tree::of(&files), Tree::of(&files[..5]));
    let stage = |tree: &Tree| {
        let release = freeze(tree.package("1.0.0"), &environment(&["./app"]));
        let (host, files) = (host.clone(), tree.shared());
        async move {
            let staged = host.stage(&release, files, Arc::new(|_| {}), CancellationToken::new()).await;
            (host.inspect(&release, Depth::Content).await.unwrap(), staged)
        }
    };
    let (there, refused) = stage(&large).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, HostError::Full { .. }), "{error}");
    assert!(error.to_string().contains("full") && error.remedy().unwrap().contains("keep_releases"));
    assert_eq!(there, Files::Absent);
    assert_eq!(fs::read_dir(disk.path().join("blobs")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(disk.path().join("releases")).unwrap().count(), 0);
    let (there, staged) = stage(&small).await;
    staged.unwrap();
    assert_eq!(there, Files::Complete);
}
