//! Build hosts of a real server, each with a home of its own and, where a test wants that, a network of its own.

use std::{
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

    /// A host with this name that is registered as a machine that pulls: `shop/production/web-1`.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn of_target(world: &World, server: &Served, name: &str, target: &str, wire: Option<Wire>) -> Self {
        let gives = format!("{{\"pool\":\"default\",\"target\":\"{target}\"}}");
        Self::with_a_code(world, server, name, &gives, wire)
    }

    fn with_a_code(world: &World, server: &Served, name: &str, gives: &str, wire: Option<Wire>) -> Self {
        let home = world.scratch().join(format!("host-{name}"));
        let host = Self { home, wire, process: None, env: Vec::new() };
        let code = server.ask("POST", "/api/v1/enrolments", gives).is(201);
        let url = format!("http://{}", server.address);
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
        self.process = Some(command.stdout(said).stderr(logged).spawn().unwrap());
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
        let told = fs::read_to_string(self.jobs().first()?.join("keeper")).ok()?;
        Pid::from_raw(told.split(' ').next()?.parse().ok()?)
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
        for job in self.jobs() {
            let kept = fs::read_to_string(job.join("keeper")).unwrap_or_default();
            let keeper = kept.split(' ').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            if let Some(keeper) = keeper {
                let _ = kill_process(keeper, Signal::KILL);
            }
        }
    }
}
