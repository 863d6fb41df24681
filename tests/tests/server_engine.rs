//! Container engines that are killed under a job of a server's (the design's faults F41 and F42). Needs root, `docker.io` and nftables, which
//! tests/run installs; says so and checks nothing where network namespaces can't be made.

use staith_model::{
    Blame,
    service::{AttemptOutcome, AttemptState, JobState},
};
use staith_tests::{
    container_engine::ContainerEngine,
    invariants::Job,
    scene::{Scene, all},
};

/// The image of the tests' own engines, and a step that writes a line every tenth of a second.
fn talks(lines: u32) -> String {
    format!(
        "image = \"staith.test/host:1\"\n[steps.talk]\n\
         run = \"i=0; while [ $i -lt {lines} ]; do echo line $i.; i=$((i+1)); sleep 0.1; done; echo it has ended\"\n"
    )
}

/// A job whose engine is killed in the middle of it and begins again.
fn killed(live_restore: bool, lines: u32) -> Job {
    let engine = ContainerEngine::mortal(live_restore);
    engine.take_image("staith.test/host", "1");
    let mut scene = Scene::new(&talks(lines));
    scene.host_of("default", 1, &[("DOCKER_HOST", &engine.host()), ("STAITH_ENGINE", "docker")]);
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    scene.is_logged(&attempt, "talk", "line 9.");
    engine.dies();
    scene.is_logged(&attempt, "talk", "line 19.");
    engine.begins_again();
    assert_eq!(scene.ends(&run), "passed", "{}", scene.hosts[0].log());
    let jobs = scene.holds();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let log = scene.log(&job.attempts.last().unwrap().id, "talk");
    assert!((0..lines).all(|line| log.matches(&format!("line {line}.\n")).count() == 1), "{log}");
    assert_eq!(engine.says("/containers/json?all=1"), "[]", "[I-7] no container is left");
    println!("{live_restore}: {:?}", job.attempts);
    job.clone()
}

/// F41.
fn a_job_does_not_notice_an_engine_that_takes_its_containers_up_again() {
    let job = killed(true, 80);
    assert_eq!((job.state, job.attempts.len()), (JobState::Passed, 1), "{job:?}");
}

/// F42.
fn a_job_whose_container_the_engine_ended_is_tried_again_for_that_reason() {
    let job = killed(false, 250);
    assert_eq!((job.state, job.attempts.len()), (JobState::Passed, 2), "{job:?}");
    let first = &job.attempts[0];
    let blames_the_host = matches!(&first.outcome, Some(AttemptOutcome::Failed { blame: Blame::Environment, why, .. }) if why.contains("step `talk`"));
    assert!(first.state == AttemptState::Finished && blames_the_host, "{first:?}");
}

#[test]
fn engines_that_are_killed_lose_no_job() {
    let scenarios: [(&str, fn()); 2] = [
        ("F41", a_job_does_not_notice_an_engine_that_takes_its_containers_up_again),
        ("F42", a_job_whose_container_the_engine_ended_is_tried_again_for_that_reason),
    ];
    all(2, &scenarios, |scenario| scenario());
}
