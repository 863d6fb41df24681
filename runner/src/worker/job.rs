//! A job on this host, as a directory: whoever is killed, the next one finds how far it is.
//!
//! ```text
//! claim.json    what the server gave, and the token; for its owner only
//! lease.json    until when it counts
//! keeper        held by the keeper as long as it lives; has its process id and when that started
//! began         there once the job was begun: it is never begun twice
//! wanted.json   that the server wants its end
//! spool/<run>/  events.jsonl and logs/, as every run has them; they wait here until the server has them
//! ended.json    how it ended
//! keeper.log    what the keeper said of itself, if anything
//! ```

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::{
    AttemptId, Blame, Name, Version,
    service::{AttemptOutcome, Claimed},
};

use super::{
    boot,
    lease::Lease,
    rooms::{Rooms, make_private, unkept, write_private},
};
use crate::{client::Address, clock, output::Problem};

/// What a server gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Who gave it.
    pub(crate) server: Address,
    /// What.
    pub(crate) claimed: Claimed,
}

/// How a job ended on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// What the server is told.
    pub(crate) outcome: AttemptOutcome,
    /// The packages that were made, in the order of the plan.
    #[serde(default)]
    pub(crate) packages: Vec<(Name, Version)>,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl Ended {
    /// It ended now, without packages.
    pub(super) fn now(outcome: AttemptOutcome) -> Self {
        Self { outcome, packages: Vec::new(), at: clock::unix_millis() }
    }

    /// It ended now through something on this host.
    pub(super) fn by_this_host(why: impl Into<String>) -> Self {
        Self::now(AttemptOutcome::failed(Blame::Environment, why))
    }
}

/// The lease with the start of the machine that its times are of.
#[derive(Serialize, Deserialize)]
struct WrittenLease {
    boot: String,
    lease: Lease,
}

/// That the server wants a job's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CancelWanted {
    /// For people.
    pub(crate) why: String,
}

/// Which process keeps a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeeperId {
    pub(crate) pid: i32,
    /// When it started, in the kernel's ticks since the machine did: process ids are used again.
    pub(crate) started: u64,
}

/// The directory of a job.
#[derive(Debug, Clone)]
pub(crate) struct Job(PathBuf);

impl Job {
    /// The job in a directory, which is there.
    pub(crate) fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The job of an attempt.
    pub(crate) fn of(rooms: &Rooms, attempt: &AttemptId) -> Self {
        Self(rooms.jobs().join(attempt.as_str()))
    }

    /// Writes down what a server gave. It is there whole or not at all; what is there already stays.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn create(rooms: &Rooms, claim: &Claim, lease: Lease) -> io::Result<Self> {
        let job = Self::of(rooms, &claim.claimed.attempt);
        if job.0.is_dir() {
            return Ok(job);
        }
        let jobs = rooms.jobs();
        let staged = tempfile::Builder::new().prefix(".new-").tempdir_in(&jobs)?;
        let new = Self(staged.path().to_owned());
        make_private(&new.spool())?;
        new.write("claim.json", claim)?;
        new.keep_lease(lease)?;
        fs::rename(staged.path(), &job.0)?;
        // It has moved: there is nothing left to remove at the old name.
        let _ = staged.keep();
        File::open(&jobs)?.sync_all()?;
        Ok(job)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What the server gave.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn claim(&self) -> Result<Claim, Problem> {
        let path = self.0.join("claim.json");
        let bytes = fs::read(&path).map_err(|refused| unkept(&path, &refused))?;
        serde_json::from_slice(&bytes).map_err(|bad| unkept(&path, &io::Error::from(bad)))
    }

    /// Where the event log and the logs of steps are, as in a directory of runs.
    pub(super) fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// Where what the keeper says of itself goes.
    pub(super) fn keeper_log(&self) -> PathBuf {
        self.0.join("keeper.log")
    }

    /// The lease as it was written last; one of an earlier start of the machine is long over.
    pub(super) fn lease(&self) -> Option<Lease> {
        let written: WrittenLease = self.read("lease.json")?;
        (written.boot == boot::id()).then_some(written.lease)
    }

    /// Writes the lease down, for the keeper and for the next runner.
    pub(super) fn keep_lease(&self, lease: Lease) -> io::Result<()> {
        self.write("lease.json", &WrittenLease { boot: boot::id().to_owned(), lease })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.read("ended.json")
    }

