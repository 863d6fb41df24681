//! What happens to jobs when the server dies at any moment or is away, when its disk is full or fails, when another one wants its place, when
//! logs are muddled on their way, and when a step takes too much memory: the design's faults F1, F2, F23, F25, F26, F29, F36, F50 and F57 ([all of them](../../docs/faults.md)), with a real host, and all invariants after each.
//! Needs root, strace and nftables, which tests/run installs; says so and checks nothing where network namespaces can't be made.

use std::{fs, io::Write as _, path::Path};

use staith_model::{
    Blame,
    service::{AttemptOutcome, JobState},
};
use staith_tests::{
    invariants::{Attempt, Job},
    muddle::Muddle,
    scene::{Scene, all},
    wait,
    wires::SERVER,
};

/// Writes some lines, and a result that no other run has.
const TALKS: &str = "[parameters.number]\ntype = \"text\"\ndefault = \"0\"\n\
                     [steps.talk]\nrun = \"for i in 1 2 3; do echo line $i of $NUMBER; sleep 0.1; done; echo it has ended\"\n\
                     env = { NUMBER = \"{parameters.number}\" }\n";

/// A long line every twentieth of a second, for some seconds.
const LONG: &str = "[steps.talk]\nrun = \"x=$(head -c 400 /dev/zero | tr '\\\\0' x); i=0; \
                    while [ $i -lt 100 ]; do echo line $i. $x; i=$((i+1)); sleep 0.05; done; echo it has ended\"\n";

/// At which syncs a server is struck, counted from its start: those of the start itself, of what is asked, of a job's claim, of its log and
/// of its end.
const SYNCS: [usize; 16] = [1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 21, 25, 30];

/// A server that this happens to at a sync.
fn struck(scene: &mut Scene, inject: &str) -> bool {
    let inject = format!("inject=fdatasync,fsync:{inject}");
    let watch = ["strace", "-f", "-D", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject];
    scene.server.take().unwrap().terminate();
    scene.serves_behind(&watch).is_ok()
}

/// A run goes through a server that is struck, and that begins again when it is gone.
fn goes_through(scene: &mut Scene, number: usize, inject: &str) {
    let mut has_begun_again = !struck(scene, inject);
    if has_begun_again {
        scene.serves();
    }
    let number = number.to_string();
    wait::until("the run is acknowledged", || {
        // Whether a question was heard that a server died of, nobody says: then there may be a run more.
        let asked = scene.asks_with(&format!("run-{number}-{has_begun_again}"), &number);
        if !asked && !has_begun_again && scene.server.as_mut().unwrap().has_ended() {
            has_begun_again = true;
            scene.serves();
        }
        asked.then_some(())
    });
    wait::until("the run is over", || {
        if !has_begun_again && scene.server.as_mut().unwrap().has_ended() {
            has_begun_again = true;
            scene.serves();
        }
        scene.is_over()
    });
}

/// F1, F2.
fn a_server_that_is_killed_at_any_sync_disturbs_no_job() {
    let mut scene = Scene::new(TALKS);
    scene.host(1);
    for sync in SYNCS {
        goes_through(&mut scene, sync, &format!("signal=KILL:when={sync}"));
    }
    scene.server.take().unwrap().terminate();
    scene.serves();
    each_passed_once(&scene.holds());
}

/// F29.
fn a_server_whose_syncs_fail_ends_and_begins_again_with_all_that_it_acknowledged() {
    let mut scene = Scene::new(TALKS);
    scene.host(1);
    for sync in [7, 10, 13, 17] {
        goes_through(&mut scene, sync, &format!("error=EIO:when={sync}+"));
    }
    scene.server.take().unwrap().terminate();
    scene.serves();
    each_passed_once(&scene.holds());
}

/// A server that begins again is nothing to a job: none was tried twice.
fn each_passed_once(jobs: &[Job]) {
    for job in jobs {
        assert_eq!((job.state, job.attempts.len()), (JobState::Passed, 1), "{job:?}");
    }
}

/// Takes all the room in a folder, until the file is removed again.
fn fill(folder: &Path) -> std::path::PathBuf {
    let filler = folder.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let piece = [1; 4096];
    while file.write_all(&piece).is_ok() {}
    filler
}

/// Words behind which a server has a small disk of its own at this folder of its directory.
fn small_disk(folder: &str, size: &str) -> [String; 7] {
    // The directory is the last word but those of the server itself.
    let mount = format!(
        "data=; for word; do [ \"$data\" = next ] && data=$word; [ \"$word\" = --data ] && data=next; done; \
         mkdir -p \"$data/{folder}\" && mount -t tmpfs -o size={size},mode=700 none \"$data/{folder}\" && exec \"$@\""
    );
    ["unshare", "--mount", "--propagation=private", "sh", "-c", &mount, "sh"].map(str::to_owned)
}

