//! All attempts that leave each other alone, in one sandbox: a Python program tries each in a process of its own, and what
//! each met comes back as a line.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use staith_builder::engine::{Engine, StepExit};
use staith_model::Network;

use super::{
    super::bench::Bench,
    canaries::Canaries,
    row::{Row, Tried},
};

const PROBES: &str = include_str!("probes.py");

/// The program for these expressions, numbered.
pub fn program(expressions: &[(usize, &str)], canaries: &Canaries, here: &str, outside: bool) -> String {
    let mut text = format!("{PROBES}\n{}HERE = '{here}'\n", canaries.names());
    text.push_str(if outside { "OUTSIDE = True\n" } else { "OUTSIDE = False\n" });
    text.push_str(&format!("NR = {{{}}}\n", numbers()));
    for (number, expression) in expressions {
        text.push_str(&format!("probe({number}, lambda: {expression})\n"));
    }
    text
}

/// What each numbered expression met.
pub fn answers(said: &str) -> BTreeMap<usize, String> {
    said.lines()
        .filter_map(|line| {
            let (number, met) = line.split_once('\t')?;
            Some((number.parse().ok()?, met.to_owned()))
        })
        .collect()
}

/// The expressions of a table, by their place in it.
pub fn expressions(rows: &[Row]) -> Vec<(usize, &str)> {
    let expression = |(place, row)| match row {
        &Row { tried: Tried::Python(ref expression), .. } => Some((place, expression.as_str())),
        _ => None,
    };
    rows.iter().enumerate().filter_map(expression).collect()
}

/// Tries them in a sandbox with this network.
pub async fn run(
    engine: &dyn Engine,
    bench: &Bench,
    rows: &[Row],
    canaries: &Canaries,
    network: Network,
) -> BTreeMap<usize, String> {
    let mut step = bench.argv(&["/usr/bin/python3", "/workspace/probes.py"]);
    bench
        .file(&step.lowers[0].join("probes.py"), &program(&expressions(rows), canaries, "/workspace", false));
    bait(&step.lowers[0]);
    step.network = network;
    let ended = bench.run(engine, step).await;
    assert_eq!(ended.exit, StepExit::Code(0), "{ended:?}");
    answers(&ended.stdout)
}

/// Files that only root can make: what would make a step more than it is if it worked.
pub fn bait(folder: &Path) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let copy = |from: &str, name: &str, mode| {
        let to = folder.join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        to
    };
    copy("/usr/bin/id", "id-of-root", 0o4755);
    let grep = copy("/usr/bin/grep", "grep-with-capabilities", 0o755);
    // Version 2, effective; permitted: CAP_NET_RAW.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(grep, "security.capability", &capability).unwrap();
    let made = Command::new("mknod")
        .args(["-m", "666"])
        .arg(folder.join("null-device"))
        .args(["c", "1", "3"])
        .status();
    assert!(made.unwrap().success());
}

/// Numbers of system calls, as entries of a Python dictionary.
fn numbers() -> String {
    macro_rules! numbers {
        ($($name:ident = $number:expr),* $(,)?) => {
            [$((stringify!($name), $number)),*].to_vec()
        };
    }
    use libc::*;
    // From 424 on a number is the same on every architecture.
    #[rustfmt::skip]
    #[allow(unused_mut)]
    let mut all: Vec<(&str, c_long)> = numbers![
        mount = SYS_mount, umount2 = SYS_umount2, fsopen = SYS_fsopen, fsconfig = SYS_fsconfig, fsmount = SYS_fsmount,
        fspick = SYS_fspick, open_tree = SYS_open_tree, move_mount = SYS_move_mount, mount_setattr = SYS_mount_setattr,
        pivot_root = SYS_pivot_root, chroot = SYS_chroot, unshare = SYS_unshare, clone = SYS_clone, clone3 = SYS_clone3,
        setns = SYS_setns, io_uring_setup = SYS_io_uring_setup, io_uring_enter = SYS_io_uring_enter, bpf = SYS_bpf,
        perf_event_open = SYS_perf_event_open, userfaultfd = SYS_userfaultfd, add_key = SYS_add_key,
        request_key = SYS_request_key, keyctl = SYS_keyctl, open_by_handle_at = SYS_open_by_handle_at,
        fanotify_init = SYS_fanotify_init, process_vm_readv = SYS_process_vm_readv, kcmp = SYS_kcmp,
        process_madvise = SYS_process_madvise, pidfd_getfd = SYS_pidfd_getfd, ptrace = SYS_ptrace,
        move_pages = SYS_move_pages, reboot = SYS_reboot, kexec_load = SYS_kexec_load,
        kexec_file_load = SYS_kexec_file_load, init_module = SYS_init_module, finit_module = SYS_finit_module,
        delete_module = SYS_delete_module, swapon = SYS_swapon, swapoff = SYS_swapoff, acct = SYS_acct,
        quotactl = SYS_quotactl, syslog = SYS_syslog, sethostname = SYS_sethostname, vhangup = SYS_vhangup,
        clock_settime = SYS_clock_settime, settimeofday = SYS_settimeofday, adjtimex = SYS_adjtimex,
        clock_adjtime = SYS_clock_adjtime, ioprio_set = SYS_ioprio_set, personality = SYS_personality,
        seccomp = SYS_seccomp, getppid = SYS_getppid, prctl = SYS_prctl, fchmodat2 = 452, future = 1000,
    ];
    #[cfg(target_arch = "x86_64")]
    all.extend(numbers![iopl = SYS_iopl, ioperm = SYS_ioperm, modify_ldt = SYS_modify_ldt]);
    all.iter().map(|(name, number)| format!("'{name}': {number}, ")).collect()
}
