use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use indicatif::{InMemoryTerm, TermLike as _};
use staith_model::EventKind;

use super::{
    super::{
        Summary, Watch as _,
        look::Look,
        stories::{self, Story},
        tests::{Written, all, golden},
    },
    Canvas, Live, View, lock, picture,
    scene::Scene,
};

const PLAIN: Look = Look { colours: false, unicode: true };
const COLOURFUL: Look = Look { colours: true, unicode: true };

/// Passes bytes on to a terminal in memory.
struct To(InMemoryTerm);

impl io::Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_str(std::str::from_utf8(bytes).unwrap())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A live picture without a painter, on a clock that the test turns.
struct Stage {
    live: Live,
    clock: Arc<AtomicU64>,
}

impl Stage {
    fn new(
        out: Box<dyn io::Write + Send>,
        size: impl Fn() -> (u16, u16) + Send + Sync + 'static,
        look: Look,
    ) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let read = clock.clone();
        let canvas = Canvas::new(out, Arc::new(size));
        let live = Live::new(canvas, look, Arc::new(move || read.load(Ordering::Relaxed)));
        Self { live, clock }
    }

    fn paint(&mut self) {
        let now = self.clock.load(Ordering::Relaxed);
        let board = lock(&self.live.shared.board);
        lock(&self.live.screen).draw(board.scene.as_ref().unwrap(), now);
    }

    /// Tells the story, drawing after every event and letting a second go by.
    fn play(&mut self, story: &Story) {
        let mut state = staith_model::RunState::begin(&story.events[0]).unwrap();
        for event in &story.events {
            if event.seq > 0 {
                let mut event = event.clone();
                event.seq = state.next_seq;
                state.apply(&event).unwrap();
            }
            self.live.event(event, &state);
            self.clock.fetch_add(1000, Ordering::Relaxed);
            self.paint();
        }
    }
}

fn memory(rows: u16, columns: u16, look: Look) -> (InMemoryTerm, Stage) {
    let terminal = InMemoryTerm::new(rows, columns);
    let stage = Stage::new(Box::new(To(terminal.clone())), move || (columns, rows), look);
    (terminal, stage)
}

#[test]
fn a_run_under_way_is_as_agreed_at_every_width() {
    for columns in [20, 40, 80] {
        let (terminal, mut stage) = memory(24, columns, PLAIN);
        stage.play(&stories::under_way());
        golden(&format!("live-under-way-{columns}"), &(terminal.contents() + "\n"));
    }
}

#[test]
fn a_step_that_waits_for_its_services_says_for_which() {
    let (terminal, mut stage) = memory(24, 80, PLAIN);
    let mut story = stories::services_start();
    let ready = story.events.pop().unwrap();
    stage.play(&story);
    assert!(terminal.contents().contains("waits for services cache, db"), "{}", terminal.contents());
    story.events.push(ready);
    stage.play(&story);
    assert!(terminal.contents().contains("waits for service db"), "{}", terminal.contents());
}

#[test]
fn the_last_picture_is_as_agreed_at_every_width() {
    for (name, story, summary) in all() {
        for columns in [20, 40, 80] {
            let (terminal, mut stage) = memory(400, columns, PLAIN);
            stage.play(&story);
            stage.live.finish(&summary);
            golden(&format!("live-{name}-{columns}"), &(terminal.contents() + "\n"));
        }
    }
}

#[test]
fn colours_change_nothing_but_colour() {
    for (name, story, summary) in all() {
        let shown = [PLAIN, COLOURFUL].map(|look| {
            let (terminal, mut stage) = memory(400, 80, look);
            stage.play(&story);
            stage.live.finish(&summary);
            terminal.contents()
        });
        assert_eq!(shown[0], shown[1], "{name}");
    }
}

#[test]
fn a_low_terminal_shows_what_is_going_on_and_counts_the_rest() {
    let (terminal, mut stage) = memory(8, 60, PLAIN);
    stage.play(&stories::under_way());
    golden("live-low", &(terminal.contents() + "\n"));
    assert!(terminal.contents().contains("Compiling shop"));
}

#[test]
fn no_picture_is_larger_than_the_terminal() {
    for (name, story, _) in all() {
        let mut state = staith_model::RunState::begin(&story.events[0]).unwrap();
        let mut scene = Scene::new(&state.plan, state.plan_digest);
        for event in &story.events {
            if event.seq > 0 {
                state.apply(event).unwrap();
            }
            scene.take(event, &state, event.seq * 70_000);
            for (width, height) in (19..100).step_by(4).zip((4..40).cycle()) {
                let now = event.seq * 77_000;
                let look = COLOURFUL;
                let rows = picture::picture(&scene, View { look, width, height: Some(height), now });
                assert!(rows.len() <= height, "{name} {width}x{height}: {rows:#?}");
                let wide = rows.iter().map(|row| console::measure_text_width(row)).max();
                assert!(wide <= Some(width), "{name} {width}x{height}: {rows:#?}");
                assert!(rows.iter().all(|row| row.trim_end() == row), "{name} {width}x{height}: {rows:#?}");
            }
        }
    }
}

