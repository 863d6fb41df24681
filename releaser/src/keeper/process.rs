//! One program, from its start to its end.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, PipeReader},
    net::Ipv4Addr,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe, sync::watch, task::JoinHandle, time::timeout};

use super::{
    log::LogFile,
    orphans::{MARK, POOL_MARK},
    pool::{Pool, PoolSpec},
};
use crate::host::command::is_program;

/// What a program gets from the keeper's environment. Everything else it needs is in its release.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// What every program of a keeper has in common.
#[derive(Debug)]
pub(super) struct Surroundings {
    passed_on: BTreeMap<&'static str, OsString>,
    mark: String,
    /// Open files that the keeper was allowed before it allowed itself more.
    open_files: Option<Rlimit>,
}

impl Surroundings {
    /// Takes note of this process's environment. `mark` is the keeper's directory.
    pub(super) fn here(mark: String, open_files: Option<Rlimit>) -> Self {
        let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        Self { passed_on: passed_on.collect(), mark, open_files }
    }

    /// The keeper's directory.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}

/// Why a program was not started.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub(super) why: String,
    /// Whether trying again can't help: there is no such program.
    pub(super) for_good: bool,
}

/// The longest that is waited for the rest of what an ended program wrote.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running program: the leader of a process group, not reaped yet.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    /// True once the program has ended; it is a zombie then until it is reaped.
    end: watch::Receiver<bool>,
    /// Ends when nobody can write to the program's output any more.
    output: Option<JoinHandle<()>>,
}

/// Says why a spec can't be run as far as that can be seen beforehand.
pub(super) fn check(spec: &PoolSpec, surroundings: &Surroundings) -> Result<(), String> {
    let Some(program) = spec.command.first().filter(|program| !program.is_empty()) else {
        return Err("its command is empty; the release's process needs a program".to_owned());
    };
    let texts = spec.command.iter().chain(spec.env.keys()).chain(spec.env.values());
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err("its command or environment holds a zero byte, which no program can be given".to_owned());
    }
    if let Some(name) = spec.env.keys().find(|name| name.is_empty() || name.contains('=')) {
        return Err(format!("`{name}` can't be the name of an environment variable"));
    }
    if !spec.root.is_absolute() || !spec.root.is_dir() {
        return Err(format!("its folder {} is not there, or its path is not absolute", spec.root.display()));
    }
    if program.contains('/') && !spec.root.join(program).is_file() {
        let looked = spec.root.join(program);
        return Err(format!(
            "its program `{program}` is not in the release: there is no file {}",
            looked.display()
        ));
    }
    if program.contains('/') && !is_program(&spec.root.join(program)) {
        return Err(format!(
            "its program `{program}` may not be executed by anybody; mark it as executable (chmod +x)"
        ));
    }
    let path = spec.env.get("PATH").map(OsString::from);
    if let Some(path) = path.as_ref().or(surroundings.passed_on.get("PATH"))
        && !program.contains('/')
        && !std::env::split_paths(path).any(|folder| is_program(&spec.root.join(folder).join(program)))
    {
        return Err(format!(
            "its program `{program}` is on none of the places in PATH ({}); install it, or name it by its path in the package",
            path.to_string_lossy()
        ));
    }
    Ok(())
}

impl Process {
    /// Starts a program that shall listen on `port` of 127.0.0.1. Must be called within a tokio runtime.
    pub(super) fn start(
        pool: Pool,
        spec: &PoolSpec,
        port: u16,
        surroundings: &Surroundings,
        log: Arc<LogFile>,
    ) -> Result<Self, NotStarted> {
        check(spec, surroundings).map_err(|why| NotStarted { why, for_good: true })?;
        let explain = |error: io::Error| explain(spec, &error);
        let (output, said) = io::pipe().map_err(explain)?;
        let child = command(pool, spec, port, surroundings)
            .stdout(said.try_clone().map_err(explain)?)
            .stderr(said)
            .spawn()
            .map_err(explain)?;
        let mut process = Self::watch(child, surroundings).map_err(explain)?;
        process.output = Some(tokio::spawn(async move {
            if let Err(error) = keep_output(output, &log).await {
                log.note(&format!("the program's output can't be read any more: {error}"));
            }
        }));
        Ok(process)
    }

