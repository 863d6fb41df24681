//! `/dev` and `/proc`: the kernel as a step sees it.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use super::{
    super::mounts::{Attributes, Detached, bind},
    directory,
};

/// Devices that give nothing away and do no harm.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What of `/proc` concerns the whole machine and is hidden. What Docker masks, and what tells kernel addresses, memory
/// pages or the machine's load.
pub(crate) const MASKED: [&str; 21] = [
    "acpi",
    "asound",
    "cmdline",
    "config.gz",
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "pressure",
    "sched_debug",
    "scsi",
    "sysvipc",
    "timer_list",
    "timer_stats",
];

/// What of `/proc` can be read but not written.
pub(crate) const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Fills `target`, which is empty or does not exist yet, with devices bound from the host's.
pub(super) fn devices(target: &Path) -> io::Result<()> {
    directory(target)?;
    for name in DEVICES {
        let inside = target.join(name);
        fs::File::create(&inside)?;
        bind(&Path::new("/dev").join(name), &inside, Attributes::DEVICE)?;
    }
    for (name, link) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(link, target.join(name))?;
    }
    let terminals = target.join("pts");
    fs::create_dir(&terminals)?;
    fs::create_dir(target.join("shm"))?;
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("max", "1024")];
    Detached::new_of("devpts", &options, Attributes::DEVICE)?.attach(&terminals)
}

/// Mounts a new `/proc`, which shows this process namespace alone, at `target`, which is empty or does not exist yet.
pub(super) fn processes(target: &Path) -> io::Result<()> {
    directory(target)?;
    // Not read-only: a process may write its own files there.
    Detached::new_of("proc", &[], Attributes::PROC)?.attach(target)?;
    for name in READ_ONLY {
        let path = target.join(name);
        if path.exists() {
            bind(&path, &path, Attributes::MASKED)?;
        }
    }
    for name in MASKED {
        mask(&target.join(name))?;
    }
    Ok(())
}

fn mask(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            Detached::new_of("tmpfs", &[("size", "4k"), ("mode", "0555")], Attributes::MASKED)?.attach(path)
        }
        Ok(found) if found.is_file() => bind(Path::new("/dev/null"), path, Attributes::MASKED_FILE),
        // A kernel without it, or a link to one's own processes.
        _ => Ok(()),
    }
}
