//! Runs that are cancelled, in each phase that a job goes through (the design's fault F48), and while they end (F49): they end soon, in
//! one way, and nothing of them stays. Each phase has a barrier that holds it: a state that is waited for, not a time. Needs root and
//! nftables; says so and checks nothing where network namespaces can't be made.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use staith_model::service::JobState;
use staith_tests::{
    invariants::Job,
    scene::{Scene, all},
    wait,
    wires::Fault,
};

/// Goes on until it is ended.
const ENDLESS: &str = "[steps.talk]\nrun = \"echo it has begun; sleep 600\"\n";
/// The same, and does not hear that it is to end.
const DEAF: &str =
    "[steps.talk]\nrun = \"trap '' TERM INT HUP; echo it has begun; while :; do sleep 600; done\"\n";
const SECOND: &str = "[steps.first]\nrun = \"true\"\n[steps.talk]\nneeds = [\"first\"]\nrun = \"echo it has begun; sleep 600\"\n";
/// Two jobs, the second of which no host may take.
const TWO: &str = "[steps.talk]\nrun = \"echo it has begun; sleep 600\"\noutputs = [\"there\"]\n\
                   [steps.then]\nneeds = [\"talk\"]\nrun = \"true\"\nrunner = { labels = [\"elsewhere\"] }\n";
const SHORT: &str = "[steps.talk]\nrun = \"echo it has begun; sleep 1\"\n";
/// A service that is never ready.
const SERVICE: &str = "[services.db]\nrun = \"echo it has begun; sleep 600\"\nready = { port = 5432 }\nwithin = \"300s\"\n\
                       [steps.talk]\nservices = [\"db\"]\nrun = \"true\"\n";
/// A package whose bytes can't be made fewer.
const PACKAGE: &str = "[steps.talk]\nrun = \"mkdir dist; cp big dist/\"\noutputs = [\"dist\"]\n[package]\nfrom = [\"talk\"]\nroot = \"dist\"\n";

/// How soon a run is over whose host can be reached: it hears of it with the next renewal (5 s), and its steps have 10 s.
const SOON: u64 = 5 + 10 + 1;
/// What a loaded machine may take more.
const LOADED: u64 = 20;

struct Phase {
    steps: &'static str,
    /// Goes on until the run is in this phase.
    reach: fn(&mut Scene, &str),
    /// What happens after it was cancelled.
    then: fn(&mut Scene),
    /// Seconds that it may take from there.
    within: u64,
    state: JobState,
    /// Whether its keeper has to be killed, since it does not hear.
    by_force: bool,
}

const fn phase(steps: &'static str, reach: fn(&mut Scene, &str)) -> Phase {
    Phase { steps, reach, then: |_| {}, within: SOON, state: JobState::Cancelled, by_force: false }
}

fn begins(scene: &mut Scene, run: &str) {
    scene.host(1);
    let attempt = scene.attempt(run, 1);
    scene.is_logged(&attempt, "talk", "it has begun");
}

/// The job on the first host has this file.
fn has(scene: &Scene, name: &str) {
    wait::until(&format!("the job has `{name}`"), || {
        scene.hosts[0].jobs().first()?.join(name).exists().then_some(())
    });
}

