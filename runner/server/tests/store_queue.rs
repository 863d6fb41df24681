//! What a store promises about runs, jobs and attempts, whichever database is behind it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod queue_stage;

use std::collections::BTreeSet;

use queue_stage::{Stage, digest, failed, job_of, name, names, project_of};
use staith_model::{
    Blame, RunId,
    service::{
        AttemptEnd, AttemptOutcome, AttemptState, JobSpec, JobState, JobView, RunStanding, RunView, StopKind,
        Trust,
    },
};
use staith_server::store::{Actor, Claimable, Finished, RunFilter, StoreError};

async fn view(stage: &Stage, run: &RunId) -> RunView {
    stage.store().run(run.clone()).await.unwrap()
}

async fn job(stage: &Stage, run: &RunId, job: &str) -> JobView {
    view(stage, run).await.jobs.into_iter().find(|view| view.name.as_str() == job).unwrap()
}

async fn finish(
    stage: &Stage,
    given: &staith_server::store::Given,
    outcome: AttemptOutcome,
) -> Result<Finished, StoreError> {
    stage.store().finish(stage.finish(given, outcome), stage.now()).await
}

async fn lose(stage: &Stage, given: &staith_server::store::Given) -> Option<JobState> {
    let attempt = given.live.attempt.clone();
    stage
        .store()
        .give_up(attempt, AttemptEnd::RunnerLost, "not heard of".to_owned(), stage.now())
        .await
        .unwrap()
}

fn ada() -> Actor {
    Actor { who: "person:ada".to_owned(), from: None }
}

fn nothing(claimable: &Claimable) -> bool {
    matches!(claimable, Claimable::Nothing { .. })
}

#[tokio::test]
async fn the_same_question_gets_the_same_attempt() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    stage.add_one("shop").await;
    stage.add_one("shop").await;
    let (first, again) = (stage.given(&runner, "a").await, stage.given(&runner, "a").await);
    assert_eq!(
        (first.live.clone(), first.number, &first.spec_json),
        (again.live, again.number, &again.spec_json)
    );
    assert!(!first.again && again.again);
    let other = stage.given(&runner, "b").await;
    assert!(other.live.attempt != first.live.attempt && other.live.fence > first.live.fence);
    assert!(nothing(&stage.claim(&runner, "c").await));
    finish(&stage, &first, AttemptOutcome::Passed).await.unwrap();
    assert_eq!(stage.claim(&runner, "a").await, Claimable::Spent, "what ended is not given again");
}

#[tokio::test]
async fn a_runner_is_given_what_was_added() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage.run("shop", &[("run", &[])]);
    let added = run.jobs[0].spec.clone();
    stage.add(run).await;
    let given = stage.given(&runner, "a").await;
    let spec: JobSpec = serde_json::from_str(&given.spec_json).unwrap();
    assert_eq!(spec, JobSpec { number: 1, ..added });
    assert_eq!(spec.plan.digest(), spec.plan_digest, "the plan is the one whose digest people see");
}

#[tokio::test]
async fn ten_jobs_of_one_project_do_not_hold_up_another() {
    let stage = Stage::new();
    stage.project("busy");
    stage.project("quiet");
    let runner = stage.runner("r", "default", &[]);
    for _ in 0..10 {
        stage.add_one("busy").await;
    }
    stage.pass(1000);
    stage.add_one("quiet").await;
    let first = stage.given(&runner, "1").await;
    assert_eq!(project_of(&first), "busy", "none has a live attempt: it waited longest");
    assert_eq!(project_of(&stage.given(&runner, "2").await), "quiet");
    assert_eq!(project_of(&stage.given(&runner, "3").await), "busy");
}

#[tokio::test]
async fn priority_counts_within_a_project_and_time_within_a_priority() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let mut added = Vec::new();
    for priority in [0, 5, 0, 5] {
        let mut run = stage.run("shop", &[("run", &[])]);
        run.priority = priority;
        added.push(stage.add(run).await);
        stage.pass(10);
    }
    let mut given = Vec::new();
    for nonce in ["a", "b", "c", "d"] {
        let spec: JobSpec = serde_json::from_str(&stage.given(&runner, nonce).await.spec_json).unwrap();
        given.push(spec.run);
    }
    let order: Vec<usize> =
        given.iter().map(|run| added.iter().position(|other| other == run).unwrap()).collect();
    assert_eq!(order, [1, 3, 0, 2]);
}

