//! A person before a terminal: types, sees, makes the window larger, closes it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::wait::until;

/// A command of Staith's on a terminal of its own.
#[derive(Debug)]
pub struct Person {
    /// The command's process.
    pub child: Child,
    hand: Option<File>,
    /// Held, so that the terminal's settings can be read when the command has ended.
    terminal: OwnedFd,
    before: Vec<u8>,
    seen: Arc<Mutex<String>>,
    read_to: usize,
}

impl Person {
    /// Starts a command on a terminal of 80 columns and 24 lines, which is its controlling terminal.
    ///
    /// # Panics
    /// The system gives no terminal.
    pub fn starts(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let terminal = ioctl_tiocgptpeer(&ours, flags).unwrap();
        tcsetwinsize(&ours, size(80, 24)).unwrap();
        let before = settings(&tcgetattr(&terminal).unwrap());
        let end = || Stdio::from(terminal.try_clone().unwrap());
        // The program of util-linux makes a session of its own with the terminal, and becomes the command.
        let mut on_terminal = Command::new("setsid");
        on_terminal.arg("--ctty").arg(command.get_program()).args(command.get_args());
        on_terminal.current_dir(command.get_current_dir().unwrap()).env("TERM", "xterm").env("NO_COLOR", "1");
        for (name, value) in command.get_envs() {
            on_terminal.env(name, value.unwrap_or_default());
        }
        let child = on_terminal.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut eye, told) = (File::from(ours.try_clone().unwrap()), Arc::clone(&seen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = eye.read(&mut bytes) {
                told.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, hand: Some(ours.into()), terminal, before, seen, read_to: 0 }
    }

    /// Types.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn types(&mut self, text: &str) {
        self.hand.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until a text is seen, after what was seen before.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> &mut Self {
        let (seen, from) = (&self.seen, self.read_to);
        let mut look = || seen.lock().unwrap()[from..].find(text).map(|at| from + at + text.len());
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(text, &mut look)));
        self.read_to = found.unwrap_or_else(|_| panic!("`{text}` was not seen in:\n{}", self.all()));
        self
    }

    /// All that was seen.
    pub fn all(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    /// Makes the window another size.
    pub fn resizes(&self, columns: u16, lines: u16) {
        tcsetwinsize(self.hand.as_ref().unwrap().as_fd(), size(columns, lines)).unwrap();
    }

    /// Whether the terminal is in the mode in which each key goes to the program.
    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.contains(rustix::termios::LocalModes::ICANON)
    }

    /// Waits for the command's end: its exit code, `None` where a signal ended it.
    ///
    /// # Panics
    /// The terminal is not as it was before the command, or the command does not end.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = until("the command has ended", || child.try_wait().unwrap());
        let after = settings(&tcgetattr(&self.terminal).unwrap());
        assert_eq!(after, self.before, "the terminal is not as it was");
        ended.code()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// What can be compared.
fn settings(of: &Termios) -> Vec<u8> {
    let modes = (of.input_modes, of.output_modes, of.control_modes, of.local_modes);
    format!("{modes:?}").into_bytes()
}
