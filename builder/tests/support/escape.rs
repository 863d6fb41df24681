//! Attempts to get out of a sandbox, or to do what a step must not, each with the refusal that it has to meet: the same over
//! every engine. The probes run in one Python program in one sandbox; what each met comes back as a line.

use std::fs;

use staith_builder::engine::{Engine, StepExit, Support};
use staith_model::Network;

use super::bench::Bench;

/// What a probe does.
pub enum Probe {
    /// A system call with these arguments, as Python values.
    Call(i64, &'static str),
    /// A Python expression; its value, or the name of the error that it met.
    Python(&'static str),
}
use Probe::{Call, Python};

/// One attempt.
pub struct Row {
    pub what: &'static str,
    pub probe: Probe,
    /// Any of these is a refusal; what is not listed is a hole.
    pub refusals: &'static [&'static str],
}

pub const fn call(what: &'static str, number: i64, arguments: &'static str) -> Row {
    Row { what, probe: Call(number, arguments), refusals: &["EPERM"] }
}

pub const fn python(what: &'static str, expression: &'static str, refusals: &'static [&'static str]) -> Row {
    Row { what, probe: Python(expression), refusals }
}

/// A file that can't be written: read-only for its mount, or for Landlock.
pub const NOT_WRITABLE: &[&str] = &["EROFS", "EACCES", "EPERM", "ENOENT"];
pub const HIDDEN: &[&str] = &["ENOENT", "b''", "EACCES", "EPERM"];
pub const ABSENT: &[&str] = &["ENOENT"];
pub const NO_FAMILY: &[&str] = &["EPERM", "EAFNOSUPPORT"];
pub const NO_ENTRY: &[&str] = &["EACCES", "EPERM"];

