//! A terminal of a test's own, and what the contract says of programs on one.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use staith_builder::engine::{Engine, StepExit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, collect};

/// The side at which a person would sit.
pub struct Person {
    keyboard: File,
    screen: mpsc::UnboundedReceiver<Vec<u8>>,
    /// All that was to be seen.
    pub seen: String,
}

/// Both sides of a new terminal.
pub fn terminal() -> (Person, Arc<OwnedFd>) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    let mut screen_of = File::from(master.try_clone().unwrap());
    let (show, screen) = mpsc::unbounded_channel();
    // It ends when nobody has the other side any more.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = screen_of.read(&mut buffer) {
            if show.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    (Person { keyboard: master.into(), screen, seen: String::new() }, Arc::new(slave))
}

impl Person {
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resizes_to(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Types `question` again and again until the line `answer` comes: an engine beside the terminal tells of a new size when it
    /// has seen it. What is asked for is the terminal itself, since bash's `LINES` are at times those of before.
    async fn asks_until(&mut self, question: &str, answer: &str) {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut seen = self.seen.len();
        while !self.seen[seen..].contains(answer) {
            assert!(tokio::time::Instant::now() < end, "asked in vain for {answer:?}: {:?}", self.seen);
            seen = self.seen.len();
            self.types(question);
            self.sees("\r\nready$ ").await;
        }
    }

    /// Waits until this is on the screen, beyond what was seen before.
    pub async fn sees(&mut self, what: &str) {
        let mut new = String::new();
        while !new.contains(what) {
            let piece = tokio::time::timeout(Duration::from_secs(60), self.screen.recv()).await;
            let piece = piece.unwrap_or_else(|_| panic!("waited in vain for {what:?} after {:?}", self.seen));
            let piece = piece.unwrap_or_else(|| panic!("it ended before {what:?}, after {:?}", self.seen));
            let piece = String::from_utf8_lossy(&piece).into_owned();
            self.seen.push_str(&piece);
            new.push_str(&piece);
        }
    }
}

pub async fn a_terminal_is_the_programs_own(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (mut person, slave) = terminal();
    let mut step = bench.argv(&["bash", "--norc", "--noprofile", "-i"]);
    step.env = [("TERM", "dumb"), ("PS1", "ready$ ")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    step.terminal = Some(slave);
    person.resizes_to(33, 101);
    let sit = async move {
        person.sees("ready$ ").await;
        // What it writes is told from what is typed by what the shell makes of it.
        person.types("test -t 0 && test -t 1 && test -t 2 && echo $((1 + 1)) terminals, $TERM\n");
        person.sees("2 terminals, dumb").await;
        person.types("echo $((2 + 2)) ways > /dev/tty\n");
        person.sees("4 ways").await;
        person.types("echo $((3 + 3)) ways > /dev/stderr\n");
        person.sees("6 ways").await;
        let size = "/usr/bin/python3 -c 'import os; print(\"size\", *reversed(os.get_terminal_size(0)))'\n";
        person.asks_until(size, "size 33 101").await;
        person.resizes_to(20, 60);
        person.asks_until(size, "size 20 60").await;
        // Ctrl-C is for what runs in the foreground.
        person.types("sh -c 'echo begun $((4 + 4)); exec sleep 1000'\n");
        person.sees("begun 8").await;
        person.types("\u{3}");
        person.sees("ready$ ").await;
        person.types("echo ended by $((10 * $?))\n");
        person.sees("ended by 1300").await;
        // Jobs are held, and go on.
        person.types("sh -c 'echo held $((6 + 6)); exec sleep 1000'\n");
        person.sees("held 12").await;
        person.types("\u{1a}");
        person.sees("Stopped").await;
        person.types("kill %1; fg; echo job $((5 + 5))\n");
        person.sees("job 10").await;
        // Ctrl-D: there is no more.
        person.types("exec sh -c 'echo last $((7 + 7)); cat; exit 5'\n");
        person.sees("last 14").await;
        person.types("\u{4}");
        person
    };
    let (output, said) = mpsc::channel(16);
    let run = engine.run(step, output, CancellationToken::new());
    let (exit, (out, err), person) = tokio::join!(run, collect(said), sit);
    let seen = &person.seen;
    assert_eq!(exit.unwrap(), StepExit::Code(5), "{seen}");
    assert_eq!((out.as_str(), err.as_str()), ("", ""), "all of it went to the terminal");
    assert!(!seen.contains("job control") && !seen.contains("process group"), "{seen}");
}

/// What types into its own terminal could type into another's.
pub async fn nobody_types_into_a_terminal_but_the_person(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    let (mut person, slave) = terminal();
    let types = "import fcntl, sys\ntry:\n    fcntl.ioctl(0, 0x5412, b'x')\n    print('typed')\n\
                 except OSError as error:\n    print(error.strerror)";
    let mut step = bench.argv(&["/usr/bin/python3", "-c", types]);
    step.terminal = Some(slave);
    let (output, said) = mpsc::channel(16);
    let run = engine.run(step, output, CancellationToken::new());
    let (exit, _, ()) = tokio::join!(run, collect(said), person.sees("Operation not permitted"));
    assert_eq!(exit.unwrap(), StepExit::Code(0));
}
