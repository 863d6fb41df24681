//! Rows 11, 12, 38, 50, 63: other processes, and the filters around one's own.

use super::row::{NO_ENTRY, NOT_WRITABLE, Room::Root, Row, call, has, python, state};

const REFUSED: &[&str] = &["EPERM"];
const NOT_THERE: &[&str] = &["ESRCH", "EPERM"];

pub fn rows() -> Vec<Row> {
    let first = |number, what, expression: &str| python(number, what, expression, NO_ENTRY);
    let mut rows = vec![
        first(11, "environment of process 1", "reads(f'/proc/{process_1()}/environ')"),
        first(11, "memory of process 1", "os.open(f'/proc/{process_1()}/mem', 0)"),
        first(11, "program of process 1", "os.readlink(f'/proc/{process_1()}/exe')"),
        first(11, "descriptors of process 1", "os.listdir(f'/proc/{process_1()}/fd')"),
        first(11, "root of process 1", "os.listdir(f'/proc/{process_1()}/root')"),
        first(11, "directory of process 1", "os.readlink(f'/proc/{process_1()}/cwd')"),
        python(11, "environments of other processes", "environments_with(CANARY)", &["0"]),
        python(11, "other processes", "sorted(set(pids()) - {1, os.getpid(), os.getppid()})", &["[]"]),
        python(12, "trace process 1", "attach(process_1())", REFUSED),
        python(12, "trace a process of the machine", "attach(CANARY_PID)", NOT_THERE),
        python(12, "memory of process 1 by its address", "peek(process_1())", REFUSED),
        python(12, "memory of a process of the machine", "peek(CANARY_PID)", NOT_THERE),
        python(12, "a descriptor of process 1", "descriptor_of(process_1())", NO_ENTRY),
        call(12, "compare with process 1", "kcmp", "process_1(), process_1(), 0, 0, 0"),
        call(12, "advice on another's memory", "process_madvise", "-1, 0, 0, 4, 0"),
        call(12, "move pages of process 1", "move_pages", "process_1(), 0, 0, 0, 0, 0"),
        python(50, "a signal to a process of the machine", "os.kill(CANARY_PID, 0)", NOT_THERE),
        // Process 1 is not hurt, whether the signal is refused or has no effect: the other rows still come.
        state(50, "killing process 1", "os.kill(1, 9)", &["EPERM", "None"]),
        state(50, "stopping process 1", "os.kill(1, 19)", &["EPERM", "None"]),
        python(50, "limits of process 1", "resource.prlimit(process_1(), resource.RLIMIT_NPROC)", REFUSED),
        state(50, "its own limits", "resource.prlimit(0, resource.RLIMIT_CORE)", &["(0, 0)"]),
        python(
            38,
            "safe from the killer of processes",
            "open('/proc/self/oom_score_adj', 'w').write('-1000')",
            NOT_WRITABLE,
        )
        .outside(Root),
        python(
            38,
            "process 1 first, then the rest",
            "open(f'/proc/{process_1()}/oom_score_adj', 'w').write('1000')",
            NOT_WRITABLE,
        ),
        state(
            38,
            "who goes first when memory runs out",
            "int(read('/proc/self/oom_score_adj')) >= 500 and int(read('/proc/1/oom_score_adj')) < 500",
            &["True"],
        ),
        python(63, "a filter that allows all", "loosened()", REFUSED),
        python(63, "a filter that asks a friend", "answered_by_a_friend()", REFUSED),
        state(63, "no new privileges, filtered", "status('NoNewPrivs', 'Seccomp')", &["1 2"]),
    ];
    #[cfg(target_arch = "x86_64")]
    rows.push(
        python(63, "a tracer that changes the call", "changed_by_a_tracer()", REFUSED)
            .needs(|| yama().then_some("this machine lets nobody trace")),
    );
    rows
}

/// Whether tracing is switched off for all.
fn yama() -> bool {
    let path = "/proc/sys/kernel/yama/ptrace_scope";
    has(path) && std::fs::read_to_string(path).is_ok_and(|scope| scope.trim() >= "2")
}
