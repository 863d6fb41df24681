//! A real server in a network of its own, hosts behind wires, and a project whose runs are asked for.

use std::{
    collections::VecDeque,
    fs,
    sync::{Mutex, PoisonError},
    thread,
};

use serde_json::Value;
use staith_model::service::JobState;

use crate::{
    build_host::BuildHost,
    forge::{Forge, TOKEN},
    invariants::{self, Job, SECRET},
    served::{Answered, Served},
    wait,
    wires::{SERVER, Yard, are_permitted},
    world::{Said, World},
};

/// Where the server listens, in its own network, also after it was started again.
const PORT: u16 = 8765;

/// A step that every pipeline has but a quiet one's: it says a secret aloud, for which is looked everywhere afterwards.
const TELLS: &str = "[steps.tells]\nrun = \"echo the word is $WORD.\"\nsecrets = { WORD = \"word\" }\n";

/// All of it. Fields are dropped in this order: first who asks, then who is asked.
#[derive(Debug)]
pub struct Scene {
    /// The hosts, in the order in which they came.
    pub hosts: Vec<BuildHost>,
    /// The server, while it runs.
    pub server: Option<Served>,
    /// Who is told how runs end.
    pub forge: Forge,
    yard: Yard,
    /// What the server acknowledged.
    arrivals: Vec<String>,
    /// Where everything lies.
    pub world: World,
}

impl Scene {
    /// A server with the project `shop`, whose pipeline has these steps. From now on this thread is in the server's network.
    ///
    /// # Panics
    /// The system refuses: see [`wires::are_permitted`](crate::wires::are_permitted).
    pub fn new(steps: &str) -> Self {
        Self::with_files(steps, &[])
    }

