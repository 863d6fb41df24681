//! One node: looked at and told.

use std::collections::BTreeMap;

use staith_model::Name;

use super::{
    balancer::NodeSpec,
    next::Servers,
    report::{self, Info},
    talk::{Unsaid, say, tell},
};
use crate::traffic::TrafficError;

/// A node as it is now.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) info: Info,
    pub(super) servers: Servers,
    /// `None` where the process does not remember one.
    pub(super) epoch: Option<u64>,
    /// Sessions of servers in workers that finish what they had before a reload; one entry for each such worker.
    pub(super) old_workers: Vec<BTreeMap<String, u64>>,
}

/// Looks at a node.
pub(super) async fn look(node: &NodeSpec, backend: &str) -> Result<Seen, TrafficError> {
    let what = "tell who gets requests";
    let ask = async |line: &str| say(&node.runtime, line).await.map_err(|error| told(error, what));
    let understood = |why: String| TrafficError::Refused { what, why: format!("{}: {why}", node.runtime) };
    let info = report::info(&ask("show info").await?).map_err(understood)?;
    let state = ask(&format!("show servers state {backend}")).await?;
    let stat = ask(&format!("show stat {backend} 4 -1")).await?;
    let servers = report::servers(backend, &state, &stat).map_err(understood)?;
    let epoch = remembered(&ask(&format!("get var {}", variable(backend))).await?);
    Ok(Seen { info, servers, epoch, old_workers: old_workers(node, backend, &understood).await? })
}

/// When a master that did not answer is asked once more.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

async fn old_workers(
    node: &NodeSpec,
    backend: &str,
    understood: &impl Fn(String) -> TrafficError,
) -> Result<Vec<BTreeMap<String, u64>>, TrafficError> {
    let Some(master) = &node.master else { return Ok(vec![]) };
    let what = "look at its old workers";
    let processes = match say(master, "show proc").await {
        // It executes itself anew at its start and at a reload, and resets its connections.
        Err(_) => {
            tokio::time::sleep(AGAIN).await;
            say(master, "show proc").await
        }
        said => said,
    };
    let processes = processes.map_err(|error| told(error, what))?;
    let mut found = vec![];
    for pid in report::old_workers(&processes).map_err(understood)? {
        // One that has ended in between has no sessions.
        let Ok(stat) = say(master, &format!("@!{pid} show stat {backend} 4 -1")).await else { continue };
        if let Some(sessions) = report::sessions(backend, &stat) {
            found.push(sessions);
        }
    }
    Ok(found)
}

/// Tells a node commands that have nothing to say when all is well.
pub(super) async fn order(node: &NodeSpec, commands: &[String]) -> Result<(), TrafficError> {
    tell(&node.runtime, commands).await.map_err(|error| told(error, "change who gets requests"))
}

/// Has a node remember an epoch, where it can.
pub(super) async fn remember(node: &NodeSpec, backend: &str, epoch: u64) {
    let line = format!("experimental-mode on; set var {} int({epoch})", variable(backend));
    if let Err(refused) = tell(&node.runtime, &[line]).await {
        tracing::debug!(?refused, "the node does not remember an epoch");
    }
}

fn variable(backend: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    format!("proc.staith_epoch_{}", backend.chars().map(plain).collect::<String>())
}

/// Reads `proc.x: type=sint value=<7>`.
fn remembered(said: &str) -> Option<u64> {
    said.split_once("value=<")?.1.split_once('>')?.0.parse().ok()
}

pub(super) fn told(error: Unsaid, what: &'static str) -> TrafficError {
    match error {
        Unsaid::Lost(why) => TrafficError::Lost { what, why },
        Unsaid::Refused(why) => TrafficError::Refused { what, why },
    }
}

/// The name of a server as one of ours; others can't be asked for.
pub(super) fn name(server: &str) -> Option<Name> {
    server.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_what_the_process_remembers() {
        assert_eq!(remembered("proc.staith_epoch_app: type=sint value=<7>\n"), Some(7));
        assert_eq!(remembered("Variable not found.\n"), None);
        assert_eq!(variable("web-app.v2"), "proc.staith_epoch_web_app_v2");
    }
}
