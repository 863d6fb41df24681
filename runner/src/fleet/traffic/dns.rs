//! Address records of a name.

use std::{collections::BTreeMap, sync::Arc};

use staith_model::{Exit, TrafficSpec};
use staith_releaser::fleet::balancer::{
    Balancer,
    dns::{Dns, DnsMember, DnsSpec},
};

use super::{Around, address, named, unusable};
use crate::output::Problem;

/// The records of a name, which are the targets' addresses.
pub(super) async fn balancer(
    around: &Around<'_>,
    traffic: &TrafficSpec,
) -> Result<Arc<dyn Balancer>, Problem> {
    let TrafficSpec::Dns { server, zone, record, ttl_seconds, key, secret } = traffic else {
        return Err(Problem::new(Exit::Bug, "another provider was taken for DNS"));
    };
    let value = around.secret(secret)?;
    let spec = DnsSpec {
        server: server.clone(),
        zone: zone.clone(),
        record: record.clone(),
        ttl: *ttl_seconds,
        members: members(around).await?,
    };
    let dns = value.expose_to(|value| Dns::with_base64_key(spec, key, value));
    dns.map(|dns| Arc::new(dns) as Arc<dyn Balancer>).map_err(|error| unusable(&error))
}

async fn members(around: &Around<'_>) -> Result<BTreeMap<staith_model::Name, DnsMember>, Problem> {
    let mut members = BTreeMap::new();
    for target in around.targets {
        let (address, port) = address::of(target, &around.ssh).await?;
        let member = DnsMember { address, port: port.or(around.environment.setting.port) };
        members.insert(target.name.clone(), member);
    }
    // A record can't tell two that are at the same address.
    for (name, member) in &members {
        let same: Vec<_> = members
            .iter()
            .filter(|(_, other)| other.address == member.address)
            .map(|(name, _)| name)
            .collect();
        if same.len() > 1 && same.first() == Some(&name) {
            let what = format!("the targets {} have the same address, {}", named(&same), member.address);
            return Err(Problem::new(Exit::Configuration, what)
                .with_why("records of a name can't tell them apart")
                .with_remedy("give each its own address with `serves-at`, or let HAProxy balance them"));
        }
    }
    Ok(members)
}
