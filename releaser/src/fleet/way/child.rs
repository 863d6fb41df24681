//! The program as a child process: the machine is this one.

use std::{
    fs::File,
    io::Write as _,
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::process::Command;

use super::Open;
use crate::fleet::{machine::MachineError, program, wire::Wire};

/// The program as a child process.
#[derive(Debug, Clone, Default)]
pub struct Child {
    /// The program; `None` is the one that is embedded.
    pub program: Option<PathBuf>,
    /// Where units are written; `None` is where systemd looks for them.
    pub units: Option<PathBuf>,
    /// Environment beside this process's own.
    pub env: Vec<(String, String)>,
}

#[async_trait]
impl Open for Child {
    async fn open(&self, target: &str, folder: &str) -> Result<Wire, MachineError> {
        let unreachable = |error: std::io::Error| MachineError::Unreachable {
            target: target.to_owned(),
            why: format!("the program for machines can't be started here: {error}"),
            remedy: "let programs be executed from memory, and leave room for another process".into(),
        };
        // Held until the child has been started: it is named by the descriptor.
        let (program, _held) = match &self.program {
            Some(path) => (path.clone(), None),
            None => {
                let file = embedded().map_err(unreachable)?;
                (PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), Some(file))
            }
        };
        let mut command = Command::new(program);
        command.args(["serve", "--folder", folder]);
        if let Some(units) = &self.units {
            command.arg("--units").arg(units);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own: who stops this process with a key does not mean to stop a hook half-way.
        command.process_group(0);
        let mut child = command.spawn().map_err(unreachable)?;
        let gone = || std::io::Error::other("it has no streams");
        let to = child.stdin.take().ok_or_else(gone).map_err(unreachable)?;
        let from = child.stdout.take().ok_or_else(gone).map_err(unreachable)?;
        // It ends by itself when its input does; somebody has to take notice.
        tokio::spawn(async move { child.wait().await });
        Ok(Wire { from: Box::new(from), to: Box::new(to) })
    }
}

/// The embedded program in a file without a name, which nobody else can write to.
fn embedded() -> std::io::Result<Arc<File>> {
    static FILE: OnceLock<Arc<File>> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file.clone());
    }
    let mut file = File::from(memfd_create("staith-machine", MemfdFlags::CLOEXEC)?);
    file.write_all(program::bytes())?;
    Ok(FILE.get_or_init(|| Arc::new(file)).clone())
}
