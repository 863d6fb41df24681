//! Hosts, a server, the weather between them, and people.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use staith_model::{
    AttemptId, RunId,
    service::{AttemptOutcome, Trust},
};
use staith_server::{
    queue::{self, runs},
    store::{Actor, RunFilter},
};

use crate::{
    chance::Chance,
    host::{Fate, Host},
    queue_stage::{BEGIN, Stage},
};

/// Milliseconds from one look at everything to the next.
pub(crate) const STEP: u64 = 250;
/// The longest that it may take until all jobs have ended once the weather is good.
const PATIENCE: u64 = 1_200_000;

pub(crate) struct Size {
    pub(crate) runs: usize,
    pub(crate) hosts: usize,
}

/// What was heard and said, to hold the database against.
#[derive(Default)]
pub(crate) struct Heard {
    last: RefCell<BTreeMap<AttemptId, u64>>,
    pub(crate) acknowledged: Vec<(AttemptId, AttemptOutcome)>,
    pub(crate) added: Vec<(RunId, usize)>,
    pub(crate) starts: Vec<u64>,
}

impl Heard {
    /// The server took a word of an attempt.
    pub(crate) fn at(&self, attempt: &AttemptId, now: u64) {
        self.last.borrow_mut().insert(attempt.clone(), now);
    }

    pub(crate) fn last(&self, attempt: &AttemptId) -> u64 {
        self.last.borrow().get(attempt).copied().unwrap_or(0)
    }

    /// A host was told that its end was taken.
    pub(crate) fn acknowledged(&mut self, attempt: &AttemptId, outcome: &AttemptOutcome) {
        self.acknowledged.push((attempt.clone(), outcome.clone()));
    }
}

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) heard: Heard,
    hosts: Vec<Host>,
    chance: Chance,
    size: Size,
    /// The server is down until then.
    down_until: Option<u64>,
    bad_weather: bool,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let stage = Stage::new();
        for project in ["blog", "docs", "shop"] {
            stage.project(project);
        }
        let hosts =
            (0..size.hosts).map(|host| Host::new(stage.runner(&format!("host-{host}"), "default", &[])));
        let hosts = hosts.collect();
        let heard = Heard { starts: vec![BEGIN], ..Heard::default() };
        Self { stage, heard, hosts, chance: Chance::new(seed), size, down_until: None, bad_weather: true }
    }

    /// Runs are added, and everything that can go wrong does.
    pub(crate) async fn storm(&mut self) {
        while self.heard.added.len() < self.size.runs {
            self.server_falls_or_stands_up();
            self.hosts_fall();
            if self.down_until.is_none() {
                self.people().await;
            }
            self.step().await;
        }
    }

    /// Nothing goes wrong any more: everything must come to an end.
    pub(crate) async fn calm(&mut self) {
        self.bad_weather = false;
        if self.down_until.take().is_some() {
            self.server_starts();
        }
        for host in &mut self.hosts {
            (host.cut_until, host.dead_until) = (0, 0);
        }
        let until = self.stage.now() + PATIENCE;
        while self.anything_open() {
            assert!(self.stage.now() < until, "something is stuck:\n{}", crate::checks::trace(self));
            self.step().await;
        }
    }

    /// Asked once a second: opening the database takes longer than a step.
    fn anything_open(&self) -> bool {
        let open = || {
            self.stage.raw(|db| {
                db.query_row("SELECT count(*) FROM runs WHERE ended IS NULL", [], |row| row.get::<_, u64>(0))
            })
        };
        !self.stage.now().is_multiple_of(1000) || open() > 0
    }

    async fn step(&mut self) {
        let now = self.stage.now();
        if self.down_until.is_none() {
            let site = self.stage.site().clone();
            queue::tick(&site).await;
            for host in &mut self.hosts {
                let cut = host.cut_until > now;
                let fate = if cut { Fate::NotSent } else { Fate::of(&mut self.chance, self.bad_weather) };
                if host.dead_until <= now {
                    host.step(&site, now, fate, &mut self.chance, &mut self.heard).await;
                }
            }
        }
        self.nobody_shares_a_job(now);
        self.stage.pass(STEP);
    }

    /// What hosts believe: never do two of them work at a job at once.
    fn nobody_shares_a_job(&self, now: u64) {
        let mut held = BTreeSet::new();
        for work in self.hosts.iter().flat_map(|host| &host.work) {
            let at_work = work.valid_until > now && work.ends_at > now && !work.hangs;
            assert!(
                !at_work || held.insert((&work.run, &work.job)),
                "two hosts have {}/{}",
                work.run,
                work.job
            );
        }
    }

    fn server_falls_or_stands_up(&mut self) {
        let now = self.stage.now();
        match self.down_until {
            Some(until) if until <= now => {
                self.down_until = None;
                self.server_starts();
            }
            None if self.chance.one_in(200) => {
                self.stage.stop();
                self.down_until = Some(now + self.chance.between(STEP, 30_000));
            }
            _ => {}
        }
    }

    fn server_starts(&mut self) {
        self.stage.start();
        self.heard.starts.push(self.stage.now());
    }

    fn hosts_fall(&mut self) {
        let now = self.stage.now();
        for host in &mut self.hosts {
            if self.chance.one_in(600) {
                host.dies(now + self.chance.between(1000, 60_000));
            }
            if self.chance.one_in(400) {
                host.cut_until = now + self.chance.between(1000, 40_000);
            }
        }
    }

    async fn people(&mut self) {
        if self.chance.one_in(4) {
            self.add().await;
        }
        if self.chance.one_in(60)
            && let Some(run) = self.some_run().await
        {
            runs::cancel(self.stage.site(), &run, ada(), "not wanted".to_owned()).await.unwrap();
        }
        if self.chance.one_in(30)
            && let Some(run) = self.some_run().await
            && let Err(refused) = runs::retry(self.stage.site(), &run, ada()).await
        {
            assert_eq!(refused.details().kind, "conflict");
        }
    }

    async fn some_run(&mut self) -> Option<RunId> {
        let page = self.stage.store().runs(RunFilter { limit: 30, ..RunFilter::default() }).await.unwrap();
        let place = self.chance.below(30) as usize;
        page.runs.get(place).map(|run| run.id.clone())
    }

    async fn add(&mut self) {
        const SHAPES: [&[(&str, &[&str])]; 4] = [
            &[("run", &[])],
            &[("build", &[]), ("test", &["build"])],
            &[("build", &[]), ("lint", &[]), ("test", &["build"]), ("pack", &["lint", "test"])],
            &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])],
        ];
        let project = ["blog", "docs", "shop"][self.chance.below(3) as usize];
        let shape = SHAPES[self.chance.below(4) as usize];
        let mut run = self.stage.run(project, shape);
        run.priority = i32::try_from(self.chance.below(3)).unwrap();
        if self.chance.one_in(4) {
            run.concurrency = Some("main".to_owned());
            run.supersedes = self.chance.one_in(2);
        }
        let trust = if self.chance.one_in(5) { Trust::Fork } else { Trust::Branch };
        for job in &mut run.jobs {
            job.spec.trust = trust;
            job.spec.timeout_millis = 60_000;
        }
        let id = self.stage.add(run).await;
        self.heard.added.push((id, shape.len()));
    }
}

fn ada() -> Actor {
    Actor { who: "person:ada".to_owned(), from: None }
}