    fn watch(mut child: Child, surroundings: &Surroundings) -> io::Result<Self> {
        let watched = (|| {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let group = group.ok_or_else(|| io::Error::other("its process id is out of range"))?;
            let end = watch_end(group)?;
            if let Some(limit) = &surroundings.open_files {
                let _ = rustix::process::prlimit(Some(group), Resource::Nofile, *limit);
            }
            Ok((group, end))
        })();
        match watched {
            Ok((group, end)) => Ok(Self { child, group, end, output: None }),
            Err(error) => {
                // A program that can't be watched is not left running.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has ended, ends what is left of its process group, and says how it ended. Cancel-safe:
    /// nothing has happened when it is dropped before its end.
    pub(super) async fn ended(&mut self) -> String {
        self.end_seen().await;
        self.reap()
    }

    /// Asks the program to end, and ends it with its process group after `grace`.
    pub(super) async fn stop(&mut self, grace: Duration) -> String {
        let _ = kill_process_group(self.group, Signal::TERM);
        let on_its_own = timeout(grace, self.end_seen()).await.is_ok();
        if on_its_own {
            return self.reap();
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        self.end_seen().await;
        let how = self.reap();
        format!("{how}, after it did not end by itself within {} s", grace.as_secs())
    }

    /// Waits until what the program wrote before its end is in the log. Not for ever: somebody who is not this keeper's to
    /// end may hold the output open.
    pub(super) async fn last_words(self) {
        if let Some(output) = self.output {
            let _ = timeout(LAST_WORDS, output).await;
        }
    }

    async fn end_seen(&mut self) {
        // An error means that nobody watches any more, which happens only after the end.
        let _ = self.end.wait_for(|ended| *ended).await;
    }

    /// The group is ended before its leader is reaped: until then the group's number can't mean another one.
    fn reap(&mut self) -> String {
        let _ = kill_process_group(self.group, Signal::KILL);
        match self.child.wait() {
            Ok(status) => describe(status),
            Err(error) => format!("nobody knows how it ended: {error}"),
        }
    }
}

/// Watches for the end of a child without reaping it. A thread of its own, because the safe calls that say so block; a
/// keeper has two programs.
fn watch_end(child: Pid) -> io::Result<watch::Receiver<bool>> {
    let (ended, end) = watch::channel(false);
    std::thread::Builder::new().name(format!("watch-{child}")).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(child), options), Err(Errno::INTR)) {}
        ended.send_replace(true);
    })?;
    Ok(end)
}

fn explain(spec: &PoolSpec, error: &io::Error) -> NotStarted {
    let program = spec.command.first().map_or("", String::as_str);
    let mut why = format!("`{program}` could not be started in {}: {error}", spec.root.display());
    if error.kind() == io::ErrorKind::NotFound {
        // The file itself was looked for before.
        why.push_str(": the interpreter that its first line names, or its loader, is not on this machine");
    }
    let for_good = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR];
    let for_good = for_good.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    NotStarted { why, for_good }
}

fn command(pool: Pool, spec: &PoolSpec, port: u16, surroundings: &Surroundings) -> Command {
    let program = spec.command.first().map_or("", String::as_str);
    let program = if program.contains('/') { spec.root.join(program) } else { PathBuf::from(program) };
    let mut command = Command::new(program);
    command
        .args(spec.command.iter().skip(1))
        .current_dir(&spec.root)
        .env_clear()
        .envs(&surroundings.passed_on)
        .envs(&spec.env)
        .env("PORT", port.to_string())
        .env("STAITH_RELEASE", spec.release.to_string())
        .env(MARK, &surroundings.mark)
        .env(POOL_MARK, pool.to_string())
        .stdin(Stdio::null())
        .process_group(0);
    command
}

async fn keep_output(output: PipeReader, log: &LogFile) -> io::Result<()> {
    let mut output = pipe::Receiver::from_owned_fd(output.into())?;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = output.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        log.write(&buffer[..read]);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} ({})", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => "another one",
    }
}

