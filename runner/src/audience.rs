//! Who hears of a run's events: the journal at once, the screen as fast as it can be read.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use staith_builder::execute::{Stop, Watcher};
use staith_model::{Blame, Event, EventKind, Exit, RunState};
use tokio::sync::oneshot;

use crate::{
    home::Home,
    journal::Journal,
    output::{OutputMode, Problem, Summary, Watch},
};

/// Bytes that wait for a slow screen before the run waits, too, or lines are left out of a picture that shows the last few only.
const MOST_WAITING: usize = 4 << 20;
/// What an event takes beside its line.
const COST_OF_AN_EVENT: usize = 300;

/// How long a screen that nobody reads keeps a run that was asked to end from ending.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The screen is written by a thread of its own: whoever does not read (a stopped terminal, a pipe that nobody empties) slows a
/// run down, but never keeps it from being stopped.
pub(crate) struct Audience {
    shared: Arc<Shared>,
    screen: mpsc::Sender<Told>,
    stop: Stop,
    runs: PathBuf,
}

struct Shared {
    journal: Mutex<Journal>,
    waiting: AtomicUsize,
    /// Whether whoever looks sees the last lines only, so that some may be left out when they come too fast.
    shows_last_lines_only: bool,
    saw_a_bug: AtomicBool,
    log: Mutex<Option<PathBuf>>,
}

/// What became of the showing.
#[derive(Default)]
pub(crate) struct Shown {
    /// Whether people have read already why something failed.
    pub(crate) told_why: bool,
    /// What could not be written: the screen's output or the journal.
    pub(crate) lost: Option<Problem>,
}

enum Told {
    Event(Box<Event>),
    /// There was an event that need not be shown.
    LeftOut,
    End(Summary, oneshot::Sender<Shown>),
}

impl Audience {
    /// An audience for one run. When nobody reads what is shown any more, the run is cancelled.
    pub(crate) fn new(home: &Home, mode: OutputMode, stop: &Stop) -> Self {
        let shared = Arc::new(Shared {
            journal: Mutex::new(Journal::new(&home.runs())),
            waiting: AtomicUsize::new(0),
            shows_last_lines_only: mode.shows_last_lines_only(),
            saw_a_bug: AtomicBool::new(false),
            log: Mutex::new(None),
        });
        let (screen, told) = mpsc::channel();
        let (for_thread, for_stop) = (Arc::clone(&shared), stop.clone());
        thread::spawn(move || show(mode.watch(), &told, &for_thread, &for_stop));
        Self { shared, screen, stop: stop.clone(), runs: home.runs() }
    }

    /// What an event log calls with each event.
    pub(crate) fn watcher(&self) -> Watcher {
        let (shared, screen, stop) = (Arc::clone(&self.shared), self.screen.clone(), self.stop.clone());
        let runs = self.runs.clone();
        Box::new(move |event: &Event, _: &RunState| {
            lock(&shared.journal).write(event);
            match &event.what {
                EventKind::RunStarted { run, .. } => {
                    *lock(&shared.log) = Some(runs.join(run.as_str()).join("events.jsonl"));
                }
                EventKind::StepFinished { reason: Some(reason), .. } if reason.blame == Blame::Us => {
                    shared.saw_a_bug.store(true, Ordering::Relaxed);
                }
                _ => {}
            }
            // If the screen's thread is gone there is nobody to tell.
            if may_be_left_out(event, &shared) {
                let _ = screen.send(Told::LeftOut);
                return;
            }
            shared.waiting.fetch_add(cost(event), Ordering::AcqRel);
            let _ = screen.send(Told::Event(Box::new(event.clone())));
            wait_for_the_screen(&shared, &stop);
        })
    }

    /// Whether a step ended through a mistake of Staith's own.
    pub(crate) fn saw_a_bug(&self) -> bool {
        self.shared.saw_a_bug.load(Ordering::Relaxed)
    }

    /// Shows the end, and waits until all is shown; not long, though, when somebody wanted the run to end.
    pub(crate) async fn finish(&self, exit: Exit, millis: u64, url: Option<String>) -> Shown {
        let log = lock(&self.shared.log).as_ref().map(|path| path.display().to_string());
        let log = log.filter(|_| exit != Exit::Passed);
        let (done, all_shown) = oneshot::channel();
        let _ = self.screen.send(Told::End(Summary { exit, millis, url, log }, done));
        let asked_to_end = async {
            self.stop.cancel.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let mut shown = tokio::select! {
            shown = all_shown => shown.unwrap_or_default(),
            () = asked_to_end => Shown::default(),
            () = self.stop.kill.cancelled() => Shown::default(),
        };
        if let Err(refused) = lock(&self.shared.journal).finish() {
            let what = "the run's log could not be written; everything else was done as told";
            let problem = Problem::new(Exit::Environment, what)
                .with_why(refused.to_string())
                .with_remedy("make room, or set STAITH_HOME to a directory on another disk");
            shown.lost = Some(problem);
        }
        shown
    }
}

fn show(mut watch: Box<dyn Watch>, told: &mpsc::Receiver<Told>, shared: &Shared, stop: &Stop) {
    let mut state: Option<RunState> = None;
    while let Ok(next) = told.recv() {
        match next {
            Told::Event(event) => {
                fold(&mut state, &event);
                if let Some(state) = &state {
                    watch.event(&event, state);
                }
                shared.waiting.fetch_sub(cost(&event), Ordering::AcqRel);
                if watch.is_gone() {
                    // Whoever wanted the run to go on would have kept reading (`staith run | head`).
                    stop.cancel.cancel();
                }
            }
            Told::LeftOut => state.iter_mut().for_each(|state| state.next_seq += 1),
            Told::End(summary, shown) => {
                watch.finish(&summary);
                let lost = watch.failure().map(|refused| Problem::unwritable(&refused));
                let _ = shown.send(Shown { told_why: watch.has_told_why(), lost });
                return;
            }
        }
    }
}

fn cost(event: &Event) -> usize {
    let line = if let EventKind::StepOutput { line, .. } = &event.what { line.len() } else { 0 };
    COST_OF_AN_EVENT + line
}

/// A line of output that nobody would see, because the picture is behind by more than it shows. The journal has it.
fn may_be_left_out(event: &Event, shared: &Shared) -> bool {
    let is_behind = || shared.waiting.load(Ordering::Acquire) > MOST_WAITING;
    shared.shows_last_lines_only && matches!(event.what, EventKind::StepOutput { .. }) && is_behind()
}

/// The event log has taken the event, so the fold takes it, too.
fn fold(state: &mut Option<RunState>, event: &Event) {
    match state {
        None => *state = RunState::begin(event).ok(),
        Some(state) => drop(state.apply(event)),
    }
}

/// Nothing that a step says is dropped: a screen that is far behind holds the run up, until somebody wants an end.
fn wait_for_the_screen(shared: &Shared, stop: &Stop) {
    let is_far_behind =
        || shared.waiting.load(Ordering::Acquire) > MOST_WAITING && !stop.cancel.is_cancelled();
    if is_far_behind() {
        tokio::task::block_in_place(|| {
            while is_far_behind() {
                thread::park_timeout(Duration::from_millis(5));
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
