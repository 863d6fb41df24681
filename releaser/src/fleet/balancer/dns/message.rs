//! Questions and updates. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, UpdateMessage as _},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

/// Address records of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The longest time to live of any; `None` without records.
    pub(super) ttl: Option<u32>,
}

impl Records {
    /// Adds what an answer says of `name`.
    pub(super) fn take(&mut self, name: &Name, answer: &Message) -> Result<(), String> {
        for record in &answer.answers {
            if record.name != *name || record.data.ip_addr().is_none() {
                return Err(format!(
                    "{name} is not a name with addresses of its own: there is a {} record",
                    record.record_type()
                ));
            }
            self.addresses.extend(record.data.ip_addr());
            self.ttl = self.ttl.max(Some(record.ttl));
        }
        Ok(())
    }
}

/// Asks for records, of the server itself.
pub(super) fn question(name: &Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), kind));
    message
}

/// One message: if the records are `from`, they become `to`.
pub(super) fn swap(
    zone: &Name,
    name: &Name,
    from: &BTreeSet<IpAddr>,
    to: &BTreeSet<IpAddr>,
    ttl: u32,
) -> Message {
    let mut message = Message::new(Message::query().metadata.id, MessageType::Query, OpCode::Update);
    message.add_zone(Query::query(zone.clone(), RecordType::SOA));
    for kind in [RecordType::A, RecordType::AAAA] {
        let of_kind = |addresses: &BTreeSet<IpAddr>, ttl: u32| -> Vec<Record> {
            let ours = addresses.iter().filter(|address| is(**address, kind));
            ours.map(|address| Record::from_rdata(name.clone(), ttl, data(*address))).collect()
        };
        let before = of_kind(from, 0);
        if before.is_empty() {
            // "There is no such record."
            message.add_pre_requisite(empty(name, kind, DNSClass::NONE));
        }
        let had = !before.is_empty();
        message.add_pre_requisites(before);
        if had {
            // "Delete all such records"; what is added below stands.
            message.add_update(empty(name, kind, DNSClass::ANY));
        }
        message.add_updates(of_kind(to, ttl));
    }
    message
}

fn is(address: IpAddr, kind: RecordType) -> bool {
    address.is_ipv4() == (kind == RecordType::A)
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(address.into()),
        IpAddr::V6(address) => RData::AAAA(address.into()),
    }
}

fn empty(name: &Name, kind: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, kind);
    record.dns_class = class;
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn a_swap_asks_for_all_that_was_seen_and_never_leaves_nothing() {
        let (zone, name) = (Name::from_ascii("example.").unwrap(), Name::from_ascii("app.example.").unwrap());
        let message = swap(&zone, &name, &set(&["10.0.0.1", "10.0.0.2"]), &set(&["10.0.0.3", "::1"]), 60);
        let asked: Vec<(DNSClass, RecordType)> =
            message.prerequisites().iter().map(|record| (record.dns_class, record.record_type())).collect();
        assert_eq!(
            asked,
            [(DNSClass::NONE, RecordType::AAAA)].into_iter().fold(
                vec![(DNSClass::IN, RecordType::A); 2],
                |mut all, one| {
                    all.push(one);
                    all
                }
            )
        );
        let done: Vec<(DNSClass, RecordType, u32)> = message
            .updates()
            .iter()
            .map(|record| (record.dns_class, record.record_type(), record.ttl))
            .collect();
        assert_eq!(
            done,
            [
                (DNSClass::ANY, RecordType::A, 0),
                (DNSClass::IN, RecordType::A, 60),
                (DNSClass::IN, RecordType::AAAA, 60)
            ]
        );
        assert_eq!(message.metadata.op_code, OpCode::Update);
        assert!(message.to_vec().is_ok());
    }
}
