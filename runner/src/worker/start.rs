//! The runner: takes up what is here, asks for more, and has a courier for each.

use std::{
    fs::{self, File},
    io,
    num::NonZeroUsize,
    process::Stdio,
    time::Duration,
};

use staith_model::{
    AttemptId, Exit, Name, TunnelId,
    service::{AttemptOutcome, ClaimAsked, Claimed, TargetOf},
};
use staith_releaser::fleet::way::Child;
use tokio::{process::Command, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    boot,
    courier::{Courier, Delivered},
    identity::{Registration, new_nonce},
    job::{Claim, Job},
    lease::Lease,
    rooms::{Rooms, unkept},
    serving::Serving,
    session::{NoSession, Sessions},
};
use crate::{
    client::{Address, Ask, Client, Patience, Refused},
    home::Home,
    output::Problem,
    workshop::EngineName,
};

/// How long an answer may wait for a job.
const WAIT: Duration = Duration::from_secs(6);
/// How much longer it may take. An answer that is lost may have given a job away: with both, the question is asked again before the
/// lease of that job is over, and then gets the same answer.
const ANSWERING: Duration = Duration::from_secs(4);
/// How often it is looked whether anything new is to be taken.
const LOOK: Duration = Duration::from_millis(200);

/// With what a runner begins.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    /// The home that it works in.
    pub(crate) home: Home,
    /// How many jobs it has at once at most.
    pub(crate) jobs: NonZeroUsize,
    /// What isolates their steps.
    pub(crate) engine: EngineName,
    /// Where its server is now, if somebody knows better than when it was registered.
    pub(crate) server: Option<Address>,
}

/// What people hear of a runner.
#[derive(Debug)]
pub(crate) enum News {
    /// It runs.
    Started {
        /// Who it is.
        registration: Registration,
        /// How many jobs it has at once at most.
        jobs: usize,
    },
    /// It runs, for a machine that pulls.
    Serves {
        /// Who it is.
        registration: Registration,
        /// Which machine.
        target: TargetOf,
    },
    /// The deployer speaks to the machine.
    Begun {
        /// Through this.
        tunnel: TunnelId,
        /// The application's folder.
        folder: String,
    },
    /// It does not any more.
    Over {
        /// Through this.
        tunnel: TunnelId,
        /// What went wrong, if something did.
        why: Option<String>,
    },
    /// It has a job.
    Taken {
        /// Which try at it.
        attempt: AttemptId,
        /// Of which project.
        project: Name,
        /// The run's number.
        number: u64,
        /// The job's name.
        name: Name,
        /// Whether an earlier runner of this home had it.
        is_adopted: bool,
    },
    /// The server knows how a job ended.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
    },
    /// A job is put away without the server being told how it ended.
    PutAway {
        /// Which.
        attempt: AttemptId,
        /// Why.
        why: String,
    },
    /// The server does not answer; said once until it does.
    Away {
        /// Why.
        why: String,
    },
    /// It answers again.
    Back,
    /// It takes nothing new any more.
    Draining,
    /// It ends, and jobs go on without it.
    Leaving {
        /// How many.
        jobs: usize,
    },
}

/// Runs a home's runner until `stop` fires, until it is drained, or until it had the one job that it was made for. What it has then
/// goes on, and the next one takes it up.
///
/// # Errors
/// This host is no runner, another runner of this home runs, or the server does not know this host any more.
pub(crate) async fn start(
    beginning: Beginning,
    stop: CancellationToken,
    told: &(dyn Fn(&News) + Sync),
) -> Result<(), Problem> {
    let rooms = Rooms::of(&beginning.home);
    rooms.make()?;
    let mut registration = Registration::of(&rooms)?;
    let Some(_lock) = rooms.lock()? else {
        return Err(Problem::new(Exit::Usage, "a runner of this home runs already").with_remedy(
            "one can have several jobs at once: `--jobs`; another needs a STAITH_HOME of its own",
        ));
    };
    if let Some(server) = beginning.server.filter(|server| *server != registration.server) {
        registration.server = server;
        registration.keep(&rooms)?;
    }
    // It was for the runner before.
    rooms.set_draining(false)?;
    let client = Client::new(&registration.server)?;
    let sessions = Sessions::new(rooms.clone(), registration.clone());
    if let Some(target) = registration.target.clone() {
        told(&News::Serves { registration, target: target.clone() });
        let program = Child::default();
        return Serving { rooms, target, client, sessions, program, told }.work(&stop).await;
    }
    let limit = beginning.jobs.get();
    told(&News::Started { registration: registration.clone(), jobs: limit });
    let mut runner = Runner {
        home: beginning.home,
        engine: beginning.engine,
        rooms,
        limit: if registration.ephemeral { 1 } else { limit },
        registration,
        client,
        sessions,
        couriers: JoinSet::new(),
        told,
        is_away: false,
        has_had_one: false,
    };
    runner.adopt();
    let ended = runner.work(&stop).await;
    let left = runner.couriers.len();
    if left > 0 {
        told(&News::Leaving { jobs: left });
    }
    ended
}

