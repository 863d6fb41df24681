//! A run of one step beside services that a test scripts: everything is real but the engine, which does what it is told.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use staith_model::*;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::StepCache,
    // The model has an `Ask`, too.
    engine::{Ask, *},
    execute::{Budget, EventLog, Manner, Stop, Workbench, execute},
    layers::LayerStore,
    secrets::Supply,
    source::{Origin, Selection, Sources},
    step_log::RunLogs,
};

/// What the engine is to do with a sandbox, by the last word of what it runs.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Serve at any port, once so many have asked in vain, until it is cancelled.
    Serve(usize),
    /// Serve, and be ready by the command that tells as soon as these answers have been given.
    Tell(Vec<StepExit>),
    /// End by itself at once.
    End(StepExit),
    /// The engine fails.
    Break,
    /// Serve until the step's program runs, and end like this.
    EndBeside(StepExit),
    /// Write so many lines, then serve.
    Write(usize),
    /// As a step: ask the neighbours of this name, each time at this port, and take what they say for the output.
    Ask(&'static [(&'static str, u16)]),
    /// As a step: wait until a service has ended, then end.
    AfterService(StepExit),
    /// Until it is cancelled.
    Stay,
}

#[derive(Default)]
pub(super) struct Scripted {
    acts: BTreeMap<String, Act>,
    /// What happened, in order.
    seen: Mutex<Vec<String>>,
    /// What it was asked to run, without the gate: who holds that holds connections to what has ended.
    pub(super) specs: Mutex<Vec<StepSpec>>,
    pub(super) had_gate: Mutex<Vec<bool>>,
    changed: Notify,
}

impl Scripted {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
        self.changed.notify_waiters();
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until this has happened.
    pub(super) async fn until(&self, what: &str) {
        loop {
            let changed = self.changed.notified();
            if self.seen().iter().any(|seen| seen == what) {
                return;
            }
            changed.await;
        }
    }
}

/// Notes the end of a sandbox, also where it is dropped.
struct Life<'a>(&'a Scripted, String);

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.0.note(format!("{} over", self.1));
    }
}

#[async_trait]
impl Engine for Scripted {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        Ok(Capabilities {
            file_owner: None,
            memory_limit: Support::Enforced,
            process_limit: Support::Enforced,
            cpu_limit: Support::Enforced,
            landlock_abi: 0,
        })
    }

    async fn image(&self, _: &ImageSpec, _: &ImageProgress<'_>) -> Result<Image, EngineError> {
        Ok(image())
    }

    async fn run(
        &self,
        step: StepSpec,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError> {
        let name = step.argv.last().unwrap().to_str().unwrap().to_owned();
        self.had_gate.lock().unwrap().push(step.gate.is_some());
        self.specs.lock().unwrap().push(StepSpec { gate: None, ..step.clone() });
        self.note(format!("{name} began"));
        let _life = Life(self, name.clone());
        let mut step = step;
        let keeper = step.gate.take();
        match self.acts.get(&name).cloned().unwrap_or(Act::Serve(0)) {
            Act::Stay => {
                cancel.cancelled().await;
                Ok(StepExit::Cancelled)
            }
            Act::End(exit) => {
                say(&output, &format!("{name} gives up\n")).await;
                Ok(exit)
            }
            Act::Break => Err(EngineError::Lost("the lights went out".into())),
            Act::Serve(refusals) => serve(&name, keeper.unwrap(), refusals, vec![], &cancel).await,
            Act::Tell(answers) => serve(&name, keeper.unwrap(), 0, answers, &cancel).await,
            Act::Write(lines) => {
                for number in 0..lines {
                    say(&output, &format!("line {number} of {name}\n")).await;
                }
                serve(&name, keeper.unwrap(), 0, vec![], &cancel).await
            }
            Act::EndBeside(exit) => tokio::select! {
                biased;
                () = self.until("step began") => Ok(exit),
                served = serve(&name, keeper.unwrap(), 0, vec![], &cancel) => served,
            },
            Act::AfterService(exit) => {
                self.until("service-ended").await;
                Ok(exit)
            }
            Act::Ask(whom) => {
                for (neighbour, port) in whom {
                    let told = ask(&step, keeper.clone().unwrap(), neighbour, *port).await;
                    say(&output, &format!("{told}\n")).await;
                }
                Ok(StepExit::Code(0))
            }
        }
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        Ok(0)
    }
}

