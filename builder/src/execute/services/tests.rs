//! Every way in which services and their step can begin, meet and end. The engine is scripted.

mod stage;

use stage::{Act, Came, Stage, name, service};
use staith_model::{
    Blame, Command, Readiness, Retry, RetryCause, Secret, ServicePlan, StepOutcome, StepPlan,
};

use crate::{engine::StepExit, secrets::Supply};

fn place(seen: &[String], what: &str) -> usize {
    seen.iter().position(|one| one == what).unwrap_or_else(|| panic!("{what} is not in {seen:?}"))
}

fn why(came: &Came) -> String {
    came.end().1.map(|reason| reason.what).unwrap_or_default()
}

#[tokio::test]
async fn a_step_reaches_each_of_its_services_by_its_name_also_at_the_same_port() {
    let asks = Act::Ask(&[("db", 80), ("web", 80), ("web", 81), ("db", 80)]);
    let mut stage = Stage::new(&[("step", asks)]);
    let web = ServicePlan { ports: vec![80, 81], ..service("web") };
    let came = stage.run(vec![web, service("db")]).await;
    assert_eq!(
        came.wrote(),
        [
            "127.0.8.1 db:80 heard hello",
            "127.0.8.2 web:80 heard hello",
            "127.0.8.2 web:81 heard hello",
            "127.0.8.1 db:80 heard hello"
        ]
    );
    assert_eq!(came.end(), (StepOutcome::Passed, None));
}

#[tokio::test]
async fn services_are_up_before_the_step_begins_and_gone_after_it() {
    let mut stage = Stage::new(&[("step", Act::Ask(&[])), ("db", Act::Serve(2))]);
    let came = stage.run(vec![service("db"), service("web")]).await;
    let seen = stage.engine.seen();
    let at = |what| place(&seen, what);
    assert!(at("db began") < at("step began") && at("web began") < at("step began"), "{seen:?}");
    assert!(at("step over") < at("db over") && at("step over") < at("web over"), "{seen:?}");
    let mut ready = came.ready();
    ready.sort();
    assert_eq!(ready, ["db", "web"]);
}

#[tokio::test]
async fn a_service_sees_the_files_of_its_step_in_a_place_of_its_own() {
    let mut stage = Stage::new(&[("step", Act::Ask(&[]))]);
    stage.step.timeout_seconds = 7;
    stage.run(vec![service("db")]).await;
    let specs = stage.engine.specs.lock().unwrap();
    let (db, step) = (&specs[0], &specs[1]);
    assert_eq!(db.lowers, step.lowers);
    assert_ne!((&db.upper, &db.work), (&step.upper, &step.work));
    assert!(db.neighbours.is_empty());
    assert_eq!(*stage.engine.had_gate.lock().unwrap(), [true, true]);
    assert_eq!(step.timeout.as_secs(), 7, "the time of the step is for the step");
}

#[tokio::test]
async fn a_service_without_a_command_runs_what_its_image_says() {
    let mut stage = Stage::new(&[]);
    let bare = ServicePlan { command: None, ..service("db") };
    // The scripted engine has no image that says anything, and panics.
    let came = stage.run(vec![bare]).await;
    assert!(stage.engine.specs.lock().unwrap().is_empty());
    assert_eq!(came.end().0, StepOutcome::EngineBroken);
}

