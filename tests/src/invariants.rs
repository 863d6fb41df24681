//! What must hold of a server and its hosts once the faults are over, whatever they were.
//!
//! The numbers are those of the design. I-6 is about releases, and is checked where there are some: [`serve_one_release`]. I-12 is, for
//! processes, that all attempts at the same that passed did the same; that the same seed gives the same course is the simulation's, in
//! `runner/server/tests/queue_simulation`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use staith_model::{
    Blame, Digest, Event, RunState,
    service::{AttemptOutcome, AttemptState, JobState, MOST_RETRIES, RunStanding, StopKind},
};

use crate::{
    build_host::BuildHost,
    forge::{Forge, TOKEN},
    leavings::{processes_with, wait_until_nothing_is_half_made, wait_until_nothing_is_held},
    served::Served,
    traces::{Same, trace},
    wait,
    world::World,
};

/// What a server may take of memory, in KiB.
const MEMORY: u64 = 150 << 10;

/// A job with its attempts, as the server has kept it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Of which run.
    pub run: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: JobState,
    /// All attempts at it, the first one first.
    pub attempts: Vec<Attempt>,
}

/// An attempt at a job.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which.
    pub id: String,
    /// The how manieth at its job.
    pub number: u32,
    /// Its fence.
    pub fence: u64,
    /// How it stands.
    pub state: AttemptState,
    /// What its runner said of its end.
    pub outcome: Option<AttemptOutcome>,
    /// Why the server wanted it to end, if it did.
    pub stop: Option<StopKind>,
    /// Why it was to end, or was given up.
    pub why: Option<String>,
    /// When it was given away, in milliseconds since 1970.
    pub began: u64,
    /// When it ended; 0 as long as it has not.
    pub ended: u64,
}

impl Job {
    fn is(&self) -> String {
        format!("{}/{}", self.run, self.name)
    }
}

/// Waits until all jobs are over and nothing is left on the hosts, then checks everything. `arrivals` are those that the server
/// acknowledged. What it kept is given back, for what the scenario itself is about.
///
/// # Panics
/// Something does not hold.
pub fn hold(
    world: &World,
    server: &Served,
    hosts: &[&BuildHost],
    arrivals: &[String],
    forge: &Forge,
) -> Vec<Job> {
    let database = server.data.join("staith.db");
    // A question that a server died of may still come to a run: it is settled when the server begins again.
    let settled = wait::until("[I-3] all jobs are over", || {
        let is_quiet = !has_waiting_arrivals(&database);
        let runs = runs(&database);
        let all_over = runs.values().all(|run| run.is_over());
        (is_quiet && all_over && jobs(&database).iter().all(|job| job.state.is_over())).then_some(runs)
    });
    hosts.iter().for_each(|host| nothing_is_left(world, host));
    let mut jobs = jobs(&database);
    jobs.retain(|job| settled.contains_key(&job.run));
    nothing_acknowledged_is_lost(&database, arrivals);
    for job in &jobs {
        one_attempt_at_a_time(job);
        ends_are_the_last_attempts(job);
        retries_have_causes(job);
    }
    runs_are_what_their_jobs_are(&jobs, &settled);
    streams_are_whole(server, &jobs);
    forges_know(&database, forge);
    everything_is_audited(world, server, &jobs);
    secrets_are_nowhere(server, hosts);
    let memory = most_memory(server.id());
    assert!(memory <= MEMORY, "[I-10] the server has taken {memory} KiB");
    jobs
}

fn open(database: &Path) -> Connection {
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    database
}

/// All jobs that a server has kept.
///
/// # Panics
/// There is no such database.
pub fn jobs(database: &Path) -> Vec<Job> {
    let database = open(database);
    let mut jobs: BTreeMap<(String, String), Job> = BTreeMap::new();
    let mut all = database.prepare("SELECT run, name, state FROM jobs").unwrap();
    let mut rows = all.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (run, name): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let state = row.get::<_, String>(2).unwrap().parse().unwrap();
        jobs.insert((run.clone(), name.clone()), Job { run, name, state, attempts: Vec::new() });
    }
    let all = "SELECT run, job, id, number, fence, state, outcome_json, why, began, coalesce(ended, 0), stop FROM attempts
               ORDER BY number";
    let mut all = database.prepare(all).unwrap();
    let mut rows = all.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let outcome: Option<String> = row.get(6).unwrap();
        let attempt = Attempt {
            id: row.get(2).unwrap(),
            number: row.get(3).unwrap(),
            fence: row.get(4).unwrap(),
            state: row.get::<_, String>(5).unwrap().parse().unwrap(),
            outcome: outcome.map(|json| serde_json::from_str(&json).unwrap()),
            stop: row.get::<_, Option<String>>(10).unwrap().map(|stop| stop.parse().unwrap()),
            why: row.get(7).unwrap(),
            began: row.get(8).unwrap(),
            ended: row.get(9).unwrap(),
        };
        jobs.get_mut(&(row.get(0).unwrap(), row.get(1).unwrap())).unwrap().attempts.push(attempt);
    }
    jobs.into_values().collect()
}

