//! What the program was started for.

use std::path::PathBuf;

use crate::layout::Layout;

/// An application's folder, and where units are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) layout: Layout,
    /// Where units are written; `None` is where systemd looks for them.
    pub(crate) units: Option<PathBuf>,
}