#[tokio::test]
async fn pools_and_labels_are_kept_to_and_what_nobody_can_take_says_so() {
    let stage = Stage::new();
    stage.project("shop");
    let mut run = stage.run("shop", &[("gpu", &[]), ("plain", &[]), ("elsewhere", &[])]);
    run.jobs[0].labels = names(&["gpu", "linux"]);
    run.jobs[2].pool = name("big");
    let run = stage.add(run).await;
    let runner = stage.runner("build-1", "default", &["linux"]);
    assert_eq!(job_of(&stage.given(&runner, "a").await), "plain");
    assert!(nothing(&stage.claim(&runner, "b").await));
    let gpu = job(&stage, &run, "gpu").await;
    assert_eq!(gpu.unmet, names(&["gpu"]));
    assert!(gpu.why.clone().unwrap().contains("`build-1`, the nearest, lacks `gpu`"), "{gpu:?}");
    assert!(job(&stage, &run, "elsewhere").await.why.unwrap().contains("`big`"));
    let strong = stage.runner("build-2", "default", &["linux", "gpu", "arm"]);
    assert_eq!(
        (job(&stage, &run, "gpu").await.unmet, job(&stage, &run, "gpu").await.why),
        (BTreeSet::new(), None)
    );
    assert_eq!(job_of(&stage.given(&strong, "a").await), "gpu");
}

#[tokio::test]
async fn a_finish_counts_once_and_only_with_the_fence_that_counts() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage.add_one("shop").await;
    let given = stage.given(&runner, "a").await;
    let mut wrong = stage.finish(&given, AttemptOutcome::Passed);
    wrong.fence += 1;
    let refused = stage.store().finish(wrong, stage.now()).await;
    assert!(matches!(refused, Err(StoreError::StaleFence { .. })), "{refused:?}");
    let mut stranger = stage.finish(&given, AttemptOutcome::Passed);
    stranger.token = digest(&"0".repeat(26).parse().unwrap());
    assert_eq!(stage.store().finish(stranger, stage.now()).await.unwrap(), Finished::NotTheirs);
    assert_eq!(view(&stage, &run).await.run.state, RunStanding::Running);
    let with_streams = || {
        let mut finish = stage.finish(&given, AttemptOutcome::Passed);
        finish.streams = vec!["events".to_owned(), "log.build".to_owned()];
        let (store, now) = (stage.store(), stage.now());
        async move { store.finish(finish, now).await.unwrap() }
    };
    stage.closed(&given.live.attempt, "events");
    let unclosed = Finished::Unclosed(vec!["log.build".to_owned()]);
    assert_eq!(with_streams().await, unclosed, "what it wrote is waited for");
    stage.closed(&given.live.attempt, "log.build");
    assert_eq!(with_streams().await, Finished::Taken(JobState::Passed));
    assert_eq!(with_streams().await, Finished::Before);
    let other = finish(&stage, &given, AttemptOutcome::Cancelled).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    let view = view(&stage, &run).await;
    assert_eq!(
        (view.run.state, view.jobs[0].attempts[0].streams.as_slice()),
        (RunStanding::Passed, &["events".to_owned(), "log.build".to_owned()][..])
    );
}

#[tokio::test]
async fn what_was_given_up_has_no_effect_any_more() {
    let stage = Stage::new();
    stage.project("shop");
    let (one, two) = (stage.runner("one", "default", &[]), stage.runner("two", "default", &[]));
    let run = stage.add_one("shop").await;
    let lost = stage.given(&one, "a").await;
    assert_eq!(lose(&stage, &lost).await, Some(JobState::Queued));
    assert_eq!(lose(&stage, &lost).await, None, "it is given up once");
    let why = job(&stage, &run, "run").await.why.unwrap();
    assert!(why.contains("runner-lost") && why.contains("not heard of"), "{why}");
    let next = stage.given(&two, "a").await;
    assert!(next.live.fence > lost.live.fence && next.number == 2);
    let late = finish(&stage, &lost, AttemptOutcome::Passed).await;
    assert!(matches!(late, Err(StoreError::StaleFence { .. })), "{late:?}");
    let store = stage.store();
    let renewal = store.live(lost.live.attempt.clone(), digest(&lost.live.attempt), lost.live.fence).await;
    assert!(matches!(renewal, Err(StoreError::StaleFence { .. })));
    assert_eq!(
        store.who_has(&digest(&lost.live.attempt), stage.now()).await.unwrap(),
        None,
        "its token ended"
    );
    finish(&stage, &next, AttemptOutcome::Passed).await.unwrap();
    let attempts = job(&stage, &run, "run").await.attempts;
    let states: Vec<AttemptState> = attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Lost, AttemptState::Finished]);
    let why = attempts[0].why.as_deref().unwrap_or_default();
    assert!(why.contains("not heard of"), "what was given up says why, also when its job has passed: {why}");
}