fn lasts_through_a_full_disk(folder: &str, size: &str, while_full: impl Fn(&mut Scene)) {
    let words = small_disk(folder, size);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut scene = Scene::behind(&words, LONG, &[]);
    scene.host(1);
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    wait::until("the step talks", || scene.log(&attempt, "talk").contains("line 5. ").then_some(()));
    let filler = fill(&scene.server().data_as_seen().join(folder));
    wait::until("the host hears that there is no room", || {
        let log = scene.hosts[0].log();
        log.lines()
            .any(|line| line.contains("a log could not be sent") && line.contains("full"))
            .then_some(())
    });
    while_full(&mut scene);
    fs::remove_file(filler).unwrap();
    assert_eq!(scene.ends(&run), "passed");
    let log = scene.log(&attempt, "talk");
    assert!((0..100).all(|line| log.matches(&format!("line {line}. ")).count() == 1), "{log}");
    assert!(log.contains("it has ended"), "{log}");
    wait::until("all that was asked for is over", || scene.is_over());
    moves_to_a_larger_disk(&mut scene, folder);
    each_passed_once(&scene.holds());
}

/// The server goes on with what it has, on the disk of everybody.
fn moves_to_a_larger_disk(scene: &mut Scene, folder: &str) {
    scene.server.take().unwrap().leaves_its_disk(folder);
    scene.serves();
}

