//! The built-in proxy as the balancer of an environment.

use std::{net::Ipv6Addr, sync::Arc};

use staith_model::{Access, Exit, Name, Target};
use staith_releaser::fleet::balancer::{Balancer, built_in::BuiltIn};

use super::{Around, haproxy::dial};
use crate::output::Problem;

/// The proxies at these control sockets, not contacted yet.
pub(super) fn balancer(
    around: &Around<'_>,
    nodes: &[String],
    backend: &str,
) -> Result<Arc<dyn Balancer>, Problem> {
    let unusable = |what: &str| {
        Problem::new(Exit::Configuration, what).with_remedy(
            "write nodes = [\"unix:/run/staith-proxy/control.sock\"], and the backend's name there",
        )
    };
    let nodes = nodes.iter().map(|node| dial(around, node, None)).collect::<Result<Vec<_>, _>>()?;
    let name: Name = backend.parse().map_err(|_| unusable(&format!("`{backend}` is no backend's name")))?;
    let port = around.environment.setting.port;
    let targets = around.targets.iter();
    let addresses =
        targets.filter_map(|target| Some((target.name.clone(), address(target, port)?))).collect();
    let built_in = BuiltIn::new(nodes, name, addresses);
    let built_in = built_in.ok_or_else(|| unusable("the built-in proxy has no nodes"))?;
    Ok(Arc::new(built_in))
}

/// Where others reach the application on a target; `None` leaves it to what the proxy knows.
fn address(target: &Target, port: Option<u16>) -> Option<String> {
    let host = match (&target.serves_at, &target.access) {
        (Some(place), _) if has_port(place) => return Some(place.clone()),
        (Some(host), _) | (None, Access::Ssh { host, .. } | Access::Windows { host, .. }) => host.as_str(),
        (None, Access::Local) => "127.0.0.1",
        (None, Access::Pull) => return None,
    };
    let port = port?;
    Some(if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// `host:port` and `[::1]:port`, but not `::1`.
fn has_port(place: &str) -> bool {
    place.parse::<Ipv6Addr>().is_err()
        && place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn target(access: Access, serves_at: Option<&str>) -> Target {
        Target {
            name: "web1".parse().unwrap(),
            access,
            pool: None,
            tags: BTreeSet::new(),
            roles: BTreeSet::new(),
            variables: BTreeMap::new(),
            serves_at: serves_at.map(str::to_owned),
        }
    }

    #[test]
    fn an_application_is_reached_where_the_target_says_or_on_its_host() {
        let ssh = || Access::Ssh {
            host: "web1.test".into(),
            user: None,
            port: Some(22),
            host_key: None,
            superuser: false,
        };
        for (access, serves_at, port, expected) in [
            (Access::Local, Some("10.0.0.1:81"), Some(80), Some("10.0.0.1:81")),
            (Access::Local, None, Some(80), Some("127.0.0.1:80")),
            (ssh(), None, Some(80), Some("web1.test:80")),
            (ssh(), Some("10.0.0.1"), Some(80), Some("10.0.0.1:80")),
            (ssh(), Some("fd00::1"), Some(80), Some("[fd00::1]:80")),
            (ssh(), Some("[fd00::1]:81"), None, Some("[fd00::1]:81")),
            (ssh(), None, None, None),
            (Access::Pull, None, Some(80), None),
        ] {
            assert_eq!(address(&target(access, serves_at), port).as_deref(), expected);
        }
    }
}