#[tokio::test]
async fn a_job_is_tried_again_for_a_cause_and_not_for_ever() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage.add_one("shop").await;
    let ends = [failed(Blame::Environment), failed(Blame::Us), failed(Blame::Environment)];
    for (end, after) in ends.into_iter().zip([JobState::Queued, JobState::Queued, JobState::Failed]) {
        let given = stage.given(&runner, &format!("{}", stage.now())).await;
        assert_eq!(finish(&stage, &given, end).await.unwrap(), Finished::Taken(after));
        stage.pass(1);
    }
    let once = stage.add_one("shop").await;
    let given = stage.given(&runner, "once").await;
    let end = finish(&stage, &given, failed(Blame::Project)).await.unwrap();
    assert_eq!(end, Finished::Taken(JobState::Failed), "a test that fails is not run until it passes");
    assert_eq!(job(&stage, &run, "run").await.attempts.len(), 3);
    assert!(view(&stage, &once).await.jobs[0].why.as_ref().unwrap().contains("it broke"));
}

#[tokio::test]
async fn jobs_wait_for_those_that_they_need() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage
        .add(stage.run("shop", &[("build", &[]), ("deploy", &["test"]), ("lint", &[]), ("test", &["build"])]))
        .await;
    let build = stage.given(&runner, "1").await;
    let lint = stage.given(&runner, "2").await;
    assert_eq!((job_of(&build).as_str(), job_of(&lint).as_str()), ("build", "lint"));
    assert!(nothing(&stage.claim(&runner, "3").await));
    finish(&stage, &build, AttemptOutcome::Passed).await.unwrap();
    let test = stage.given(&runner, "4").await;
    assert_eq!(job_of(&test), "test");
    finish(&stage, &test, failed(Blame::Project)).await.unwrap();
    let skipped = job(&stage, &run, "deploy").await;
    assert_eq!(
        (skipped.state, skipped.why.as_deref()),
        (JobState::Skipped, Some("it needs `test`, which is failed"))
    );
    assert_eq!(view(&stage, &run).await.run.state, RunStanding::Running, "others go on");
    finish(&stage, &lint, AttemptOutcome::Passed).await.unwrap();
    assert_eq!(view(&stage, &run).await.run.state, RunStanding::Failed);
}