/// F25.
fn a_full_disk_under_the_database_refuses_what_is_new_and_ends_no_job() {
    lasts_through_a_full_disk(".", "8m", |scene| {
        let refuses = |scene: &Scene| {
            let refused = scene.server().ask("POST", "/api/v1/projects/shop/runs", r#"{"reference":"main"}"#);
            assert!(refused.status == 503 && refused.body.contains("\"disk-full\""), "{refused:?}");
        };
        refuses(scene);
        // There was room for this case: what was begun is brought to its end.
        let run = scene.numbered(1);
        assert_eq!(scene.ends(&run), "passed");
        refuses(scene);
    });
}

/// F26.
fn a_full_disk_under_the_logs_holds_them_back_and_the_database_goes_on() {
    lasts_through_a_full_disk("streams", "1m", |scene| {
        assert!(scene.asks("another"), "the database has room")
    });
}

/// A package whose bytes can't be made fewer.
const PACKAGE: &str = "[steps.talk]\nrun = \"mkdir dist; cp big dist/\"\noutputs = [\"dist\"]\n\
                       [package]\nfrom = [\"talk\"]\nroot = \"dist\"\n";

/// F26.
fn a_full_disk_under_the_packages_fails_the_attempt_for_that_reason_and_publishes_nothing() {
    let words = small_disk("packages", "16m");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut scene = Scene::behind(&words, PACKAGE, &[("big", 4 << 20)]);
    let filler = fill(&scene.server().data_as_seen().join("packages"));
    scene.host(1);
    let run = scene.run("one");
    wait::until("the attempt has ended without its package", || {
        let ended = &scene.shown(&run)["jobs"][0]["attempts"][0]["outcome"];
        (!ended.is_null()).then_some(())
    });
    let tags = scene.server().ask("GET", "/v2/shop/shop/tags/list", "");
    assert_ne!(tags.status, 200, "nothing is published: {tags:?}");
    assert!(scene.asks("another"), "the database has room");
    fs::remove_file(filler).unwrap();
    assert_eq!(scene.ends(&run), "passed");
    assert_eq!(scene.server().ask("GET", "/v2/shop/shop/tags/list", "").status, 200);
    wait::until("all that was asked for is over", || scene.is_over());
    moves_to_a_larger_disk(&mut scene, "packages");
    let jobs = scene.holds();
    let first = jobs.iter().find(|job| job.run == run).unwrap();
    is_the_disks_fault(&first.attempts[0], "its packages could not be brought to the server");
}

/// Two jobs that no host does both of, the second of which needs what the first one leaves.
const TWO: &str = "[steps.talk]\nrun = \"cp big left\"\noutputs = [\"left\"]\nrunner = { labels = [\"here\"] }\n\
                   [steps.then]\nneeds = [\"talk\"]\nrun = \"cmp big left\"\nrunner = { labels = [\"there\"] }\n";

/// F26.
fn a_full_disk_under_the_layers_fails_who_needs_them_for_that_reason() {
    let words = small_disk("layers", "16m");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut scene = Scene::behind(&words, TWO, &[("big", 4 << 20)]);
    let filler = fill(&scene.server().data_as_seen().join("layers"));
    scene.host_labelled("here");
    scene.host_labelled("there");
    let run = scene.run("one");
    assert_eq!(scene.ends(&run), "failed");
    assert!(scene.asks("another"), "the database has room");
    fs::remove_file(filler).unwrap();
    let another = scene.asked_last();
    assert_eq!(scene.ends(&another), "passed");
    moves_to_a_larger_disk(&mut scene, "layers");
    let jobs = scene.holds();
    let then = jobs.iter().find(|job| job.run == run && job.name == "then").unwrap();
    assert_eq!(then.state, JobState::Failed, "{then:?}");
    for attempt in &then.attempts {
        is_the_disks_fault(attempt, "what step `talk` left");
    }
}

/// It failed, and not by what it is made of.
fn is_the_disks_fault(attempt: &Attempt, what: &str) {
    let said = matches!(
        &attempt.outcome,
        Some(AttemptOutcome::Failed { blame: Blame::Environment, why, .. }) if why.contains(what)
    );
    assert!(said, "{attempt:?}");
}

/// F23.
fn pushes_while_the_server_is_down_come_to_one_run_each_once_it_is_back() {
    let mut scene = Scene::new(TALKS);
    scene.host(1);
    let run = scene.run("one");
    scene.ends(&run);
    for number in [2, 3] {
        scene.server.take().unwrap().terminate();
        scene.world.write("page", &format!("{number}"));
        scene.world.commit("while nobody listens");
        scene.serves();
        let found = scene.numbered(number);
        assert_eq!(scene.ends(&found), "passed");
    }
    // Once more from the start: nothing is found twice.
    scene.server.take().unwrap().terminate();
    scene.serves();
    let run = scene.run("two");
    assert_eq!(scene.ends(&run), "passed");
    let jobs = scene.holds();
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    each_passed_once(&jobs);
}

/// F50.
fn a_second_server_on_the_database_is_refused_and_disturbs_no_job() {
    let mut scene = Scene::new(LONG);
    scene.host(1);
    let run = scene.run("one");
    let attempt = scene.attempt(&run, 1);
    scene.is_logged(&attempt, "talk", "line 5. ");
    let data = scene.server().data.display().to_string();
    let second = ["server", "start", "--listen", "127.0.0.1:0", "--no-runner", "--data", &data];
    let who = format!("staith.db (process {})", scene.server().id());
    scene.world.staith(&second).exits(30).says(&who).says("in use by another server");
    assert_eq!(scene.ends(&run), "passed");
    each_passed_once(&scene.holds());
}

/// F57.
fn pieces_of_a_log_that_are_muddled_on_their_way_make_the_same_log() {
    let mut scene = Scene::new(LONG);
    let muddle = Muddle::before(&scene.server().address, SERVER);
    scene.host_through(&muddle.address, 1);
    let run = scene.run("one");
    assert_eq!(scene.ends(&run), "passed");
    let attempt = scene.attempt(&run, 1);
    let log = scene.log(&attempt, "talk");
    let filler = "x".repeat(400);
    let mut whole: Vec<String> = (0..100).map(|line| format!("line {line}. {filler}")).collect();
    whole.push("it has ended".to_owned());
    // Around what was said stands when, and on which stream.
    let said = |line: &&str| line.starts_with("line") || line.starts_with("it has");
    assert_eq!(log.lines().filter(said).collect::<Vec<_>>(), whole);
    let done = muddle.done();
    assert!([done.twice, done.singly, done.late, done.backwards].iter().all(|times| *times > 1), "{done:?}");
    // Who is late by more than the attempt is told that it is over.
    let answers = muddle.says_all_again();
    assert!(answers.iter().all(|answer| (400..500).contains(answer)), "{answers:?}");
    assert_eq!(scene.log(&attempt, "talk"), log);
    each_passed_once(&scene.holds());
}

/// F36.
fn a_step_that_hides_that_it_ran_out_of_memory_does_not_pass() {
    let mut scene = Scene::new(
        "[steps.talk]\nrun = \"head -c 300000000 /dev/zero | tail -n 1 > /dev/null; echo it goes on; exit 0\"\nmemory = \"64MiB\"\n",
    );
    scene.host(1);
    let run = scene.run("one");
    assert_eq!(scene.ends(&run), "failed");
    let jobs = scene.holds();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let [attempt] = job.attempts.as_slice() else { panic!("it is not tried again: {job:?}") };
    let said = matches!(&attempt.outcome, Some(AttemptOutcome::Failed { why, .. }) if why.contains("ran out of memory"));
    assert!(said, "{attempt:?}");
}

#[test]
fn no_job_is_lost_to_a_server_in_trouble() {
    let scenarios: [(&str, fn()); 10] = [
        ("F1, F2", a_server_that_is_killed_at_any_sync_disturbs_no_job),
        ("F29", a_server_whose_syncs_fail_ends_and_begins_again_with_all_that_it_acknowledged),
        ("F25", a_full_disk_under_the_database_refuses_what_is_new_and_ends_no_job),
        ("F26", a_full_disk_under_the_logs_holds_them_back_and_the_database_goes_on),
        (
            "F26, packages",
            a_full_disk_under_the_packages_fails_the_attempt_for_that_reason_and_publishes_nothing,
        ),
        ("F26, layers", a_full_disk_under_the_layers_fails_who_needs_them_for_that_reason),
        ("F23", pushes_while_the_server_is_down_come_to_one_run_each_once_it_is_back),
        ("F50", a_second_server_on_the_database_is_refused_and_disturbs_no_job),
        ("F57", pieces_of_a_log_that_are_muddled_on_their_way_make_the_same_log),
        ("F36", a_step_that_hides_that_it_ran_out_of_memory_does_not_pass),
    ];
    all(scenarios.len(), &scenarios, |scenario| scenario());
}
