//! Attempts that need a sandbox of their own, or two of them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use staith_builder::engine::{EngineError, ImageSpec, OutputChunk, StepExit, StepSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    super::bench::{Bench, Ended, collect, processes_with},
    row::{Docker, Host, Image, NOT_ENFORCED, NOT_RUN, Podman, Stage},
};

impl Stage<'_> {
    /// A step that runs a Python program, which may use a marker that only its processes have in their arguments.
    pub fn program(&self, text: &str) -> StepSpec {
        let step = self.bench.argv(&["/usr/bin/python3", "/workspace/program.py"]);
        self.bench.file(&step.lowers[0].join("program.py"), text);
        step
    }

    /// Runs a step; an answer in words where this host can't enforce one of its limits.
    pub async fn ended(&self, step: StepSpec) -> Result<Ended, String> {
        let (output, said) = mpsc::channel(16);
        let (exit, (stdout, stderr)) =
            tokio::join!(self.engine.run(step, output, CancellationToken::new()), collect(said));
        match exit {
            Ok(exit) => Ok(Ended { exit, stdout, stderr }),
            Err(EngineError::Unsupported { .. }) => Err(NOT_ENFORCED.to_owned()),
            Err(other) => Err(other.to_string()),
        }
    }
}

/// How a step ended, in a word, with what it said last.
pub fn in_a_word(ended: &Result<Ended, String>) -> String {
    match ended {
        Ok(Ended { exit: StepExit::Code(0), stdout, .. }) => {
            stdout.lines().last().unwrap_or("ended well").to_owned()
        }
        Ok(Ended { exit, .. }) => format!("{exit:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
        Err(why) => why.clone(),
    }
}

/// Listens in all places where somebody could come along, after it has passed a descriptor to itself.
const LISTENER: &str = r#"
import os, socket
opened = [socket.socket(socket.AF_UNIX) for _ in range(5)]
for listening, place in zip(opened, ['\0staith-meeting', '/tmp/meeting', '/run/meeting', '/dev/shm/meeting', '/workspace/meeting']):
    listening.bind(place)
    listening.listen()
if os.fork() == 0:
    calling = socket.socket(socket.AF_UNIX)
    calling.connect('\0staith-meeting')
    socket.send_fds(calling, [b'x'], [0])
    os._exit(0)
came, _ = opened[0].accept()
print('passed', len(socket.recv_fds(came, 1, 1)[1]), flush=True)
opened[0].accept()
print('somebody came', flush=True)
"#;

const CALLER: &str = r#"
import socket
for place in ['\0staith-meeting', '/tmp/meeting', '/run/meeting', '/dev/shm/meeting', '/workspace/meeting']:
    try:
        calling = socket.socket(socket.AF_UNIX)
        calling.connect(place)
        print('reached', place)
    except OSError: pass
print('nobody came')
"#;

/// Two sandboxes at once, of which one listens and the other calls.
pub async fn neighbours(stage: &Stage<'_>) -> String {
    let (output, mut said) = mpsc::channel::<OutputChunk>(16);
    let cancel = CancellationToken::new();
    let calls = async {
        let first = said.recv().await.expect("it listens");
        assert_eq!(first.bytes, b"passed 1\n", "{}", String::from_utf8_lossy(&first.bytes));
        let called = stage.ended(stage.program(CALLER)).await.unwrap();
        cancel.cancel();
        called.stdout.trim().to_owned() + collect(said).await.0.trim()
    };
    let listens = stage.engine.run(stage.program(LISTENER), output, cancel.clone());
    let (_exit, met) = tokio::join!(listens, calls);
    met
}

/// A root file system with links to the outside wherever something is mounted, and a program that writes to all of them.
pub async fn an_image_of_links(stage: &Stage<'_>) -> String {
    // Another user may keep the engine.
    let Ok(place) = tempfile::tempdir_in(&stage.images) else { return NOT_RUN.to_owned() };
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let root = place.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for link in ["dev", "etc", "home", "proc", "run", "tmp", "var", "workspace", "sys", ".staith"] {
        symlink(outside.path(), root.join(link)).unwrap();
    }
    // They do lead there.
    fs::write(root.join("tmp/x"), "").unwrap();
    fs::remove_file(outside.path().join("x")).unwrap();
    let reference = match stage.column.kind {
        Host | Image => root.display().to_string(),
        Docker | Podman => packed(&root, place.path()),
    };
    let wanted = ImageSpec { reference: Some(reference), tools: Vec::new() };
    let script = "echo x > /tmp/x; echo x > /run/x; echo x > /etc/x; echo x > /workspace/x; echo x > /dev/x; \
                  echo x > /var/tmp/x; echo x > /home/builder/x; echo x > /.staith/x; echo ran";
    let ran = run_in(stage, &wanted, &["/bin/busybox", "sh", "-c", script]).await;
    if fs::read_dir(outside.path()).unwrap().next().is_some() {
        return "written to".to_owned();
    }
    if ran == "ran" { "nothing outside was touched".to_owned() } else { ran }
}

async fn run_in(stage: &Stage<'_>, wanted: &ImageSpec, argv: &[&str]) -> String {
    let image = match stage.engine.image(wanted, &|_| {}).await {
        Ok(image) => image,
        Err(error) => return error.to_string(),
    };
    let bench = Bench { place: tempfile::tempdir().unwrap(), owner: stage.bench.owner, image };
    let (output, said) = mpsc::channel(16);
    let run = stage.engine.run(bench.argv(argv), output, CancellationToken::new());
    let (exit, (stdout, _)) = tokio::join!(run, collect(said));
    match exit {
        Ok(StepExit::Code(0)) => stdout.trim().to_owned(),
        // What there is in front of what is no folder.
        Ok(other) => format!("{other:?}"),
        Err(EngineError::Setup { .. }) => "refused".to_owned(),
        Err(other) => other.to_string(),
    }
}

/// As an archive, which is what engines of containers take.
pub fn packed(root: &Path, place: &Path) -> String {
    let archive = place.join("image.tar");
    let made = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg(".").status();
    assert!(made.unwrap().success());
    archive.display().to_string()
}

/// How many processes of a step's are alive that have this in their arguments.
pub fn alive(marker: &str) -> usize {
    processes_with(marker).len()
}

/// A text that is in the arguments of one scenario's processes.
pub fn marker(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("staith-attack-{name}-{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
