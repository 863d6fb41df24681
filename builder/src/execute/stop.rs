//! The two ways in which a person stops a run.

use tokio_util::sync::CancellationToken;

/// First asked to end, then made to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Asks: running steps get SIGTERM and ten seconds; nothing new starts.
    pub cancel: CancellationToken,
    /// Insists: everything is killed now.
    pub kill: CancellationToken,
}