#[rustfmt::skip]
pub fn table() -> Vec<Row> {
    let mut rows = vec![
        // Mounts
        call("mount proc", libc::SYS_mount, "b'proc', b'/tmp', b'proc', 0, 0"),
        call("mount tmpfs", libc::SYS_mount, "b'x', b'/tmp', b'tmpfs', 0, 0"),
        call("mount overlay", libc::SYS_mount, "b'x', b'/tmp', b'overlay', 0, b'lowerdir=/usr'"),
        call("remount the root writable", libc::SYS_mount, "0, b'/', 0, 4096 | 32, 0"),
        call("unmount a mask", libc::SYS_umount2, "b'/proc/kcore', 2"),
        call("unmount the root", libc::SYS_umount2, "b'/', 2"),
        call("fsopen", libc::SYS_fsopen, "b'tmpfs', 0"),
        call("open_tree", libc::SYS_open_tree, "-100, b'/', 1"),
        call("move_mount", libc::SYS_move_mount, "-100, b'/tmp', -100, b'/run', 0"),
        call("mount_setattr", libc::SYS_mount_setattr, "-100, b'/', 0, 0, 0"),
        call("pivot_root", libc::SYS_pivot_root, "b'/tmp', b'/tmp'"),
        call("chroot", libc::SYS_chroot, "b'/tmp'"),
        // Namespaces
        call("a user namespace", libc::SYS_unshare, "0x10000000"),
        call("a mount namespace", libc::SYS_unshare, "0x20000"),
        call("a network namespace", libc::SYS_unshare, "0x40000000"),
        call("a time namespace", libc::SYS_unshare, "0x80"),
        call("clone with a user namespace", libc::SYS_clone, "0x10000000 | 17, 0, 0, 0, 0"),
        call("clone with a mount namespace", libc::SYS_clone, "0x20000 | 17, 0, 0, 0, 0"),
        Row { what: "clone3", probe: Call(libc::SYS_clone3, "0, 0"), refusals: &["ENOSYS"] },
        call("setns", libc::SYS_setns, "0, 0"),
        python("write a map of users", "write('/proc/self/uid_map', '0 0 1')", NOT_WRITABLE),
        // Ways around the filters, and into other processes
        call("io_uring", libc::SYS_io_uring_setup, "8, bytes(120)"),
        call("bpf", libc::SYS_bpf, "0, 0, 0"),
        call("perf_event_open", libc::SYS_perf_event_open, "bytes(112), 0, -1, -1, 0"),
        call("userfaultfd", libc::SYS_userfaultfd, "0"),
        call("add_key", libc::SYS_add_key, "b'user', b'x', b'y', 1, -3"),
        call("request_key", libc::SYS_request_key, "b'user', b'x', 0, 0"),
        call("keyctl", libc::SYS_keyctl, "0, -3, 0"),
        call("open_by_handle_at", libc::SYS_open_by_handle_at, "-100, bytes(64), 0"),
        call("fanotify_init", libc::SYS_fanotify_init, "0, 0"),
        call("process_vm_readv of process 1", libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0"),
        call("kcmp", libc::SYS_kcmp, "1, 1, 0, 0, 0"),
        call("pidfd_getfd", libc::SYS_pidfd_getfd, "0, 0, 0"),
        call("trace process 1", libc::SYS_ptrace, "16, 1, 0, 0"),
        python("memory of process 1", "read('/proc/1/mem')", NO_ENTRY),
        python("environment of process 1", "read('/proc/1/environ')", NO_ENTRY),
        python("program of process 1", "os.readlink('/proc/1/exe')", NO_ENTRY),
        python("descriptors of process 1", "os.listdir('/proc/1/fd')", NO_ENTRY),
        python("root of process 1", "os.listdir('/proc/1/root')", NO_ENTRY),
        python("other processes", "sorted(set(pids()) - {1, os.getpid(), os.getppid()})", &["[]"]),
        // The machine
        call("reboot", libc::SYS_reboot, "0xfee1dead, 672274793, 0, 0"),
        call("kexec_load", libc::SYS_kexec_load, "0, 0, 0, 0"),
        call("init_module", libc::SYS_init_module, "0, 0, 0"),
        call("finit_module", libc::SYS_finit_module, "0, 0, 0"),
        call("delete_module", libc::SYS_delete_module, "b'x', 0"),
        call("swapon", libc::SYS_swapon, "b'/tmp/x', 0"),
        call("acct", libc::SYS_acct, "b'/tmp/x'"),
        call("quotactl", libc::SYS_quotactl, "0, 0, 0, 0"),
        call("the kernel's log", libc::SYS_syslog, "3, bytes(64), 64"),
        call("sethostname", libc::SYS_sethostname, "b'x', 1"),
        call("clock_settime", libc::SYS_clock_settime, "0, bytes(16)"),
        call("settimeofday", libc::SYS_settimeofday, "bytes(16), 0"),
        call("move_pages", libc::SYS_move_pages, "1, 0, 0, 0, 0, 0"),
        call("a personality with executable data", libc::SYS_personality, "0x0400000"),
        python("a real-time scheduler", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))", &["EPERM"]),
        python("a better nice value", "os.setpriority(os.PRIO_PROCESS, 0, -20)", NO_ENTRY),
        // Devices
        python("a character device", "os.mknod('/workspace/mem', 0o20666, os.makedev(1, 1))", &["EPERM"]),
        python("a block device", "os.mknod('/workspace/vda', 0o60666, os.makedev(254, 0))", &["EPERM"]),
        python("a whiteout", "os.mknod('/workspace/gone', 0o20000, 0)", &["EPERM"]),
        python("what is in /dev", "' '.join(sorted(os.listdir('/dev')))",
            &["fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"]),
        python("/dev/mem", "read('/dev/mem')", ABSENT),
        python("/dev/kmsg", "read('/dev/kmsg')", ABSENT),
        python("/dev/kvm", "read('/dev/kvm')", ABSENT),
        python("/dev/fuse", "read('/dev/fuse')", ABSENT),
        python("/dev/net/tun", "read('/dev/net/tun')", ABSENT),
        python("a terminal of the caller's", "read('/dev/tty')", &["ENXIO"]),
        python("typing into a terminal", "terminal(0x5412)", &["EPERM"]),
        python("a console's selection", "terminal(0x541c)", &["EPERM"]),
        // Sockets
        python("AF_PACKET", "socket.socket(17, socket.SOCK_RAW)", NO_FAMILY),
        python("raw ICMP", "socket.socket(2, socket.SOCK_RAW, 1)", &["EPERM"]),
        python("raw ICMPv6", "socket.socket(10, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 58)", &["EPERM"]),
        python("multipath TCP", "socket.socket(2, 1, 262)", NO_FAMILY),
        python("multipath TCP of IPv6", "socket.socket(10, 1 | socket.SOCK_CLOEXEC, 262)", NO_FAMILY),
        python("AF_VSOCK", "socket.socket(40, 1)", NO_FAMILY),
        python("AF_ALG", "socket.socket(38, 5)", NO_FAMILY),
        python("AF_KEY", "socket.socket(15, 3, 2)", NO_FAMILY),
        python("AF_RDS", "socket.socket(21, 5)", NO_FAMILY),
        python("AF_TIPC", "socket.socket(30, 5)", NO_FAMILY),
        python("AF_XDP", "socket.socket(44, 3)", NO_FAMILY),
        python("AF_BLUETOOTH", "socket.socket(31, 3)", NO_FAMILY),
        python("NETLINK_NETFILTER", "socket.socket(16, 3, 12)", &["EPERM"]),
        python("NETLINK_AUDIT", "socket.socket(16, 3, 9)", &["EPERM"]),
        python("an abstract socket of the host's", "knock(b'\\0' + sys.argv[1].encode())",
            &["ECONNREFUSED", "EPERM"]),
        python("any address but loopback", "socket.create_connection(('1.1.1.1', 80), 1)", &["ENETUNREACH"]),
        python("the cloud's metadata", "socket.create_connection(('169.254.169.254', 80), 1)", &["ENETUNREACH"]),
        // The kernel's files
        python("/proc/kcore", "read('/proc/kcore')", HIDDEN),
        python("/proc/kallsyms", "read('/proc/kallsyms')", HIDDEN),
        python("/proc/config.gz", "read('/proc/config.gz')", HIDDEN),
        python("/proc/keys", "read('/proc/keys')", HIDDEN),
        python("/proc/timer_list", "read('/proc/timer_list')", HIDDEN),
        python("/proc/interrupts", "read('/proc/interrupts')", HIDDEN),
        python("/proc/kpagecount", "read('/proc/kpagecount')", HIDDEN),
        python("/proc/kmsg", "read('/proc/kmsg')", HIDDEN),
        python("/proc/cmdline", "read('/proc/cmdline')", HIDDEN),
        python("/proc/pressure", "os.listdir('/proc/pressure')", &["ENOENT", "[]"]),
        python("sysrq", "write('/proc/sysrq-trigger', 'h')", NOT_WRITABLE),
        python("core_pattern", "write('/proc/sys/kernel/core_pattern', '|/tmp/x')", NOT_WRITABLE),
        python("modprobe", "write('/proc/sys/kernel/modprobe', '/tmp/x')", NOT_WRITABLE),
        python("hotplug", "write('/proc/sys/kernel/hotplug', '/tmp/x')", NOT_WRITABLE),
        python("binfmt_misc", "write('/proc/sys/fs/binfmt_misc/register', 'x')", NOT_WRITABLE),
        python("overcommit", "write('/proc/sys/vm/overcommit_memory', '1')", NOT_WRITABLE),
        python("ip_forward", "write('/proc/sys/net/ipv4/ip_forward', '1')", NOT_WRITABLE),
        python("ns_last_pid", "write('/proc/sys/kernel/ns_last_pid', '5')", NOT_WRITABLE),
        python("safe from the killer of processes", "write('/proc/self/oom_score_adj', '-1000')", NOT_WRITABLE),
        python("who goes first when memory runs out",
            "int(read('/proc/self/oom_score_adj')) >= 500 and int(read('/proc/1/oom_score_adj')) < 500", &["True"]),
        python("namespaces that it may have",
            "{int(read('/proc/sys/user/' + n)) for n in os.listdir('/proc/sys/user') if n.endswith('_namespaces')}",
            &["{0}"]),
        python("watches of files", "read('/proc/sys/user/max_inotify_instances')", &["b'64\\n'", "ENOENT"]),
        python("/sys", "os.listdir('/sys')", ABSENT),
        python("control groups", "read('/sys/fs/cgroup/cgroup.procs')", ABSENT),
        // The host's files
        python("what is in /", "' '.join(n for n in sorted(os.listdir('/')) if not n.startswith(('lib', 'bin', 'sbin')))",
            &["dev etc home proc run tmp usr var workspace"]),
        python("what is in /var", "' '.join(os.listdir('/var'))", &["tmp"]),
        python("what is in /home", "' '.join(os.listdir('/home'))", &["builder"]),
        python("what is in /run and /tmp", "os.listdir('/run') + os.listdir('/tmp')", &["[]"]),
        python("/etc/shadow", "read('/etc/shadow')", ABSENT),
        python("/etc/machine-id", "read('/etc/machine-id')", ABSENT),
        python("/etc/subuid", "read('/etc/subuid')", ABSENT),
        python("/etc/ssl/private", "os.listdir('/etc/ssl/private')", ABSENT),
        python("Docker's socket", "knock('/run/docker.sock')", ABSENT),
        python("a file in /usr", "write('/usr/bin/x', '')", NOT_WRITABLE),
        python("a file in /etc", "write('/etc/x', '')", NOT_WRITABLE),
        python("/etc/passwd", "write('/etc/passwd', '')", NOT_WRITABLE),
        python("a file in /etc/ssl/certs", "write('/etc/ssl/certs/x', '')", NOT_WRITABLE),
        python("a file in /", "write('/x', '')", NOT_WRITABLE),
        python("a file in /dev", "write('/dev/x', '')", NOT_WRITABLE),
        python("a file in /lib", "write('/lib/x', '')", NOT_WRITABLE),
        python("its own program", "write('/proc/self/exe', '')", &["ETXTBSY", "EROFS", "EACCES"]),
        python("a hard link to a program", "os.link('/usr/bin/env', '/workspace/env')", &["EXDEV", "EPERM", "EACCES"]),
        python("above the root", "os.listdir('/..') == os.listdir('/')", &["True"]),
        python("descriptors", "' '.join(sorted(os.listdir('/proc/self/fd')))", &["0 1 2 3"]),
        python("directory", "os.getcwd()", &["/workspace"]),
        python("standard input", "os.readlink('/proc/self/fd/0')", &["/dev/null"]),
        // Identity
        python("becoming root", "os.setuid(0)", &["EINVAL", "EPERM"]),
        python("other groups", "os.setgroups([0])", &["EPERM", "EINVAL"]),
        python("giving a file away", "os.chown('/workspace', 0, 0)", &["EPERM", "EINVAL"]),
        python("who", "os.getresuid() + os.getresgid()", &["(1000, 1000, 1000, 1000, 1000, 1000)"]),
        python("privileges", "status('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')",
            &["0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000"]),
        python("no new privileges, filtered", "status('NoNewPrivs', 'Seccomp')", &["1 2"]),
        python("blocked signals", "status('SigBlk')", &["0000000000000000"]),
        python("ignored signals", "run('grep SigIgn /proc/self/status')", &["SigIgn:\\t0000000000000000"]),
        python("its own session", "os.getsid(0) == os.getpid()", &["True"]),
        python("umask", "oct(os.umask(0))", &["0o22"]),
        python("core files", "resource.getrlimit(resource.RLIMIT_CORE)", &["(0, 0)"]),
        python("a set-user-id program", "set_user_id()", &["EPERM"]),
        python("a set-group-id folder", "os.chmod('/workspace', 0o2755)", &["EPERM"]),
        python("set-user-id by descriptor", "os.fchmod(os.open('/tmp', 0), 0o4755)", &["EPERM"]),
        call("set-user-id by fchmodat2", 452, "-100, b'/workspace', 0o4755, 0"),
        python("a new set-user-id file", "os.open('/workspace/new', os.O_CREAT | os.O_WRONLY, 0o4755)", &["EPERM"]),
        python("a nameless set-user-id file", "os.open('/workspace', os.O_TMPFILE | os.O_WRONLY, 0o4755)", &["EPERM"]),
        python("a set-user-id pipe", "os.mknod('/workspace/pipe', 0o14755)", &["EPERM"]),
        python("an ordinary file", "os.fchmod(os.open('/workspace/plain', os.O_CREAT | os.O_WRONLY, 0o777), 0o1755)",
            &["None"]),
        python("limits of process 1", "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))", &["EPERM"]),
        python("its own limits", "resource.prlimit(0, resource.RLIMIT_CORE)", &["(0, 0)"]),
        python("host name", "os.uname().nodename", &["staith"]),
        // Process 1 is not hurt, whether the signal is refused or has no effect: the last rows still come.
        python("killing process 1", "os.kill(1, 9)", &["EPERM", "None"]),
        python("stopping process 1", "os.kill(1, 19)", &["EPERM", "None"]),
    ];
    #[cfg(target_arch = "x86_64")]
    rows.extend([
        call("iopl", libc::SYS_iopl, "3"),
        call("ioperm", libc::SYS_ioperm, "0, 8, 1"),
        call("modify_ldt", libc::SYS_modify_ldt, "0, 0, 0"),
        // Their numbers mean other calls, or the process is ended.
        python("getpid of x32", "in_child(lambda: call(0x40000000 + 39))", &["ENOSYS", "signal 31"]),
        python("getpid of i386", "machine_code(bytes.fromhex('b814000000cd80c3'))", &["signal 31"]),
    ]);
    rows.push(Row { what: "a call of the future", probe: Call(1000, ""), refusals: &["ENOSYS"] });
    rows
}

