//! Trust across power failures. Content is not synced to the disk when it is stored, because that costs more than making
//! it again: so after each start of the machine a stored tree is looked over once before it is used.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, sync::OnceLock};

/// Names this start of the machine; empty where the kernel does not tell, so that nothing is trusted unseen.
fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// Whether the tree with this mark was made or looked over since the machine was started.
pub(crate) fn is_trusted(mark: &Path) -> bool {
    !boot().is_empty() && fs::read_to_string(mark).is_ok_and(|seen| seen == boot())
}

/// As [`is_trusted`], of a tree that a record says something about: the record has to look as it did then.
pub(crate) fn is_trusted_with(mark: &Path, record: &Path) -> bool {
    !boot().is_empty()
        && look(record).is_some_and(|look| fs::read_to_string(mark).is_ok_and(|seen| seen == look))
}

/// As [`trust`], of a tree that a record says something about.
pub(crate) fn trust_with(mark: &Path, record: &Path) -> io::Result<()> {
    fs::write(mark, look(record).unwrap_or_default())
}

/// This start of the machine, and how a file looks: one call of the system, where reading a long record would take milliseconds.
fn look(record: &Path) -> Option<String> {
    let found = fs::symlink_metadata(record).ok()?;
    let (changed, nanoseconds) = (found.ctime(), found.ctime_nsec());
    Some(format!("{} {} {} {changed}.{nanoseconds}", boot(), found.ino(), found.len()))
}

/// Marks a tree as made or looked over since the machine was started.
pub(crate) fn trust(mark: &Path) -> io::Result<()> {
    // A torn mark names no start of any machine, so this needs no care.
    fs::write(mark, boot())
}
