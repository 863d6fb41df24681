//! Rows 22 to 27, 39, 62: calls that concern the whole machine or lead around the filters. What is asked is always wrong, so
//! that nothing happens where it is let through.

use super::row::{
    Outside,
    Room::{Machine, Namespaces, Root},
    Row, call, has, python,
};

const REFUSED: &[&str] = &["EPERM"];
/// A time that no clock has.
const NO_TIME: &str = "struct.pack('qq', 1, -1)";

pub fn rows() -> Vec<Row> {
    let mut rows = around();
    rows.extend(whole_machine());
    rows.extend(dodges());
    rows
}

fn around() -> Vec<Row> {
    let off = |path: &str, on: &str| {
        has(path) && !std::fs::read_to_string(path).is_ok_and(|value| value.trim() == on)
    };
    let mut ring = call(22, "a ring of calls", "io_uring_setup", "8, bytes(120)");
    if off("/proc/sys/kernel/io_uring_disabled", "0") {
        ring.outside = Outside::No("switched off on this machine");
    }
    vec![
        ring,
        call(22, "calls in a ring", "io_uring_enter", "-1, 1, 0, 0, 0, 0"),
        call(23, "programs in the kernel", "bpf", "-1, bytes(64), 64").outside(Root),
        call(23, "counters of the processor", "perf_event_open", "bytes(112), 0, -1, -1, 0").outside(Root),
        call(23, "faults of memory", "userfaultfd", "1"),
        call(23, "a key", "add_key", "b'user', b'x', b'y', 1, -3"),
        call(23, "asking for a key", "request_key", "b'user', b'x', 0, 0"),
        call(23, "keyrings", "keyctl", "0, -3, 0"),
        call(27, "a file by its number", "open_by_handle_at", "-100, bytes(64), 0").outside(Root),
        call(27, "all files of a mount", "fanotify_init", "0xffff, 0").outside(Root),
    ]
}

fn whole_machine() -> Vec<Row> {
    let wrong_time =
        |what, name: &str, arguments: &str| call(26, what, name, &arguments.replace("TIME", NO_TIME));
    vec![
        call(24, "another kernel", "kexec_load", "0, 0, 0, 0xffff").outside(Root),
        call(24, "another kernel from a file", "kexec_file_load", "-1, -1, 0, 0, 0xffff").outside(Root),
        call(24, "a module", "init_module", "0, 0, 0").outside(Root),
        call(24, "a module from a file", "finit_module", "-1, 0, 0xffff").outside(Root),
        call(24, "without a module", "delete_module", "b'no-such-module', 0").outside(Root),
        call(25, "reboot", "reboot", "1, 2, 3, 0").outside(Namespaces),
        call(25, "swap", "swapon", "b'/not/on/this/machine', 0").outside(Root),
        call(25, "no swap", "swapoff", "b'/not/on/this/machine'").outside(Root),
        call(25, "accounting", "acct", "b'/not/on/this/machine'").outside(Root),
        call(25, "quotas", "quotactl", "-1, 0, 0, 0"),
        call(25, "the machine's name", "sethostname", "b'x', 1").outside(Namespaces),
        call(25, "hanging up", "vhangup", "").no_outside("it would take a terminal away"),
        wrong_time("the clock", "clock_settime", "0, TIME"),
        wrong_time("the time of day", "settimeofday", "struct.pack('qq', 1, 1 << 40), 0"),
        call(26, "tuning the clock", "adjtimex", "bytes(208)"),
        call(26, "tuning a clock", "clock_adjtime", "0, bytes(208)"),
        python(
            39,
            "a real-time scheduler",
            "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
            REFUSED,
        )
        .no_outside("for root of the machine alone, and control groups can refuse it even then"),
        python(39, "a better nice value", "os.setpriority(os.PRIO_PROCESS, 0, -20)", &["EACCES", "EPERM"])
            .outside(Root),
        call(39, "first at the disk", "ioprio_set", "1, 0, 1 << 13").outside(Root),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn dodges() -> Vec<Row> {
    use super::row::not_tried;
    let other = "it is of x86-64, and this processor is another";
    ["ports of the processor", "i386", "x32", "vsyscall"].map(|what| not_tried(62, what, other)).into()
}

#[cfg(target_arch = "x86_64")]
fn dodges() -> Vec<Row> {
    use super::row::{containers, state};
    vec![
        call(25, "ports of the processor", "iopl", "3").outside(Root),
        call(25, "some ports of the processor", "ioperm", "0, 8, 0").outside(Root),
        call(62, "segments of its own", "modify_ldt", "0, 0, 0"),
        call(62, "a personality with executable data", "personality", "0x0400000"),
        // Their numbers mean other calls, or the process is ended.
        python(62, "getpid of x32", "libc.syscall(0x40000000 + 39) > 0", &["False", "signal 31"])
            .no_outside("most kernels do not have it")
            .differs(
                containers,
                &["signal 31"],
                "the filter of the container engine is asked as well, and is stricter",
            ),
        python(62, "getpid of i386", "machine_code(bytes.fromhex('b814000000cd80c3')) > 0", &["signal 31"])
            .no_outside("a kernel may be without it"),
        // Not a way around: the kernel asks the filters, and the call is allowed.
        state(
            62,
            "the time by vsyscall",
            "machine_code(bytes.fromhex('48c7c0000060ff31ff31f6ffd0c3'))",
            &["0", "-14", "signal 11"],
        ),
    ]
    .into_iter()
    .chain([call(62, "a call of the future", "future", "")])
    .map(|row| {
        if row.what == "a call of the future" {
            Row {
                refusals: &["ENOSYS"],
                outside: Outside::Instead(Machine, "call('getppid') > 0".to_owned()),
                ..row
            }
        } else {
            row
        }
    })
    .collect()
}
