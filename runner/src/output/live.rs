//! A run as a picture on a terminal, kept up to date.
//!
//! Events change a scene, which is cheap; a painter of its own looks at the scene now and then and draws it. However
//! fast events come, the terminal sees twenty frames a second at most, and none while nothing changes.

mod canvas;
mod epilogue;
mod picture;
mod row;
mod scene;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike as _};
use staith_model::{Event, RunState};

use self::{canvas::Canvas, picture::View, scene::Scene};
use super::{Summary, Watch, look::Look};

/// Twenty frames a second at most: enough to look alive, little enough for a slow link.
const BETWEEN_FRAMES: Duration = Duration::from_millis(50);
/// How often clocks tick and the spinner turns while nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// Milliseconds since some fixed moment.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Shows a run to a person at a terminal. Dropping it leaves the last picture where it is and the cursor below it.
pub(crate) struct Live {
    shared: Arc<Shared>,
    screen: Arc<Mutex<Screen>>,
    /// The screen's own, to be asked while the painter, who holds the screen, waits for the terminal.
    canvas: Canvas,
    clock: Clock,
    told_why: bool,
    painter: Option<JoinHandle<()>>,
}

/// What the events' side and the painter share.
#[derive(Default)]
struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
}

#[derive(Default)]
struct Board {
    scene: Option<Scene>,
    is_stale: bool,
    is_over: bool,
}

/// The terminal and the one bar on it, whose message is the whole picture: so every frame is drawn in one piece.
struct Screen {
    canvas: Canvas,
    bar: Option<ProgressBar>,
    look: Look,
    last: (Vec<String>, (u16, u16)),
}

impl Live {
    /// Shows the run on standard output.
    pub(super) fn on_stdout(look: Look) -> Self {
        let terminal = console::Term::stdout();
        let size = move || {
            let (rows, columns) = terminal.size();
            (columns, rows)
        };
        let canvas = Canvas::new(Box::new(io::stdout()), Arc::new(size));
        let started = Instant::now();
        let clock = move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut live = Self::new(canvas, look, Arc::new(clock));
        live.start_painter();
        live
    }

    /// Shows the run on `canvas`, but draws nothing by itself.
    fn new(canvas: Canvas, look: Look, clock: Clock) -> Self {
        let screen = Arc::new(Mutex::new(Screen::new(canvas.clone(), look)));
        Self { shared: Arc::default(), screen, canvas, clock, told_why: false, painter: None }
    }

    fn start_painter(&mut self) {
        let (shared, screen, clock) = (self.shared.clone(), self.screen.clone(), self.clock.clone());
        let paint = move || paint_until_over(&shared, &screen, &clock);
        // Without a painter the run is shown at its end; that is no reason not to run it.
        self.painter = thread::Builder::new().name("painter".to_owned()).spawn(paint).ok();
    }

    fn stop_painter(&mut self) {
        lock(&self.shared.board).is_over = true;
        self.shared.changed.notify_all();
        if let Some(painter) = self.painter.take() {
            let _ = painter.join();
        }
    }
}

impl Watch for Live {
    fn event(&mut self, event: &Event, state: &RunState) {
        let now = (self.clock)();
        self.told_why |= super::says_why_a_deployment_failed(event);
        let mut board = lock(&self.shared.board);
        let scene = board.scene.get_or_insert_with(|| Scene::new(&state.plan, state.plan_digest));
        scene.take(event, state, now);
        if !board.is_stale {
            board.is_stale = true;
            self.shared.changed.notify_all();
        }
    }

    fn finish(&mut self, summary: &Summary) {
        self.stop_painter();
        let board = lock(&self.shared.board);
        lock(&self.screen).conclude(board.scene.as_ref(), summary, (self.clock)());
    }

    fn is_gone(&self) -> bool {
        self.canvas.is_gone()
    }

    fn failure(&self) -> Option<io::Error> {
        self.canvas.failure()
    }

    fn has_told_why(&self) -> bool {
        self.told_why && !self.is_gone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop_painter();
        let board = lock(&self.shared.board);
        let mut screen = lock(&self.screen);
        if let Some(scene) = board.scene.as_ref().filter(|_| screen.bar.is_some()) {
            screen.draw(scene, (self.clock)());
        }
        screen.leave();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Showing a run must not fail because something else panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paint_until_over(shared: &Shared, screen: &Mutex<Screen>, clock: &Clock) {
    loop {
        let board = lock(&shared.board);
        let waited =
            shared.changed.wait_timeout_while(board, TICK, |board| !board.is_stale && !board.is_over);
        let (mut board, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if board.is_over {
            return;
        }
        board.is_stale = false;
        // The terminal may be slow; events must not wait for it. So only the rows are made under the lock.
        let mut screen = lock(screen);
        let view = screen.view(clock());
        let rows = board.scene.as_ref().map(|scene| picture::picture(scene, view));
        drop(board);
        if let Some(rows) = rows {
            screen.show(rows);
        }
        drop(screen);
        let rest =
            shared.changed.wait_timeout_while(lock(&shared.board), BETWEEN_FRAMES, |board| !board.is_over);
        drop(rest.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Screen {
    fn new(canvas: Canvas, look: Look) -> Self {
        Self { canvas, bar: None, look, last: (Vec::new(), (0, 0)) }
    }

    /// How the picture is seen now. The last column stays free, because terminals differ in when they wrap; so does one
    /// row, for what is typed.
    fn view(&self, now: u64) -> View {
        let (columns, rows) = self.canvas.measure();
        View { look: self.look, width: usize::from(columns) - 1, height: Some(usize::from(rows) - 1), now }
    }

    fn draw(&mut self, scene: &Scene, now: u64) {
        let rows = picture::picture(scene, self.view(now));
        self.show(rows);
    }

    fn show(&mut self, rows: Vec<String>) {
        let size = (self.canvas.width(), self.canvas.height());
        if self.last.1 == size && self.last.0 == rows {
            return;
        }
        let canvas = &self.canvas;
        let bar = self.bar.get_or_insert_with(|| new_bar(canvas.clone()));
        bar.set_message(rows.join("\n"));
        self.last = (rows, size);
    }

    /// Replaces the moving picture by the last one, in full, and says below it what there is to say.
    fn conclude(&mut self, scene: Option<&Scene>, summary: &Summary, now: u64) {
        let view = View { height: None, ..self.view(now) };
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let mut rows = scene.map(|scene| picture::picture(scene, view)).unwrap_or_default();
        rows.extend(epilogue::epilogue(scene, summary, view));
        self.canvas.write_rows(&rows);
    }

    fn leave(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
            self.canvas.leave();
        }
    }
}

fn new_bar(canvas: Canvas) -> ProgressBar {
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(canvas)));
    bars.set_move_cursor(true);
    let bar = bars.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}
