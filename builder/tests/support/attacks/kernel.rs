//! Rows 7 to 10, 52: what the kernel shows of itself as files.

use super::row::{
    ABSENT, HIDDEN, NOT_WRITABLE,
    Room::{Machine, Root},
    Row, call, containers, has, python, state,
};

/// What the same function does to a file that may be written.
const OPENS_A_CANARY: &str = "opens(CANARY_FILE)";

pub fn rows() -> Vec<Row> {
    let opens = |number, what, path: &str| {
        python(number, what, format!("opens('{path}')"), NOT_WRITABLE).instead(Machine, OPENS_A_CANARY)
    };
    let reads =
        |number, what, path: &str| python(number, what, format!("reads('{path}')"), HIDDEN).outside(Root);
    let mut rows = vec![
        opens(7, "sysrq", "/proc/sysrq-trigger"),
        opens(8, "core_pattern", "/proc/sys/kernel/core_pattern"),
        opens(8, "modprobe", "/proc/sys/kernel/modprobe"),
        opens(8, "hotplug", "/proc/sys/kernel/hotplug"),
        opens(8, "binfmt_misc", "/proc/sys/fs/binfmt_misc/register"),
        opens(8, "uevent_helper", "/sys/kernel/uevent_helper"),
        opens(8, "release_agent", "/sys/fs/cgroup/memory/release_agent"),
        opens(9, "overcommit", "/proc/sys/vm/overcommit_memory"),
        opens(9, "ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        opens(9, "ns_last_pid", "/proc/sys/kernel/ns_last_pid"),
        opens(9, "namespaces' limits", "/proc/sys/user/max_user_namespaces"),
        python(9, "any setting of the kernel", "writable_settings('/proc/sys')", &["[]"])
            .instead(Machine, "writable_settings(os.path.dirname(CANARY_FILE))"),
        python(
            9,
            "any other file of the kernel",
            "writable_settings('/proc/fs') + writable_settings('/proc/irq') + writable_settings('/proc/bus')",
            &["[]"],
        )
        .instead(Machine, "writable_settings(os.path.dirname(CANARY_FILE))"),
        reads(10, "/proc/kcore", "/proc/kcore")
            .needs(|| (!has("/proc/kcore")).then_some("this kernel has no /proc/kcore")),
        reads(10, "/proc/kallsyms", "/proc/kallsyms"),
        reads(10, "/proc/keys", "/proc/keys"),
        reads(10, "/proc/timer_list", "/proc/timer_list")
            .needs(|| (!has("/proc/timer_list")).then_some("this kernel has no /proc/timer_list")),
        reads(10, "/proc/interrupts", "/proc/interrupts"),
        reads(10, "/proc/kpagecount", "/proc/kpagecount")
            .needs(|| (!has("/proc/kpagecount")).then_some("this kernel has no /proc/kpagecount")),
        reads(10, "/proc/cmdline", "/proc/cmdline"),
        reads(10, "/proc/config.gz", "/proc/config.gz")
            .needs(|| (!has("/proc/config.gz")).then_some("this kernel has no /proc/config.gz")),
        reads(10, "/proc/modules", "/proc/modules")
            .needs(|| (!has("/proc/modules")).then_some("this kernel has no /proc/modules")),
        python(10, "/proc/kmsg", "reads('/proc/kmsg')", HIDDEN)
            .no_outside("reading it outside would take messages from the machine's log"),
        python(10, "/proc/pressure", "os.listdir('/proc/pressure')", &["ENOENT", "[]"])
            .needs(|| (!has("/proc/pressure")).then_some("this kernel has no /proc/pressure")),
        python(10, "/dev/mem", "os.open('/dev/mem', 0)", ABSENT)
            .needs(|| (!has("/dev/mem")).then_some("this machine has no /dev/mem")),
        python(10, "/dev/kmsg", "os.open('/dev/kmsg', 0)", ABSENT)
            .needs(|| (!has("/dev/kmsg")).then_some("this machine has no /dev/kmsg")),
        python(10, "/sys", "os.listdir('/sys')", ABSENT).differs(
            containers,
            &["[]"],
            "the mount point is there and empty",
        ),
        python(52, "control groups", "read('/sys/fs/cgroup/cgroup.procs')", ABSENT)
            .instead(Machine, "os.listdir('/sys/fs/cgroup')"),
        state(
            52,
            "mounts of control groups",
            "any(line.split()[2].startswith('cgroup') for line in open('/proc/self/mounts'))",
            &["False"],
        )
        .differs(containers, &["True"], "they are below /sys, which is covered"),
    ];
    rows.push(call(25, "the kernel's log", "syslog", "3, bytes(64), 64").outside(Root));
    rows.push(
        state(
            36,
            "watches of files",
            "read('/proc/sys/user/max_inotify_instances')",
            &["b'64\\n'", "ENOENT"],
        )
        .differs(
            containers,
            &["b'128\\n'", "b'8192\\n'", "b'1024\\n'"],
            "without a user namespace of the container's own the host's limit for the step's user holds",
        ),
    );
    rows
}