#[tokio::test]
async fn a_command_tells_when_a_service_is_ready_and_then_its_ports_do() {
    let tells = Act::Tell(vec![StepExit::Code(1), StepExit::Code(2)]);
    let mut stage = Stage::new(&[("step", Act::Ask(&[("db", 90)])), ("db", tells)]);
    let command = Readiness::Command(Command::Shell("is it?".into()));
    let db = ServicePlan { ready: command, ports: vec![90], ..service("db") };
    let came = stage.run(vec![db]).await;
    assert_eq!(
        (came.wrote(), came.ready()),
        (vec!["127.0.8.1 db:90 heard hello".to_owned()], vec!["db".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ready_in_time_is_the_environments_fault_and_the_step_is_not_run() {
    let mut stage = Stage::new(&[("db", Act::Serve(usize::MAX))]);
    let came = stage.run_in_time(vec![service("db")]).await;
    let (outcome, reason) = came.end();
    let reason = reason.unwrap();
    assert_eq!((outcome, reason.blame), (StepOutcome::EngineBroken, Blame::Environment));
    assert_eq!(
        reason.what,
        "service `db` was not ready within 10 s: nothing listens on port 80 of its loopback interface"
    );
    assert!(
        reason.remedy.unwrap().starts_with("if it needs longer, set `within` in [services.db]; `staith logs")
    );
    assert!(!stage.engine.seen().contains(&"step began".to_owned()));
    assert!(stage.engine.seen().contains(&"db over".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_succeeds_is_told_with_its_last_answer() {
    let never = Act::Tell(vec![StepExit::Code(3); 1000]);
    let mut stage = Stage::new(&[("db", never)]);
    let check = |run: &str| ServicePlan {
        ready: Readiness::Command(Command::Argv(vec![run.into()])),
        ..service("db")
    };
    let came = stage.run_in_time(vec![check("pg_isready")]).await;
    assert_eq!(
        why(&came),
        "service `db` was not ready within 10 s: the command in its `ready` ended with exit code 3"
    );
    let none = StepExit::NotStarted { program: "pg_isredy".into(), why: "there is no such program".into() };
    let mut stage = Stage::new(&[("db", Act::Tell(vec![none]))]);
    let came = stage.run(vec![check("pg_isredy")]).await;
    assert_eq!(came.end().0, StepOutcome::Failed);
    assert!(
        why(&came).contains("`pg_isredy`, which is to tell when service `db` is ready"),
        "{}",
        why(&came)
    );
}

#[tokio::test]
async fn a_service_that_ends_before_it_is_ready_ends_the_attempt_at_once() {
    use StepOutcome::{EngineBroken, Failed, OutOfMemory};
    let none = StepExit::NotStarted { program: "redis".into(), why: "there is none".into() };
    for (act, outcome, expected) in [
        (Act::End(StepExit::Code(1)), Failed, "service `db` ended before the step was started: exit code 1"),
        (Act::End(StepExit::Code(0)), Failed, "service `db` ended before the step was started: exit code 0"),
        (Act::End(StepExit::Signal(11)), Failed, "ended by signal 11"),
        (Act::End(StepExit::OutOfMemory), OutOfMemory, "out of memory"),
        (Act::End(none), Failed, "service `db` can't be run: `redis` could not be started: there is none"),
        (Act::Break, EngineBroken, "the lights went out"),
    ] {
        let mut stage = Stage::new(&[("db", act.clone()), ("web", Act::Serve(usize::MAX))]);
        let came = stage.run(vec![service("db"), service("web")]).await;
        assert_eq!(came.end().0, outcome, "{act:?}");
        assert!(why(&came).contains(expected), "{act:?}: {}", why(&came));
        let seen = stage.engine.seen();
        assert!(
            !seen.contains(&"step began".to_owned()) && seen.contains(&"web over".to_owned()),
            "{seen:?}"
        );
        if matches!(act, Act::End(_)) {
            assert_eq!(came.shown_of("db"), ["db gives up"]);
        }
    }
}

#[tokio::test]
async fn a_step_that_fails_after_its_service_ended_says_so_and_one_that_passes_passes() {
    let killed = Act::EndBeside(StepExit::Signal(9));
    let after = |exit| Act::AfterService(exit);
    let mut stage = Stage::new(&[("step", after(StepExit::Code(1))), ("db", killed.clone())]);
    let came = stage.run(vec![service("db")]).await;
    assert_eq!(why(&came), "exit code 1; its service `db` had ended before: ended by signal 9");
    assert_eq!(came.end().0, StepOutcome::Failed);
    let mut stage = Stage::new(&[("step", after(StepExit::Code(0))), ("db", killed)]);
    let came = stage.run(vec![service("db")]).await;
    assert_eq!(came.end(), (StepOutcome::Passed, None));
    // Where the machine took the service away, that is what the step failed of.
    let full = StepExit::HostDiskFull { place: "/var".into(), free: 1 << 20 };
    let mut stage = Stage::new(&[("step", after(StepExit::Code(1))), ("db", Act::EndBeside(full))]);
    let came = stage.run(vec![service("db")]).await;
    assert_eq!(came.end().1.unwrap().blame, Blame::Environment);
}

#[tokio::test]
async fn a_connection_to_a_service_that_has_ended_is_closed() {
    let asks = Act::Ask(&[("gone", 80), ("nobody", 80)]);
    let mut stage = Stage::new(&[("step", asks), ("gone", Act::EndBeside(StepExit::Code(0)))]);
    let came = stage.run(vec![service("gone")]).await;
    let wrote = came.wrote();
    assert!(wrote.iter().all(|line| !line.contains("heard")), "{wrote:?}");
    assert_eq!((wrote.len(), came.end().0), (2, StepOutcome::Passed));
}

#[tokio::test]
async fn cancelling_ends_the_services_while_they_start_and_while_the_step_runs() {
    for (db, until) in [(Act::Stay, "db began"), (Act::Serve(0), "step began")] {
        let mut stage = Stage::new(&[("step", Act::Stay), ("db", db)]);
        let (engine, stop) = (std::sync::Arc::clone(&stage.engine), stage.stop.clone());
        let cancel = async {
            engine.until(until).await;
            stop.cancel.cancel();
        };
        let (came, ()) = tokio::join!(stage.run(vec![service("db")]), cancel);
        assert_eq!(came.end(), (StepOutcome::Cancelled, None));
        assert!(stage.engine.seen().contains(&"db over".to_owned()));
        assert!(came.shown_of("db").is_empty());
    }
}

#[tokio::test]
async fn insisting_drops_the_services_with_the_step() {
    let mut stage = Stage::new(&[("step", Act::Stay)]);
    let (engine, stop) = (std::sync::Arc::clone(&stage.engine), stage.stop.clone());
    let insist = async {
        engine.until("step began").await;
        stop.kill.cancel();
    };
    let (came, ()) = tokio::join!(stage.run(vec![service("db")]), insist);
    assert_eq!(came.end().0, StepOutcome::Cancelled);
    // Said by the time that the run has ended, and not a moment later.
    assert!(stage.engine.seen().contains(&"db over".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_services_of_its_own() {
    let mut stage = Stage::new(&[("step", Act::End(StepExit::Code(1)))]);
    stage.step.retry = Some(Retry { attempts: 2, on: vec![RetryCause::Failure] });
    let came = stage.run_in_time(vec![service("db")]).await;
    let begun = stage.engine.seen().iter().filter(|seen| *seen == "db began").count();
    assert_eq!((begun, came.ready().len()), (2, 2));
    let specs = stage.engine.specs.lock().unwrap();
    let uppers: Vec<_> = specs.iter().map(|spec| spec.upper.clone()).collect();
    assert!((1..uppers.len()).all(|place| !uppers[..place].contains(&uppers[place])), "{uppers:?}");
}

#[tokio::test]
async fn what_a_service_writes_is_masked_and_kept_and_its_end_is_shown_when_the_step_fails() {
    let secret = ("line 7 of db".to_owned(), Secret::new("line 1007 of db"));
    let mut stage = Stage::new(&[("step", Act::End(StepExit::Code(1))), ("db", Act::Write(1010))]);
    stage.secrets = Supply::new([secret].into()).unwrap();
    let came = stage.run(vec![service("db")]).await;
    let shown = came.shown_of("db");
    assert_eq!(
        (shown.len(), shown[0].as_str(), shown[19].as_str()),
        (20, "line 990 of db", "line 1009 of db")
    );
    assert_eq!(shown[17], "***");
    let log = stage.log("db");
    assert!(log.contains("line 0 of db\n") && log.contains("line 1009 of db\n"));
    assert!(!log.contains("line 1007 of db") && log.contains("***\n"));
    // Of what goes well nobody needs to read.
    let mut stage = Stage::new(&[("step", Act::Ask(&[])), ("db", Act::Write(3))]);
    let came = stage.run(vec![service("db")]).await;
    assert!(came.shown_of("db").is_empty());
    assert!(stage.log("db").contains("line 2 of db"));
}

#[tokio::test]
async fn a_step_that_is_known_starts_no_service() {
    let mut stage = Stage::new(&[("step", Act::Ask(&[]))]);
    stage.run(vec![service("db")]).await;
    let came = stage.run(vec![service("db")]).await;
    assert_eq!(came.end().0, StepOutcome::Cached);
    assert_eq!(stage.engine.seen().iter().filter(|seen| *seen == "db began").count(), 1);
    let other = ServicePlan { env: [("A".to_owned(), "1".to_owned())].into(), ..service("db") };
    let came = stage.run(vec![other]).await;
    assert_eq!(came.end().0, StepOutcome::Passed);
}

#[tokio::test]
async fn a_step_without_services_has_no_gate() {
    let mut stage = Stage::new(&[("step", Act::End(StepExit::Code(0)))]);
    stage.step = StepPlan { name: name("step"), ..stage.step };
    stage.run(vec![]).await;
    let specs = stage.engine.specs.lock().unwrap();
    assert!(specs[0].neighbours.is_empty());
    assert_eq!(*stage.engine.had_gate.lock().unwrap(), [false]);
}