/// A loopback port that was free a moment ago and is not one of `taken`. The program that is given it may still find it
/// taken; it ends then, and its restart gets another.
pub(super) fn free_port(taken: &[u16]) -> io::Result<u16> {
    // Listeners are kept until the choice is made, so that the kernel does not offer the same port again.
    let mut refused = Vec::new();
    loop {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        if !taken.contains(&port) {
            return Ok(port);
        }
        refused.push(listener);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use staith_model::Digest;

    use super::*;

    fn spec(root: &std::path::Path, script: &str) -> PoolSpec {
        PoolSpec {
            release: Digest::of(b"release"),
            root: root.to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            stop_seconds: 1,
        }
    }

    async fn run(script: &str) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::at(dir.path().join("log"), 1 << 20));
        let around = Surroundings::here("/keeper".to_owned(), None);
        let mut process =
            Process::start(Pool::Blue, &spec(dir.path(), script), 4242, &around, Arc::clone(&log)).unwrap();
        let how = process.ended().await;
        process.last_words().await;
        (how, super::super::log::tail(log.path(), 100, log.from()))
    }

    #[tokio::test]
    async fn a_program_gets_what_it_was_promised_and_nothing_else() {
        let (how, said) = run("env; pwd; readlink /proc/$$/fd/0; ls /proc/$$/fd | wc -l").await;
        assert_eq!(how, "exit code 0");
        let release = format!("STAITH_RELEASE={}", Digest::of(b"release"));
        for line in [
            "GREETING=hello",
            "PORT=4242",
            "STAITH_KEEPER=/keeper",
            "STAITH_POOL=blue",
            &release,
            "/dev/null",
        ] {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        let allowed = [
            "GREETING",
            "PORT",
            "STAITH_KEEPER",
            "STAITH_POOL",
            "STAITH_RELEASE",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
        ];
        for name in said.lines().filter_map(|line| Some(line.split_once('=')?.0)) {
            assert!(allowed.contains(&name) || PASSED_ON.contains(&name), "{name}");
        }
    }

    #[tokio::test]
    async fn ends_are_told_apart() {
        assert_eq!(run("echo out; echo err >&2; exit 3").await, ("exit code 3".into(), "out\nerr".into()));
        assert_eq!(run("kill -9 $$").await.0, "signal 9 (SIGKILL)");
    }

    #[tokio::test]
    async fn children_do_not_outlive_their_leader() {
        // The reader of the output ends only when every process of the group has closed its end.
        assert_eq!(run("sleep 1000 & exit 7").await.0, "exit code 7");
    }

    #[tokio::test]
    async fn a_deaf_program_is_killed_after_its_grace() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(LogFile::at(dir.path().join("log"), 1 << 20));
        let around = Surroundings::here("/keeper".to_owned(), None);
        let spec = spec(dir.path(), "trap '' TERM; echo ready; while :; do sleep 1000; done");
        let mut process = Process::start(Pool::Blue, &spec, 1, &around, Arc::clone(&log)).unwrap();
        while super::super::log::tail(log.path(), 1, log.from()).is_empty() {
            tokio::task::yield_now().await;
        }
        let how = process.stop(Duration::from_secs(1)).await;
        assert!(how.starts_with("signal 9 (SIGKILL), after it did not end by itself"), "{how}");
    }

    #[test]
    fn a_port_is_not_given_twice() {
        let first = free_port(&[]).unwrap();
        assert!((0..50).all(|_| free_port(&[first]).unwrap() != first));
    }

    #[tokio::test]
    async fn a_script_without_its_interpreter_is_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("script"), "#!/nowhere/python\n").unwrap();
        fs::set_permissions(dir.path().join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        let log = Arc::new(LogFile::at(dir.path().join("log"), 1 << 20));
        let around = Surroundings::here("/keeper".to_owned(), None);
        let spec = PoolSpec { command: vec!["./script".into()], ..spec(dir.path(), "") };
        let refused = Process::start(Pool::Blue, &spec, 1, &around, log).unwrap_err();
        assert!(refused.for_good && refused.why.contains("interpreter"), "{refused:?}");
    }

    #[test]
    fn specs_that_can_not_run_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let good = spec(dir.path(), "true");
        let around = Surroundings::here("/keeper".to_owned(), None);
        let check = |spec: &PoolSpec| check(spec, &around);
        assert_eq!(check(&good), Ok(()));
        let with = |change: fn(&mut PoolSpec)| {
            let mut spec = good.clone();
            change(&mut spec);
            check(&spec).unwrap_err()
        };
        assert!(with(|spec| spec.command.clear()).contains("empty"));
        assert!(with(|spec| spec.command = vec!["bin/server".into()]).contains("bin/server"));
        assert!(with(|spec| spec.command = vec!["no-such-program".into()]).contains("PATH"));
        fs::write(dir.path().join("plain"), "").unwrap();
        assert!(with(|spec| spec.command = vec!["./plain".into()]).contains("chmod +x"));
        assert!(with(|spec| spec.root = "relative".into()).contains("not absolute"));
        assert!(with(|spec| drop(spec.env.insert("A=B".into(), String::new()))).contains("`A=B`"));
        assert!(with(|spec| drop(spec.env.insert("A".into(), "\0".into()))).contains("zero byte"));
    }
}