const PRELUDE: &str = r#"
import ctypes, errno, fcntl, mmap, os, resource, shutil, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *whole)
    if result == -1:
        raise OSError(ctypes.get_errno(), '')
    return result
def read(path):
    with open(path, 'rb') as file: return file.read(64)
def write(path, text):
    with open(path, 'w') as file: file.write(text)
    return 'written'
def pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]
def status(*names):
    lines = dict(line.split(':', 1) for line in open('/proc/self/status'))
    return ' '.join(lines[name].strip() for name in names)
def run(command):
    return repr(subprocess.run(['sh', '-c', command], capture_output=True, text=True, restore_signals=True).stdout.strip())[1:-1]
def knock(address):
    with socket.socket(socket.AF_UNIX) as knocking: knocking.connect(address)
    return 'connected'
def terminal(request):
    # A controlling terminal of one's own, which only a session of one's own can have.
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            master, slave = os.openpty()
            fcntl.ioctl(slave, 0x540e, 0)
            fcntl.ioctl(slave, request, b'x')
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return errno.errorcode.get(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 'done')
def set_user_id():
    shutil.copy('/usr/bin/id', '/workspace/id')
    os.chmod('/workspace/id', 0o6755)
    return subprocess.run(['/workspace/id', '-u'], capture_output=True, text=True).stdout.strip()
