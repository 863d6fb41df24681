//! How our own first process gets into any image, also one with another C library, or with nothing in it.
//!
//! A folder with this program, the loader and the libraries that it was linked with is bound read-only into each container,
//! and the loader is told to look nowhere else. So nothing of the image is needed and nothing has to be installed; the one
//! program that `cargo build` makes is enough. Where the program is linked statically there is neither loader nor library.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use staith_model::Digest;

use crate::sandbox::shared::{ARGUMENT, CONTROL, FOLDER, HOME};

const PROGRAM: &str = "init";
const LOADER: &str = "loader";
/// What the name of each folder begins with.
const PREFIX: &str = "first-";
/// Folders of other versions of this program that are kept, for those that still run.
const KEPT: usize = 2;

/// The folder, and how a container starts what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct First {
    /// On this machine.
    pub(super) folder: PathBuf,
    /// In a container.
    pub(super) entrypoint: Vec<String>,
}

/// The folder for `helper`, made below `state` when it is not there yet. `user` is the step's, for its `/etc/passwd`.
pub(super) fn folder(helper: &[OsString], state: &Path, user: (u32, u32)) -> io::Result<First> {
    let (program, arguments) =
        helper.split_first().ok_or_else(|| io::Error::other("no helper program is named"))?;
    let found = fs::metadata(program)?;
    let stamp = (found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec(), user);
    let name = format!("{PREFIX}{}", &Digest::of_value("staith.first.v1", &stamp).hex()[..16]);
    let folder = state.join(name);
    if !folder.is_dir() {
        fs::create_dir_all(state)?;
        forget_old(state)?;
        make(Path::new(program), &folder, state, user)?;
    }
    let inside = |name: &str| format!("{FOLDER}/{name}");
    let mut entrypoint = Vec::new();
    if folder.join(LOADER).exists() {
        entrypoint.extend([inside(LOADER), "--library-path".to_owned(), FOLDER.to_owned()]);
    }
    entrypoint.push(inside(PROGRAM));
    entrypoint.extend(arguments.iter().map(|argument| argument.to_string_lossy().into_owned()));
    entrypoint.push(ARGUMENT.to_owned());
    Ok(First { folder, entrypoint })
}

fn make(program: &Path, folder: &Path, state: &Path, user: (u32, u32)) -> io::Result<()> {
    let new = tempfile::Builder::new().prefix("new-").tempdir_in(state)?;
    let at = |name: &str| new.path().join(name);
    copy(program, &at(PROGRAM))?;
    if let Some(loader) = interpreter(&at(PROGRAM))? {
        for (name, library) in libraries(&loader, &at(PROGRAM))? {
            copy(&library, &at(&name))?;
        }
        copy(&loader, &at(LOADER))?;
    }
    let (uid, gid) = user;
    fs::write(
        at("passwd"),
        format!(
            "root:x:0:0:root:/root:/sbin/nologin\nbuilder:x:{uid}:{gid}:builder:{HOME}:/bin/sh\n\
             nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
        ),
    )?;
    fs::write(at("group"), format!("root:x:0:\nbuilder:x:{gid}:\nnogroup:x:65534:\n"))?;
    // A place for the socket, which is bound over it.
    fs::write(at(CONTROL), "")?;
    fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755))?;
    match fs::rename(new.path(), folder) {
        // Somebody else was quicker and made the same.
        Err(_) if folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Written to the disk before the folder gets its name, which is never looked into again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut file = fs::File::create(to)?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    file.sync_all()
}

/// The loader that a program names; none when it is linked statically.
fn interpreter(program: &Path) -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open(program)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    if header[..5] != *b"\x7fELF\x02" {
        return Err(io::Error::other(format!("{} is no 64-bit program", program.display())));
    }
    let word =
        |bytes: &[u8], at: usize| bytes[at..].first_chunk::<8>().map_or(0, |part| u64::from_le_bytes(*part));
    let half =
        |bytes: &[u8], at: usize| bytes[at..].first_chunk::<2>().map_or(0, |part| u16::from_le_bytes(*part));
    let (table, size, count) =
        (word(&header, 0x20), u64::from(half(&header, 0x36)), u64::from(half(&header, 0x38)));
    for number in 0..count {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table + number * size)?;
        // PT_INTERP
        if entry[..4] == [3, 0, 0, 0] {
            let mut name = vec![0; usize::try_from(word(&entry, 32)).unwrap_or(0).min(4096)];
            file.read_exact_at(&mut name, word(&entry, 8))?;
            name.retain(|byte| *byte != 0);
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(&name).into_owned())));
        }
    }
    Ok(None)
}

/// The libraries that the loader would load: their names and where they are. Both C libraries' loaders list them alike.
fn libraries(loader: &Path, program: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let listed = Command::new(loader)
        .arg("--list")
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        return Err(io::Error::other(format!("{} --list failed: {said}", loader.display())));
    }
    let listing = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok(listing.lines().filter_map(library).collect())
}

/// `libc.so.6 => /lib/libc.so.6 (0x7f12)`
fn library(line: &str) -> Option<(String, PathBuf)> {
    let (name, place) = line.trim().split_once(" => ")?;
    let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
    // The loader itself is listed under its whole path.
    (path.starts_with('/') && !name.contains('/')).then(|| (name.to_owned(), PathBuf::from(path)))
}

/// Removes all but the newest folders, and what was never finished.
fn forget_old(state: &Path) -> io::Result<()> {
    let mut all: Vec<_> = fs::read_dir(state)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    all.sort();
    for (_, old) in all.iter().rev().skip(KEPT) {
        fs::remove_dir_all(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let state = tempfile::tempdir().unwrap();
        let helper = [std::env::current_exe().unwrap().into(), "sandbox-init".into()];
        let first = folder(&helper, state.path(), (7, 8)).unwrap();
        let names: Vec<String> = fs::read_dir(&first.folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        for name in ["init", "loader", "libc.so.6", "passwd", "control"] {
            assert!(names.iter().any(|found| found == name), "{name} of {names:?}");
        }
        assert_eq!(first.entrypoint[..3], ["/.staith/loader", "--library-path", "/.staith"]);
        assert_eq!(first.entrypoint[3..], ["/.staith/init", "sandbox-init", "in-container"]);
        assert!(fs::read_to_string(first.folder.join("passwd")).unwrap().contains("builder:x:7:8:"));
        assert_eq!(folder(&helper, state.path(), (7, 8)).unwrap(), first, "made once");
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn listings_of_both_c_libraries_are_understood() {
        let expected = Some(("libc.so.6".to_owned(), PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6")));
        assert_eq!(library("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)"), expected);
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"), None);
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(library("\tlibgone.so => not found"), None);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let script = state.path().join("script");
        fs::write(&script, [b'#'; 100]).unwrap();
        assert!(folder(&[script.into()], state.path(), (0, 0)).unwrap_err().to_string().contains("64-bit"));
    }
}
