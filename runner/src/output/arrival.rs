//! What is said while a source arrives, before there is a run: on standard error, so that programs that read events are not
//! disturbed.

use std::{
    io::{self, IsTerminal as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use staith_builder::{engine::ImageFetched, source::Progress};

use super::{OutputMode, clean::clean_word, human, look::Look, look::Tone, sink::Sink};

/// People see movement several times a second; more often would only cost.
const BETWEEN: Duration = Duration::from_millis(100);

/// What to call with the progress of a fetch from `place`: a moving line on a terminal, a single one elsewhere.
pub(crate) fn fetching(place: &str, mode: OutputMode) -> impl FnMut(&Progress) + Send + use<> {
    let place = clean_word(place);
    let moves = io::stderr().is_terminal() && !mode.is_json();
    let mut last: Option<Instant> = None;
    let mut shown = false;
    move |progress| {
        let Some(fetched) = progress.fetched else {
            if shown && moves {
                let _ = console::Term::stderr().clear_line();
            }
            return;
        };
        if moves && last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            last = Some(Instant::now());
            let bytes = human::size(u64::try_from(fetched.bytes).unwrap_or(u64::MAX));
            let line = format!("fetching {place}: {} of {} objects, {bytes}", fetched.objects, fetched.of);
            let terminal = console::Term::stderr();
            let _ = terminal.clear_line().and_then(|()| terminal.write_str(&line));
        } else if !moves && !shown && !mode.is_json() {
            Sink::new(io::stderr()).line(&format!("fetching {place}"));
        }
        shown = true;
    }
}

/// What to call with the progress of images that are fetched: a moving line on a terminal, a single one for each elsewhere.
pub(crate) fn fetching_images(mode: OutputMode) -> impl Fn(ImageFetched) + Send + Sync + use<> {
    let moves = io::stderr().is_terminal() && !mode.is_json();
    let state = Mutex::new((None::<Instant>, String::new()));
    move |fetched| {
        let (last, told) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
        let image = clean_word(&fetched.reference);
        let is_whole = fetched.of_bytes.is_some_and(|of| fetched.bytes >= of);
        if moves && is_whole {
            let _ = console::Term::stderr().clear_line();
        } else if moves && last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            *last = Some(Instant::now());
            let of = fetched.of_bytes.map(|of| format!(" of {}", human::size(of))).unwrap_or_default();
            let line = format!("fetching {image}: {}{of}", human::size(fetched.bytes));
            let terminal = console::Term::stderr();
            let _ = terminal.clear_line().and_then(|()| terminal.write_str(&line));
        } else if !moves && !mode.is_json() && *told != image {
            Sink::new(io::stderr()).line(&format!("fetching {image}"));
            told.clone_from(&image);
        }
    }
}

/// Says something about a source that people should know.
pub(crate) fn notice(text: &str, mode: OutputMode) {
    if !mode.is_json() {
        let look = Look::choose(io::stderr().is_terminal(), |name| std::env::var(name).ok());
        Sink::new(io::stderr()).line(&format!("{} {}", look.tint(Tone::Odd, "note:"), clean_word(text)));
    }
}