async fn say(output: &mpsc::Sender<OutputChunk>, text: &str) {
    let chunk = OutputChunk { stream: Stream::Stdout, bytes: text.as_bytes().to_vec() };
    output.send(chunk).await.unwrap();
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

async fn serve(
    name: &str,
    keeper: Gatekeeper,
    mut refusals: usize,
    mut answers: Vec<StepExit>,
    cancel: &CancellationToken,
) -> Result<StepExit, EngineError> {
    let mut asks = keeper.asks.lock().await;
    loop {
        let asked = tokio::select! {
            asked = asks.recv() => asked,
            () = cancel.cancelled() => return Ok(StepExit::Cancelled),
        };
        match asked {
            Some(Ask::Connect { answer, .. }) if refusals > 0 => {
                refusals -= 1;
                let _ = answer.send(Err(std::io::ErrorKind::ConnectionRefused.into()));
            }
            Some(Ask::Connect { port, answer }) => {
                let (inside, outside) = pair().await;
                let _ = answer.send(Ok(outside));
                tokio::spawn(answer_all(format!("{name}:{port}"), inside));
            }
            Some(Ask::Check { answer, .. }) => {
                let exit = if answers.is_empty() { StepExit::Code(0) } else { answers.remove(0) };
                let _ = answer.send(Ok(exit));
            }
            None => {
                cancel.cancelled().await;
                return Ok(StepExit::Cancelled);
            }
        }
    }
}

/// Says who it is once the other side has ended what it asks: that only works where one way may end before the other.
async fn answer_all(who: String, mut stream: TcpStream) {
    let mut asked = String::new();
    if stream.read_to_string(&mut asked).await.is_ok() {
        let _ = stream.write_all(format!("{who} heard {asked}").as_bytes()).await;
    }
}

/// What a neighbour says to `hello`.
async fn ask(step: &StepSpec, keeper: Gatekeeper, neighbour: &str, port: u16) -> String {
    let known = step.neighbours.iter().find(|one| one.name.as_str() == neighbour);
    let address = known.map(|one| one.address.to_string()).unwrap_or_default();
    let (mut inside, stream) = pair().await;
    keeper.arrivals.send(Arrival { neighbour: name(neighbour), port, stream }).await.unwrap();
    let _ = inside.write_all(b"hello").await;
    let _ = inside.shutdown().await;
    let mut told = String::new();
    match inside.read_to_string(&mut told).await {
        Ok(_) => format!("{address} {told}"),
        Err(error) => format!("{address} {:?}", error.kind()),
    }
}

fn image() -> Image {
    Image {
        digest: Digest::of(b"image"),
        root: Root::Host,
        binds: vec![],
        path: vec![],
        env: BTreeMap::new(),
        command: vec![],
        workdir: None,
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A service at port 80 that runs what it is called, and has ten seconds to become ready.
pub(super) fn service(this: &str) -> ServicePlan {
    ServicePlan {
        name: name(this),
        image: None,
        command: Some(Command::Argv(vec![this.into()])),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        ready: Readiness::Port(80),
        ready_seconds: 10,
        ports: vec![80],
        limits: Limits::default(),
    }
}

/// A script and a place to run it in.
pub(super) struct Stage {
    pub(super) place: TempDir,
    pub(super) engine: Arc<Scripted>,
    pub(super) stop: Stop,
    pub(super) secrets: Supply,
    /// The step `step`, to be changed.
    pub(super) step: StepPlan,
}

/// What a run came to.
pub(super) struct Came {
    pub(super) events: Vec<EventKind>,
}

impl Stage {
    pub(super) fn new(acts: &[(&str, Act)]) -> Self {
        let acts = acts.iter().map(|(step, act)| ((*step).to_owned(), act.clone())).collect();
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("project")).unwrap();
        fs::write(place.path().join("project/source.txt"), "x").unwrap();
        let command = Command::Argv(vec!["step".into()]);
        Self {
            place,
            engine: Arc::new(Scripted { acts, ..Scripted::default() }),
            stop: Stop::default(),
            secrets: Supply::default(),
            step: StepPlan::new(name("step"), command, Digest::of(b"tree")),
        }
    }

    /// Runs the step beside these services.
    pub(super) async fn run(&mut self, services: Vec<ServicePlan>) -> Came {
        let store = self.place.path().join("store");
        let sources = Sources::open(&store, None).unwrap();
        let origin = Origin::parse(".", &self.place.path().join("project")).unwrap();
        let source = sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
        let bench = Workbench {
            sources,
            layers: Arc::new(LayerStore::open(&store, None).unwrap()),
            cache: StepCache::new(store.join("cache")),
            elsewhere: None,
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            images: [(None, image())].into(),
            budget: Budget { jobs: 4, cpu_milli: 4000, memory: 1 << 30 },
            secrets: std::mem::take(&mut self.secrets),
            logs: Some(RunLogs::below(self.place.path().join("runs"))),
            clock: || 0,
            passed: BTreeMap::new(),
        };
        let names = services.iter().map(|service| service.name.clone()).collect();
        let plan = Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: true },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![StepPlan { services: names, ..self.step.clone() }],
            left_out: vec![],
            services,
            packages: vec![],
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let (teller, engine) = (Arc::clone(&told), Arc::clone(&self.engine));
        let watch = move |event: &Event, _: &RunState| {
            if matches!(event.what, EventKind::ServiceEnded { .. }) {
                engine.note("service-ended".into());
            }
            teller.lock().unwrap().push(event.what.clone());
        };
        let mut log = EventLog::new(|| 0, Box::new(watch));
        let (run, stop) = (RunId::new(0, [0; 10]), self.stop.clone());
        let (bench, plan, source) = (Arc::new(bench), Arc::new(plan), Arc::new(source));
        execute(bench, run, plan, source, Manner::default(), &mut log, stop).await.unwrap();
        let events = told.lock().unwrap().clone();
        Came { events }
    }

    /// As [`run`](Self::run), where time has to pass: it does not by itself while a thread waits for output.
    pub(super) async fn run_in_time(&mut self, services: Vec<ServicePlan>) -> Came {
        let time = async {
            loop {
                tokio::time::advance(Duration::from_millis(100)).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            came = self.run(services) => came,
            () = time => unreachable!("time has no end"),
        }
    }

    /// What is kept of a service's output.
    pub(super) fn log(&self, service: &str) -> String {
        let run = self.place.path().join("runs").join(RunId::new(0, [0; 10]).as_str());
        fs::read_to_string(crate::step_log::path_of_service(&run, &name("step"), &name(service))).unwrap()
    }
}

impl Came {
    /// How the step ended, and why.
    pub(super) fn end(&self) -> (StepOutcome, Option<Reason>) {
        let end = |event: &EventKind| match event {
            EventKind::StepFinished { outcome, reason, .. } => Some((*outcome, reason.clone())),
            _ => None,
        };
        self.events.iter().find_map(end).unwrap()
    }

    /// Lines that the step wrote.
    pub(super) fn wrote(&self) -> Vec<String> {
        let line = |event: &EventKind| match event {
            EventKind::StepOutput { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.events.iter().filter_map(line).collect()
    }

    /// Lines of a service that were shown.
    pub(super) fn shown_of(&self, service: &str) -> Vec<String> {
        let line = |event: &EventKind| match event {
            EventKind::ServiceOutput { service: of, line, .. } if *of == name(service) => Some(line.clone()),
            _ => None,
        };
        self.events.iter().filter_map(line).collect()
    }

    /// Services that became ready, in order.
    pub(super) fn ready(&self) -> Vec<String> {
        let ready = |event: &EventKind| match event {
            EventKind::ServiceReady { service, .. } => Some(service.to_string()),
            _ => None,
        };
        self.events.iter().filter_map(ready).collect()
    }
}