fn has_waiting_arrivals(database: &Path) -> bool {
    let waiting = "SELECT count(*) FROM arrivals WHERE state = 'waiting'";
    open(database).query_row(waiting, [], |row| row.get::<_, u64>(0)).unwrap() > 0
}

fn runs(database: &Path) -> BTreeMap<String, RunStanding> {
    let database = open(database);
    let mut all = database.prepare("SELECT id, state FROM runs").unwrap();
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.parse().unwrap()))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// I-1: what was acknowledged is there, and came to something.
fn nothing_acknowledged_is_lost(database: &Path, arrivals: &[String]) {
    let database = open(database);
    let mut found = database
        .prepare("SELECT a.state, count(r.id) FROM arrivals a LEFT JOIN runs r ON r.arrival = a.id WHERE a.id = ?1 GROUP BY a.id")
        .unwrap();
    for arrival in arrivals {
        // A server that ended in between settles it when it begins again.
        wait::until(&format!("[I-1] {arrival}, which was acknowledged, has come to a run"), || {
            let row = found.query_row([arrival], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)));
            let (state, runs) = row.unwrap_or_else(|lost| panic!("[I-1] {arrival} was acknowledged: {lost}"));
            assert!(runs <= 1, "[I-1] {arrival} has come to {runs} runs");
            (state == "done" && runs == 1).then_some(())
        });
    }
}

/// I-2: at most one attempt counts, and a later one has a higher fence.
fn one_attempt_at_a_time(job: &Job) {
    for (place, one) in job.attempts.iter().enumerate() {
        assert_eq!(one.number as usize, place + 1, "[I-2] {}: an attempt is missing", job.is());
    }
    for pair in job.attempts.windows(2) {
        assert!(pair[0].fence < pair[1].fence, "[I-2] {}: {pair:?}", job.is());
        assert!(pair[0].ended <= pair[1].began, "[I-2] two attempts of {} at once: {pair:?}", job.is());
    }
    let passed = job.attempts.iter().filter(|one| one.outcome == Some(AttemptOutcome::Passed)).count();
    assert_eq!(passed, usize::from(job.state == JobState::Passed), "[I-2] {}: {:?}", job.is(), job.attempts);
}

/// I-3, I-4: each is over, and the job is what its last attempt was.
fn ends_are_the_last_attempts(job: &Job) {
    for one in &job.attempts {
        assert_ne!(one.state, AttemptState::Leased, "[I-3] an attempt of {} goes on", job.is());
        assert_eq!(one.outcome.is_some(), one.state == AttemptState::Finished, "[I-4] {one:?}");
        assert!(one.ended >= one.began, "[I-4] {one:?}");
    }
    let last = job.attempts.last().and_then(|one| one.outcome.as_ref());
    if job.state == JobState::Passed {
        assert_eq!(last, Some(&AttemptOutcome::Passed), "[I-4] {}", job.is());
    }
}

/// Each attempt after the first has a cause, and there are not too many.
fn retries_have_causes(job: &Job) {
    for pair in job.attempts.windows(2) {
        let outcome = &pair[0].outcome;
        let ours =
            matches!(outcome, Some(AttemptOutcome::Failed { blame: Blame::Environment | Blame::Us, .. }));
        let told = outcome.is_some() || pair[0].why.is_some();
        assert!(
            told && (ours || pair[0].state == AttemptState::Lost),
            "{} was tried again: {pair:?}",
            job.is()
        );
    }
    assert!(job.attempts.len() <= MOST_RETRIES as usize + 1, "{} was tried too often", job.is());
}

/// I-4: the states of runs are folds.
fn runs_are_what_their_jobs_are(jobs: &[Job], runs: &BTreeMap<String, RunStanding>) {
    for (run, state) in runs {
        let fold = RunStanding::of(jobs.iter().filter(|job| job.run == *run).map(|job| job.state));
        assert_eq!(*state, fold, "[I-4] {run}");
    }
}

