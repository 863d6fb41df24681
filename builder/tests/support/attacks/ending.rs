//! Rows 46 to 49, 64: steps that do not want to end.

use std::time::Duration;

use super::{
    row::{Row, Stage, not_tried, scenario},
    scenarios::{alive, in_a_word, marker},
};

const SEEN: &str = "the step says first that its processes run";

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let ends = |number, what, run: super::row::Scenario, results| scenario(number, what, run, results, SEEN);
    vec![
        ends(46, "ignoring all that can be ignored", |stage| Box::pin(stubborn(stage)), &["TimedOut, nobody left"]),
        not_tried(46, "a process that the kernel holds", "it takes a file system of the step's own, and it can mount none (rows 1 and 16)"),
        ends(47, "a daemon", |stage| Box::pin(outlives(stage, DAEMON)), &["ready, nobody left"]),
        ends(47, "by cron, at or systemd", |stage| Box::pin(by_others(stage)), &["nobody does it"]),
        ends(48, "children that nobody waits for", |stage| Box::pin(zombies(stage)), &["EAGAIN"]),
        ends(49, "a grandchild with the step's output", |stage| Box::pin(outlives(stage, GRANDCHILD)), &["ready, nobody left"]),
        ends(64, "its own workspace", |stage| Box::pin(outlives(stage, REMOVER)), &["ready, nobody left"]),
    ]
}

/// Starts itself again with the marker, twice removed and in a session of its own.
const DAEMON: &str = "
def daemon(program):
    heard, told = os.pipe()
    os.set_inheritable(told, True)
    if os.fork() == 0:
        os.setsid()
        for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(ignored, signal.SIG_IGN)
        if os.fork() == 0:
            closed = os.open('/dev/null', os.O_RDWR)
            [os.dup2(closed, number) for number in (0, 1, 2)]
            os.execv(sys.executable, [sys.executable, '-c', program, str(told), MARKER])
        os._exit(0)
    os.close(told)
    os.read(heard, 1)
daemon('import os, sys, time; os.write(int(sys.argv[1]), b\"x\"); time.sleep(1000)')
";

const GRANDCHILD: &str = "
heard, told = os.pipe()
os.set_inheritable(told, True)
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, '-c', 'import os, sys, time; os.write(int(sys.argv[1]), b\"x\"); time.sleep(1000)', str(told), MARKER])
os.close(told)
os.read(heard, 1)
";

/// Removes and makes again all that is in the workspace, and the workspace if it can, while the sandbox is taken down.
const REMOVER: &str = "
program = '''
import os, shutil, sys
os.chdir('/')
first = True
while True:
    for name in os.listdir('/workspace'): shutil.rmtree('/workspace/' + name, ignore_errors=True)
    for attempt in (lambda: os.rmdir('/workspace'), lambda: os.rename('/workspace', '/tmp/workspace'),
                    lambda: os.makedirs('/workspace/a/b'), lambda: os.symlink('/etc', '/workspace/link')):
        try: attempt()
        except OSError: pass
    if first: os.write(int(sys.argv[1]), b\"x\")
    first = False
'''
heard, told = os.pipe()
os.set_inheritable(told, True)
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.execv(sys.executable, [sys.executable, '-c', program, str(told), MARKER])
os.close(told)
os.read(heard, 1)
";

async fn outlives(stage: &Stage<'_>, program: &str) -> String {
    let marker = marker("outlives");
    let text = format!("import os, signal, sys\nMARKER = '{marker}'\n{program}\nprint('ready')\n");
    let ended = in_a_word(&stage.ended(stage.program(&text)).await);
    with_those_left(ended, &marker)
}

fn with_those_left(ended: String, marker: &str) -> String {
    match alive(marker) {
        0 => format!("{ended}, nobody left"),
        left => format!("{ended}, {left} left"),
    }
}

async fn stubborn(stage: &Stage<'_>) -> String {
    let marker = marker("stubborn");
    let text = format!(
        "
import os, signal, sys
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
MARKER = '{marker}'
{GRANDCHILD}
while True: signal.sigtimedwait([], 1000)
"
    );
    let mut step = stage.program(&text);
    step.timeout = Duration::from_millis(1500);
    let ended = in_a_word(&stage.ended(step).await);
    with_those_left(ended, &marker)
}

async fn zombies(stage: &Stage<'_>) -> String {
    let text = "
import errno, os
try:
    for _ in range(300):
        if os.fork() == 0: os._exit(0)
    print('as many as it likes')
except OSError as error: print(errno.errorcode[error.errno])
";
    let mut step = stage.program(text);
    step.limits.processes = Some(100);
    in_a_word(&stage.ended(step).await)
}

/// Other programs that would start something for it are asked.
async fn by_others(stage: &Stage<'_>) -> String {
    let text = "
import subprocess, os
asked = [['systemd-run', '--user', 'true'], ['systemd-run', 'true'], ['at', '-f', '/dev/null', 'now'],
         ['crontab', '-l']]
did = []
for argv in asked:
    try:
        if subprocess.run(argv, capture_output=True, timeout=20).returncode == 0: did.append(argv)
    except OSError: pass
print(did or 'nobody does it')
";
    in_a_word(&stage.ended(stage.program(text)).await)
}
