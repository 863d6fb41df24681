//! What must hold afterwards, asked of the database.

use std::{collections::BTreeMap, fmt::Write as _};

use staith_model::{
    AttemptId, Blame,
    service::{AttemptOutcome, AttemptState, JobState, MOST_RETRIES, RunStanding},
};
use staith_server::queue::leases::LEASE;

use crate::world::{STEP, World};

struct Job {
    run: String,
    name: String,
    state: JobState,
    tries: Vec<Try>,
}

struct Try {
    id: AttemptId,
    number: u32,
    fence: u64,
    state: AttemptState,
    outcome: Option<AttemptOutcome>,
    why: Option<String>,
    began: u64,
    ended: u64,
}

pub(crate) fn all(world: &World) {
    let jobs = jobs(world);
    nothing_is_lost(world, &jobs);
    for job in &jobs {
        assert!(job.state.is_over(), "{}/{} is {}", job.run, job.name, job.state);
        no_job_passes_twice(job);
        each_try_has_a_cause(job, &retried(world, &job.run));
    }
    runs_are_what_their_jobs_are(world, &jobs);
    what_was_acknowledged_is_so(world, &jobs);
    hosts_are_lost_in_time(world, &jobs);
    the_audit_log_is_a_chain(world);
    something_happened(&jobs);
}

fn nothing_is_lost(world: &World, jobs: &[Job]) {
    for (run, count) in &world.heard.added {
        assert_eq!(jobs.iter().filter(|job| job.run == run.as_str()).count(), *count, "{run}");
    }
}

fn no_job_passes_twice(job: &Job) {
    let passed = job.tries.iter().filter(|one| one.outcome == Some(AttemptOutcome::Passed)).count();
    assert_eq!(passed, usize::from(job.state == JobState::Passed), "{}/{}", job.run, job.name);
    for (place, one) in job.tries.iter().enumerate() {
        assert_eq!(one.number as usize, place + 1, "{}/{}: a try is missing", job.run, job.name);
        assert_ne!(one.state, AttemptState::Leased);
    }
    for pair in job.tries.windows(2) {
        assert!(pair[0].fence < pair[1].fence, "a later try has a higher fence");
        assert!(pair[0].ended <= pair[1].began, "two tries of {}/{} at once", job.run, job.name);
    }
}

fn each_try_has_a_cause(job: &Job, retried: &[u64]) {
    let mut by_itself = 0;
    for pair in job.tries.windows(2) {
        if retried.iter().any(|at| (pair[0].ended..=pair[1].began).contains(at)) {
            by_itself = 0;
            continue;
        }
        by_itself += 1;
        let ours = matches!(
            pair[0].outcome,
            Some(AttemptOutcome::Failed { blame: Blame::Environment | Blame::Us, .. })
        );
        assert!(
            ours || pair[0].state == AttemptState::Lost,
            "{}/{} was tried again without a cause",
            job.run,
            job.name
        );
        let told = pair[0].outcome.is_some() || pair[0].why.is_some();
        assert!(told, "{}/{} was tried again, and nobody knows why", job.run, job.name);
        assert!(by_itself <= MOST_RETRIES, "{}/{} was tried too often", job.run, job.name);
    }
}

fn runs_are_what_their_jobs_are(world: &World, jobs: &[Job]) {
    let runs: BTreeMap<String, String> = world.stage.raw(|db| {
        let mut statement = db.prepare("SELECT id, state FROM runs")?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    });
    for (run, state) in runs {
        let fold = RunStanding::of(jobs.iter().filter(|job| job.run == run).map(|job| job.state));
        assert_eq!(state, fold.as_str(), "{run}");
    }
}

fn what_was_acknowledged_is_so(world: &World, jobs: &[Job]) {
    let tries: BTreeMap<&AttemptId, &Try> =
        jobs.iter().flat_map(|job| &job.tries).map(|one| (&one.id, one)).collect();
    for (attempt, outcome) in &world.heard.acknowledged {
        assert_eq!(tries[attempt].outcome.as_ref(), Some(outcome), "{attempt}");
    }
}

