//! HAProxy: its sockets and its state file, here or behind ssh.

use std::sync::Arc;

use staith_model::{Access, Exit, HaproxyNode, StateFile};
use staith_releaser::fleet::{
    balancer::{
        Balancer,
        haproxy::{Dial, HaProxy, Keep, NodeSpec, Place, SshFile, SshSocket},
    },
    ssh::Destination,
};

use super::Around;
use crate::output::Problem;

/// The servers of a backend, on all nodes.
pub(super) fn balancer(
    around: &Around<'_>,
    nodes: &[HaproxyNode],
    backend: &str,
) -> Result<Arc<dyn Balancer>, Problem> {
    let nodes = nodes.iter().map(|node| spec(around, node)).collect::<Result<Vec<_>, _>>()?;
    let haproxy = HaProxy::new(nodes, backend).ok_or_else(|| {
        Problem::new(Exit::Configuration, format!("`{backend}` on no node at all is no backend of HAProxy"))
            .with_remedy("name nodes and a backend")
    })?;
    Ok(Arc::new(haproxy))
}

fn spec(around: &Around<'_>, node: &HaproxyNode) -> Result<NodeSpec, Problem> {
    let pinned = node.host_key.as_deref();
    let master = node.master.as_deref().map(|master| dial(around, master, pinned)).transpose()?;
    let keep = node.state.as_ref().map(|state| keep(around, state, pinned)).transpose()?;
    Ok(NodeSpec { runtime: dial(around, &node.runtime, pinned)?, master, keep })
}

/// A socket of a node, behind ssh or not.
pub(super) fn dial(around: &Around<'_>, way: &str, pinned: Option<&str>) -> Result<Dial, Problem> {
    if let Some((host, path)) = way.strip_prefix("ssh:").and_then(|rest| rest.split_once(":/")) {
        let (client, destination) = (around.ssh.clone(), destination(host, pinned)?);
        return Ok(Dial::Through(Arc::new(SshSocket { client, destination, path: format!("/{path}") })));
    }
    Dial::parse(way).ok_or_else(|| {
        Problem::new(Exit::Configuration, format!("`{way}` is no address of a node's socket")).with_remedy(
            "write unix:/run/haproxy/admin.sock, tcp:HOST:PORT or ssh:HOST:/run/haproxy/admin.sock",
        )
    })
}

fn keep(around: &Around<'_>, state: &StateFile, pinned: Option<&str>) -> Result<Keep, Problem> {
    let place = match &state.host {
        None => Place::File(state.path.clone().into()),
        Some(host) => Place::Through(Arc::new(SshFile {
            client: around.ssh.clone(),
            destination: destination(host, pinned)?,
            path: state.path.clone(),
        })),
    };
    Ok(Keep { place, whole: state.whole })
}

/// A host as targets are written. OpenSSH's configuration decides the rest.
fn destination(host: &str, pinned: Option<&str>) -> Result<Destination, Problem> {
    let access = Access::ssh(host).map_err(|refused| {
        Problem::new(Exit::Configuration, format!("a node of HAProxy: {refused}")).with_remedy(refused.remedy)
    })?;
    let destination = Destination::of_access(&access)
        .ok_or_else(|| Problem::new(Exit::Configuration, format!("`{host}` is no host behind ssh")))?;
    Ok(Destination { host_key: pinned.map(str::to_owned), ..destination })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_targets_are_and_keys_are_pinned() {
        let found = destination("deploy@lb1:2222", Some("SHA256:x")).ok().unwrap();
        assert_eq!(found.describe(), "deploy@lb1:2222");
        assert_eq!(found.host_key.as_deref(), Some("SHA256:x"));
        assert!(destination("-oProxyCommand=x", None).is_err());
    }
}