    /// The same with files of so many bytes each that can't be made fewer.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn with_files(steps: &str, files: &[(&str, usize)]) -> Self {
        Self::behind(&[], steps, files)
    }

    /// The same with a server that other words become, or watch: see [`Served::command`].
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn behind(words: &[&str], steps: &str, files: &[(&str, usize)]) -> Self {
        Self::with_pipeline(words, &format!("{steps}{TELLS}"), files)
    }

    /// As [`new`](Self::new), and there is no step but these: none that says a secret.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn quiet(steps: &str) -> Self {
        Self::with_pipeline(&[], steps, &[])
    }

    fn with_pipeline(words: &[&str], steps: &str, files: &[(&str, usize)]) -> Self {
        let (world, yard) = (World::new(), Yard::enter());
        world.write("runner.toml", &format!("name = \"shop\"\nversion = \"1\"\n{steps}"));
        for (name, length) in files {
            let mut state = 88_172_645_463_325_252_u64;
            let noise = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            });
            std::fs::write(world.project().join(name), noise.take(*length).collect::<Vec<u8>>()).unwrap();
        }
        world.commit("first");
        let forge = Forge::begins();
        let told = format!(
            r#"{{"forge":{{"kind":"github","url":"{}","repository":"me/shop","status_secret":"status"}}}}"#,
            forge.url
        );
        let mut scene = Self { hosts: Vec::new(), server: None, forge, yard, arrivals: Vec::new(), world };
        scene.serves_behind(words).unwrap_or_else(|said| panic!("the server did not start: {said:?}"));
        let origin = scene.world.project().display().to_string();
        let project = format!(r#"{{"name":"shop","origin":"{origin}"}}"#);
        scene.server().ask("POST", "/api/v1/projects", &project).is(201);
        let token = format!(r#"{{"value":"{TOKEN}","environment":"staith.forge"}}"#);
        let kept = scene.server().ask("PUT", "/api/v1/projects/shop/secrets/status", &token);
        assert!(kept.status < 300, "{kept:?}");
        let word = format!(r#"{{"value":"{SECRET}"}}"#);
        let kept = scene.server().ask("PUT", "/api/v1/projects/shop/secrets/word", &word);
        assert!(kept.status < 300, "{kept:?}");
        scene.server().ask("PATCH", "/api/v1/projects/shop", &told).is(200);
        scene
    }

    /// The server starts, with what it had.
    ///
    /// # Panics
    /// It does not.
    pub fn serves(&mut self) {
        self.serves_behind(&[]).unwrap_or_else(|said| panic!("the server did not start: {said:?}"));
    }

    /// The same, behind other words.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub fn serves_behind(&mut self, words: &[&str]) -> Result<(), Said> {
        let data = self.world.scratch().join("server");
        self.server = Some(Served::at(&format!("{SERVER}:{PORT}"), words, &self.world, &data)?);
        Ok(())
    }

    /// The server.
    ///
    /// # Panics
    /// None runs.
    pub const fn server(&self) -> &Served {
        self.server.as_ref().unwrap()
    }

    /// One more host of the pool `default`, behind a wire, with a runner for so many jobs at once.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn host(&mut self, jobs: u32) -> &mut BuildHost {
        self.host_of("default", jobs, &[])
    }

    /// One more host, which reaches the server by another address in the server's network.
    ///
    /// # Panics
    /// As [`host`](Self::host).
    pub fn host_through(&mut self, address: &str, jobs: u32) -> &mut BuildHost {
        let name = format!("host{}", self.hosts.len() + 1);
        let wire = self.yard.wire();
        let mut host = BuildHost::registered_at(address, &self.world, self.server(), &name, Some(wire));
        host.starts(jobs);
        self.hosts.push(host);
        self.hosts.last_mut().unwrap()
    }

    /// One more host of the pool `default`, with a label.
    ///
    /// # Panics
    /// As [`host`](Self::host).
    pub fn host_labelled(&mut self, label: &str) -> &mut BuildHost {
        let name = format!("host{}", self.hosts.len() + 1);
        let (wire, gives) = (self.yard.wire(), format!("{{\"pool\":\"default\",\"labels\":[\"{label}\"]}}"));
        let mut host = BuildHost::given(&self.world, self.server(), &name, &gives, Some(wire));
        host.starts(1);
        self.hosts.push(host);
        self.hosts.last_mut().unwrap()
    }

    /// One more host of a pool, whose runner has these variables.
    ///
    /// # Panics
    /// As [`host`](Self::host).
    pub fn host_of(&mut self, pool: &str, jobs: u32, env: &[(&str, &str)]) -> &mut BuildHost {
        let name = format!("host{}", self.hosts.len() + 1);
        let wire = self.yard.wire();
        let host = BuildHost::registered(&self.world, self.server(), &name, pool, Some(wire));
        let mut host = env.iter().fold(host, |host, (name, value)| host.with_env(name, value));
        host.starts(jobs);
        self.hosts.push(host);
        self.hosts.last_mut().unwrap()
    }

    /// Asks for a run, by a name that makes asking twice the same; whether that was acknowledged.
    ///
    /// # Panics
    /// The answer makes no sense.
    pub fn asks(&mut self, key: &str) -> bool {
        self.ask(key, r#"{"reference":"main"}"#)
    }

    /// The same, with a value of the parameter `number`.
    ///
    /// # Panics
    /// As [`asks`](Self::asks).
    pub fn asks_with(&mut self, key: &str, number: &str) -> bool {
        self.ask(key, &format!(r#"{{"reference":"main","settings":{{"number":"{number}"}}}}"#))
    }

    fn ask(&mut self, key: &str, body: &str) -> bool {
        let Some(server) = &self.server else { return false };
        let once = format!("Idempotency-Key: {key}\r\n");
        let ask = (&*once, "POST", "/api/v1/projects/shop/runs", body);
        let Answered { status, body } = server.ask_with(ask);
        if status != 202 {
            return false;
        }
        let arrived: Value = serde_json::from_str(&body).unwrap();
        let ids = arrived["arrivals"].as_array().unwrap().iter();
        self.arrivals.extend(ids.map(|id| id.as_str().unwrap().to_owned()));
        true
    }

    /// Whether all runs are over, and there are as many as were acknowledged.
    pub fn is_over(&self) -> Option<()> {
        let runs = self.server().ask("GET", "/api/v1/runs?limit=1000", "");
        let runs: Value = (runs.status == 200).then(|| serde_json::from_str(&runs.body).ok())??;
        let runs = runs["runs"].as_array()?;
        let all_ended = runs.iter().all(|run| !run["ended"].is_null());
        (all_ended && runs.len() >= self.arrivals.len()).then_some(())
    }

    /// Asks for a run and waits until there is one.
    ///
    /// # Panics
    /// It is not acknowledged, or comes to nothing.
    pub fn run(&mut self, key: &str) -> String {
        assert!(self.asks(key));
        self.asked_last()
    }

    /// Waits until there is the run that was asked for last.
    ///
    /// # Panics
    /// It comes to nothing.
    pub fn asked_last(&self) -> String {
        let arrival = self.arrivals.last().unwrap();
        let at = format!("/api/v1/projects/shop/arrivals/{arrival}");
        wait::until("the run is there", || {
            let arrival = self.server().ask("GET", &at, "").is(200);
            assert_ne!(arrival["state"], "refused", "{arrival}");
            Some(arrival["run"]["id"].as_str()?.to_owned())
        })
    }

    /// Waits until there is the run with this number.
    ///
    /// # Panics
    /// It never is.
    pub fn numbered(&self, number: u64) -> String {
        wait::until(&format!("run {number} is there"), || {
            let runs = self.server().ask("GET", "/api/v1/runs?limit=1000", "").is(200);
            let run = runs["runs"].as_array()?.iter().find(|run| run["number"] == number)?;
            Some(run["id"].as_str()?.to_owned())
        })
    }

    /// A run of one job as the API shows it.
    ///
    /// # Panics
    /// It does not.
    pub fn shown(&self, run: &str) -> Value {
        self.server().ask("GET", &format!("/api/v1/runs/{run}"), "").is(200)
    }

    /// Waits until a run has this many attempts, and gives the last.
    ///
    /// # Panics
    /// It never has.
    pub fn attempt(&self, run: &str, number: usize) -> String {
        wait::until(&format!("attempt {number} begins"), || {
            let shown = self.shown(run);
            let attempts = shown["jobs"][0]["attempts"].as_array()?;
            Some(attempts.get(number - 1)?["id"].as_str()?.to_owned())
        })
    }

    /// What the server has of a step's log.
    pub fn log(&self, attempt: &str, step: &str) -> String {
        self.server().ask("GET", &format!("/api/v1/attempts/{attempt}/streams/log.{step}"), "").body
    }

    /// Waits until the server has this text of a step's log.
    ///
    /// # Panics
    /// It never has, or the attempt has ended without it.
    pub fn is_logged(&self, attempt: &str, step: &str, text: &str) {
        wait::until(&format!("`{text}` is in the log of {step}"), || {
            let jobs = invariants::jobs(&self.server().data.join("staith.db"));
            let ended = jobs.into_iter().flat_map(|job| job.attempts);
            let ended = ended.into_iter().find(|one| one.id == attempt && one.ended > 0);
            let is_there = self.log(attempt, step).contains(text);
            assert!(is_there || ended.is_none(), "it has ended without `{text}`: {ended:?}");
            is_there.then_some(())
        });
    }

    /// Waits until a run is over: how it is.
    ///
    /// # Panics
    /// It never is.
    pub fn ends(&self, run: &str) -> String {
        wait::until("the run is over", || {
            let shown = self.shown(run);
            (!shown["ended"].is_null()).then(|| shown["state"].as_str().unwrap().to_owned())
        })
    }

    /// Checks that a run stays what it is, and that its only way on is to be tried again by somebody.
    ///
    /// # Panics
    /// It does not.
    pub fn is_over_for_good(&self, run: &str, state: &str) {
        let before = self.shown(run);
        self.server().ask("POST", &format!("/api/v1/runs/{run}/cancel"), "").is(200);
        assert_eq!((&self.shown(run), before["state"].as_str()), (&before, Some(state)));
    }

    /// Checks the invariants, and gives what the server has kept.
    ///
    /// # Panics
    /// One does not hold.
    pub fn holds(&self) -> Vec<Job> {
        let hosts: Vec<&BuildHost> = self.hosts.iter().collect();
        let jobs = invariants::hold(&self.world, self.server(), &hosts, &self.arrivals, &self.forge);
        self.secrets_were_said(&jobs);
        jobs
    }

    /// [I-9] says something only where a secret was there to be found: who said it, said it masked.
    fn secrets_were_said(&self, jobs: &[Job]) {
        let attempts = jobs.iter().filter(|job| job.state == JobState::Passed).flat_map(|job| &job.attempts);
        let said: Vec<String> = attempts
            .map(|attempt| self.log(&attempt.id, "tells"))
            .filter(|log| log.contains("the word is"))
            .collect();
        assert!(said.iter().all(|log| log.contains("the word is ***.")), "[I-9] {said:?}");
        let wants = fs::read_to_string(self.world.project().join("runner.toml")).unwrap().contains(TELLS);
        // The job of a whole plan is called so.
        let is_its = |job: &&Job| job.state == JobState::Passed && ["run", "tells"].contains(&&*job.name);
        let has_passed = jobs.iter().any(|job| is_its(&job));
        assert!(!said.is_empty() || !wants || !has_passed, "[I-9] nobody said the secret");
    }
}

/// The name of the only scenario that is played, where somebody wants that.
const ONLY: &str = "STAITH_SCENARIO";

/// Some scenarios with a name each, so many at once: most of the time they wait. Where there can't be namespaces, that is printed, and
/// nothing is done.
///
/// # Panics
/// One did; all are tried.
pub fn all<T: Sync>(at_once: usize, scenarios: &[(&str, T)], play: impl Fn(&T) + Sync) {
    if !are_permitted() {
        return;
    }
    let only = std::env::var(ONLY).ok();
    let wanted = scenarios.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
    let (waiting, failed) = (Mutex::new(wanted.collect::<VecDeque<_>>()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((name, scenario)) = next() {
                    // In a thread of its own: it goes to another network, and does not come back.
                    let played = thread::scope(|scope| {
                        let thread = thread::Builder::new().name((*name).to_owned());
                        thread.spawn_scoped(scope, || play(scenario)).unwrap().join()
                    });
                    if played.is_err() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "these failed, and say above why: {failed:?}");
}
