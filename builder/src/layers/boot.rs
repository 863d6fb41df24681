//! Trust across power failures. Content is not synced to the disk when it is stored, because that costs more than making
//! it again: so after each start of the machine a stored tree is looked over once before it is used.

use std::{fs, io, path::Path, sync::OnceLock};

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

/// Marks a tree as made or looked over since the machine was started.
pub(crate) fn trust(mark: &Path) -> io::Result<()> {
    // A torn mark names no start of any machine, so this needs no care.
    fs::write(mark, boot())
}