    /// Writes down how it ended.
    pub(super) fn end(&self, ended: &Ended) -> io::Result<()> {
        self.write("ended.json", ended)
    }

    /// That the server wants its end, if it does.
    pub(crate) fn wanted(&self) -> Option<CancelWanted> {
        self.read("wanted.json")
    }

    /// Writes down that the server wants its end.
    pub(super) fn want_end(&self, wanted: &CancelWanted) -> io::Result<()> {
        if self.wanted().is_some() { Ok(()) } else { self.write("wanted.json", wanted) }
    }

    /// Whether it was begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.join("began").exists()
    }

    /// Says that it begins. `false` where it was begun already.
    pub(super) fn begin(&self) -> io::Result<bool> {
        match File::create_new(self.0.join("began")) {
            Ok(_) => File::open(&self.0)?.sync_all().map(|()| true),
            Err(there) if there.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(refused) => Err(refused),
        }
    }

    /// Makes this process the keeper, as long as the file is open; `None` where another one is.
    pub(super) fn become_keeper(&self) -> io::Result<Option<File>> {
        let mut file =
            File::options().create(true).truncate(false).write(true).open(self.0.join("keeper"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(refused)) => return Err(refused),
            Ok(()) => {}
        }
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let started = start_time(pid).unwrap_or_default();
        file.set_len(0)?;
        writeln!(file, "{pid} {started}")?;
        Ok(Some(file))
    }

    /// Whether a keeper lives.
    pub(crate) fn is_kept(&self) -> bool {
        let opened = File::open(self.0.join("keeper"));
        opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The keeper that lives.
    pub(crate) fn keeper(&self) -> Option<KeeperId> {
        if !self.is_kept() {
            return None;
        }
        let text = fs::read_to_string(self.0.join("keeper")).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(KeeperId { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Removes all of it: the server has everything.
    pub(super) fn remove(&self) -> io::Result<()> {
        // By another name first: half a job would be adopted.
        let going = self.0.with_file_name(format!(".gone-{}", self.name()));
        fs::rename(&self.0, &going)?;
        fs::remove_dir_all(going)
    }

    /// Keeps it as a record only: what it did does not count, and its token is worth nothing.
    pub(super) fn retire(&self, rooms: &Rooms) -> io::Result<()> {
        match fs::remove_file(self.0.join("claim.json")) {
            Err(refused) if refused.kind() != io::ErrorKind::NotFound => return Err(refused),
            _ => {}
        }
        fs::rename(&self.0, rooms.records().join(self.name()))
    }

    fn name(&self) -> String {
        self.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        write_private(&self.0.join(name), &serde_json::to_vec(value)?)
    }
}

/// When a process started; `None` where it is gone.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have anything in it, also brackets and spaces. The time is the 20th field after it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> (tempfile::TempDir, Job) {
        let place = tempfile::tempdir().unwrap();
        let job = Job::at(place.path());
        (place, job)
    }

    #[test]
    fn a_job_is_begun_once_and_kept_by_one() {
        let (_place, job) = job();
        assert!(!job.has_begun() && !job.is_kept() && job.keeper().is_none());
        let held = job.become_keeper().unwrap().unwrap();
        assert!(job.become_keeper().unwrap().is_none() && job.is_kept());
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(job.keeper(), Some(KeeperId { pid, started: start_time(pid).unwrap() }));
        assert!(job.begin().unwrap() && !job.begin().unwrap() && job.has_begun());
        drop(held);
        assert!(!job.is_kept() && job.keeper().is_none());
    }

    #[test]
    fn a_lease_of_another_start_of_the_machine_is_none() {
        let (place, job) = job();
        job.keep_lease(Lease::new(5, 15_000)).unwrap();
        assert_eq!(job.lease(), Some(Lease::new(5, 15_000)));
        let path = place.path().join("lease.json");
        let text = fs::read_to_string(&path).unwrap().replace(boot::id(), "another");
        fs::write(&path, text).unwrap();
        assert_eq!(job.lease(), None);
    }

    #[test]
    fn only_the_first_wish_for_an_end_is_kept() {
        let (_place, job) = job();
        job.want_end(&CancelWanted { why: "first".into() }).unwrap();
        job.want_end(&CancelWanted { why: "second".into() }).unwrap();
        assert_eq!(job.wanted().unwrap().why, "first");
    }
}
