//! Asks OpenSSH what its configuration says of a machine.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::process::Command;

use super::{
    destination::Destination,
    error::SshError,
    reader,
    settings::{Settings, Surroundings},
};

type Key = (String, Option<String>, Option<u16>);

/// Answers what the configuration says of a machine, once for each in the life of the process: a configuration that is edited
/// while a deployment runs does not send half of it elsewhere.
pub(super) struct Resolver {
    program: PathBuf,
    file: Option<PathBuf>,
    around: Surroundings,
    known: Mutex<HashMap<Key, Arc<Settings>>>,
}

impl Resolver {
    /// With OpenSSH's program, and another file in place of the user's own.
    pub(super) fn new(program: PathBuf, file: Option<PathBuf>) -> Self {
        Self { program, file, around: surroundings(), known: Mutex::default() }
    }

    /// What the configuration says of a machine. Cancel-safe.
    ///
    /// # Errors
    /// The name is not acceptable, OpenSSH finds fault with the configuration, or it is not installed and the configuration
    /// has more than is read without it.
    pub(super) async fn resolve(&self, to: &Destination) -> Result<Arc<Settings>, SshError> {
        to.check()?;
        let key = (to.host.clone(), to.user.clone(), to.port);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let printed = match self.ask(to).await? {
            Some(printed) => printed,
            None => reader::read(self.file.as_deref(), to, &self.around)?,
        };
        let settings = Arc::new(Settings::parse(&printed, to, &self.around)?);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&settings));
        Ok(settings)
    }

    /// What `ssh -G` prints; `None` where it is not installed.
    async fn ask(&self, to: &Destination) -> Result<Option<String>, SshError> {
        let mut ssh = Command::new(&self.program);
        ssh.arg("-G");
        if let Some(file) = &self.file {
            ssh.arg("-F").arg(file);
        }
        if let Some(user) = &to.user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = to.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.args(["--", &to.host]).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        let output = match ssh.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(wrong(to, format!("{} did not start: {error}", self.program.display())));
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(wrong(to, said.trim().replace('\n', "; ")));
        }
        Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

fn wrong(to: &Destination, why: String) -> SshError {
    SshError::Configuration {
        host: to.host.clone(),
        why,
        remedy: format!("Put it right; `ssh -G {}` shows whether OpenSSH understands it.", to.host),
    }
}

/// What values of the configuration may refer to, from the process's own environment.
fn surroundings() -> Surroundings {
    let variables: std::collections::BTreeMap<_, _> = std::env::vars().collect();
    let named = |name: &str| variables.get(name).cloned().filter(|value| !value.is_empty());
    Surroundings {
        home: std::env::home_dir().unwrap_or_else(|| "/".into()),
        user: named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(|| "root".into()),
        uid: rustix::process::geteuid().as_raw(),
        machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        variables,
    }
}