/// I-5: each stream of an attempt that counts is closed, and has the bytes of its digest. The events in it are possible in this order.
fn streams_are_whole(server: &Served, jobs: &[Job]) {
    let database = open(&server.data.join("staith.db"));
    let mut all = database.prepare("SELECT name, length, digest FROM streams WHERE attempt = ?1").unwrap();
    let mut traces: BTreeMap<(String, Same), Vec<String>> = BTreeMap::new();
    let attempts = jobs.iter().flat_map(|job| job.attempts.iter().map(move |attempt| (job, attempt)));
    for (job, attempt) in attempts {
        let rows = all.query_map([&attempt.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let streams: Vec<(String, u64, Option<String>)> = rows.map(Result::unwrap).collect();
        let place = server.data.join("streams").join(&job.run).join(&attempt.id);
        for (name, length, digest) in &streams {
            let is_lost = attempt.state == AttemptState::Lost;
            let Some(digest) = digest else {
                assert!(is_lost, "[I-5] `{name}` of {attempt:?} is not closed");
                continue;
            };
            let bytes = fs::read(place.join(name)).unwrap();
            assert_eq!(
                (bytes.len() as u64, &Digest::of(&bytes).to_string()),
                (*length, digest),
                "[I-5] {name}"
            );
            if name == "events" {
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let events: Vec<Event> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
                RunState::replay(&events).unwrap_or_else(|bad| panic!("[I-4] {attempt:?}: {bad}"));
                if attempt.outcome == Some(AttemptOutcome::Passed) {
                    does_as_others_did(&mut traces, &job.name, &events);
                }
            }
        }
        let has_passed = attempt.outcome == Some(AttemptOutcome::Passed);
        assert!(!has_passed || streams.iter().any(|(name, ..)| name == "events"), "[I-5] {attempt:?}");
    }
}

/// I-12: who did the same before did it in the same way.
fn does_as_others_did(traces: &mut BTreeMap<(String, Same), Vec<String>>, job: &str, events: &[Event]) {
    let (same, trace) = trace(events).expect("[I-12] what has passed has begun");
    let before = traces.entry((job.to_owned(), same)).or_insert_with(|| trace.clone());
    assert_eq!(*before, trace, "[I-12] two attempts at one plan went differently");
}

/// I-11: the forge has heard of each run what it came to.
fn forges_know(database: &Path, forge: &Forge) {
    let database = open(database);
    let mut all = database.prepare("SELECT number, state FROM runs").unwrap();
    let rows = all.query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))).unwrap();
    for (number, state) in rows.map(Result::unwrap) {
        let expected = match state.parse().unwrap() {
            RunStanding::Passed => "success",
            RunStanding::Failed => "failure",
            RunStanding::Cancelled => "error",
            RunStanding::Waiting | RunStanding::Running => "pending",
        };
        wait::until(&format!("[I-11] the forge knows that run {number} has {state}"), || {
            (forge.heard_of(number).as_deref() == Some(expected)).then_some(())
        });
    }
}

/// I-6: the folder of a machine has the release that was deployed there last, whole: each file has these bytes, and nothing else is there
/// but what the machine's own program keeps.
///
/// # Panics
/// It has another one, or a mix.
pub fn serve_one_release(folder: &Path, files: &[(&str, &[u8])]) {
    let current = fs::canonicalize(folder.join("current"))
        .unwrap_or_else(|none| panic!("[I-6] {}: {none}", folder.display()));
    assert!(
        current.starts_with(fs::canonicalize(folder).unwrap().join("releases")),
        "[I-6] {}",
        current.display()
    );
    let mut there: Vec<String> = fs::read_dir(&current)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.retain(|name| !name.starts_with('.'));
    there.sort();
    assert_eq!(there, files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "[I-6] {}", current.display());
    for (name, bytes) in files {
        let found = fs::read(current.join(name)).unwrap();
        assert!(found == *bytes, "[I-6] `{name}` of {} is of another release", current.display());
    }
}

/// I-7: no keeper, no process of a step, no mount, no control group, no job, and nothing half-made.
fn nothing_is_left(world: &World, host: &BuildHost) {
    let home = host.home().display().to_string();
    wait::until(&format!("[I-7] no job is left in {home}"), || host.jobs().is_empty().then_some(()));
    wait::until(&format!("[I-7] no process is left of {home}"), || {
        (processes_with(&home) == 0).then_some(())
    });
    wait::until(&format!("[I-7] no mount is left in {home}"), || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mounts = processes.map(|process| process.path().join("mountinfo"));
        let any = mounts.into_iter().any(|at| fs::read_to_string(at).unwrap_or_default().contains(&home));
        (!any).then_some(())
    });
    wait_until_nothing_is_held(&host.processes());
    wait_until_nothing_is_half_made(world, host.home());
}