#[test]
fn nothing_is_left_on_screen_twice_when_the_terminal_changes_its_size() {
    // A terminal that wraps again what it shows when it becomes narrower does what writing the same text anew does;
    // the terminal in memory can't, so the rows are counted from what is written.
    let size = Arc::new(Mutex::new((80u16, 24u16)));
    let written = Written::default();
    let asked = size.clone();
    let mut stage = Stage::new(Box::new(written.clone()), move || *asked.lock().unwrap(), PLAIN);
    stage.play(&stories::under_way());
    let before = written.text();
    let rows = before.rsplit("\x1b[?25l").next().unwrap().split("\r\n").collect::<Vec<_>>();
    let widths: Vec<usize> =
        rows.iter().map(|row| console::measure_text_width(&console::strip_ansi_codes(row))).collect();
    *size.lock().unwrap() = (30, 24);
    stage.clock.fetch_add(1000, Ordering::Relaxed);
    stage.paint();
    let after = written.text()[before.len()..].to_owned();
    let wrapped: usize = widths.iter().map(|width| width.saturating_sub(1) / 30).sum();
    assert!(wrapped > 0);
    assert!(after.contains(&format!("\x1b[{}A", rows.len() - 1 + wrapped)), "{after:?}");
    assert!(after.ends_with("\x1b[J\x1b[?25h\x1b[?2026l"));
}

#[test]
fn every_write_leaves_the_cursor_visible() {
    let written = Written::default();
    let mut stage = Stage::new(Box::new(written.clone()), || (80, 24), COLOURFUL);
    stage.play(&stories::under_way());
    drop(stage);
    let text = written.text();
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"));
    assert_eq!(text.matches("\x1b[?2026h").count(), text.matches("\x1b[?2026l").count());
    assert!(text.ends_with("\r\n"), "the shell's prompt begins a line of its own");
}

#[test]
fn what_does_not_change_is_not_drawn_again() {
    let written = Written::default();
    let mut stage = Stage::new(Box::new(written.clone()), || (80, 24), PLAIN);
    stage.play(&stories::cached());
    let before = written.text().len();
    stage.paint();
    assert_eq!(written.text().len(), before);
}

#[test]
fn a_flood_of_lines_costs_a_bounded_number_of_frames_and_lines() {
    let written = Written::default();
    let mut stage = Stage::new(Box::new(written.clone()), || (80, 24), PLAIN);
    stage.live.start_painter();
    let mut story = Story::of(stories::shop());
    story.start("lint");
    let mut state = staith_model::RunState::begin(&story.events[0]).unwrap();
    stage.live.event(&story.events[0], &state);
    state.apply(&story.events[1]).unwrap();
    stage.live.event(&story.events[1], &state);
    story.write("lint", &["a line of output"]);
    let mut line = story.events[2].clone();
    let begun = std::time::Instant::now();
    for number in 0..200_000 {
        // Lines that differ, or the picture would not have to be drawn again.
        if let EventKind::StepOutput { line, .. } = &mut line.what {
            *line = number.to_string();
        }
        state.apply(&line).unwrap();
        stage.live.event(&line, &state);
        line.seq += 1;
    }
    let most = begun.elapsed().as_millis() as usize / 50 + 3;
    stage.live.stop_painter();
    assert!(written.text().matches("\x1b[?2026h").count() <= most);
    let board = lock(&stage.live.shared.board);
    let step = &board.scene.as_ref().unwrap().steps[0];
    assert_eq!((step.tail.len(), step.forgotten), (200, 199_800));
}

#[test]
fn a_terminal_that_is_gone_is_told_of() {
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut stage = Stage::new(Box::new(Gone), || (80, 24), PLAIN);
    assert!(!stage.live.is_gone());
    stage.play(&stories::passing());
    assert!(stage.live.is_gone());
    stage.live.finish(&Summary { exit: staith_model::Exit::Passed, millis: 1, url: None, log: None });
}

#[test]
fn a_watcher_that_saw_nothing_says_only_how_it_ended() {
    let (terminal, mut stage) = memory(24, 80, PLAIN);
    let summary = Summary { exit: staith_model::Exit::Environment, millis: 12, url: None, log: None };
    stage.live.finish(&summary);
    assert_eq!(terminal.contents().trim(), "failed after 12 ms · the environment can't do it · exit code 30");
}

/// A terminal that takes nothing until the test lets it (somebody pressed Ctrl-S), and says when it is waited for.
struct Stuck {
    entered: mpsc::Sender<()>,
    let_go: mpsc::Receiver<()>,
}

impl io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.let_go.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn asking_whether_the_terminal_is_gone_does_not_wait_for_it() {
    let (entered, is_entered) = mpsc::channel();
    let (let_it_go, let_go) = mpsc::channel();
    let mut stage = Stage::new(Box::new(Stuck { entered, let_go }), || (80, 24), PLAIN);
    stage.live.start_painter();
    let story = stories::under_way();
    let state = staith_model::RunState::begin(&story.events[0]).unwrap();
    stage.live.event(&story.events[0], &state);
    is_entered.recv().unwrap();
    let (answer, answered) = mpsc::channel();
    let asked = std::thread::spawn(move || {
        let _ = answer.send((stage.live.is_gone(), stage.live.failure().is_none()));
        stage
    });
    // Not a measure of time: only a question that waits for the terminal takes so long.
    let answer = answered.recv_timeout(std::time::Duration::from_secs(20));
    drop(let_it_go);
    drop(asked.join().unwrap());
    assert_eq!(answer, Ok((false, true)));
}

#[test]
fn a_failure_to_write_is_told_but_for_a_reader_that_left() {
    struct Fails(io::ErrorKind);
    impl io::Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let failure_after = |kind| {
        let mut stage = Stage::new(Box::new(Fails(kind)), || (80, 24), PLAIN);
        stage.play(&stories::rolled_back());
        assert!(stage.live.is_gone() && !stage.live.has_told_why());
        stage.live.failure().map(|error| error.kind())
    };
    assert_eq!(failure_after(io::ErrorKind::StorageFull), Some(io::ErrorKind::StorageFull));
    assert_eq!(failure_after(io::ErrorKind::BrokenPipe), None);
}