/// Not before the lease is over, and not later than a look after it.
fn hosts_are_lost_in_time(world: &World, jobs: &[Job]) {
    let lease = u64::try_from(LEASE.as_millis()).unwrap();
    for one in jobs.iter().flat_map(|job| &job.tries) {
        let unheard = one.state == AttemptState::Lost
            && one.why.as_deref().is_some_and(|why| why.contains("not heard of"));
        if unheard {
            let started = world.heard.starts.iter().filter(|start| **start <= one.ended).max().unwrap();
            let silent = one.ended - world.heard.last(&one.id).max(*started);
            assert!((lease..=lease + STEP).contains(&silent), "lost after {silent} ms of silence");
        }
    }
}

fn the_audit_log_is_a_chain(world: &World) {
    let broken: u64 = world.stage.raw(|db| {
        db.query_row(
            "SELECT count(*) FROM audit a LEFT JOIN audit b ON b.seq = a.seq - 1 WHERE a.previous <> coalesce(b.hash, '')",
            [],
            |row| row.get(0),
        )
    });
    assert_eq!(broken, 0);
}

/// A storm in which nothing went wrong would show nothing.
fn something_happened(jobs: &[Job]) {
    let tries = || jobs.iter().flat_map(|job| &job.tries);
    assert!(tries().any(|one| one.state == AttemptState::Lost));
    assert!(jobs.iter().any(|job| job.tries.len() > 1));
    for state in [JobState::Passed, JobState::Failed, JobState::Cancelled, JobState::Skipped] {
        assert!(jobs.iter().any(|job| job.state == state), "no job is {state}");
    }
}

/// Every try, in the order in which they were given away, without what is by chance.
pub(crate) fn trace(world: &World) -> String {
    let mut told = String::new();
    for job in jobs(world) {
        writeln!(told, "{}/{} {}", job.run, job.name, job.state).unwrap();
        for one in job.tries {
            writeln!(
                told,
                "  {} {} {} {}..{} {:?}",
                one.number, one.fence, one.state, one.began, one.ended, one.why
            )
            .unwrap();
        }
    }
    told
}

fn retried(world: &World, run: &str) -> Vec<u64> {
    world.stage.raw(|db| {
        let mut statement = db.prepare("SELECT at FROM audit WHERE what = 'run-retried' AND subject = ?1")?;
        statement.query_map([format!("run {run}")], |row| row.get(0))?.collect()
    })
}

fn jobs(world: &World) -> Vec<Job> {
    world.stage.raw(|db| {
        let mut statement = db.prepare("SELECT run, name, state FROM jobs ORDER BY run, name")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        rows.map(|row| {
            let (run, name, state) = row?;
            let tries = tries(db, &run, &name)?;
            Ok(Job { run, name, state: state.parse().unwrap(), tries })
        })
        .collect()
    })
}

fn tries(db: &rusqlite::Connection, run: &str, job: &str) -> rusqlite::Result<Vec<Try>> {
    let mut statement = db.prepare_cached(
        "SELECT id, number, fence, state, outcome_json, why, began, coalesce(ended, 0) FROM attempts
         WHERE run = ?1 AND job = ?2 ORDER BY number",
    )?;
    let rows = statement.query_map([run, job], |row| {
        Ok(Try {
            id: row.get::<_, String>(0)?.parse().unwrap(),
            number: row.get(1)?,
            fence: row.get(2)?,
            state: row.get::<_, String>(3)?.parse().unwrap(),
            outcome: row.get::<_, Option<String>>(4)?.map(|json| serde_json::from_str(&json).unwrap()),
            why: row.get(5)?,
            began: row.get(6)?,
            ended: row.get(7)?,
        })
    })?;
    rows.collect()
}
