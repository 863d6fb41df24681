//! A store, and what promises are made about: set up by the traits alone.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use staith_model::{
    ArrivalId, AttemptId, Digest, Name, Plan, RunId, RunnerId,
    service::{EnrolmentAsked, Happening, JobSpec, Project, ProjectSettings, Trust},
};
use staith_server::store::{
    Actor, Applicant, Application, Claim, Claimable, Given, NewArrival, NewJob, NewRun, Seen, Sqlite, Store,
};

/// Milliseconds since 1970 at which every promise begins.
pub(crate) const NOW: u64 = 1_795_000_000_000;
pub(crate) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(crate) const C: &str = "cccccccccccccccccccccccccccccccccccccccc";
/// The tree of all plans here.
pub(crate) const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Opens a store that is there, or makes it.
type Opens = Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>;

/// A store that is empty at first.
pub(crate) struct Bench {
    store: Option<Arc<dyn Store>>,
    /// After the store: it may own the place where that is.
    opens: Opens,
    ids: AtomicU64,
}

impl Bench {
    /// With the embedded database.
    pub(crate) fn sqlite() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::of(Box::new(move || Arc::new(Sqlite::open(&place.path().join("staith.db")).unwrap())))
    }

    fn of(opens: Opens) -> Self {
        Self { store: Some(opens()), opens, ids: AtomicU64::new(0) }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_deref().unwrap()
    }

    /// The same store, closed and opened again: what was acknowledged is there.
    pub(crate) fn reopened(mut self) -> Self {
        self.store = None;
        self.store = Some((self.opens)());
        self
    }

    fn chance(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.ids.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }

    /// A project whose `main` is at [`A`].
    pub(crate) async fn project(&self, called: &str) -> Project {
        let project = project(called);
        self.store().add_project(project.clone(), vec![seen("refs/heads/main", A)], &ada()).await.unwrap();
        project
    }

    /// Something that happened, as a forge tells it.
    pub(crate) fn told(&self, project: &str, delivery: &str, happening: Happening) -> NewArrival {
        NewArrival {
            id: ArrivalId::new(NOW, self.chance()),
            project: name(project),
            source: "github",
            delivery: delivery.to_owned(),
            happening,
        }
    }

    /// Writes down that it happened; its id.
    pub(crate) async fn tell(
        &self,
        project: &str,
        delivery: &str,
        happening: Happening,
        now: u64,
    ) -> ArrivalId {
        let new = self.told(project, delivery, happening);
        self.store().arrive(vec![new], now).await.unwrap().remove(0)
    }

    /// A run of one job.
    pub(crate) async fn run(&self, project: &str, concurrency: Option<&str>, now: u64) -> RunId {
        let id = RunId::new(now, self.chance());
        let plan = plan(project);
        let spec = JobSpec {
            run: id.clone(),
            number: 0,
            project: name(project),
            name: name("run"),
            plan_digest: plan.digest(),
            plan,
            part: None,
            trust: Trust::Branch,
            secrets: BTreeSet::new(),
            timeout_millis: 3_600_000,
        };
        let job = NewJob { spec, pool: name("default"), labels: BTreeSet::new(), needs: BTreeSet::new() };
        let run = NewRun {
            id: id.clone(),
            arrival: None,
            by: ada(),
            concurrency: concurrency.map(str::to_owned),
            supersedes: false,
            priority: 0,
            jobs: vec![job],
        };
        self.store().add_run(run, now).await.unwrap();
        id
    }

    /// A host that takes jobs.
    pub(crate) async fn runner(&self, called: &str) -> RunnerId {
        let (code, id) = (Digest::of(called.as_bytes()), RunnerId::new(NOW, self.chance()));
        let gives = EnrolmentAsked {
            pool: name("default"),
            labels: BTreeSet::new(),
            ephemeral: false,
            valid_millis: None,
            target: None,
        };
        self.store().add_enrolment(code, gives, NOW + 1000, ada(), NOW).await.unwrap();
        let applicant = Applicant {
            code,
            id,
            name: name(called),
            public_key: called.to_owned(),
            labels: BTreeSet::new(),
            version: "1".to_owned(),
            from: None,
        };
        match self.store().enrol(applicant, NOW).await.unwrap() {
            Application::Taken(enrolled) => enrolled.runner,
            refused => panic!("{refused:?}"),
        }
    }

    /// Gives a runner the next job.
    pub(crate) async fn attempt(&self, runner: &RunnerId, now: u64) -> Given {
        let claim = Claim {
            runner: runner.clone(),
            nonce: format!("{:?}", self.chance()),
            by: Actor { who: format!("runner:{runner}"), from: None },
            attempt: AttemptId::new(now, self.chance()),
            token: Arc::new(|attempt| Digest::of(attempt.as_str().as_bytes())),
        };
        match self.store().claim(claim, now).await.unwrap() {
            Claimable::Given(given) => given,
            other => panic!("{other:?}"),
        }
    }

    /// The words for what was done, from the audit log.
    pub(crate) async fn done(&self) -> Vec<String> {
        self.store().audit(0, 10_000).await.unwrap().into_iter().map(|entry| entry.what).collect()
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn ada() -> Actor {
    Actor { who: "person:ada".to_owned(), from: None }
}

pub(crate) fn seen(reference: &str, commit: &str) -> Seen {
    Seen { reference: reference.to_owned(), commit: commit.to_owned() }
}

pub(crate) fn project(called: &str) -> Project {
    let origin = format!("/srv/git/{called}.git");
    Project { name: name(called), origin, settings: ProjectSettings::default(), created: NOW }
}

pub(crate) fn push(branch: &str, after: &str) -> Happening {
    Happening::Push { branch: branch.to_owned(), before: None, after: after.to_owned() }
}

pub(crate) fn request(number: u64, head: &str) -> Happening {
    Happening::PullRequest {
        number,
        branch: "topic".to_owned(),
        head: head.to_owned(),
        target: "main".to_owned(),
        fork: true,
        author: 1,
        reference: None,
    }
}

fn plan(project: &str) -> Plan {
    serde_json::from_value(serde_json::json!({
        "project": project,
        "version": "1.0.0",
        "source": { "tree": TREE, "commit": C, "dirty": false },
        "trigger": { "kind": "push", "branch": "main" },
        "tools": [], "steps": [], "left_out": [], "services": [], "packages": [],
    }))
    .unwrap()
}
