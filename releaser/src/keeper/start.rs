//! How a keeper comes to be, and comes loose from whoever started it.
//!
//! A keeper is started as `launcher... <directory> <address>` in a process group of its own, so that Ctrl-C in the
//! starter's terminal does not reach it. The leader of a group can't begin a session, so that process starts the keeper
//! once more and ends; the second one begins a session. It says on its standard output, which is a pipe to the starter,
//! that it is ready or why not, and then lets go of it. Files that the starter's own parent left open, such as the lock
//! of a `flock` around a build, are closed: a daemon that holds them would hold them for ever.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{
    error::KeeperError,
    log,
    protocol::{self, StartReport},
    socket::SocketPath,
};

/// What a keeper keeps of its starter's environment. A daemon that lives for months has no business with the tokens of
/// the build that happened to start it.
const KEPT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// The longest that a start may take: it reads one file and opens two sockets.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The longest wait for another keeper in the same directory that is about to listen, or about to end.
const OTHER_PATIENCE: Duration = Duration::from_secs(60);

/// How often that other keeper is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Where the keeper of `dir` writes what it does.
pub(super) fn log_path(dir: &Path) -> PathBuf {
    dir.join("logs").join("keeper.log")
}

/// The directory as one name, whatever the working directory is.
pub(super) fn absolute(dir: &Path) -> Result<PathBuf, KeeperError> {
    match dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(dir),
        other => other,
    }
    .map_err(|source| KeeperError::Io { doing: "find the directory", path: dir.to_owned(), source })
}

/// Makes the directory where there is none: private, because specs hold secrets.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, KeeperError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir.join("logs"));
    made.map_err(|source| KeeperError::Io { doing: "make the directory", path: dir.join("logs"), source })?;
    absolute(dir)
}

/// Starts a keeper and waits until it answers, whoever of several starters is first.
pub(super) async fn start(dir: &Path, launcher: &[OsString], listen: SocketAddr) -> Result<(), KeeperError> {
    let others = async {
        loop {
            match launch(dir, launcher, listen).await? {
                StartReport::Ready => return Ok(()),
                StartReport::PortTaken(taken) => return Err(KeeperError::PortTaken(taken)),
                StartReport::Failed(why) => return Err(failed(dir, why)),
                StartReport::AlreadyRunning if answers(dir).await => return Ok(()),
                StartReport::AlreadyRunning => tokio::time::sleep(LOOK).await,
            }
        }
    };
    let endless = |_| {
        let why = "another keeper holds the directory's lock and does not answer; see which one with `fuser keeper.lock`";
        failed(dir, why.to_owned())
    };
    timeout(OTHER_PATIENCE, others).await.map_err(endless)?
}

fn failed(dir: &Path, why: String) -> KeeperError {
    KeeperError::DidNotStart { dir: dir.to_owned(), why, log: log_path(dir) }
}

async fn answers(dir: &Path) -> bool {
    let Ok(socket) = SocketPath::within(dir) else { return false };
    tokio::net::UnixStream::connect(socket.path()).await.is_ok()
}

/// Starts one process and reads what it reports.
async fn launch(dir: &Path, launcher: &[OsString], listen: SocketAddr) -> Result<StartReport, KeeperError> {
    let Some((program, arguments)) = launcher.split_first() else {
        return Err(failed(dir, "nobody said which program it is".to_owned()));
    };
    let path = log_path(dir);
    let said = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let said =
        said.map_err(|source| KeeperError::Io { doing: "open the log", path: path.clone(), source })?;
    let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new(program)
        .args(arguments)
        .arg(dir)
        .arg(listen.to_string())
        .env_clear()
        .envs(kept)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(said)
        .process_group(0)
        .spawn()
        .map_err(|error| failed(dir, format!("`{}` could not be run: {error}", program.to_string_lossy())))?;
    let Some(report) = child.stdout.take() else {
        return Err(failed(dir, "it has no standard output".to_owned()));
    };
    let line = match timeout(START_PATIENCE, protocol::read_line(report)).await {
        Ok(Ok(line)) => line,
        Ok(Err(_)) => {
            return Err(failed(
                dir,
                format!(
                    "it ended before it was ready, and last said:\n{}",
                    log::tail(&path, 5, log::LogFrom::default())
                ),
            ));
        }
        Err(_) => return Err(failed(dir, format!("it was not ready within {} s", START_PATIENCE.as_secs()))),
    };
    // The first process ends at once; it is waited for so that no zombie is left with a starter that lives on.
    let _ = timeout(START_PATIENCE, child.wait()).await;
    serde_json::from_slice(&line).map_err(|error| {
        let said = String::from_utf8_lossy(&line).trim().to_owned();
        failed(dir, format!("it said `{said}`, which is no report ({error}); is the launcher right?"))
    })
}

/// Makes this process one that nothing ties to its starter. False: another process was started in its place, and this
/// one shall end.
pub(super) fn come_loose() -> io::Result<bool> {
    use nix::unistd::{getpid, getsid, setsid};
    // A session that began outside this process namespace has the number 0, which only nix takes for one.
    if getsid(None)? != getpid() {
        match setsid() {
            Ok(_) => {}
            Err(nix::Error::EPERM) => {
                std::process::Command::new(this_program()?).args(std::env::args_os().skip(1)).spawn()?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    close_inherited();
    std::env::set_current_dir("/")?;
    Ok(true)
}

/// This program by its own name, which people see in lists of processes; by the kernel's when its file was replaced.
fn this_program() -> io::Result<PathBuf> {
    let named = std::env::current_exe()?;
    Ok(if named.is_file() { named } else { PathBuf::from("/proc/self/exe") })
}

/// Closes files that were left open on purpose by an ancestor. Those that this process opened itself are marked to be
/// closed when another program is run, which is how they are told apart.
fn close_inherited() {
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = files.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2 && is_inherited(*number)) {
        let _ = nix::unistd::close(number);
    }
}

fn is_inherited(number: i32) -> bool {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

/// Tells the starter, and lets go of its pipe.
pub(super) fn report(report: &StartReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // A starter that is gone hears nothing; the keeper stays for the next one.
    let _ = out.write_all(&protocol::line(report)?).and_then(|()| out.flush());
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_launcher_that_is_no_keeper_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let dir = prepare(&dir.path().join("deep/environment")).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        for (launcher, expected) in [
            (vec![], "nobody said which program"),
            (vec!["/nowhere/staith"], "`/nowhere/staith` could not be run"),
            (vec!["/bin/echo", "hello"], "it said `hello"),
            (vec!["/bin/sh", "-c", "echo broken >&2; exit 1"], "last said:\nbroken"),
        ] {
            let launcher: Vec<OsString> = launcher.into_iter().map(OsString::from).collect();
            let error = start(&dir, &launcher, listen).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn only_files_that_would_survive_a_program_are_inherited() {
        use std::os::fd::AsRawFd as _;
        let ours = fs::File::open("/dev/null").unwrap();
        assert!(!is_inherited(ours.as_raw_fd()));
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
        assert!(is_inherited(ours.as_raw_fd()));
        assert!(!is_inherited(1_000_000));
    }
}
