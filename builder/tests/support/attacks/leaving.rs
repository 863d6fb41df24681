//! Rows 30, 32 to 34: what a step leaves for others to read.

use staith_builder::{
    engine::StepExit,
    layers::{LayerEntry, LayerError, LayerStore},
};

use super::{
    row::{Row, Stage, scenario},
    scenarios::{alive, marker},
};

const MADE: &str = "the step that leaves it says that it could";
const REFUSED: &[&str] = &["refused"];

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    vec![
        scenario(30, "links out of the workspace", |stage| Box::pin(links(stage)), &["links, not followed"], MADE),
        scenario(32, "folders that are exchanged all the time", |stage| Box::pin(exchange(stage)),
            &["whole, nobody at work"], MADE),
        scenario(33, "a file of sixteen tebibytes", |stage| Box::pin(left(stage, SPARSE)), REFUSED, MADE),
        scenario(33, "a name that is no text", |stage| Box::pin(left(stage, "open(b'out/\\xff\\xfe', 'w')")), REFUSED, MADE),
        scenario(33, "a name with a line's end", |stage| Box::pin(left(stage, "open('out/a\\nb', 'w')")), KEPT, MADE),
        scenario(33, "the longest name", |stage| Box::pin(left(stage, "open('out/' + 'n' * 255, 'w')")), KEPT, MADE),
        scenario(33, "a path without end", |stage| Box::pin(left(stage, DEEP)), &["kept 127, told 1"], MADE),
        scenario(33, "names that differ in case", |stage| Box::pin(left(stage, "open('out/a', 'w'); open('out/A', 'w')")),
            &["kept 3, told 0"], MADE),
        scenario(34, "a pipe that nobody writes to", |stage| Box::pin(left(stage, "os.mkfifo('out/pipe')")), TOLD, MADE),
        scenario(34, "a socket", |stage| Box::pin(left(stage, "socket.socket(socket.AF_UNIX).bind('out/socket')")), TOLD, MADE),
        scenario(34, "a file that nobody may read", |stage| Box::pin(left(stage, "os.close(os.open('out/file', os.O_CREAT, 0))")),
            KEPT, MADE),
    ]
}

const KEPT: &[&str] = &["kept 2, told 0"];
const TOLD: &[&str] = &["kept 1, told 1"];
const SPARSE: &str = "os.truncate(os.open('out/file', os.O_CREAT | os.O_WRONLY), (16 << 40) - (1 << 20))";
const DEEP: &str = "\nos.chdir('out')\nfor _ in range(2000):\n    os.mkdir('d'); os.chdir('d')";

/// How the layer with `out` came out, after a step that ran these statements.
async fn left(stage: &Stage<'_>, statements: &str) -> String {
    match seal(stage, statements).await {
        Ok((entries, notices)) => format!("kept {}, told {notices}", entries.len()),
        Err(LayerError::NotUtf8 { .. } | LayerError::TooLarge { .. }) => "refused".to_owned(),
        Err(other) => other.to_string(),
    }
}

async fn seal(stage: &Stage<'_>, statements: &str) -> Result<(Vec<LayerEntry>, usize), LayerError> {
    let text = format!("import os, socket\nos.mkdir('out')\n{statements}\nprint('done')\n");
    let step = stage.program(&text);
    let upper = step.upper.clone();
    let ended = stage.ended(step).await.unwrap();
    assert_eq!((&ended.exit, ended.stdout.as_str()), (&StepExit::Code(0), "done\n"), "{ended:?}");
    let store = LayerStore::open(stage.bench.place.path(), stage.bench.owner).unwrap();
    let sealed = store.seal(&upper, &["out".to_owned()])?;
    let manifest = store.manifest(&sealed.digest)?;
    Ok((manifest.entries.values().cloned().collect(), sealed.notices.len()))
}

/// Links to a file of the machine, above the workspace, and in circles.
async fn links(stage: &Stage<'_>) -> String {
    let secret = stage.bench.place.path().join("secret");
    std::fs::write(&secret, "not to be read").unwrap();
    let statements = format!(
        "os.symlink('{}', 'out/absolute'); os.symlink('../' * 40 + 'etc', 'out/above'); os.symlink('circle', 'out/circle'); \
         os.symlink('/proc/1/root', 'out/process')",
        secret.display()
    );
    let (entries, _) = seal(stage, &statements).await.unwrap();
    let links = entries.iter().filter(|entry| matches!(entry, LayerEntry::Symlink { .. })).count();
    let others = entries.iter().filter(|entry| matches!(entry, LayerEntry::File { .. })).count();
    if (links, others) == (4, 0) { "links, not followed".to_owned() } else { format!("{entries:?}") }
}

/// A process that outlives the step's own, and that makes a folder a link to elsewhere and back, for ever.
async fn exchange(stage: &Stage<'_>) -> String {
    let marker = marker("exchange");
    let statements = format!(
        "import ctypes, signal, sys
os.mkdir('out/folder'); open('out/folder/file', 'w').write('x' * 100); os.symlink('/etc', 'out/link')
heard, told = os.pipe()
if os.fork() == 0:
    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-c', EXCHANGE, str(told), '{marker}'])
    os._exit(0)
os.close(told)
os.read(heard, 1)"
    );
    let program = "EXCHANGE = '''
import ctypes, os, sys
libc, told = ctypes.CDLL(None), int(sys.argv[1])
def exchange(): return libc.renameat2(-100, b'out/folder', -100, b'out/link', 2)
assert exchange() == 0 and exchange() == 0
os.write(told, b'x')
while True: exchange()
'''\n";
    let statements = statements.replacen(
        "heard, told = os.pipe()",
        &format!("{program}heard, told = os.pipe(); os.set_inheritable(told, True)"),
        1,
    );
    match seal(stage, &statements).await {
        _ if alive(&marker) > 0 => "still at work".to_owned(),
        Ok((entries, _)) if entries.len() == 4 => "whole, nobody at work".to_owned(),
        Ok((entries, _)) => format!("{entries:?}"),
        Err(other) => other.to_string(),
    }
}
