//! What the tests of machines share: packages in memory, orders, a fake `systemctl`, and the contract of the seam.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it, as a module of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

pub mod contract;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use staith_model::{DeploymentId, Digest, Entry, Manifest, RelPath, Service};
use staith_releaser::{
    fleet::{
        machine::{Load, Machine, MachineError, Order},
        remote::RemoteMachine,
        way::{Child, Way},
    },
    host::{PackageFiles, Progress, Staged},
};
use tokio_util::sync::CancellationToken;

/// A package in memory.
#[derive(Clone, Default)]
pub struct Tree {
    pub manifest: Manifest,
    contents: BTreeMap<RelPath, Vec<u8>>,
    /// Paths whose content was asked for.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Tree {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let mut tree = Self::default();
        for (path, bytes) in files {
            tree.add(path, 0o644, bytes);
        }
        tree
    }

    pub fn add(&mut self, path: &str, mode: u32, bytes: &[u8]) -> &mut Self {
        let path: RelPath = path.try_into().unwrap();
        let entry = Entry::File { mode, size: bytes.len() as u64, digest: Digest::of(bytes) };
        self.manifest.entries.insert(path.clone(), entry);
        self.contents.insert(path, bytes.to_vec());
        self
    }

    pub fn entry(&mut self, path: &str, entry: Entry) -> &mut Self {
        self.manifest.entries.insert(path.try_into().unwrap(), entry);
        self
    }

    /// What a package gives that does not hold what it promises.
    pub fn lie(&mut self, path: &str, bytes: &[u8]) {
        self.contents.insert(path.try_into().unwrap(), bytes.to_vec());
    }

    pub fn shared(&self) -> Arc<dyn PackageFiles> {
        Arc::new(self.clone())
    }

    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().drain(..).collect()
    }

    pub fn load(&self, release: &str) -> Load {
        Load {
            every_byte: false,
            release: release_of(release),
            manifest: Arc::new(self.manifest.clone()),
            service: Service::Files,
            secrets: Vec::new(),
            private: BTreeSet::new(),
        }
    }
}

impl PackageFiles for Tree {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.asked.lock().unwrap().push(path.to_string());
        to.write_all(self.contents.get(path).ok_or("no such file")?)?;
        Ok(())
    }
}

pub fn release_of(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// An order of its own each time.
pub fn order(epoch: u64) -> Order {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    Order {
        epoch,
        deployment: DeploymentId::new(1, [7; 10]),
        operation: Digest::of(format!("{nth}").as_bytes()),
    }
}

pub fn quiet() -> Progress {
    Arc::new(|_| {})
}

pub async fn stage(
    machine: &dyn Machine,
    order: &Order,
    load: &Load,
    tree: &Tree,
) -> Result<Staged, MachineError> {
    machine.stage(order, load, tree.shared(), quiet(), CancellationToken::new()).await
}

/// A folder with a machine on this machine.
pub struct Here {
    pub dir: tempfile::TempDir,
    pub child: Child,
}

impl Here {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("units");
        let child = Child { units: Some(units), ..Child::default() };
        Self { dir, child }
    }

    /// With the program that can be told to die.
    pub fn tested() -> Self {
        let mut here = Self::new();
        here.child.program = Some(tested_program());
        here
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    pub fn release(&self, name: &str) -> PathBuf {
        self.folder().join("releases").join(release_of(name).hex())
    }

    pub fn machine(&self) -> RemoteMachine {
        self.machine_with(&[])
    }

    pub fn machine_with(&self, env: &[(&str, &str)]) -> RemoteMachine {
        let mut child = self.child.clone();
        child.env.extend(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        RemoteMachine::new("here", Way::Child(child), self.folder().to_str().unwrap())
    }

    /// Puts a `systemctl` first in the program's path that starts and ends one process, as the unit says, and writes down how it was called.
    /// As the real one with `Type=exec`, it comes back when the shell that starts the process has become it, which is when it has left the shell's folder.
    pub fn with_systemctl(mut self) -> Self {
        let bin = self.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let place = self.dir.path().display();
        let script = format!(
            "#!/bin/sh\n\
             place={place}\n\
             [ \"$1\" = --user ] && shift\n\
             echo \"$*\" >> $place/called\n\
             stop() {{ [ -f $place/pid ] && kill -9 $(cat $place/pid) 2>/dev/null; rm -f $place/pid; }}\n\
             case $1 in\n\
             restart)\n\
               stop\n\
               [ -f $place/broken ] && {{ echo 'Job for app.service failed.' >&2; exit 1; }}\n\
               line=$(sed -n 's/^ExecStart=!*//p' $place/units/$2)\n\
               eval \"exec setsid $line\" </dev/null >$place/log 2>&1 &\n\
               here=$(readlink /proc/$$/cwd)\n\
               while [ \"$(readlink /proc/$!/cwd)\" = \"$here\" ]; do sleep 0.01; done\n\
               echo $! > $place/pid ;;\n\
             enable)\n\
               wants=$place/units/$(sed -n 's/^WantedBy=//p' $place/units/$2).wants\n\
               mkdir -p $wants && ln -sf ../$2 $wants/$2 ;;\n\
             disable) rm -f $place/units/*.wants/$3; stop ;;\n\
             stop) stop ;;\n\
             show)\n\
               pid=$(cat $place/pid 2>/dev/null || echo 0)\n\
               if kill -0 $pid 2>/dev/null && [ $pid != 0 ]; then echo MainPID=$pid; echo ActiveState=active\n\
               else echo MainPID=0; echo ActiveState=inactive; fi ;;\n\
             esac\n\
             exit 0\n"
        );
        let program = bin.join("systemctl");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        self.child.env.push(("PATH".into(), path));
        self
    }

    /// How `systemctl` was called since the last time, without questions.
    pub fn called(&self) -> Vec<String> {
        let path = self.dir.path().join("called");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        text.lines().filter(|line| !line.starts_with("show")).map(str::to_owned).collect()
    }

    pub fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.dir.path().join("pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Where the program is that can be told to die; a copy of it when the tests run as another user.
pub fn tested_program() -> PathBuf {
    // Tests of another crate take this module for its contract, and have no such program.
    let built: Option<&str> = option_env!("CARGO_BIN_EXE_staith-machine-tested");
    let named = std::env::var_os("STAITH_TEST_MACHINE").map(PathBuf::from);
    named.or_else(|| built.map(PathBuf::from)).expect("this crate has no such program")
}
