//! Many jobs while server, runners, keepers and the network are killed at random: none is lost, none is done twice, none is stuck, and
//! each that was tried again has a cause. Real processes; the steps are `true`. Needs root and nftables; says so and checks nothing where
//! network namespaces can't be made.
//!
//! `STAITH_STORM_JOBS` says how many jobs (2,000 are the design's; each has a process of its own, which a debug build makes slow) and
//! `STAITH_STORM_SEED` by which chance. What follows what is by chance and by how fast the machine is, so that a seed repeats which faults
//! come in which order, and no more.

use std::{collections::BTreeMap, path::Path, time::Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Signal, kill_process};
use staith_model::service::{AttemptOutcome, AttemptState, JobState, MOST_RETRIES};
use staith_tests::{
    invariants::Job,
    scene::{Scene, all},
    wait,
    wires::Fault,
};

/// One job in four is of a plan that no other has, so that its step is run.
const STEPS: &str = "[parameters.number]\ntype = \"text\"\ndefault = \"0\"\n\
                     [steps.talk]\nrun = \"true\"\nenv = { NUMBER = \"{parameters.number}\" }\n";
const HOSTS: usize = 4;
/// So many of each host at once.
const JOBS: u32 = 2;
/// So many runs wait for a host, most of the time.
const AHEAD: usize = 24;

/// Small and good enough: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn said(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Server,
    Runner,
    Keeper,
    Freeze,
    Wire(&'static str),
}

const BLOWS: [Blow; 10] = [
    Blow::Server,
    Blow::Server,
    Blow::Runner,
    Blow::Runner,
    Blow::Keeper,
    Blow::Freeze,
    Blow::Wire("cut"),
    Blow::Wire("answers lost"),
    Blow::Wire("half open"),
    Blow::Wire("resets"),
];

struct Storm {
    scene: Scene,
    chance: Chance,
    /// What each host suffers, until something else comes over it.
    suffers: [Option<Blow>; HOSTS],
    struck: BTreeMap<Blow, usize>,
}

impl Storm {
    fn strike(&mut self) {
        let blow = BLOWS[self.chance.below(BLOWS.len())];
        let place = self.chance.below(HOSTS);
        *self.struck.entry(blow).or_default() += 1;
        if blow == Blow::Server {
            self.scene.server.take().unwrap().kill();
            self.scene.serves();
            return;
        }
        self.heal(place);
        let host = &mut self.scene.hosts[place];
        match blow {
            Blow::Server => {}
            Blow::Runner => host.dies(),
            Blow::Freeze => host.signal(Signal::STOP),
            Blow::Keeper => {
                if let Some(keeper) = host.keeper() {
                    // It may have ended meanwhile.
                    let _ = kill_process(keeper, Signal::KILL);
                }
            }
            Blow::Wire("cut") => host.wire().has(Fault::Cut),
            Blow::Wire("answers lost") => host.wire().has(Fault::AnswersLost),
            Blow::Wire("half open") => host.wire().has(Fault::HalfOpen),
            Blow::Wire(_) => host.wire().has(Fault::Resets),
        }
        self.suffers[place] = Some(blow);
    }

    fn heal(&mut self, place: usize) {
        let host = &mut self.scene.hosts[place];
        match self.suffers[place].take() {
            Some(Blow::Runner) => host.starts(JOBS),
            Some(Blow::Freeze) => host.signal(Signal::CONT),
            Some(Blow::Wire(_)) => host.wire().heals(),
            Some(Blow::Server | Blow::Keeper) | None => {}
        }
    }

    fn over(&self) -> usize {
        over(&self.scene.server().data.join("staith.db"))
    }

    /// Waits until more jobs are over than were: whatever has struck, the others go on.
    fn waits_for(&mut self, more: usize, all: usize) -> usize {
        let wanted = (self.over() + more).min(all);
        let mut done = self.over();
        while done < wanted {
            // Where every host suffers, nothing goes on.
            if self.suffers.iter().all(Option::is_some) {
                (0..HOSTS).for_each(|place| self.heal(place));
            }
            done = wait::until("one more job is over", || Some(self.over()).filter(|now| *now > done));
        }
        done
    }
}

fn over(database: &Path) -> usize {
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let count = "SELECT count(*) FROM runs WHERE ended IS NOT NULL";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

fn causes_are_known(jobs: &[Job]) -> BTreeMap<String, usize> {
    let mut causes = BTreeMap::new();
    for job in jobs {
        for attempt in &job.attempts {
            let why = match (&attempt.outcome, &attempt.why) {
                (Some(AttemptOutcome::Passed), _) => continue,
                (Some(AttemptOutcome::Failed { why, .. }), _) | (None, Some(why)) => why,
                other => panic!("no cause: {other:?} of {attempt:?}"),
            };
            let why = why.lines().next().unwrap_or_default().to_owned();
            *causes.entry(why).or_default() += 1;
        }
        // Who has struck one job three times may have ended it; nothing else may.
        let struck_out = job.state == JobState::Failed && job.attempts.len() > MOST_RETRIES as usize;
        assert!(job.state == JobState::Passed || struck_out, "{job:?}");
    }
    causes
}

fn storm(jobs: usize, seed: u64) {
    let began = Instant::now();
    let mut scene = Scene::new(STEPS);
    for _ in 0..HOSTS {
        scene.host(JOBS);
    }
    let mut storm =
        Storm { scene, chance: Chance(seed | 1), suffers: [None; HOSTS], struck: BTreeMap::new() };
    let (mut asked, mut done) = (0, 0);
    while done < jobs {
        while asked < jobs && asked < done + AHEAD {
            let number = if asked % 4 == 0 { asked.to_string() } else { "0".to_owned() };
            // Asked once more where nobody knows whether it was heard.
            let key = format!("job-{asked}");
            wait::until("the run is acknowledged", || storm.scene.asks_with(&key, &number).then_some(()));
            asked += 1;
        }
        storm.strike();
        let more = 1 + storm.chance.below(8);
        done = storm.waits_for(more, jobs);
    }
    (0..HOSTS).for_each(|place| storm.heal(place));
    let kept = storm.scene.holds();
    assert_eq!(kept.len(), jobs, "each was asked for once");
    let causes = causes_are_known(&kept);
    let attempts = || kept.iter().flat_map(|job| &job.attempts);
    let lost = attempts().filter(|attempt| attempt.state == AttemptState::Lost).count();
    println!(
        "{jobs} jobs in {} s, seed {seed}: {} attempts, {lost} of them lost; {:?}; {causes:#?}",
        began.elapsed().as_secs(),
        attempts().count(),
        storm.struck,
    );
    assert!(attempts().count() > jobs, "nothing went wrong, so nothing was shown");
}

#[test]
fn jobs_come_through_a_storm_once_each() {
    let jobs = said("STAITH_STORM_JOBS").map_or(150, |jobs| usize::try_from(jobs).unwrap());
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()));
    let seed = said("STAITH_STORM_SEED").unwrap_or_else(now);
    println!("STAITH_STORM_JOBS={jobs} STAITH_STORM_SEED={seed}");
    all(1, &[("storm", ())], |()| storm(jobs, seed));
}
