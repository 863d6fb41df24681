//! Row 37: as much memory as can be had, in all its forms: five times the limit, which hurts no machine where nothing holds.

use super::{
    row::{Row, Stage, limited, scenario},
    scenarios::in_a_word,
};

const LIMIT: u64 = 64 << 20;
const NO_LIMIT: &str = "outside it would take from the machine";
const WRITTEN: &[&str] = &["went on", "OutOfMemory"];
const ENDED: &[&str] = &["OutOfMemory"];

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let takes = |what, run: super::row::Scenario, results| scenario(37, what, run, results, NO_LIMIT);
    vec![
        takes("memory, with an exit code of 0", |stage| Box::pin(takes_all(stage, "in_a_child(lambda: bytearray(300 << 20))")), ENDED),
        takes("memory that is shared", |stage| Box::pin(takes_all(stage, "mmap.mmap(-1, 300 << 20).write(bytes(300 << 20))")), ENDED),
        takes("files without a name", |stage| Box::pin(takes_all(stage, "fill(os.memfd_create('x'))")), ENDED),
        takes("segments of System V", |stage| Box::pin(takes_all(stage, "segments()")), ENDED),
        takes("files in /tmp", |stage| Box::pin(takes_all(stage, "fill(os.open('/tmp/x', os.O_CREAT | os.O_WRONLY))")),
            &["ENOSPC", "OutOfMemory"]),
        takes("files in /dev/shm", |stage| Box::pin(takes_all(stage, "fill(os.open('/dev/shm/x', os.O_CREAT | os.O_WRONLY))")),
            &["ENOSPC", "OutOfMemory"]),
        takes("pipes", |stage| Box::pin(takes_all(stage, "pipes()")), &["OutOfMemory", "EMFILE", "ENOMEM"]),
        takes("buffers of sockets", |stage| Box::pin(takes_all(stage, "sockets()")), &["OutOfMemory", "EMFILE", "ENOMEM", "ENOBUFS"]),
        takes("memory that stays", |stage| Box::pin(takes_all(stage, "stays()")), &["ENOMEM", "EPERM", "EAGAIN"]),
        takes("huge pages", |stage| Box::pin(takes_all(stage, "mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)")),
            &["ENOMEM", "EPERM", "EINVAL"]),
        // The kernel takes these back when it needs them.
        takes("files that were read and written", |stage| Box::pin(takes_all(stage, "fill(os.open('/workspace/x', os.O_CREAT | os.O_WRONLY))")),
            WRITTEN)
            .differs(|_| true, WRITTEN, "control groups v1 do not slow down who writes faster than the disk, and the kernel may be late"),
        takes("names that are not there", |stage| Box::pin(takes_all(stage, "[os.path.exists(f'/workspace/{n}' + 'x' * 200) for n in range(100_000)]")),
            &["went on"]),
    ]
    .into_iter()
    .map(limited)
    .collect()
}

const PRELUDE: &str = "
import ctypes, errno, mmap, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def fill(descriptor):
    for _ in range(300): os.write(descriptor, bytes(1 << 20))
def in_a_child(attempt):
    # The one that goes on says that all is well.
    if os.fork() == 0:
        attempt()
        os._exit(0)
    os.wait()
def segments():
    libc.shmat.restype = ctypes.c_void_p
    for _ in range(30):
        known = libc.shmget(0, 10 << 20, 0o600)
        if known < 0: raise OSError(ctypes.get_errno(), '')
        at = libc.shmat(known, None, 0)
        if at in (None, ctypes.c_void_p(-1).value): raise OSError(ctypes.get_errno(), '')
        ctypes.memset(at, 1, 10 << 20)
def pipes():
    for _ in range(4_000):
        _, writes = os.pipe()
        os.set_blocking(writes, False)
        try: os.write(writes, bytes(1 << 16))
        except BlockingIOError: pass
def sockets():
    kept = []
    for _ in range(1_000):
        kept.append(socket.socketpair())
        kept[-1][0].setblocking(False)
        try:
            while True: kept[-1][0].send(bytes(1 << 16))
        except BlockingIOError: pass
def stays():
    memory = mmap.mmap(-1, 32 << 20)
    if libc.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory))), 32 << 20):
        raise OSError(ctypes.get_errno(), '')
try:
    ATTEMPT
    print('went on')
except MemoryError: print('ENOMEM')
except OSError as error: print(errno.errorcode[error.errno])
";

async fn takes_all(stage: &Stage<'_>, attempt: &str) -> String {
    let mut step = stage.program(&PRELUDE.replace("ATTEMPT", attempt));
    step.limits.memory = Some(LIMIT);
    in_a_word(&stage.ended(step).await)
}