/// Starts the keeper of a job. It is nobody's child for long: this process may end before it.
///
/// # Errors
/// The system refused.
pub(super) fn launch(home: &Home, engine: EngineName, job: &Job) -> Result<(), Problem> {
    let refused = |error: io::Error| unkept(job.path(), &error);
    let log = File::options().create(true).append(true).open(job.keeper_log()).map_err(refused)?;
    let also = log.try_clone().map_err(refused)?;
    // The running file itself, also when it was replaced or removed since.
    let started = Command::new("/proc/self/exe")
        .args(["runner", "keep", "--engine", engine.as_str()])
        .arg(job.path())
        .env("STAITH_HOME", home.path())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also)
        .current_dir("/")
        .spawn();
    let mut keeper = started.map_err(|error| {
        Problem::new(Exit::Environment, "the process that keeps a job can't be started")
            .with_why(error.to_string())
    })?;
    tracing::info!(process = keeper.id(), job = %job.path().display(), "a keeper was started");
    tokio::spawn(async move { keeper.wait().await });
    Ok(())
}

struct Runner<'a> {
    home: Home,
    engine: EngineName,
    rooms: Rooms,
    registration: Registration,
    limit: usize,
    client: Client,
    sessions: Sessions,
    couriers: JoinSet<(AttemptId, Delivered)>,
    told: &'a (dyn Fn(&News) + Sync),
    is_away: bool,
    has_had_one: bool,
}

