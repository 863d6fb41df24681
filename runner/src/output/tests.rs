//! Recorded runs through every way of showing them, compared with what they looked like when a person last agreed.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use staith_model::{Event, Exit, RunState};

use super::{
    Summary, Watch,
    json::Json,
    look::Look,
    plain::Plain,
    stories::{self, Story},
};

/// Compares with `golden/NAME.txt`, or writes it where `STAITH_UPDATE_EXPECTED` is set.
pub(super) fn golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/output/golden").join(format!("{name}.txt"));
    if std::env::var_os("STAITH_UPDATE_EXPECTED").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        shown,
        expected,
        "{} differs; if the new text is right, run the tests with STAITH_UPDATE_EXPECTED=1",
        path.display()
    );
}

/// Every story with its name and how its command ends.
pub(super) fn all() -> Vec<(&'static str, Story, Summary)> {
    let ends = |exit, url: Option<&str>, log: Option<&str>| Summary {
        exit,
        millis: 18_700,
        url: url.map(str::to_owned),
        log: log.map(str::to_owned),
    };
    let log = Some("staith log");
    vec![
        ("passing", stories::passing(), ends(Exit::Passed, None, None)),
        ("cached", stories::cached(), ends(Exit::Passed, None, None)),
        ("failing-test", stories::failing_test(), ends(Exit::StepFailed, None, log)),
        ("findings", stories::findings(), ends(Exit::StepFailed, None, log)),
        ("mishaps", stories::mishaps(), ends(Exit::Passed, None, None)),
        ("skipped", stories::skipped_after_failure(), ends(Exit::StepFailed, None, log)),
        ("service-ended", stories::service_ended(), ends(Exit::StepFailed, None, log)),
        ("timed-out", stories::timed_out(), ends(Exit::StepFailed, None, log)),
        ("cancelled", stories::cancelled(), ends(Exit::Interrupted, None, None)),
        ("deployed", stories::deployed(), ends(Exit::Passed, Some("http://127.0.0.1:8080"), None)),
        ("stopped", stories::stopped(), ends(Exit::RolledBack, None, log)),
        ("rolled-back", stories::rolled_back(), ends(Exit::RolledBack, Some("http://127.0.0.1:8080"), log)),
    ]
}

/// Feeds events to a watcher as the binary does. A story that the fold refuses is a mistake in the story.
pub(super) fn tell(watch: &mut dyn Watch, events: &[Event]) {
    let mut state = RunState::begin(&events[0]).unwrap();
    watch.event(&events[0], &state);
    for event in &events[1..] {
        state.apply(event).unwrap();
        watch.event(event, &state);
    }
}

/// Bytes that can be looked at while something else writes them.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that leaves after the first line.
struct Head(u32);

impl io::Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        if self.0 > 1 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PLAIN: Look = Look { colours: false, unicode: true };
const COLOURFUL: Look = Look { colours: true, unicode: true };

fn plain(story: &Story, summary: &Summary, look: Look) -> String {
    let written = Written::default();
    let mut watch = Plain::new(written.clone(), look);
    tell(&mut watch, &story.events);
    watch.finish(summary);
    assert!(!watch.is_gone());
    written.text()
}

#[test]
fn plain_text_is_as_agreed() {
    for (name, story, summary) in all() {
        golden(&format!("plain-{name}"), &plain(&story, &summary, PLAIN));
    }
}

#[test]
fn plain_text_has_no_sequences_and_no_trailing_spaces() {
    for (name, story, summary) in all() {
        let shown = plain(&story, &summary, PLAIN);
        assert!(!shown.contains('\x1b'), "{name}");
        assert!(shown.lines().all(|line| line == line.trim_end()), "{name}");
    }
}

#[test]
fn colours_change_nothing_but_colour() {
    for (name, story, summary) in all() {
        let colourful = plain(&story, &summary, COLOURFUL);
        assert!(colourful.contains("\x1b[32m") || colourful.contains("\x1b[31m"), "{name}");
        assert_eq!(console::strip_ansi_codes(&colourful), plain(&story, &summary, PLAIN), "{name}");
    }
}

#[test]
fn json_is_the_events_and_nothing_else() {
    for (name, story, summary) in all() {
        let written = Written::default();
        let mut watch = Json::new(written.clone());
        tell(&mut watch, &story.events);
        watch.finish(&summary);
        let read: Vec<Event> =
            written.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, story.events, "{name}");
    }
}

#[test]
fn a_reader_that_left_is_told_of_and_bothers_nobody() {
    let (story, summary) =
        (stories::passing(), Summary { exit: Exit::Passed, millis: 1, url: None, log: None });
    let watchers: [Box<dyn Watch>; 2] = [Box::new(Plain::new(Head(0), PLAIN)), Box::new(Json::new(Head(0)))];
    for mut watch in watchers {
        assert!(!watch.is_gone());
        tell(watch.as_mut(), &story.events);
        watch.finish(&summary);
        assert!(watch.is_gone());
    }
}

#[test]
fn a_full_disk_is_told_of_as_what_it_is() {
    let (story, summary) =
        (stories::passing(), Summary { exit: Exit::Passed, millis: 1, url: None, log: None });
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let watchers: [Box<dyn Watch>; 2] = [Box::new(Plain::new(full(), PLAIN)), Box::new(Json::new(full()))];
    for mut watch in watchers {
        assert!(watch.failure().is_none());
        tell(watch.as_mut(), &story.events);
        watch.finish(&summary);
        assert!(watch.is_gone());
        assert_eq!(watch.failure().unwrap().kind(), io::ErrorKind::StorageFull);
    }
    let mut left = Plain::new(Head(0), PLAIN);
    tell(&mut left, &story.events);
    assert!(left.is_gone() && left.failure().is_none());
}

#[test]
fn it_is_known_whether_people_were_told_why_a_deployment_failed() {
    for (name, story, _) in all() {
        let mut watch = Plain::new(Written::default(), PLAIN);
        tell(&mut watch, &story.events);
        assert_eq!(watch.has_told_why(), matches!(name, "stopped" | "rolled-back"), "{name}");
    }
    let mut json = Json::new(Written::default());
    tell(&mut json, &stories::rolled_back().events);
    assert!(!json.has_told_why(), "programs get the whole error in the form that errors have");
}

#[test]
fn the_end_is_told_once_unless_something_else_follows_it() {
    let said = |story: &Story, exit| {
        let shown = plain(story, &Summary { exit, millis: 18_700, url: None, log: None }, PLAIN);
        shown.lines().last().unwrap().to_owned()
    };
    assert_eq!(said(&stories::passing(), Exit::Passed), "run              > passed in 3 m 05 s");
    assert!(said(&stories::passing(), Exit::Environment).contains("exit code 30"));
    assert!(said(&stories::timed_out(), Exit::Environment).contains("exit code 30"));
    assert_eq!(said(&stories::deployed(), Exit::Passed), "staith           > passed in 19 s");
}

#[test]
fn what_was_cancelled_has_no_culprit() {
    let shown = plain(
        &stories::cancelled_after_failure(),
        &Summary { exit: Exit::Interrupted, millis: 1, url: None, log: None },
        PLAIN,
    );
    assert!(shown.ends_with("run              > cancelled after 1.0 s\n"), "{shown}");
}
