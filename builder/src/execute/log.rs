//! The event log of a run: numbers and dates what happens, folds it, and shows it to whoever watches.

use staith_model::{EVENT_VERSION, Event, EventKind, ImpossibleEvent, RunState};

/// Sees every event with the state after it, in order. Called from the dispatcher: be quick.
pub type Watcher = Box<dyn FnMut(&Event, &RunState) + Send>;

/// An event log that is being written.
pub struct EventLog {
    state: Option<RunState>,
    clock: fn() -> u64,
    watcher: Watcher,
}

impl EventLog {
    /// An empty log. `clock` gives milliseconds since 1970.
    pub fn new(clock: fn() -> u64, watcher: Watcher) -> Self {
        Self { state: None, clock, watcher }
    }

    /// Records that something happened.
    ///
    /// # Errors
    /// It can't have happened now: a bug in whoever says so. The log is then as before.
    pub fn record(&mut self, what: EventKind) -> Result<&RunState, ImpossibleEvent> {
        let seq = self.state.as_ref().map_or(0, |state| state.next_seq);
        let event = Event { v: EVENT_VERSION, seq, at: (self.clock)(), what };
        let state = match self.state.take() {
            None => RunState::begin(&event)?,
            Some(mut state) => {
                let applied = state.apply(&event);
                if let Err(impossible) = applied {
                    self.state = Some(state);
                    return Err(impossible);
                }
                state
            }
        };
        let state = self.state.insert(state);
        (self.watcher)(&event, state);
        Ok(state)
    }

    /// The fold over all events so far; `None` before the first.
    pub fn state(&self) -> Option<&RunState> {
        self.state.as_ref()
    }
}