impl Runner<'_> {
    /// Takes up every job that is here.
    fn adopt(&mut self) {
        self.clear_leftovers();
        for attempt in self.rooms.attempts() {
            self.carry(&attempt, true);
        }
    }

    /// What an earlier runner was just making or removing when it ended.
    fn clear_leftovers(&self) {
        for entry in fs::read_dir(self.rooms.jobs()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.')
                && let Err(refused) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!(%refused, path = %entry.path().display(), "a leftover could not be removed");
            }
        }
    }

    /// Starts the courier of a job that is here.
    fn carry(&mut self, attempt: &AttemptId, is_adopted: bool) {
        self.has_had_one = true;
        let job = Job::of(&self.rooms, attempt);
        let courier = match Courier::of(self.home.clone(), self.engine, self.rooms.clone(), job.clone()) {
            Ok(courier) => courier,
            Err(problem) => {
                // Without its token nothing can be told of it: the server finds out by itself.
                (self.told)(&News::PutAway { attempt: attempt.clone(), why: in_short(&problem) });
                if let Err(refused) = job.retire(&self.rooms) {
                    tracing::warn!(%refused, "a damaged job could not be put away");
                }
                return;
            }
        };
        let spec = &courier.claim().claimed.job;
        let (project, name) = (spec.project.clone(), spec.name.clone());
        (self.told)(&News::Taken {
            attempt: attempt.clone(),
            project,
            number: spec.number,
            name,
            is_adopted,
        });
        let attempt = attempt.clone();
        self.couriers.spawn(async move { (attempt, courier.deliver().await) });
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), Problem> {
        let mut is_draining = false;
        let mut patience = Patience::default();
        // What was asked for by a runner that ended before it had the answer.
        let mut nonces = self.unanswered();
        loop {
            self.hear_of_ends();
            if !is_draining && self.rooms.is_draining() {
                is_draining = true;
                (self.told)(&News::Draining);
            }
            let had_its_one = self.registration.ephemeral && self.has_had_one;
            let takes_new = !is_draining && !had_its_one && self.couriers.len() < self.limit;
            if let (true, None) = (takes_new, nonces.last()) {
                nonces.push(self.new_question()?);
            }
            // A question that was asked may have been answered, so it is asked to its end, also by one that takes nothing new.
            let Some(nonce) = nonces.last().cloned().filter(|_| self.couriers.len() < self.limit) else {
                if self.couriers.is_empty() && (is_draining || had_its_one) {
                    return self.end_of_one(had_its_one);
                }
                tokio::select! {
                    Some(ended) = self.couriers.join_next() => self.hear(ended),
                    () = stop.cancelled() => return Ok(()),
                    () = sleep(LOOK) => {}
                }
                continue;
            };
            let wait = if takes_new { WAIT } else { Duration::ZERO };
            let rooms = self.rooms.clone();
            let answered = tokio::select! {
                answered = self.ask(&nonce, wait) => answered,
                () = stop.cancelled() => return Ok(()),
                // The same question is asked once more then, without waiting.
                () = drained(&rooms, is_draining) => continue,
            };
            match answered {
                Ok(claimed) => {
                    self.is_back();
                    patience.worked();
                    self.take(claimed, &nonce)?;
                    nonces.pop();
                }
                Err(NoSession::Here(problem)) => return Err(problem),
                Err(NoSession::Refused(_)) if !takes_new => {
                    // Nobody waits for the answer; the next runner asks again.
                    nonces.pop();
                }
                // The job that it gave has ended since: nothing will ever come of this question.
                Err(NoSession::Refused(refused)) if refused.is("claim-spent") => {
                    self.is_back();
                    self.take(None, &nonce)?;
                    nonces.pop();
                }
                Err(NoSession::Unproven(refused)) if self.couriers.is_empty() => {
                    return Err(Problem::from(refused)
                        .with_remedy("if the server has forgotten this runner, register it again: `staith runner register`"));
                }
                Err(NoSession::Refused(refused) | NoSession::Unproven(refused)) => {
                    self.is_away(&refused);
                    tokio::select! {
                        () = sleep(patience.failed()) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    fn end_of_one(&self, had_its_one: bool) -> Result<(), Problem> {
        if had_its_one {
            let path = self.rooms.registration();
            Registration::forget(&self.rooms).map_err(|refused| unkept(&path, &refused))?;
        }
        Ok(())
    }

    /// Writes a question down before it is asked.
    fn new_question(&self) -> Result<String, Problem> {
        let nonce = new_nonce()?;
        let path = self.rooms.asking().join(&nonce);
        fs::write(&path, b"").map_err(|refused| unkept(&path, &refused))?;
        Ok(nonce)
    }

    fn unanswered(&self) -> Vec<String> {
        let entries = fs::read_dir(self.rooms.asking()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Asks for a job. Cancel-safe as far as the same question is asked again.
    async fn ask(&mut self, nonce: &str, wait: Duration) -> Result<Option<(u64, Claimed)>, NoSession> {
        let token = self.sessions.token(&self.client).await?;
        let sent = boot::millis();
        let asked = ClaimAsked {
            nonce: nonce.to_owned(),
            wait_millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let ask = Ask::post("/api/v1/claims", &asked).with(&token).waiting(wait).within(ANSWERING);
        let answered = self.client.maybe::<Claimed>(&ask).await;
        if answered.as_ref().is_err_and(|refused| refused.status() == Some(401)) {
            self.sessions.forget();
        }
        answered.map(|claimed| claimed.map(|claimed| (sent, claimed))).map_err(NoSession::Refused)
    }

    /// Writes down what was given, and only then forgets the question.
    fn take(&mut self, claimed: Option<(u64, Claimed)>, nonce: &str) -> Result<(), Problem> {
        if let Some((sent, claimed)) = claimed {
            let attempt = claimed.attempt.clone();
            let is_here = Job::of(&self.rooms, &attempt).path().is_dir();
            let lease = Lease::new(sent, claimed.lease_millis);
            let claim = Claim { server: self.registration.server.clone(), claimed };
            let jobs = self.rooms.jobs();
            Job::create(&self.rooms, &claim, lease).map_err(|refused| unkept(&jobs, &refused))?;
            // One that is here has its courier since it was adopted.
            if !is_here {
                self.carry(&attempt, false);
            }
        }
        let path = self.rooms.asking().join(nonce);
        match fs::remove_file(&path) {
            Err(refused) if refused.kind() != io::ErrorKind::NotFound => Err(unkept(&path, &refused)),
            _ => Ok(()),
        }
    }

    fn hear_of_ends(&mut self) {
        while let Some(ended) = self.couriers.try_join_next() {
            self.hear(ended);
        }
    }

    fn hear(&self, ended: Result<(AttemptId, Delivered), tokio::task::JoinError>) {
        let (attempt, delivered) = match ended {
            Ok(ended) => ended,
            Err(panicked) => {
                tracing::error!(%panicked, "a courier ended; its job stays for the next runner");
                return;
            }
        };
        (self.told)(&match delivered {
            Delivered::Finished(outcome) => News::Ended { attempt, outcome },
            Delivered::Lost(refused) => News::PutAway { attempt, why: format!("the server says: {refused}") },
            Delivered::GivenUp => {
                News::PutAway { attempt, why: "the server was away for a day after it had ended".to_owned() }
            }
            Delivered::Unusable(problem) => News::PutAway { attempt, why: in_short(&problem) },
        });
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            (self.told)(&News::Back);
        }
    }

    fn is_away(&mut self, refused: &Refused) {
        if !std::mem::replace(&mut self.is_away, true) {
            (self.told)(&News::Away { why: refused.to_string() });
        }
    }
}

fn in_short(problem: &Problem) -> String {
    [Some(problem.what.as_str()), problem.why.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// Returns when nothing new is to be taken; never where that is known.
pub(super) async fn drained(rooms: &Rooms, is_known: bool) {
    while is_known || !rooms.is_draining() {
        sleep(LOOK).await;
    }
}
