//! Behind the door: ssh, or a plain connection on this machine. Bytes are copied both ways and not looked at.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    Reach,
    address::Host,
    bridge::FarSide,
    failure::{FetchFailure, tamed},
};

/// A first line of git's protocol that is longer than this is none.
const LONGEST_REQUEST: usize = 4096;
/// As much of what ssh says is kept, in bytes, from the end.
const KEPT_OF_STDERR: usize = 4096;
/// A connection that ssh keeps for later may hold its error output open after its end; nobody waits for that long.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where bytes go.
pub(super) enum Pipe {
    Ssh { user: Option<String>, host: Host, path: String },
    Plain { host: Host, path: String },
}

/// A pipe and what runs for it.
pub(super) struct Piped {
    pub(super) pipe: Pipe,
    pub(super) reach: Reach,
    pub(super) running: Mutex<Vec<Arc<Mutex<Child>>>>,
}

impl FarSide for Piped {
    fn serve(&self, near: TcpStream, token: &str) -> Result<(), FetchFailure> {
        let Some(request) = first_line(&near) else { return Ok(()) };
        let wanted = format!("git-upload-pack /{token}\0");
        if !request.starts_with(wanted.as_bytes()) {
            return Ok(());
        }
        match &self.pipe {
            Pipe::Ssh { user, host, path } => self.through_ssh(&near, user.as_deref(), host, path),
            Pipe::Plain { host, path } => self.straight(&near, host, path),
        }
    }

    fn abandon(&self) {
        for child in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    }

    fn scheme(&self) -> &'static str {
        "git"
    }
}

impl Piped {
    fn straight(&self, near: &TcpStream, host: &Host, path: &str) -> Result<(), FetchFailure> {
        let failed = |error: &io::Error| FetchFailure::of_connection(&host.name, error, self.reach.stall);
        let connected = TcpStream::connect((host.name.as_str(), host.port.unwrap_or(9418)));
        let mut far = connected.map_err(|error| failed(&error))?;
        let request = format!("git-upload-pack {path}\0host={}\0", host.shown());
        let line = format!("{:04x}{request}", request.len() + 4);
        far.write_all(line.as_bytes()).map_err(|error| failed(&error))?;
        let (other, end) = (far.try_clone(), far.try_clone());
        let (input, end) = (other.map_err(|error| failed(&error))?, end.map_err(|error| failed(&error))?);
        self.copy_both_ways(near, &host.name, input, &far.into(), move || drop(end.shutdown(Shutdown::Both)))
    }

