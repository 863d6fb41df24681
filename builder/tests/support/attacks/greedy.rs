//! Rows 35, 36, 39, 40: as much as can be had, of all but memory.

use std::time::Duration;

use super::{
    super::bench::Bench,
    apart,
    row::{Podman, Row, Stage, limited, scenario},
    scenarios::{alive, in_a_word, marker},
};

const PROCESSES: u64 = 100;
const DISK: u64 = 8 << 20;
const MEMORY: u64 = 64 << 20;
const MORE: &str = "the same step gets all that it asks for with a limit of more";
const NO_LIMIT: &str = "outside it would take from the machine";

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let greedy = |number, what, run: super::row::Scenario, results| scenario(number, what, run, results, NO_LIMIT);
    vec![
        scenario(35, "a hundred and fifty processes", |stage| Box::pin(processes(stage, PROCESSES)), &["EAGAIN"], MORE),
        scenario(35, "the same with room for them", |stage| Box::pin(processes(stage, 400)), &["had them all"], "it is the control of the one above"),
        greedy(36, "threads", |stage| Box::pin(hoard(stage, THREADS)), &["can't start new thread"]),
        greedy(36, "descriptors", |stage| Box::pin(hoard(stage, "hoard(lambda: os.open('/dev/null', 0))")), MANY),
        greedy(36, "epoll", |stage| Box::pin(hoard(stage, "hoard(lambda: libc.epoll_create1(0))")), MANY),
        greedy(36, "watches", |stage| Box::pin(hoard(stage, "hoard(lambda: libc.inotify_init1(0))")), MANY),
        greedy(36, "message queues", |stage| Box::pin(hoard(stage, "hoard(queue)")), QUEUES),
        greedy(36, "signals that wait", |stage| Box::pin(hoard(stage, "hoard(timer)")), &["EAGAIN"]),
        greedy(36, "a set of very many semaphores", |stage| Box::pin(hoard(stage, "hoard(lambda: libc.semget(0, 32000, 0o600), 1)")), &["EPERM"]),
        greedy(36, "many sets of semaphores", |stage| Box::pin(hoard(stage, "hoard(lambda: libc.semget(0, 250, 0o600), 200)")), &["ENOSPC"])
            .differs(|column| !column.by_root, &["had them all"], "only root can set the limit; a set is a small one all the same"),
        greedy(36, "segments of System V that nobody uses", |stage| Box::pin(segments(stage)), &["ENOSPC"])
            .differs(|column| !column.by_root, &["had them all"], "only root can set the limit"),
        greedy(39, "all of the processor", |stage| Box::pin(processor(stage)), &["a part"]),
        greedy(40, "filling the workspace", |stage| Box::pin(fill(stage, "/workspace")), &["DiskUsedUp"]),
        greedy(40, "filling /tmp", |stage| Box::pin(fill(stage, "/tmp")), FULL),
        greedy(40, "filling /var/tmp", |stage| Box::pin(fill(stage, "/var/tmp")), FULL),
        greedy(40, "filling /run", |stage| Box::pin(fill(stage, "/run")), FULL),
        greedy(40, "filling /dev/shm", |stage| Box::pin(fill(stage, "/dev/shm")), FULL),
        greedy(40, "filling the home", |stage| Box::pin(fill(stage, "/home/builder")), FULL),
        greedy(40, "more files in the workspace than can be", |stage| Box::pin(files(stage)), &["DiskUsedUp"]),
        scenario(40, "more files in memory than can be", |stage| Box::pin(files_in_memory(stage, Some(DISK), 40_000)), &["ENOSPC"], MORE)
            .differs(|column| column.kind == Podman, &["OutOfMemory"], "Podman can't be told how many; they count as memory of the step"),
        scenario(40, "the same with room for them", |stage| Box::pin(files_in_memory(stage, None, 10_000)), &["had them all"], "it is the control of the one above"),
        greedy(40, "all files of the machine's file system", |stage| Box::pin(all_files(stage)), &["HostDiskFull"])
            .needs(apart::needs_it),
    ]
    .into_iter()
    .map(limited)
    .collect()
}

const MANY: &[&str] = &["EMFILE"];
/// With Landlock there is no place for one.
const QUEUES: &[&str] = &["EACCES", "EMFILE"];
const FULL: &[&str] = &["ENOSPC", "EFBIG", "EDQUOT"];

const PRELUDE: &str = "
import ctypes, errno, os, sys, threading, time, signal
calls = ctypes.CDLL(None, use_errno=True)
class libc:
    def __getattr__(self, name):
        def call(*arguments):
            result = getattr(calls, name)(*arguments)
            if result < 0: raise OSError(ctypes.get_errno(), '')
            return result
        return call
libc, number = libc(), 0
def hoard(one, most=100_000):
    for _ in range(most): one()
    print('had them all')