fn phases() -> Vec<(&'static str, Phase)> {
    vec![
        ("no host is there", Phase { within: 1, ..phase(ENDLESS, |_, _| {}) }),
        (
            "another run goes first",
            Phase {
                within: 1,
                ..phase(ENDLESS, |scene, _| {
                    scene.host(1);
                })
            },
        ),
        (
            "its host has not heard that it has it",
            Phase {
                then: |scene| scene.hosts[0].wire().forget_connections(),
                // The question that was not answered is asked again after 10 s.
                within: SOON + 10,
                ..phase(ENDLESS, |scene, run| {
                    scene.host(1).wire().has(Fault::LongAnswersLost);
                    scene.attempt(run, 1);
                })
            },
        ),
        (
            "its source is on the way",
            phase(PACKAGE, |scene, _| {
                scene.host(1).wire().has(Fault::Slow(100_000));
                has(scene, "began");
            }),
        ),
        (
            "its service is not ready",
            phase(SERVICE, |scene, run| {
                scene.host(1);
                let attempt = scene.attempt(run, 1);
                scene.is_logged(&attempt, "talk+db", "it has begun");
            }),
        ),
        ("its step runs", phase(ENDLESS, begins)),
        ("its second step runs", phase(SECOND, begins)),
        ("its step does not hear", phase(DEAF, begins)),
        (
            "its runner is frozen",
            Phase {
                then: |scene| scene.hosts[0].signal(Signal::CONT),
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    scene.hosts[0].signal(Signal::STOP);
                })
            },
        ),
        (
            "its runner is killed",
            Phase {
                then: |scene| scene.hosts[0].starts(1),
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    scene.hosts[0].dies();
                })
            },
        ),
        (
            "its keeper is frozen",
            Phase {
                // It is asked for 15 s and for 10 s more.
                within: 45,
                by_force: true,
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    kill_process(scene.hosts[0].keeper().unwrap(), Signal::STOP).unwrap();
                })
            },
        ),
        (
            "its host is cut off",
            Phase {
                then: |scene| scene.hosts[0].wire().heals(),
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    scene.hosts[0].wire().has(Fault::Cut);
                })
            },
        ),
        (
            "the server ends right after it",
            Phase {
                then: |scene| {
                    scene.server.take().unwrap().kill();
                    scene.serves();
                },
                ..phase(ENDLESS, begins)
            },
        ),
        (
            "its host was lost",
            Phase {
                then: |scene| scene.hosts[0].wire().heals(),
                within: 1,
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    scene.hosts[0].wire().has(Fault::Cut);
                    wait::until("the job is queued again", || {
                        (scene.shown(run)["jobs"][0]["state"] == "queued").then_some(())
                    });
                })
            },
        ),
        (
            "it is queued for a retry",
            Phase {
                within: 1,
                ..phase(ENDLESS, |scene, run| {
                    begins(scene, run);
                    // Its host gets nothing more, and tells that what kept the job is gone.
                    let runners = scene.server().ask("GET", "/api/v1/runners", "").is(200);
                    let runner = runners["runners"][0]["id"].as_str().unwrap().to_owned();
                    scene.server().ask("POST", &format!("/api/v1/runners/{runner}/drain"), "").is(204);
                    kill_process(scene.hosts[0].keeper().unwrap(), Signal::KILL).unwrap();
                    wait::until("the job is to be tried again", || {
                        let job = &scene.shown(run)["jobs"][0];
                        (job["state"] == "queued" && job["attempts"][0]["state"] == "finished").then_some(())
                    });
                })
            },
        ),
        ("a job that another needs runs", phase(TWO, begins)),
        (
            "it has passed, and the server does not know",
            Phase {
                then: |scene| scene.hosts[0].wire().heals(),
                state: JobState::Passed,
                ..phase(SHORT, |scene, run| {
                    begins(scene, run);
                    scene.hosts[0].wire().has(Fault::Cut);
                    has(scene, "ended.json");
                })
            },
        ),
        (
            "its package is on the way",
            Phase {
                then: |scene| scene.hosts[0].wire().heals(),
                state: JobState::Passed,
                ..phase(PACKAGE, |scene, run| {
                    scene.host(1);
                    has(scene, &format!("spool/{run}/events.jsonl"));
                    scene.hosts[0].wire().has(Fault::Slow(100_000));
                    has(scene, "ended.json");
                })
            },
        ),
        (
            "it is over",
            Phase {
                state: JobState::Passed,
                ..phase(SHORT, |scene, run| {
                    begins(scene, run);
                    scene.ends(run);
                })
            },
        ),
        (
            "it was cancelled before",
            phase(ENDLESS, |scene, run| {
                begins(scene, run);
                cancel(scene, run, "first");
            }),
        ),
    ]
}