/// I-8: the log of what was changed is a chain, and has each run, the beginning and the end of each attempt, and each wish for an end.
fn everything_is_audited(world: &World, server: &Served, jobs: &[Job]) {
    let data = &server.data;
    world.staith(&["server", "audit", "verify", "--data", &data.display().to_string()]).exits(0);
    let noted = Noted(open(&data.join("staith.db")));
    for job in jobs {
        let run = format!("run {}", job.run);
        assert_eq!(noted.of(&run, "run-added").len(), 1, "[I-8] {run}");
        let claims = noted.of(&format!("job {}", job.is()), "job-claimed");
        assert_eq!(claims.len(), job.attempts.len(), "[I-8] claims of {}", job.is());
        let was_cancelled = !noted.of(&run, "run-cancelled").is_empty();
        let ended_itself =
            job.attempts.last().is_some_and(|last| last.outcome == Some(AttemptOutcome::Cancelled));
        assert!(job.state != JobState::Cancelled || was_cancelled || ended_itself, "[I-8] {job:?}");
        for (place, attempt) in job.attempts.iter().enumerate() {
            let is_wanted = attempt.stop != Some(StopKind::Cancel) || was_cancelled;
            assert!(is_wanted, "[I-8] nobody is noted who cancelled {attempt:?}");
            let goes_on = place + 1 < job.attempts.len();
            the_end_is_audited(&noted, attempt, claims.get(place), goes_on);
        }
    }
    // Nothing more is noted than has happened.
    let attempts = jobs.iter().map(|job| job.attempts.len()).sum::<usize>();
    assert_eq!(noted.in_all("job-claimed"), attempts, "[I-8] claims");
    let ends = noted.in_all("attempt-finished") + noted.in_all("attempt-given-up");
    assert_eq!(ends, attempts, "[I-8] ends");
}

/// I-8, of an attempt: its claim with its fence, the end that it had, with its reason, and that it was to end, where it took too long.
/// Where the job was tried again, that is said with the end which the server has decided on by itself.
fn the_end_is_audited(noted: &Noted, attempt: &Attempt, claim: Option<&serde_json::Value>, goes_on: bool) {
    let told = serde_json::json!({ "attempt": attempt.id, "fence": attempt.fence });
    assert_eq!(claim, Some(&told), "[I-8] {attempt:?}");
    let subject = format!("attempt {}", attempt.id);
    let took_too_long = attempt.stop == Some(StopKind::TimeOut);
    let asked = noted.of(&subject, "attempt-to-end");
    assert_eq!(asked.len(), usize::from(took_too_long), "[I-8] {attempt:?}");
    let (finished, given_up) =
        (noted.of(&subject, "attempt-finished"), noted.of(&subject, "attempt-given-up"));
    match attempt.state {
        AttemptState::Finished => {
            let outcome = serde_json::to_value(&attempt.outcome).unwrap();
            assert_eq!((finished, given_up.len()), (vec![outcome], 0), "[I-8] {attempt:?}");
        }
        AttemptState::Lost => {
            assert_eq!((finished.len(), given_up.len()), (0, 1), "[I-8] {attempt:?}");
            assert_eq!(given_up[0]["why"].as_str(), attempt.why.as_deref(), "[I-8] {attempt:?}");
            assert!(!goes_on || given_up[0]["job"] == "queued", "[I-8] {attempt:?}: {}", given_up[0]);
        }
        AttemptState::Leased => {}
    }
}

/// What a server has noted of changes.
struct Noted(Connection);

impl Noted {
    /// What came of each such change of this subject, the first one first.
    fn of(&self, subject: &str, what: &str) -> Vec<serde_json::Value> {
        let all = "SELECT coalesce(after, 'null') FROM audit WHERE subject = ?1 AND what = ?2 ORDER BY seq";
        let mut all = self.0.prepare_cached(all).unwrap();
        let rows = all.query_map([subject, what], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|after| serde_json::from_str(&after.unwrap()).unwrap()).collect()
    }

    fn in_all(&self, what: &str) -> usize {
        self.0.query_row("SELECT count(*) FROM audit WHERE what = ?1", [what], |row| row.get(0)).unwrap()
    }
}

/// A project's secret that its steps read, and say aloud.
pub const SECRET: &str = "word-of-the-shop-that-no-log-has";

/// I-9: the administrator's token is in its file only; the one that the forge knows, and the secret that steps say aloud, are nowhere in
/// clear text.
fn secrets_are_nowhere(server: &Served, hosts: &[&BuildHost]) {
    let mut open: Vec<PathBuf> = hosts.iter().map(|host| host.home().to_owned()).collect();
    open.push(server.data.clone());
    let secrets = [server.admin.as_str(), TOKEN, SECRET];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && entry.file_name() != "admin.token" {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                let found = secrets.iter().any(|secret| text.contains(secret));
                assert!(!found, "[I-9] a token is in {}", entry.path().display());
            }
        }
    }
}

/// The most memory that a process has had, in KiB; 0 where it is gone.
///
/// # Panics
/// The kernel says something else than before.
pub fn most_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.split_whitespace().next().unwrap().parse().unwrap())
}
