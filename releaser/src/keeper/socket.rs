//! Where a keeper is spoken to: a socket in its directory, which only the owner can open.

use std::{
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
};

const NAME: &str = "keeper.sock";

/// The longest path that fits into a socket's address on Linux, without its closing zero.
const LONGEST_PATH: usize = 107;

/// A path that is short enough for a socket's address, however deep the directory lies.
pub(super) struct SocketPath {
    path: PathBuf,
    /// Keeps the number in `/proc/self/fd/<number>` valid.
    _directory: Option<fs::File>,
}

impl SocketPath {
    /// The keeper's socket in `dir`. The path is valid as long as this value lives.
    pub(super) fn within(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        if path.as_os_str().len() <= LONGEST_PATH {
            return Ok(Self { path, _directory: None });
        }
        let directory = fs::File::open(dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }

    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Listens in `dir`, in place of a socket that an earlier keeper left. Only for the holder of the directory's lock.
///
/// The socket is made in a private directory and moved, so that there is no moment at which others could open it.
pub(super) fn listen(dir: &Path) -> io::Result<UnixListener> {
    let private = tempfile::Builder::new().prefix(".keeper-").tempdir_in(dir)?;
    let socket = SocketPath::within(private.path())?;
    let listener = UnixListener::bind(socket.path())?;
    fs::set_permissions(socket.path(), fs::Permissions::from_mode(0o600))?;
    fs::rename(private.path().join(NAME), dir.join(NAME))?;
    Ok(listener)
}

/// Takes the socket away. Only for the holder of the directory's lock.
pub(super) fn remove(dir: &Path) {
    // One that is left is replaced by the next keeper.
    let _ = fs::remove_file(dir.join(NAME));
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_deep_down_is_reached_and_private() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        for dir in [top.path(), &deep] {
            let _first = listen(dir).unwrap();
            let _again = listen(dir).unwrap();
            UnixStream::connect(SocketPath::within(dir).unwrap().path()).unwrap();
            assert_eq!(fs::metadata(dir.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(
                fs::read_dir(dir).unwrap().all(|entry| !entry
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.'))
            );
        }
    }
}