fn cancel(scene: &Scene, run: &str, why: &str) {
    let body = format!(r#"{{"why":"{why}"}}"#);
    scene.server().ask("POST", &format!("/api/v1/runs/{run}/cancel"), &body).is(200);
}

fn job_of<'a>(jobs: &'a [Job], run: &str) -> &'a Job {
    jobs.iter().find(|job| job.run == run).unwrap()
}

fn is_cancelled_in(name: &str, phase: &Phase) {
    let mut scene = Scene::with_files(phase.steps, &[("big", 4 << 20)]);
    let first = name == "another run goes first";
    let ahead = first.then(|| {
        let waits = r#"{"concurrency":"wait"}"#;
        scene.server().ask("PATCH", "/api/v1/projects/shop", waits).is(200);
        scene.run("ahead")
    });
    let run = scene.run("one");
    (phase.reach)(&mut scene, &run);
    cancel(&scene, &run, "asked by a test");
    let began = Instant::now();
    (phase.then)(&mut scene);
    let state = scene.ends(&run);
    let took = began.elapsed();
    assert_eq!(state, phase.state.as_str(), "cancelled when {name}");
    assert!(took <= Duration::from_secs(phase.within + LOADED), "cancelled when {name}: {took:?}");
    println!("cancelled when {name}: {state} after {} ms", took.as_millis());
    if let Some(ahead) = ahead {
        assert!(scene.shown(&ahead)["ended"].is_null(), "the one before goes on");
        cancel(&scene, &ahead, "enough");
    }
    let jobs = scene.holds();
    let forced = scene.hosts.iter().any(|host| host.log().contains("a keeper does not end in its time"));
    assert_eq!(forced, phase.by_force, "cancelled when {name}: it is killed only where it does not hear");
    for job in jobs.iter().filter(|job| job.run == run) {
        assert_eq!(job.state, phase.state, "{job:?}");
        assert!(job.attempts.len() <= 1, "what was cancelled is not tried again: {job:?}");
    }
    scene.is_over_for_good(&run, &state);
}

#[test]
fn a_run_that_is_cancelled_ends_soon_in_whatever_phase_it_is() {
    let phases = phases();
    assert_eq!(phases.len(), 20, "as many as the design wants");
    let named: Vec<_> = phases.iter().map(|(name, phase)| (*name, (*name, phase))).collect();
    all(12, &named, |(name, phase)| is_cancelled_in(name, phase));
}

/// Seconds that a step takes. A runner hears of a wish for an end every 5 s, so that these end before it, with it and after it.
const LENGTHS: [&str; 9] = ["4.0", "4.3", "4.5", "4.6", "4.7", "4.8", "4.9", "5.0", "5.3"];

#[test]
fn a_run_that_is_cancelled_while_it_ends_ends_once() {
    all(1, &[("F49", ())], |()| {
        let mut scene = Scene::new(
            "[parameters.number]\ntype = \"text\"\ndefault = \"0\"\n\
             [steps.talk]\nrun = \"sleep $LENGTH; echo it has ended\"\nenv = { LENGTH = \"{parameters.number}\" }\n",
        );
        scene.host(LENGTHS.len().try_into().unwrap());
        let mut runs = Vec::new();
        for length in LENGTHS {
            assert!(scene.asks_with(length, length));
            runs.push(scene.asked_last());
        }
        for run in &runs {
            scene.attempt(run, 1);
            cancel(&scene, run, "asked by a test");
        }
        let ended: Vec<String> = runs.iter().map(|run| scene.ends(run)).collect();
        let jobs = scene.holds();
        for (run, state) in runs.iter().zip(&ended) {
            let job = job_of(&jobs, run);
            assert_eq!((job.state.as_str(), job.attempts.len()), (state.as_str(), 1), "{job:?}");
            scene.is_over_for_good(run, state);
        }
        let cancelled = ended.iter().filter(|state| *state == "cancelled").count();
        println!("of {} runs, {cancelled} were cancelled and the others had passed", ended.len());
    });
}
