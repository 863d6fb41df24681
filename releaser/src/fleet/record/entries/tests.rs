use staith_model::{
    Access, DeploymentChange, Pace, PaceKind, Package, Reason, ReleaseSetting, Service, SourceOfRelease,
    Target, TargetPlan,
};

use super::{
    super::whereabouts::{serving_commit, trace},
    *,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn setting() -> ReleaseSetting {
    ReleaseSetting {
        folder: "/srv/shop".into(),
        service: Service::Files,
        health: None,
        port: None,
        min_healthy_seconds: 0,
        variables: [].into(),
        role_variables: [].into(),
        secrets: [].into(),
        rendered: vec![],
        schema: None,
        hooks: vec![],
    }
}

fn release(number: u8) -> FleetRelease {
    FleetRelease {
        project: name("shop"),
        package: Package {
            name: name("shop"),
            version: format!("1.0.{number}").try_into().unwrap(),
            digest: Digest::of(&[number]),
            content: Digest::of(&[number]),
            size: 1,
        },
        source: SourceOfRelease {
            commit: Some(commit(number)),
            branch: None,
            dirty: false,
            committed_at: None,
            trust: None,
        },
        settings: [(name("production"), setting())].into(),
    }
}

fn commit(number: u8) -> String {
    format!("{number:02x}").repeat(20)
}

fn known() -> BTreeMap<Digest, KnownRelease> {
    [1, 2].map(|number| (release(number).digest(), KnownRelease::of(&release(number), None))).into()
}

fn target(machine: &str, before: Option<u8>, action: TargetAction) -> TargetPlan {
    TargetPlan {
        damage: None,
        target: Target {
            name: name(machine),
            access: Access::Local,
            pool: None,
            tags: [].into(),
            roles: [].into(),
            variables: [].into(),
            serves_at: None,
        },
        action,
        before: before.map(|number| release(number).digest()),
        staged: false,
    }
}

fn plan(number: u8, targets: Vec<TargetPlan>) -> Box<staith_model::FleetPlan> {
    Box::new(staith_model::FleetPlan {
        environment: name("production"),
        release: release(number).digest(),
        previous: None,
        direction: Direction::Forward,
        setting: setting(),
        pace: Pace { kind: PaceKind::InPlace, max_unavailable: 1, drains: false, keep_warm_seconds: None },
        targets,
        waves: vec![],
        analysis: None,
        traffic: None,
        hooks: vec![],
        keep: [].into(),
        floor: None,
        undo_moves_bytes: [].into(),
        epoch_seen: 0,
        warnings: vec![],
    })
}

/// A ledger that is written by the test.
#[derive(Default)]
struct Ledger(Vec<(u64, FleetEvent)>);

impl Ledger {
    fn write(&mut self, event: FleetEvent) {
        let position = u64::try_from(self.0.len()).unwrap();
        self.0.push((1000 + position, event));
    }

    /// Asks for a deployment and takes it to where machines are switched.
    fn begin(&mut self, number: u8, targets: Vec<TargetPlan>) -> DeploymentId {
        let deployment = DeploymentId::new(u64::from(number), [number; 10]);
        let plan = plan(number, targets);
        self.write(FleetEvent::Requested {
            deployment: deployment.clone(),
            plan,
            by: "anna".into(),
            reason: String::new(),
            by_itself: false,
        });
        self.change(&deployment, 0, DeploymentChange::Submitted);
        self.write(FleetEvent::Lease {
            deployment: deployment.clone(),
            epoch: number.into(),
            who: "a".into(),
        });
        use DeploymentChange as Change;
        for change in [Change::GatesPassed, Change::Acquired, Change::StagedEverywhere, Change::SwitchBegan] {
            self.change(&deployment, number, change);
        }
        deployment
    }

    fn change(&mut self, deployment: &DeploymentId, epoch: u8, change: DeploymentChange) {
        let (deployment, epoch) = (deployment.clone(), epoch.into());
        self.write(FleetEvent::Changed { deployment, epoch, change, reason: None::<Reason> });
    }

    fn switch(&mut self, deployment: &DeploymentId, epoch: u8, machine: &str, to: Option<u8>) {
        let work = Work::Switch { target: name(machine), to: to.map(|number| release(number).digest()) };
        let (operation, epoch) = (Digest::of(machine.as_bytes()), u64::from(epoch));
        let deployment = deployment.clone();
        self.write(FleetEvent::Intent {
            deployment: deployment.clone(),
            operation,
            epoch,
            work: work.clone(),
        });
        let result = WorkResult::done(false);
        self.write(FleetEvent::Outcome { deployment, operation, work, epoch, result });
    }

    fn succeed(&mut self, deployment: &DeploymentId, epoch: u8) {
        use DeploymentChange as Change;
        for change in [Change::WaveSwitched, Change::AllWavesHeld, Change::Finalized] {
            self.change(deployment, epoch, change);
        }
    }

    fn entries(&self) -> impl Iterator<Item = (u64, &FleetEvent)> {
        self.0.iter().map(|(at, event)| (*at, event))
    }

    fn facts(&self) -> Vec<DeploymentFact> {
        facts(self.entries(), &known()).unwrap()
    }
}

/// Release 1 serves on two machines.
fn first() -> Ledger {
    let mut ledger = Ledger::default();
    let targets = ["web1", "web2"].map(|machine| target(machine, None, TargetAction::First));
    let deployment = ledger.begin(1, targets.into());
    ledger.switch(&deployment, 1, "web1", Some(1));
    ledger.switch(&deployment, 1, "web2", Some(1));
    ledger.succeed(&deployment, 1);
    ledger
}

fn second() -> Vec<TargetPlan> {
    ["web1", "web2"].map(|machine| target(machine, Some(1), TargetAction::Switch)).into()
}

fn machines_of(facts: &[DeploymentFact], number: u8) -> Vec<String> {
    serving_commit(facts, &commit(number)).iter().map(|trace| trace.target.to_string()).collect()
}

#[test]
fn what_succeeded_runs_on_its_machines_and_has_a_beginning_and_an_end() {
    let ledger = first();
    let facts = ledger.facts();
    assert_eq!((facts.len(), facts[0].outcome, facts[0].kind), (1, Outcome::Succeeded, Kind::Deploy));
    assert_eq!(facts[0].requested_at, 1000);
    assert!(facts[0].began_at.unwrap() > 1000 && facts[0].ended_at.unwrap() > facts[0].began_at.unwrap());
    assert_eq!(machines_of(&facts, 1), ["web1", "web2"]);
    let back = trace(&facts, &name("web1"));
    assert_eq!(back[0].origin.as_ref().unwrap().commit, Some(commit(1)));
}

#[test]
fn half_a_deployment_is_where_it_is() {
    let mut ledger = first();
    let deployment = ledger.begin(2, second());
    ledger.switch(&deployment, 2, "web1", Some(2));
    let facts = ledger.facts();
    assert_eq!((facts[1].outcome, facts[1].ended_at), (Outcome::UnderWay, None));
    assert_eq!((machines_of(&facts, 1), machines_of(&facts, 2)), (vec!["web2".into()], vec!["web1".into()]));
}

#[test]
fn what_was_taken_back_runs_nowhere() {
    let mut ledger = first();
    let deployment = ledger.begin(2, second());
    ledger.switch(&deployment, 2, "web1", Some(2));
    ledger.change(&deployment, 2, DeploymentChange::Aborted);
    ledger.change(&deployment, 2, DeploymentChange::RollbackBegan);
    ledger.switch(&deployment, 2, "web1", Some(1));
    ledger.change(&deployment, 2, DeploymentChange::Restored);
    let facts = ledger.facts();
    assert_eq!(facts[1].outcome, Outcome::RolledBack);
    assert_eq!(machines_of(&facts, 2), Vec::<String>::new());
    assert_eq!(machines_of(&facts, 1), ["web1", "web2"]);
}

#[test]
fn a_driver_that_lost_its_lease_tells_nothing() {
    let mut ledger = first();
    let deployment = ledger.begin(2, second());
    ledger.switch(&deployment, 1, "web1", Some(2));
    let facts = ledger.facts();
    assert_eq!((facts[1].began_at, machines_of(&facts, 2).len()), (None, 0));
}

#[test]
fn a_machine_that_did_not_answer_is_not_said_to_run_nothing() {
    let mut ledger = first();
    let targets =
        vec![target("web1", Some(1), TargetAction::Switch), target("web2", None, TargetAction::Unreachable)];
    let deployment = ledger.begin(2, targets);
    ledger.switch(&deployment, 2, "web1", Some(2));
    ledger.succeed(&deployment, 2);
    let facts = ledger.facts();
    assert_eq!((machines_of(&facts, 1), machines_of(&facts, 2)), (vec!["web2".into()], vec!["web1".into()]));
}

#[test]
fn a_release_that_is_gone_is_told_of() {
    let missing = facts(first().entries(), &BTreeMap::new());
    assert_eq!(missing, Err(release(1).digest()));
}
