//! A run whose step has services.

use staith_model::{
    Blame, Command, EventKind, Limits, Name, Plan, Readiness, RunOutcome, ServicePlan, StepOutcome, StepPlan,
};

use super::{Story, name, plan, reason, step};

fn service(this: &str) -> ServicePlan {
    ServicePlan {
        name: name(this),
        image: None,
        command: Some(Command::Argv(vec![this.into()])),
        env: [].into(),
        secrets: [].into(),
        ready: Readiness::Port(80),
        ready_seconds: 60,
        ports: vec![80],
        limits: Limits::default(),
    }
}

fn served() -> Plan {
    let services: Vec<Name> = vec![name("cache"), name("db")];
    let test = StepPlan { services, ..step("integration-test", &[]) };
    Plan { services: vec![service("cache"), service("db")], ..plan(vec![test], false) }
}

/// Its services start; one of them is ready.
pub(in crate::output) fn services_start() -> Story {
    let mut story = Story::of(served());
    story.start("integration-test");
    let (step, secret) = (name("integration-test"), "db/password".to_owned());
    story.then(0, EventKind::SecretUsed { step, service: Some(name("db")), secret });
    story.then(40, ready("cache", 41));
    story
}

/// Its database ends while it runs, so it fails.
pub(in crate::output) fn service_ended() -> Story {
    let mut story = services_start();
    story.then(900, ready("db", 941));
    story.write("integration-test", &["1 of 2 ok"]);
    let (step, service) = (name("integration-test"), name("db"));
    story.then(5, EventKind::ServiceEnded { step, service, how: "ended by signal 9".into() });
    story.write("integration-test", &["connection closed"]);
    for line in ["LOG: ready to accept connections", "PANIC: no room"] {
        let (step, service) = (name("integration-test"), name("db"));
        story.then(0, EventKind::ServiceOutput { step, service, line: line.into() });
    }
    let why = "exit code 1; its service `db` had ended before: ended by signal 9";
    let why = reason(Blame::Project, why, "");
    story.finish_with("integration-test", StepOutcome::Failed, 1_900, why, None);
    story.end(RunOutcome::Failed, 2_000);
    story
}

fn ready(service: &str, millis: u64) -> EventKind {
    EventKind::ServiceReady { step: name("integration-test"), service: name(service), millis }
}