def queue():
    global number
    number += 1
    return libc.mq_open(f'/{number}'.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
def timer():
    return libc.timer_create(0, None, ctypes.byref(ctypes.c_void_p()))
def greedy(attempt):
    try: attempt()
    except OSError as error: print(errno.errorcode[error.errno])
    except RuntimeError as error: print(error)
    sys.stdout.flush()
    os._exit(0)
";

const THREADS: &str =
    "[threading.Thread(target=lambda: time.sleep(1000), daemon=True).start() for _ in range(150)]";

async fn hoard(stage: &Stage<'_>, attempt: &str) -> String {
    let mut step = stage.program(&format!("{PRELUDE}\ngreedy(lambda: {attempt})\n"));
    step.limits.processes = Some(PROCESSES);
    in_a_word(&stage.ended(step).await)
}

/// More than files in memory may take, of which nothing is used.
async fn segments(stage: &Stage<'_>) -> String {
    let text = format!("{PRELUDE}\ngreedy(lambda: hoard(lambda: libc.shmget(0, 1 << 20, 0o600), 20))\n");
    let mut step = stage.program(&text);
    step.limits.disk = Some(DISK);
    in_a_word(&stage.ended(step).await)
}

/// Children that stay, until there can be no more.
async fn processes(stage: &Stage<'_>, most: u64) -> String {
    let marker = marker("processes");
    let text = format!(
        "{PRELUDE}
def one():
    if os.fork() == 0: os.execv('/bin/sleep', ['{marker}', '1000'])
def attempt():
    for _ in range(150): one()
    print('had them all')
greedy(attempt)
"
    );
    let mut step = stage.program(&text);
    step.limits.processes = Some(most);
    let ended = in_a_word(&stage.ended(step).await);
    if alive(&marker) > 0 { "some are left".to_owned() } else { ended }
}

/// A second of work in tenths of a processor. It may get less, never more.
async fn processor(stage: &Stage<'_>) -> String {
    let text = "
import time
began, used = time.monotonic(), time.process_time()
while time.monotonic() - began < 1: pass
print('a part' if time.process_time() - used < 0.5 else 'all of it')
";
    let mut step = stage.program(text);
    step.limits.cpu_milli = Some(100);
    in_a_word(&stage.ended(step).await)
}

async fn fill(stage: &Stage<'_>, folder: &str) -> String {
    let text = format!(
        "{PRELUDE}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def attempt():
    for number in range(40):
        with open(f'{folder}/fill-{{number}}', 'wb') as file: file.write(bytes(1 << 20))
    print('filled')
greedy(attempt)
"
    );
    let mut step = stage.program(&text);
    step.limits.disk = Some(DISK);
    in_a_word(&stage.ended(step).await)
}

/// Files without a byte in all folders in memory. Where a container engine lets nobody say how many there may be, the memory
/// that they take is what is limited.
async fn files_in_memory(stage: &Stage<'_>, disk: Option<u64>, most: u32) -> String {
    let text = format!(
        "{PRELUDE}
def attempt():
    for folder in ('/tmp', '/var/tmp', '/run', '/dev/shm', '/home/builder'):
        for number in range({most}): os.close(os.open(f'{{folder}}/{{number}}', os.O_CREAT | os.O_WRONLY))
    print('had them all')
greedy(attempt)
"
    );
    let mut step = stage.program(&text);
    step.limits.disk = disk;
    step.limits.memory = (stage.column.kind == Podman && disk.is_some()).then_some(MEMORY);
    in_a_word(&stage.ended(step).await)
}

/// Makes files in the workspace until there is an error, and stays.
const FILES: &str = "
def attempt():
    try:
        for number in range(100_000): os.close(os.open(f'/workspace/{number}', os.O_CREAT | os.O_WRONLY))
    except OSError: pass
    signal.pause()
greedy(attempt)
";

async fn files(stage: &Stage<'_>) -> String {
    let mut step = stage.program(&format!("{PRELUDE}{FILES}"));
    step.limits.disk = Some(DISK);
    in_a_word(&stage.ended(step).await)
}

/// On a file system that has room for few, with no limit of the step's own. The next step finds as much room as there was.
async fn all_files(stage: &Stage<'_>) -> String {
    let few = apart::with_few_files(stage.column.by_root);
    let before = apart::free_files(&few);
    let place = tempfile::tempdir_in(&few).unwrap();
    let bench = Bench { place, owner: stage.bench.owner, image: stage.bench.image.clone() };
    let stage = Stage { bench: &bench, images: stage.images.clone(), ..*stage };
    let mut step = stage.program(&format!("{PRELUDE}{FILES}"));
    // It waits to be ended; nobody else ends it where the wall is not there.
    step.timeout = Duration::from_secs(30);
    let met = in_a_word(&stage.ended(step).await);
    bench.place.close().unwrap();
    let after = apart::free_files(&few);
    if after == before { met } else { format!("{met}, and {after} of {before} are left") }
}