#[tokio::test]
async fn runs_of_a_group_take_turns() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let of_group = |trust: Trust, supersedes: bool| {
        let mut run = stage.run("shop", &[("run", &[])]);
        run.concurrency = Some("deploy".to_owned());
        run.supersedes = supersedes;
        run.jobs[0].spec.trust = trust;
        run
    };
    let first = stage.add(of_group(Trust::Protected, false)).await;
    let second = stage.add(of_group(Trust::Protected, false)).await;
    let at_work = stage.given(&runner, "1").await;
    assert!(nothing(&stage.claim(&runner, "2").await), "the second waits for its turn");
    assert!(view(&stage, &second).await.run.why.unwrap().contains("`deploy`"));

    let stranger = stage.add(of_group(Trust::Fork, true)).await;
    assert!(
        !view(&stage, &second).await.run.state.is_over(),
        "a stranger's run ends none of the project's own"
    );
    let given = stage.given(&runner, "3").await;
    finish(&stage, &given, AttemptOutcome::Passed).await.unwrap();
    assert_eq!(view(&stage, &stranger).await.run.state, RunStanding::Passed, "nor waits for one");

    let newest = stage.add(of_group(Trust::Protected, true)).await;
    let superseded = view(&stage, &second).await;
    assert_eq!(superseded.run.state, RunStanding::Cancelled);
    assert!(superseded.run.why.unwrap().contains("superseded by run 4"));
    let live = stage
        .store()
        .live(at_work.live.attempt.clone(), digest(&at_work.live.attempt), at_work.live.fence)
        .await;
    let (kind, why) = live.unwrap().unwrap().stop.unwrap();
    assert!(kind == StopKind::Cancel && why.contains("superseded"), "the one at work is asked to end: {why}");
    assert!(nothing(&stage.claim(&runner, "4").await), "the newest waits until it has");
    finish(&stage, &at_work, AttemptOutcome::Cancelled).await.unwrap();
    assert_eq!(view(&stage, &first).await.run.state, RunStanding::Cancelled);
    let spec: JobSpec = serde_json::from_str(&stage.given(&runner, "5").await.spec_json).unwrap();
    assert_eq!(spec.run, newest);
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_where_nobody_works_and_is_never_tried_again() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage.add(stage.run("shop", &[("a", &[]), ("b", &[]), ("c", &["a"])])).await;
    let given = stage.given(&runner, "1").await;
    let store = stage.store();
    let asked = store.cancel_run(run.clone(), ada(), "not wanted".to_owned(), stage.now()).await.unwrap();
    assert_eq!(asked, std::slice::from_ref(&given.live.attempt));
    let states: Vec<JobState> = view(&stage, &run).await.jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Leased, JobState::Cancelled, JobState::Cancelled]);
    assert_eq!(
        lose(&stage, &given).await,
        Some(JobState::Cancelled),
        "a lost host is no reason to begin again"
    );
    let ended = view(&stage, &run).await.run;
    assert_eq!((ended.state, ended.why.as_deref()), (RunStanding::Cancelled, Some("not wanted")));
    assert!(store.cancel_run(run, ada(), "again".to_owned(), stage.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_finish_and_a_cancel_that_cross_leave_one_end() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run = stage.add_one("shop").await;
    let given = stage.given(&runner, "1").await;
    stage.store().cancel_run(run.clone(), ada(), "late".to_owned(), stage.now()).await.unwrap();
    assert_eq!(
        finish(&stage, &given, AttemptOutcome::Passed).await.unwrap(),
        Finished::Taken(JobState::Passed)
    );
    let ended = view(&stage, &run).await.run;
    assert_eq!((ended.state, ended.why), (RunStanding::Passed, None), "it had passed when the wish came");
}

#[tokio::test]
async fn a_retry_makes_new_attempts_beside_the_old_ones() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let run =
        stage.add(stage.run("shop", &[("build", &[]), ("test", &["build"]), ("ship", &["test"])])).await;
    let build = stage.given(&runner, "1").await;
    finish(&stage, &build, AttemptOutcome::Passed).await.unwrap();
    let too_early = stage.store().retry_run(run.clone(), ada(), stage.now()).await;
    assert!(matches!(too_early, Err(StoreError::Conflict(_))));
    let test = stage.given(&runner, "2").await;
    finish(&stage, &test, failed(Blame::Project)).await.unwrap();
    stage.store().retry_run(run.clone(), ada(), stage.now()).await.unwrap();
    assert_eq!(view(&stage, &run).await.run.ended, None);
    let again = stage.given(&runner, "3").await;
    assert_eq!((job_of(&again).as_str(), again.number), ("test", 2), "what passed is not done again");
    finish(&stage, &again, AttemptOutcome::Passed).await.unwrap();
    let ship = stage.given(&runner, "4").await;
    finish(&stage, &ship, AttemptOutcome::Passed).await.unwrap();
    assert_eq!(view(&stage, &run).await.run.state, RunStanding::Passed);
    let tried = job(&stage, &run, "test").await.attempts;
    assert_eq!(tried.len(), 2);
    assert_eq!(tried[0].outcome, Some(failed(Blame::Project)), "the first one is as it was");
    assert!(matches!(stage.store().retry_run(run, ada(), stage.now()).await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn runs_are_listed_page_by_page_while_others_are_added() {
    let stage = Stage::new();
    stage.project("shop");
    stage.project("blog");
    let mut added = Vec::new();
    for round in 0..25 {
        added.push(stage.add_one(if round % 5 == 0 { "blog" } else { "shop" }).await);
        stage.pass(1);
    }
    let mut filter = RunFilter { project: Some(name("shop")), limit: 7, ..RunFilter::default() };
    let mut listed = Vec::new();
    loop {
        let page = stage.store().runs(filter.clone()).await.unwrap();
        listed.extend(page.runs.iter().map(|run| run.id.clone()));
        stage.add_one("shop").await;
        stage.pass(1);
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    let expected: Vec<RunId> =
        (0..25).rev().filter(|round| round % 5 != 0).map(|round| added[round].clone()).collect();
    assert_eq!(listed, expected);
    let filter = RunFilter { state: Some(RunStanding::Passed), limit: 7, ..RunFilter::default() };
    assert!(stage.store().runs(filter).await.unwrap().runs.is_empty());
}

#[tokio::test]
async fn jobs_that_make_no_sense_together_are_refused_whole() {
    let stage = Stage::new();
    stage.project("shop");
    let circle = stage.run("shop", &[("a", &["b"]), ("b", &["a"])]);
    let id = circle.id.clone();
    assert!(matches!(stage.store().add_run(circle, stage.now()).await, Err(StoreError::Conflict(_))));
    assert!(matches!(stage.store().run(id).await, Err(StoreError::Unknown { .. })));
    let mut mixed = stage.run("shop", &[("a", &[]), ("b", &[])]);
    mixed.jobs[1].spec.trust = Trust::Protected;
    assert!(matches!(stage.store().add_run(mixed, stage.now()).await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn a_host_for_one_job_gets_one() {
    let stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    stage.raw(|connection| connection.execute("UPDATE runners SET ephemeral = 1", []));
    stage.add_one("shop").await;
    stage.add_one("shop").await;
    let given = stage.given(&runner, "1").await;
    assert!(nothing(&stage.claim(&runner, "2").await));
    assert!(stage.given(&runner, "1").await.again);
    finish(&stage, &given, AttemptOutcome::Passed).await.unwrap();
    let state: String =
        stage.raw(|connection| connection.query_row("SELECT state FROM runners", [], |row| row.get(0)));
    assert_eq!(state, "revoked");
}

#[tokio::test]
async fn a_damaged_row_stops_nobody_else() {
    let stage = Stage::new();
    stage.project("blog");
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    let bad = stage.add_one("blog").await;
    stage.add_one("shop").await;
    stage.raw(|connection| {
        connection.execute("UPDATE jobs SET labels_json = '42' WHERE run = ?1", [bad.as_str()])
    });
    assert_eq!(project_of(&stage.given(&runner, "1").await), "shop");
    let told = stage.store().run(bad).await;
    assert!(matches!(told, Err(StoreError::Damaged { table: "jobs", .. })), "{told:?}");
}

/// Twenty tasks at once want twelve jobs, on a real database with its one writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_race_for_jobs_gives_each_to_one() {
    let stage = std::sync::Arc::new(Stage::new());
    stage.project("shop");
    for _ in 0..12 {
        stage.add_one("shop").await;
    }
    let runners: Vec<_> = (0..20).map(|number| stage.runner(&format!("r{number}"), "default", &[])).collect();
    let racing: Vec<_> = runners
        .into_iter()
        .map(|runner| {
            let stage = std::sync::Arc::clone(&stage);
            tokio::spawn(async move { stage.claim(&runner, "same").await })
        })
        .collect();
    let (mut runs, mut fences, mut without) = (BTreeSet::new(), BTreeSet::new(), 0);
    for racer in racing {
        match racer.await.unwrap() {
            Claimable::Given(given) => {
                let spec: JobSpec = serde_json::from_str(&given.spec_json).unwrap();
                assert!(runs.insert(spec.run.to_string()), "a job was given twice");
                assert!(fences.insert(given.live.fence));
            }
            Claimable::Nothing { .. } => without += 1,
            Claimable::Spent => panic!("nothing had ended"),
        }
    }
    assert_eq!((runs.len(), without), (12, 8));
}

#[tokio::test]
async fn a_server_that_starts_again_knows_who_works_and_gives_higher_fences() {
    let mut stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    stage.add_one("shop").await;
    stage.add_one("shop").await;
    let first = stage.given(&runner, "1").await;
    stage.stop();
    stage.start();
    assert_eq!(stage.store().all_live().await.unwrap(), std::slice::from_ref(&first.live));
    assert_eq!(stage.given(&runner, "1").await.live, first.live);
    let second = stage.given(&runner, "2").await;
    assert!(second.live.fence > first.live.fence);
    finish(&stage, &first, AttemptOutcome::Passed).await.unwrap();
}
