//! Limits of a sandbox's own IPC namespace.
//!
//! Semaphores and shared memory of System V belong to the namespace and to no process. Ending processes does not give them
//! back while the namespace lives, so where a step has no memory limit the kernel, out of memory, would end one process
//! after the other, others' too.

use std::{fs::File, io::Write as _, path::Path};

/// The limits, by the kernel's names for them. Semaphores: as many as kernels allowed until 3.19, which are two mebibytes;
/// since then it would be sixty gibibytes. Shared memory: `bytes`, which is what files in memory may take, in pages.
pub(crate) fn limits(bytes: u64) -> [(&'static str, String); 2] {
    let pages = (bytes / rustix::param::page_size() as u64).max(1);
    [("sem", "250 32000 32 128".to_owned()), ("shmall", pages.to_string())]
}

/// Sets them for the namespace that this process is in, which must be the sandbox's own. The kernel lets only the host's root
/// do so, so it is done while this process still is that, and not at all without root. There the filters bound the size
/// of a set of semaphores, and a memory limit the rest.
pub(super) fn limit(bytes: u64) {
    for (name, value) in limits(bytes) {
        let opened = File::options().write(true).open(Path::new("/proc/sys/kernel").join(name));
        let _ = opened.and_then(|mut file| file.write_all(value.as_bytes()));
    }
}
