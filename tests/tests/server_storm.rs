//! Many jobs while server, runners, keepers and the network are killed at random: none is lost, none is done twice, none is stuck, and
//! each that was tried again has a cause. Real processes; the steps are `true`. Needs root and nftables; says so and checks nothing where
//! network namespaces can't be made.
//!
//! `STAITH_STORM_JOBS` says how many jobs, if not the 2,000 of the design, and `STAITH_STORM_SEED` by which chance. What follows what is by chance and by how fast the machine is, so that a seed repeats which faults
//! come in which order, and no more.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Signal, kill_process};
use staith_model::service::{AttemptOutcome, AttemptState, JobState, MOST_RETRIES};
use staith_tests::{
    invariants::{self, Job},
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
    /// All keepers of a host.
    Keepers,
    /// A host with all that it runs.
    Host,
    Freeze,
    Wire(&'static str),
    Forge,
}

const BLOWS: [Blow; 13] = [
    Blow::Server,
    Blow::Server,
    Blow::Runner,
    Blow::Runner,
    Blow::Keepers,
    Blow::Keepers,
    Blow::Host,
    Blow::Forge,
    Blow::Freeze,
    Blow::Wire("cut"),
    Blow::Wire("answers lost"),
    Blow::Wire("half open"),
    Blow::Wire("resets"),
];

/// So many hosts at most suffer until their jobs are given away, while the others go on.
const LOST: usize = 2;
/// After so long without an end of a job it is told how things stand.
const PUZZLING: Duration = Duration::from_secs(8);
/// After so long a host's jobs are given away.
const GIVEN_AWAY: Duration = Duration::from_secs(16);

/// What a host suffers.
#[derive(Debug, Clone, Copy)]
struct Suffering {
    blow: Blow,
    since: Instant,
    /// Until its jobs are given away, and not only until something else comes over it.
    lasts: bool,
}

impl Suffering {
    fn goes_on(&self) -> bool {
        self.lasts && self.since.elapsed() < GIVEN_AWAY
    }
}

struct Storm {
    scene: Scene,
    chance: Chance,
    suffers: [Option<Suffering>; HOSTS],
    struck: BTreeMap<Blow, usize>,
}

impl Storm {
    fn strike(&mut self) {
        let blow = BLOWS[self.chance.below(BLOWS.len())];
        let (place, lasts) = (self.chance.below(HOSTS), self.chance.below(4) == 0);
        self.scene.forge.is_dead(blow == Blow::Forge);
        match blow {
            Blow::Forge => return *self.struck.entry(blow).or_default() += 1,
            Blow::Server => {
                *self.struck.entry(blow).or_default() += 1;
                self.scene.server.take().unwrap().kill();
                return self.scene.serves();
            }
            _ if self.suffers[place].is_some_and(|suffers| suffers.goes_on()) => return,
            _ => *self.struck.entry(blow).or_default() += 1,
        }
        self.heal(place);
        let host = &mut self.scene.hosts[place];
        match blow {
            Blow::Server | Blow::Forge => {}
            Blow::Runner => host.dies(),
            Blow::Host => host.is_lost(),
            Blow::Freeze => host.signal(Signal::STOP),
            Blow::Keepers => {
                for keeper in host.keepers() {
                    // It may have ended meanwhile.
                    let _ = kill_process(keeper, Signal::KILL);
                }
            }
            Blow::Wire("cut") => host.wire().has(Fault::Cut),
            Blow::Wire("answers lost") => host.wire().has(Fault::AnswersLost),
            Blow::Wire("half open") => host.wire().has(Fault::HalfOpen),
            Blow::Wire(_) => host.wire().has(Fault::Resets),
        }
        let lost = self.suffers.iter().flatten().filter(|suffers| suffers.goes_on()).count();
        let lasts = lasts && lost < LOST && blow != Blow::Keepers;
        self.suffers[place] = Some(Suffering { blow, since: Instant::now(), lasts });
    }

    fn heal(&mut self, place: usize) {
        let host = &mut self.scene.hosts[place];
        match self.suffers[place].take().map(|suffers| suffers.blow) {
            Some(Blow::Runner | Blow::Host) => host.starts(JOBS),
            Some(Blow::Freeze) => host.signal(Signal::CONT),
            Some(Blow::Wire(_)) => host.wire().heals(),
            Some(Blow::Server | Blow::Keepers | Blow::Forge) | None => {}
        }
    }

    fn over(&self) -> usize {
        over(&self.scene.server().data.join("staith.db"))
    }

    /// Waits until more jobs are over than were, of those that were asked for: whatever has struck, the others go on.
    fn waits_for(&mut self, more: usize, asked: usize) -> usize {
        let wanted = (self.over() + more).min(asked);
        let mut done = self.over();
        while done < wanted {
            // Where every host suffers, nothing goes on.
            if self.suffers.iter().all(Option::is_some) {
                let short = |place: &usize| !self.suffers[*place].is_some_and(|suffers| suffers.goes_on());
                (0..HOSTS).filter(short).collect::<Vec<_>>().into_iter().for_each(|place| self.heal(place));
            }
            let (began, mut is_told) = (Instant::now(), false);
            done = wait::until("one more job is over", || {
                if !is_told && began.elapsed() > PUZZLING {
                    is_told = true;
                    self.tell();
                }
                Some(self.over()).filter(|now| *now > done)
            });
        }
        done
    }

    /// How things stand, for who looks into why nothing goes on.
    fn tell(&self) {
        println!("struck: {:?}; suffering: {:?}", self.struck, self.suffers);
        let jobs = invariants::jobs(&self.scene.server().data.join("staith.db"));
        jobs.iter().filter(|job| !job.state.is_over()).for_each(|job| println!("{job:?}"));
        println!("{}", self.scene.server().ask("GET", "/api/v1/projects/shop/arrivals?limit=30", "").body);
        for host in &self.scene.hosts {
            let log = host.log();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            println!("{} has {:?} and said last\n{}", host.home().display(), host.jobs(), last.join("\n"));
        }
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
    let mut scene = Scene::quiet(STEPS);
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
        done = storm.waits_for(more, asked);
    }
    (0..HOSTS).for_each(|place| storm.heal(place));
    storm.scene.forge.is_dead(false);
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
    // Of 2,000 jobs some forty are tried again.
    assert!(attempts().count() > jobs, "nothing went wrong, so nothing was shown");
}

#[test]
fn jobs_come_through_a_storm_once_each() {
    let jobs = said("STAITH_STORM_JOBS").map_or(2_000, |jobs| usize::try_from(jobs).unwrap());
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()));
    let seed = said("STAITH_STORM_SEED").unwrap_or_else(now);
    println!("STAITH_STORM_JOBS={jobs} STAITH_STORM_SEED={seed}");
    all(1, &[("storm", ())], |()| storm(jobs, seed));
}