    fn through_ssh(
        &self,
        near: &TcpStream,
        user: Option<&str>,
        host: &Host,
        path: &str,
    ) -> Result<(), FetchFailure> {
        let said = |text: String| FetchFailure::Ssh { host: host.name.clone(), said: text };
        let mut command = ssh_command(&self.reach, user, host, &format!("git-upload-pack {}", quoted(path)));
        let mut child = command.spawn().map_err(|error| said(format!("it can't be started: {error}")))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(said("it has no input or output".to_owned()));
        };
        let last_words = keep_the_end(errors);
        let child = Arc::new(Mutex::new(child));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&child));
        let kill = {
            let child = Arc::clone(&child);
            move || drop(child.lock().unwrap_or_else(PoisonError::into_inner).kill())
        };
        let copied = self.copy_both_ways(near, &host.name, input, &output.into(), kill.clone());
        if copied.is_err() {
            kill();
        }
        let ended = wait(&child, self.reach.stall).map_err(|error| said(error.to_string()))?;
        copied?;
        match ended.code() {
            Some(0) => Ok(()),
            // It was killed because git's library went away.
            None => Ok(()),
            Some(_) => Err(said(tamed(&last_words.recv_timeout(LAST_WORDS).unwrap_or_default()))),
        }
    }

    /// Copies until the far side has no more. `end` is called when git's library goes away.
    fn copy_both_ways(
        &self,
        near: &TcpStream,
        host: &str,
        mut input: impl Write + Send + 'static,
        output: &OwnedFd,
        end: impl FnOnce() + Send + 'static,
    ) -> Result<(), FetchFailure> {
        let failed = |error: io::Error| FetchFailure::of_connection(host, &error, self.reach.stall);
        // From here on git's library takes the time that it needs.
        near.set_read_timeout(None).map_err(failed)?;
        let mut asking = near.try_clone().map_err(failed)?;
        let ask = move || {
            // By hand: `io::copy` lets the kernel move bytes from a socket to a pipe, and it moves none until more come.
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = asking.read(&mut bytes) {
                if input.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            drop(input);
            end();
        };
        thread::Builder::new().name("staith-ask".to_owned()).spawn(ask).map_err(failed)?;
        let mut answering = near;
        let mut far = File::from(output.try_clone().map_err(failed)?);
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if !is_ready(output, self.reach.stall).map_err(failed)? {
                return Err(FetchFailure::Stalled { host: host.to_owned(), after: self.reach.stall });
            }
            match far.read(&mut bytes).map_err(failed)? {
                0 => return Ok(()),
                // Git's library has gone: it has what it wants, or has given up for a reason of its own.
                read if answering.write_all(&bytes[..read]).is_err() => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Ssh, asked to run something of git's on the other side, with nothing to ask a person.
pub(super) fn ssh_command(reach: &Reach, user: Option<&str>, host: &Host, there: &str) -> Command {
    let mut command = match &reach.ssh_command {
        Some(words) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{words} \"$@\"")).arg(words);
            shell
        }
        None => Command::new("ssh"),
    };
    command.args(["-o", "BatchMode=yes"]);
    if let Some(port) = host.port {
        command.arg("-p").arg(port.to_string());
    }
    let destination = user.map_or_else(|| host.name.clone(), |user| format!("{user}@{}", host.name));
    command.arg("--").arg(destination).arg(there);
    command.env("SSH_ASKPASS_REQUIRE", "never");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A path as one word for the shell of the other side; written as git writes it, so that restricted shells know it.
pub(super) fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// The first line that git's library sends, without its length. `None` when it is none.
fn first_line(mut near: &TcpStream) -> Option<Vec<u8>> {
    let mut digits = [0; 4];
    near.read_exact(&mut digits).ok()?;
    let length = usize::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
    let mut line = vec![0; length.checked_sub(4).filter(|length| *length <= LONGEST_REQUEST)?];
    near.read_exact(&mut line).ok()?;
    Some(line)
}

pub(super) fn is_ready(output: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(&output.as_fd(), PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Reads all that ssh says, so that it never waits for a reader, and gives the end of it.
pub(super) fn keep_the_end(mut errors: ChildStderr) -> Receiver<String> {
    let (tell, told) = channel();
    let read = move || {
        let (mut kept, mut bytes) = (Vec::new(), [0; 1024]);
        while let Ok(read @ 1..) = errors.read(&mut bytes) {
            kept.extend_from_slice(&bytes[..read]);
            kept.drain(..kept.len().saturating_sub(KEPT_OF_STDERR));
        }
        let _ = tell.send(String::from_utf8_lossy(&kept).into_owned());
    };
    let _ = thread::Builder::new().name("staith-ssh-says".to_owned()).spawn(read);
    told
}

/// Waits for an end that is due, without keeping the child locked, so that it can be killed meanwhile.
pub(super) fn wait(child: &Mutex<Child>, limit: Duration) -> io::Result<std::process::ExitStatus> {
    let locked = || child.lock().unwrap_or_else(PoisonError::into_inner);
    let id = i32::try_from(locked().id()).ok().and_then(Pid::from_raw);
    let ended = match id {
        Some(id) => is_ready(&pidfd_open(id, PidfdFlags::empty())?, limit)?,
        None => false,
    };
    if !ended {
        locked().kill()?;
    }
    locked().wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_other_sides_shell_sees_one_word() {
        assert_eq!(quoted("/srv/it's; rm -rf !x"), r"'/srv/it'\''s; rm -rf '\!'x'");
        let host = Host { name: "host".to_owned(), port: Some(2222) };
        let there = format!("git-upload-pack {}", quoted("$(id)"));
        let plain = ssh_command(&Reach::default(), Some("git"), &host, &there);
        assert_eq!(
            words(&plain),
            ["-o", "BatchMode=yes", "-p", "2222", "--", "git@host", "git-upload-pack '$(id)'"]
        );
        let own = Reach { ssh_command: Some("ssh -i key".to_owned()), ..Reach::default() };
        let own = ssh_command(&own, None, &host, "x");
        assert_eq!(words(&own)[..3], ["-c", "ssh -i key \"$@\"", "ssh -i key"]);
    }
}
