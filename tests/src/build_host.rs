//! Build hosts of a real server, each with a home of its own and, where a test wants that, a network of its own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    served::Served,
    wait,
    wires::Wire,
    world::{Said, World, staith_binary},
};

/// A host that is registered. Its runner is ended when it is dropped, and so are the jobs that it has.
#[derive(Debug)]
pub struct BuildHost {
    home: PathBuf,
    /// How it is connected; `None`: as this process is.
    pub wire: Option<Wire>,
    /// Its runner, while one runs.
    process: Option<Child>,
    /// All runners that it has had.
    runners: Vec<u32>,
    env: Vec<(String, String)>,
}

impl BuildHost {
    /// A host with this name that is registered as a runner of a pool.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn registered(world: &World, server: &Served, name: &str, pool: &str, wire: Option<Wire>) -> Self {
        Self::with_a_code(world, server, name, &format!("{{\"pool\":\"{pool}\"}}"), wire)
    }

    /// A host that is registered by a code which gives this.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn given(world: &World, server: &Served, name: &str, gives: &str, wire: Option<Wire>) -> Self {
        Self::with_a_code(world, server, name, gives, wire)
    }

    /// A host with this name that is registered as a machine that pulls: `shop/production/web-1`.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn of_target(world: &World, server: &Served, name: &str, target: &str, wire: Option<Wire>) -> Self {
        let gives = format!("{{\"pool\":\"default\",\"target\":\"{target}\"}}");
        Self::with_a_code(world, server, name, &gives, wire)
    }

    fn with_a_code(world: &World, server: &Served, name: &str, gives: &str, wire: Option<Wire>) -> Self {
        Self::by_a_code(&server.address, world, server, (name, gives), wire)
    }

    /// A host of the pool `default` that knows a server by another address: of what stands before it.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn registered_at(
        address: &str,
        world: &World,
        server: &Served,
        name: &str,
        wire: Option<Wire>,
    ) -> Self {
        Self::by_a_code(address, world, server, (name, "{\"pool\":\"default\"}"), wire)
    }

    fn by_a_code(
        address: &str,
        world: &World,
        server: &Served,
        (name, gives): (&str, &str),
        wire: Option<Wire>,
    ) -> Self {
        let home = world.scratch().join(format!("host-{name}"));
        let host = Self { home, wire, process: None, runners: Vec::new(), env: Vec::new() };
        let code = server.ask("POST", "/api/v1/enrolments", gives).is(201);
        let url = format!("http://{address}");
        let register = [
            "register",
            "--url",
            &url,
            "--token",
            code["code"].as_str().unwrap(),
            "--name",
            name,
            "--insecure",
        ];
        Said::of(&host.command(&register).output().unwrap()).exits(0);
        host
    }

    /// From now on its runners have this variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of `staith runner` on it.
    fn command(&self, words: &[&str]) -> Command {
        let staith = staith_binary();
        let mut command = match &self.wire {
            Some(wire) => wire.command(&[&staith.display().to_string()]),
            None => Command::new(&staith),
        };
        command
            .arg("runner")
            .args(words)
            .env("STAITH_HOME", &self.home)
            .env("STAITH_LOG", "info")
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Its runner starts, for so many jobs at once.
    ///
    /// # Panics
    /// The system refuses.
    pub fn starts(&mut self, jobs: u32) {
        let open =
            |name: &str| fs::File::options().append(true).create(true).open(self.home.join(name)).unwrap();
        let (said, logged) = (open("said"), open("log"));
        let mut command = self.command(&["start", "--json", "--jobs", &jobs.to_string()]);
        let process = command.stdout(said).stderr(logged).spawn().unwrap();
        self.runners.push(process.id());
        self.process = Some(process);
    }

    /// The directory of all that it has.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What its runners wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// What its runners said, a value a line.
    pub fn said(&self) -> Vec<serde_json::Value> {
        let said = fs::read_to_string(self.home.join("said")).unwrap_or_default();
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its wire.
    ///
    /// # Panics
    /// It has none.
    pub fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().unwrap()
    }

    /// Sends its runner a signal; not the jobs that it has.
    ///
    /// # Panics
    /// No runner runs.
    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// Its runner is killed; the jobs that it has go on.
    ///
    /// # Panics
    /// No runner runs.
    pub fn dies(&mut self) {
        self.signal(Signal::KILL);
        self.process.take().unwrap().wait().unwrap();
    }

    /// All of it is gone at once: its runner, the jobs that it has, and what they run.
    ///
    /// # Panics
    /// No runner runs.
    pub fn is_lost(&mut self) {
        self.signal(Signal::STOP);
        for keeper in self.keepers() {
            // It may have ended by itself.
            let _ = kill_process(keeper, Signal::KILL);
        }
        self.dies();
        wait::until("nothing of the host is left", || self.keepers().is_empty().then_some(()));
    }

    /// The processes that it has started for itself: runners, and keepers of jobs.
    pub fn processes(&self) -> BTreeSet<u32> {
        let log = self.log();
        let started = log.lines().filter(|line| line.contains("a keeper was started"));
        let keepers = started.filter_map(|line| {
            let digits =
                line.split_once("process")?.1.trim_start_matches(|c: char| c != '=').split_once('=')?.1;
            // Colours may stand between.
            let digits = digits
                .rsplit_once('m')
                .filter(|(before, _)| before.starts_with('\x1b'))
                .map_or(digits, |(_, rest)| rest);
            digits.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
        });
        self.runners.iter().copied().chain(keepers).collect()
    }

    /// Whether its runner runs.
    pub const fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The directories of the jobs that it has.
    pub fn jobs(&self) -> Vec<PathBuf> {
        let jobs = fs::read_dir(self.home.join("runner/jobs")).into_iter().flatten().flatten();
        jobs.map(|job| job.path()).collect()
    }

    /// The process that keeps the first job that it has.
    pub fn keeper(&self) -> Option<Pid> {
        self.keepers().into_iter().next()
    }

    /// The processes that keep the jobs that it has, as far as they live.
    pub fn keepers(&self) -> Vec<Pid> {
        let jobs = self.jobs();
        let told = jobs.iter().filter_map(|job| fs::read_to_string(job.join("keeper")).ok());
        let ids = told.filter_map(|told| told.split(' ').next()?.parse().ok());
        let lives = |id: &i32| {
            fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|words| words.contains("keep"))
        };
        ids.filter(lives).filter_map(Pid::from_raw).collect()
    }

    /// Waits until its runner has said this of an attempt.
    pub fn says_of(&self, news: &str, attempt: &str) {
        wait::until(&format!("the runner says `{news}`"), || {
            self.said().iter().any(|said| said["news"] == news && said["attempt"] == attempt).then_some(())
        });
    }
}

impl Drop for BuildHost {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        for keeper in self.keepers() {
            let _ = kill_process(keeper, Signal::KILL);
        }
    }
}