def in_child(attempt):
    child = os.fork()
    if child == 0:
        try:
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status): return f'signal {os.WTERMSIG(status)}'
    return errno.errorcode.get(os.WEXITSTATUS(status), 'ended')
def machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    return in_child(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page))))
def probe(number, attempt):
    try:
        result = str(attempt())
    except OSError as error:
        result = errno.errorcode.get(error.errno, str(error))
    print(number, result, sep='\t', flush=True)
"#;

fn program(rows: &[Row]) -> String {
    let mut text = PRELUDE.to_owned();
    for (number, row) in rows.iter().enumerate() {
        let attempt = match row.probe {
            Call(call, "") => format!("call({call})"),
            Call(call, arguments) => format!("call({call}, {arguments})"),
            Python(expression) => expression.to_owned(),
        };
        text.push_str(&format!("probe({number}, lambda: {attempt})\n"));
    }
    text
}

/// Settings of the host that some probes try to change.
fn settings_of_the_host() -> Vec<Option<String>> {
    [
        "kernel/core_pattern",
        "kernel/modprobe",
        "vm/overcommit_memory",
        "net/ipv4/ip_forward",
        "kernel/hostname",
    ]
    .map(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok())
    .to_vec()
}

/// Tries them all.
pub async fn close_every_way_out(engine: &dyn Engine, rows: Vec<Row>) {
    let bench = Bench::new(engine).await;
    let abstract_name = format!("staith-test-{}-{}", std::process::id(), bench.place.path().display());
    let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(
        abstract_name.as_bytes(),
    );
    let _listening = std::os::unix::net::UnixListener::bind_addr(&address.unwrap()).unwrap();
    let before = settings_of_the_host();
    for network in [Network::Loopback, Network::Outbound] {
        let script = program(&rows);
        let mut step = bench.argv(&["/usr/bin/python3", "/workspace/probe.py", &abstract_name]);
        bench.file(&step.lowers[0].join("probe.py"), &script);
        step.network = network;
        let ended = bench.run(engine, step).await;
        assert_eq!(ended.exit, StepExit::Code(0), "{ended:?}");
        let mut met: Vec<&str> =
            ended.stdout.lines().filter_map(|line| Some(line.split_once('\t')?.1)).collect();
        met.resize(rows.len(), "nothing came");
        let holes: Vec<String> = rows
            .iter()
            .zip(met)
            .filter(|(row, met)| !row.refusals.contains(met))
            .map(|(row, met)| format!("{}: {met}, expected one of {:?}", row.what, row.refusals))
            .collect();
        assert!(holes.is_empty(), "{network:?}:\n{}", holes.join("\n"));
    }
    assert_eq!(settings_of_the_host(), before);
}

/// Uses up what can be used up.
pub async fn bombs_hurt_only_themselves(engine: &dyn Engine) {
    let bench = Bench::new(engine).await;
    // A fork bomb meets its limit, and its sandbox ends like any other.
    let mut step = bench.argv(&["bash", "-c", "f() { f | f & }; f 2>/dev/null; sleep 1; echo alive"]);
    step.limits.processes = Some(100);
    step.timeout = std::time::Duration::from_secs(3);
    let ended = bench.run(engine, step).await;
    assert!(matches!(ended.exit, StepExit::Code(_) | StepExit::TimedOut), "{ended:?}");
    // Temporary files have a size of their own.
    let mut step = bench.shell("head -c 64M /dev/zero > /tmp/bomb; echo filled");
    step.limits.memory = Some(32 << 20);
    if engine.probe().await.unwrap().memory_limit == Support::Enforced {
        let ended = bench.run(engine, step).await;
        assert!(!ended.stdout.contains("filled"), "{ended:?}");
    }
}
