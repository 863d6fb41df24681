//! What happens to jobs when the server dies at any moment, when its disk is full or fails, and when a step takes too much memory: the
//! design's faults F1, F2, F25, F26, F29 and F36 ([all of them](../../docs/faults.md)), with a real host, and all invariants after each.
//! Needs root, strace and nftables, which tests/run installs; says so and checks nothing where network namespaces can't be made.

use std::{fs, io::Write as _, path::Path, process::Command};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::service::{AttemptOutcome, JobState};
use staith_tests::{
    invariants::Job,
    scene::{Scene, all},
    wait,
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
    let server = scene.server.take().unwrap();
    let process = Pid::from_raw(server.id().try_into().unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(server.data_as_seen().join(folder).join("."));
    let copied = copy.arg(server.data.join(folder)).status().unwrap();
    assert!(copied.success());
    server.kill();
    scene.serves();
}

/// F25.
fn a_full_disk_under_the_database_refuses_what_is_new_and_ends_no_job() {
    lasts_through_a_full_disk(".", "8m", |scene| {
        let refused = scene.server().ask("POST", "/api/v1/projects/shop/runs", r#"{"reference":"main"}"#);
        assert!(refused.status == 503 && refused.body.contains("\"disk-full\""), "{refused:?}");
    });
}

/// F26.
fn a_full_disk_under_the_logs_holds_them_back_and_the_database_goes_on() {
    lasts_through_a_full_disk("streams", "1m", |scene| {
        assert!(scene.asks("another"), "the database has room")
    });
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
    let scenarios: [(&str, fn()); 5] = [
        ("F1, F2", a_server_that_is_killed_at_any_sync_disturbs_no_job),
        ("F29", a_server_whose_syncs_fail_ends_and_begins_again_with_all_that_it_acknowledged),
        ("F25", a_full_disk_under_the_database_refuses_what_is_new_and_ends_no_job),
        ("F26", a_full_disk_under_the_logs_holds_them_back_and_the_database_goes_on),
        ("F36", a_step_that_hides_that_it_ran_out_of_memory_does_not_pass),
    ];
    all(scenarios.len(), &scenarios, |scenario| scenario());
}
